//! The matrix product.

use proptest::prelude::*;

use super::random::Random;
use super::{Case, Mismatch, all_close};

/// `c[m, n] = a[m, k] b[k, n]`.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's shape")]
pub struct Gemm {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub seed: u64,
}

/// The kernel's arguments.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's arguments")]
pub struct Inputs {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Vec<f32>,
    pub b: Vec<f32>,
}

impl Case for Gemm {
    type Inputs = Inputs;
    type Output = Vec<f32>;

    fn awkward() -> Vec<Self> {
        [(1, 1, 1), (17, 31, 13), (64, 64, 64), (65, 63, 17), (61, 67, 71), (1, 257, 5)]
            .into_iter()
            .chain([(257, 1, 33), (1, 1, 1009), (3, 5, 0), (0, 7, 3), (7, 0, 3), (131, 2, 1)])
            .map(|(m, n, k)| Self { m, n, k, seed: 1 })
            .collect()
    }

    fn large() -> Vec<Self> {
        [(1024, 1024, 1024), (509, 521, 503), (7, 9973, 701), (9973, 7, 701)]
            .map(|(m, n, k)| Self { m, n, k, seed: 2 })
            .into()
    }

    fn random() -> BoxedStrategy<Self> {
        (0..100_usize, 0..100_usize, 0..100_usize, any::<u64>())
            .prop_map(|(m, n, k, seed)| Self { m, n, k, seed })
            .boxed()
    }

    fn inputs(&self) -> Inputs {
        let Self { m, n, k, seed } = *self;
        let mut random = Random::new(seed);
        Inputs { m, n, k, a: random.floats(m * k, -1.0, 2.0), b: random.floats(k * n, -1.0, 2.0) }
    }

    /// Sums of products in `f32` lose digits of the sum of magnitudes, not of the result. In random
    /// order the loss grows with the square root of `k`: 1e-6 at 1,024 if added up one by one.
    fn check(inputs: &Inputs, output: &Vec<f32>) -> Result<(), Mismatch> {
        let Inputs { m, n, k, a, b } = inputs;
        let mut expected = vec![0.0; m * n];
        let mut magnitude = vec![0.0; m * n];
        for row in 0..*m {
            for p in 0..*k {
                let factor = f64::from(a[row * k + p]);
                for column in 0..*n {
                    let product = factor * f64::from(b[p * n + column]);
                    expected[row * n + column] += product;
                    magnitude[row * n + column] += product.abs();
                }
            }
        }
        all_close(output, &expected, |i| 2e-6 * magnitude[i])
    }
}
