//! Two-dimensional cross-correlation.

use proptest::prelude::*;

use super::random::Random;
use super::{Case, Mismatch, all_close};

/// The extents of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the kernel's shape")]
pub struct Conv2d {
    pub batch: usize,
    pub c_in: usize,
    pub height: usize,
    pub width: usize,
    pub c_out: usize,
    pub kernel_height: usize,
    pub kernel_width: usize,
    pub stride: usize,
    pub padding: usize,
}

/// The kernel's arguments.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's arguments")]
pub struct Inputs {
    pub shape: Conv2d,
    pub input: Vec<f32>,
    pub weight: Vec<f32>,
}

impl Conv2d {
    /// Batch and input, output and kernel, stride and padding.
    const fn new(input: [usize; 4], output: [usize; 3], stride: usize, padding: usize) -> Self {
        let [batch, c_in, height, width] = input;
        let [c_out, kernel_height, kernel_width] = output;
        Self { batch, c_in, height, width, c_out, kernel_height, kernel_width, stride, padding }
    }

    /// Rows and columns of the output.
    #[must_use]
    pub const fn output(&self) -> (usize, usize) {
        (
            (self.height + 2 * self.padding - self.kernel_height) / self.stride + 1,
            (self.width + 2 * self.padding - self.kernel_width) / self.stride + 1,
        )
    }

    /// All products in the sum of one output value.
    fn products(&self, inputs: &Inputs, place: [usize; 4]) -> Vec<f64> {
        let [image, channel_out, out_y, out_x] = place;
        let mut products = Vec::new();
        for channel_in in 0..self.c_in {
            for tap_y in 0..self.kernel_height {
                for tap_x in 0..self.kernel_width {
                    let y = out_y * self.stride + tap_y;
                    let x = out_x * self.stride + tap_x;
                    let rows = self.padding..self.padding + self.height;
                    let columns = self.padding..self.padding + self.width;
                    if rows.contains(&y) && columns.contains(&x) {
                        let plane = image * self.c_in + channel_in;
                        let row = plane * self.height + y - self.padding;
                        let kernel = channel_out * self.c_in + channel_in;
                        let kernel_row = kernel * self.kernel_height + tap_y;
                        products.push(
                            f64::from(inputs.input[row * self.width + x - self.padding])
                                * f64::from(inputs.weight[kernel_row * self.kernel_width + tap_x]),
                        );
                    }
                }
            }
        }
        products
    }
}

impl Case for Conv2d {
    type Inputs = Inputs;
    type Output = Vec<f32>;

    fn awkward() -> Vec<Self> {
        vec![
            Self::new([1, 1, 1, 1], [1, 1, 1], 1, 0),
            Self::new([2, 3, 8, 9], [4, 3, 3], 1, 1),
            Self::new([1, 2, 5, 17], [70, 2, 5], 2, 3),
            Self::new([2, 3, 20, 21], [5, 5, 3], 3, 0),
            Self::new([1, 1, 1, 33], [1, 1, 7], 1, 3),
            Self::new([1, 1, 33, 1], [1, 7, 1], 2, 3),
            Self::new([3, 5, 7, 7], [3, 7, 7], 1, 0),
            // The kernel lies in the padding alone, the stride skips columns, nothing at all.
            Self::new([1, 1, 2, 2], [1, 2, 2], 1, 4),
            Self::new([1, 1, 3, 11], [2, 1, 1], 4, 2),
            Self::new([1, 0, 3, 3], [2, 3, 3], 1, 1),
            Self::new([1, 2, 0, 5], [2, 2, 2], 1, 2),
            // Images too small to be worth a product each.
            Self::new([700, 2, 5, 4], [3, 3, 3], 1, 1),
            Self::new([9_001, 1, 1, 1], [40, 1, 1], 1, 0),
            Self::new([0, 3, 5, 5], [2, 3, 3], 1, 1),
            Self::new([1, 3, 5, 5], [0, 3, 3], 1, 1),
        ]
    }

    fn large() -> Vec<Self> {
        vec![
            Self::new([1, 16, 61, 59], [32, 3, 3], 1, 1),
            Self::new([3, 8, 64, 64], [16, 5, 5], 2, 2),
            Self::new([5_000, 8, 5, 5], [16, 3, 3], 1, 1),
        ]
    }

    fn random() -> BoxedStrategy<Self> {
        let input = [0..4_usize, 0..5, 1..20, 1..20];
        let output = [0..70_usize, 1..6, 1..6];
        (input, output, 1..4_usize, 0..4_usize)
            .prop_map(|(input, output, stride, padding)| Self::new(input, output, stride, padding))
            .prop_filter("the kernel fits", |shape| {
                shape.kernel_height <= shape.height + 2 * shape.padding
                    && shape.kernel_width <= shape.width + 2 * shape.padding
            })
            .boxed()
    }

    fn inputs(&self) -> Inputs {
        let Self { batch, c_in, height, width, c_out, kernel_height, kernel_width, .. } = *self;
        let mut random = Random::new(1);
        Inputs {
            shape: *self,
            input: random.floats(batch * c_in * height * width, -1.0, 2.0),
            weight: random.floats(c_out * c_in * kernel_height * kernel_width, -1.0, 2.0),
        }
    }

    /// As for matrices: relative to the sum of magnitudes.
    fn check(inputs: &Inputs, output: &Vec<f32>) -> Result<(), Mismatch> {
        let shape = &inputs.shape;
        let (height, width) = shape.output();
        let (mut expected, mut magnitude) = (Vec::new(), Vec::new());
        for image in 0..shape.batch {
            for channel in 0..shape.c_out {
                for y in 0..height {
                    for x in 0..width {
                        let products = shape.products(inputs, [image, channel, y, x]);
                        expected.push(products.iter().sum());
                        magnitude.push(products.iter().map(|product| product.abs()).sum::<f64>());
                    }
                }
            }
        }
        all_close(output, &expected, |i| 2e-6 * magnitude[i])
    }
}
