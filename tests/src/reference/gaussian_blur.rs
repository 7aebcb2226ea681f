//! Gaussian blur.

use proptest::prelude::*;

use super::image::ImageShape;
use super::{Case, Mismatch, all_close};

/// An image and the standard deviation of the blur.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's shape")]
pub struct GaussianBlur {
    pub shape: ImageShape,
    pub sigma: f32,
    pub seed: u64,
}

/// The kernel's arguments.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's arguments")]
pub struct Inputs {
    pub shape: ImageShape,
    pub sigma: f32,
    pub image: Vec<u8>,
}

impl Case for GaussianBlur {
    type Inputs = Inputs;
    type Output = Vec<u8>;

    fn awkward() -> Vec<Self> {
        let mut cases = Vec::new();
        for sigma in [0.0, 1e-30, 0.3, 1.0, 2.5] {
            let shapes = ImageShape::awkward().into_iter();
            cases.extend(shapes.map(|shape| Self { shape, sigma, seed: 1 }));
        }
        let shape = ImageShape { height: 11, width: 13, channels: 3 };
        cases.push(Self { shape, sigma: 64.0, seed: 2 });
        cases
    }

    fn large() -> Vec<Self> {
        let shape = ImageShape { height: 241, width: 509, channels: 4 };
        vec![Self { shape, sigma: 3.0, seed: 3 }]
    }

    fn random() -> BoxedStrategy<Self> {
        (ImageShape::random(), 0.0..6.0_f32, any::<u64>())
            .prop_map(|(shape, sigma, seed)| Self { shape, sigma, seed })
            .boxed()
    }

    fn inputs(&self) -> Inputs {
        Inputs { shape: self.shape, sigma: self.sigma, image: self.shape.pixels(self.seed) }
    }

    /// The grey level nearest to the exact value, or beside it where that is about in the middle of
    /// two.
    fn check(inputs: &Inputs, output: &Vec<u8>) -> Result<(), Mismatch> {
        let shape = &inputs.shape;
        let weights = weights(f64::from(inputs.sigma));
        let radius = weights.len() as i64 / 2;
        let image: Vec<f64> = inputs.image.iter().copied().map(f64::from).collect();
        let along = |values: &[f64], dy: i64, dx: i64| {
            let mut blurred = Vec::with_capacity(values.len());
            for y in 0..shape.height as i64 {
                for x in 0..shape.width as i64 {
                    for channel in 0..shape.channels {
                        let taps = weights.iter().zip(-radius..).map(|(weight, t)| {
                            weight * values[shape.place(y + t * dy, x + t * dx, channel)]
                        });
                        blurred.push(taps.sum());
                    }
                }
            }
            blurred
        };
        let exact: Vec<f64> = along(&along(&image, 0, 1), 1, 0);
        let output: Vec<f32> = output.iter().copied().map(f32::from).collect();
        all_close(&output, &exact, |_| if inputs.sigma == 0.0 { 0.0 } else { 0.505 })
    }
}

fn weights(sigma: f64) -> Vec<f64> {
    if sigma == 0.0 {
        return vec![1.0];
    }
    let radius = (3.0 * sigma).ceil() as i32;
    let weights = (-radius..=radius).map(|x| (-f64::from(x * x) / (2.0 * sigma * sigma)).exp());
    let total: f64 = weights.clone().sum();
    weights.map(|weight| weight / total).collect()
}
