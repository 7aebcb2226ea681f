//! The Sobel operator.

use proptest::prelude::*;

use super::image::ImageShape;
use super::{Case, Mismatch, all_equal};

/// An image.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's shape")]
pub struct Sobel {
    pub shape: ImageShape,
    pub seed: u64,
}

/// The kernel's arguments.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's arguments")]
pub struct Inputs {
    pub shape: ImageShape,
    pub image: Vec<u8>,
}

const ACROSS: [[i64; 3]; 3] = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]];
const DOWN: [[i64; 3]; 3] = [[-1, -2, -1], [0, 0, 0], [1, 2, 1]];

impl Case for Sobel {
    type Inputs = Inputs;
    type Output = Vec<u8>;

    fn awkward() -> Vec<Self> {
        let shapes = ImageShape::awkward().into_iter();
        shapes.flat_map(|shape| [1, 2].map(|seed| Self { shape, seed })).collect()
    }

    fn large() -> Vec<Self> {
        [1, 3, 4]
            .map(|channels| Self {
                shape: ImageShape { height: 307, width: 509, channels },
                seed: 3,
            })
            .into()
    }

    fn random() -> BoxedStrategy<Self> {
        (ImageShape::random(), any::<u64>()).prop_map(|(shape, seed)| Self { shape, seed }).boxed()
    }

    fn inputs(&self) -> Inputs {
        Inputs { shape: self.shape, image: self.shape.pixels(self.seed) }
    }

    /// Integers all the way: equal.
    fn check(inputs: &Inputs, output: &Vec<u8>) -> Result<(), Mismatch> {
        let mut expected = Vec::new();
        for y in 0..inputs.shape.height as i64 {
            for x in 0..inputs.shape.width as i64 {
                let [gx, gy] = [ACROSS, DOWN].map(|operator| {
                    (0..9)
                        .map(|i| (i / 3, i % 3))
                        .map(|(i, j)| {
                            let (row, column) = (y + i as i64 - 1, x + j as i64 - 1);
                            operator[i][j] * luma(inputs, row, column)
                        })
                        .sum::<i64>()
                });
                expected.push(rounded_root((gx * gx + gy * gy) as u64).min(255) as u8);
            }
        }
        all_equal(output, &expected)
    }
}

/// In thousandths of a grey level.
fn luma(inputs: &Inputs, y: i64, x: i64) -> i64 {
    let value = |channel| i64::from(inputs.image[inputs.shape.place(y, x, channel)]);
    match inputs.shape.channels {
        1 => 1000 * value(0),
        _ => 299 * value(0) + 587 * value(1) + 114 * value(2),
    }
}

/// `sqrt(square) / 1000`, rounded to nearest: the greatest `r` with `1000 (r - 1/2) <= sqrt(square)`.
fn rounded_root(square: u64) -> u64 {
    (square.isqrt() + 500) / 1000
}
