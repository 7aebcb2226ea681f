//! Scaled vector addition.

use proptest::prelude::*;

use super::random::Random;
use super::{Case, LENGTHS, Mismatch, all_equal};

/// Two vectors of `n` values.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's shape")]
pub struct Saxpy {
    pub n: usize,
    pub seed: u64,
}

/// The kernel's arguments.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's arguments")]
pub struct Inputs {
    pub a: f32,
    pub x: Vec<f32>,
    pub y: Vec<f32>,
}

impl Case for Saxpy {
    type Inputs = Inputs;
    type Output = Vec<f32>;

    fn awkward() -> Vec<Self> {
        LENGTHS.map(|n| Self { n, seed: 1 }).into()
    }

    fn large() -> Vec<Self> {
        vec![Self { n: 3_000_017, seed: 2 }]
    }

    fn random() -> BoxedStrategy<Self> {
        (0..5_000_usize, any::<u64>()).prop_map(|(n, seed)| Self { n, seed }).boxed()
    }

    fn inputs(&self) -> Inputs {
        let mut random = Random::new(self.seed);
        Inputs {
            a: random.floats(1, -2.0, 2.0)[0],
            x: random.floats(self.n, -1e3, 1e3),
            y: random.floats(self.n, -1.0, 1.0),
        }
    }

    /// Rounded after the product and after the sum, each of which `f64` holds exactly or rounds
    /// harmlessly: equal.
    fn check(inputs: &Inputs, output: &Vec<f32>) -> Result<(), Mismatch> {
        let expected: Vec<f32> = (inputs.x.iter().zip(&inputs.y))
            .map(|(&x, &y)| {
                let product = (f64::from(inputs.a) * f64::from(x)) as f32;
                (f64::from(product) + f64::from(y)) as f32
            })
            .collect();
        all_equal(output, &expected)
    }
}
