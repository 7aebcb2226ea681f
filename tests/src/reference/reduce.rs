//! Sum, minimum, maximum and mean.

use proptest::prelude::*;

use super::random::Random;
use super::{Case, LENGTHS, Mismatch, all_close, all_equal};

/// What to reduce to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the kernel's operations")]
pub enum Op {
    Sum,
    Min,
    Max,
    Mean,
}

const OPS: [Op; 4] = [Op::Sum, Op::Min, Op::Max, Op::Mean];

/// A vector of `n` values, one of them NaN if `nan`.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's shape")]
pub struct Reduce {
    pub n: usize,
    pub op: Op,
    pub nan: bool,
    pub seed: u64,
}

/// The kernel's arguments.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's arguments")]
pub struct Inputs {
    pub input: Vec<f32>,
    pub op: Op,
}

impl Case for Reduce {
    type Inputs = Inputs;
    type Output = f32;

    /// The sum of nothing is 0; the other operations refuse it, which is not a case.
    fn awkward() -> Vec<Self> {
        let mut cases = vec![Self { n: 0, op: Op::Sum, nan: false, seed: 1 }];
        for op in OPS {
            for nan in [false, true] {
                cases.extend(LENGTHS[1..].iter().map(|&n| Self { n, op, nan, seed: 1 }));
            }
        }
        cases
    }

    fn large() -> Vec<Self> {
        OPS.map(|op| Self { n: 10_000_019, op, nan: false, seed: 2 }).into()
    }

    fn random() -> BoxedStrategy<Self> {
        let op = proptest::sample::select(&OPS);
        (1..5_000_usize, op, any::<bool>(), any::<u64>())
            .prop_map(|(n, op, nan, seed)| Self { n, op, nan, seed })
            .boxed()
    }

    fn inputs(&self) -> Inputs {
        let mut random = Random::new(self.seed);
        let mut input = random.floats(self.n, -1.0, 2.0);
        if self.nan {
            let place = random.below(self.n);
            input[place] = f32::NAN;
        }
        Inputs { input, op: self.op }
    }

    /// The rounding of the result, and little more; minimum and maximum are exact, and the
    /// sum of nothing is 0, not -0.
    fn check(inputs: &Inputs, output: &f32) -> Result<(), Mismatch> {
        if inputs.input.is_empty() {
            return all_equal(&[output.to_bits()], &[0.0_f32.to_bits()]);
        }
        let values = inputs.input.iter().copied().map(f64::from);
        let nan = values.clone().any(f64::is_nan);
        let sum: f64 = values.clone().sum();
        let magnitude: f64 = values.clone().map(f64::abs).sum();
        let count = inputs.input.len() as f64;
        let (expected, tolerance) = match inputs.op {
            Op::Sum => (sum, 1e-7 * sum.abs() + 1e-13 * magnitude),
            Op::Mean => (sum / count, (1e-7 * sum.abs() + 1e-13 * magnitude) / count),
            Op::Min | Op::Max if nan => (f64::NAN, 0.0),
            Op::Min => (values.fold(f64::INFINITY, f64::min), 0.0),
            Op::Max => (values.fold(-f64::INFINITY, f64::max), 0.0),
        };
        all_close(&[*output], &[expected], |_| tolerance)
    }
}
