//! The inclusive sum.

use proptest::prelude::*;

use super::random::Random;
use super::{Case, LENGTHS, Mismatch, all_close};

/// A vector of `n` values, infinite in some places if `infinite`.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's shape")]
pub struct Scan {
    pub n: usize,
    pub infinite: bool,
    pub seed: u64,
}

/// The kernel's arguments.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's arguments")]
pub struct Inputs {
    pub input: Vec<f32>,
}

impl Case for Scan {
    type Inputs = Inputs;
    type Output = Vec<f32>;

    fn awkward() -> Vec<Self> {
        // And around the tiles of the device.
        let mut cases: Vec<Self> = (LENGTHS.into_iter().chain([2047, 2048, 2049]))
            .map(|n| Self { n, infinite: false, seed: 1 })
            .collect();
        cases.push(Self { n: 10_007, infinite: true, seed: 1 });
        cases
    }

    fn large() -> Vec<Self> {
        vec![Self { n: 10_000_019, infinite: false, seed: 2 }]
    }

    fn random() -> BoxedStrategy<Self> {
        (0..20_000_usize, any::<u64>())
            .prop_map(|(n, seed)| Self { n, infinite: false, seed })
            .boxed()
    }

    fn inputs(&self) -> Inputs {
        let mut random = Random::new(self.seed);
        let mut input = random.floats(self.n, -1.0, 2.0);
        if self.infinite {
            random.sprinkle(&mut input, self.n / 2, f32::INFINITY);
            random.sprinkle(&mut input[self.n / 2..], self.n / 4, -f32::INFINITY);
        }
        Inputs { input }
    }

    /// The rounding of each sum, and little more.
    fn check(inputs: &Inputs, output: &Vec<f32>) -> Result<(), Mismatch> {
        let mut sums = Vec::with_capacity(inputs.input.len());
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for &value in &inputs.input {
            sum += f64::from(value);
            magnitude += f64::from(value).abs();
            sums.push(sum);
        }
        all_close(output, &sums, |i| 1e-7 * sums[i].abs() + 1e-13 * magnitude)
    }
}
