//! The dot product.

use proptest::prelude::*;

use super::random::Random;
use super::{Case, LENGTHS, Mismatch, all_close, all_equal};

/// Two vectors of `n` values.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's shape")]
pub struct Dot {
    pub n: usize,
    pub seed: u64,
}

/// The kernel's arguments.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's arguments")]
pub struct Inputs {
    pub x: Vec<f32>,
    pub y: Vec<f32>,
}

impl Case for Dot {
    type Inputs = Inputs;
    type Output = f32;

    fn awkward() -> Vec<Self> {
        LENGTHS.map(|n| Self { n, seed: 1 }).into()
    }

    fn large() -> Vec<Self> {
        vec![Self { n: 10_000_019, seed: 2 }]
    }

    fn random() -> BoxedStrategy<Self> {
        (0..5_000_usize, any::<u64>()).prop_map(|(n, seed)| Self { n, seed }).boxed()
    }

    fn inputs(&self) -> Inputs {
        let mut random = Random::new(self.seed);
        Inputs { x: random.floats(self.n, -1.0, 1.0), y: random.floats(self.n, -1.0, 2.0) }
    }

    /// The rounding of the result, and little more; of nothing it is 0, not -0.
    fn check(inputs: &Inputs, output: &f32) -> Result<(), Mismatch> {
        let products = inputs.x.iter().zip(&inputs.y).map(|(&x, &y)| f64::from(x) * f64::from(y));
        if inputs.x.is_empty() {
            return all_equal(&[output.to_bits()], &[0.0_f32.to_bits()]);
        }
        let expected: f64 = products.clone().sum();
        let magnitude: f64 = products.map(f64::abs).sum();
        let tolerance = 1e-7 * expected.abs() + 1e-13 * magnitude;
        all_close(&[*output], &[expected], |_| tolerance)
    }
}
