//! Vector addition.

use proptest::prelude::*;

use super::random::Random;
use super::{Case, LENGTHS, Mismatch, all_equal};

/// Two vectors of `n` values.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's shape")]
pub struct VectorAdd {
    pub n: usize,
    pub seed: u64,
}

/// The kernel's arguments.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's arguments")]
pub struct Inputs {
    pub a: Vec<f32>,
    pub b: Vec<f32>,
}

impl Case for VectorAdd {
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
        let mut a = random.floats(self.n, -1e3, 1e3);
        random.sprinkle(&mut a, 1000, f32::INFINITY);
        Inputs { a, b: random.floats(self.n, -1.0, 1.0) }
    }

    /// The sum of two `f32`, rounded to `f64` and then to `f32`, is their sum rounded once: equal.
    fn check(inputs: &Inputs, output: &Vec<f32>) -> Result<(), Mismatch> {
        let expected: Vec<f32> = (inputs.a.iter().zip(&inputs.b))
            .map(|(&a, &b)| (f64::from(a) + f64::from(b)) as f32)
            .collect();
        all_equal(output, &expected)
    }
}
