//! Softmax along rows.

use proptest::prelude::*;

use super::random::Random;
use super::{Case, Mismatch, all_close};

/// A matrix of values up to `scale`; some rows hold infinities or NaN if `special`.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's shape")]
pub struct Softmax {
    pub rows: usize,
    pub columns: usize,
    pub scale: f32,
    pub special: bool,
    pub seed: u64,
}

/// The kernel's arguments.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's arguments")]
pub struct Inputs {
    pub rows: usize,
    pub columns: usize,
    pub input: Vec<f32>,
}

impl Case for Softmax {
    type Inputs = Inputs;
    type Output = Vec<f32>;

    fn awkward() -> Vec<Self> {
        let case =
            |(rows, columns)| Self { rows, columns, scale: 10.0, special: rows > 4, seed: 1 };
        let mut cases: Vec<Self> =
            [(0, 5), (5, 0), (1, 1), (1, 1009), (1009, 1), (9, 31), (8, 32), (7, 33), (5, 257)]
                .into_iter()
                .chain([(3, 255), (2, 3001), (257, 2)])
                .map(case)
                .collect();
        cases.push(Self { scale: 1e4, ..case((6, 100)) });
        cases
    }

    fn large() -> Vec<Self> {
        [(10_007, 101), (3, 500_009)]
            .map(|(rows, columns)| Self { rows, columns, scale: 5.0, special: true, seed: 2 })
            .into()
    }

    fn random() -> BoxedStrategy<Self> {
        (0..40_usize, 0..200_usize, 0.1..100.0_f32, any::<bool>(), any::<u64>())
            .prop_map(|(rows, columns, scale, special, seed)| Self {
                rows,
                columns,
                scale,
                special,
                seed,
            })
            .boxed()
    }

    fn inputs(&self) -> Inputs {
        let Self { rows, columns, scale, special, seed } = *self;
        let mut random = Random::new(seed);
        let mut input = random.floats(rows * columns, -scale, scale);
        if special {
            let places = [f32::NAN, f32::INFINITY, -f32::INFINITY];
            for (row, value) in input.chunks_mut(columns.max(1)).zip(places) {
                random.sprinkle(row, 10, value);
            }
            if let Some(row) = input.chunks_mut(columns.max(1)).nth(3) {
                row.fill(-f32::INFINITY);
            }
        }
        Inputs { rows, columns, input }
    }

    /// The rounding of the exponent, `x - max`, is up to 4e-6 where the result is near `f32`'s least
    /// number, and below 1e-6 where it is more than 1e-6.
    fn check(inputs: &Inputs, output: &Vec<f32>) -> Result<(), Mismatch> {
        let mut expected = Vec::with_capacity(inputs.input.len());
        for row in inputs.input.chunks(inputs.columns.max(1)) {
            let row: Vec<f64> = row.iter().copied().map(f64::from).collect();
            let highest = row.iter().copied().fold(-f64::INFINITY, f64::max);
            let exponentials: Vec<f64> = row.iter().map(|x| (x - highest).exp()).collect();
            let sum: f64 = exponentials.iter().sum();
            expected.extend(exponentials.iter().map(|e| e / sum));
        }
        all_close(output, &expected, |i| {
            let relative = if expected[i] > 1e-6 { 1e-6 } else { 1e-5 };
            relative * expected[i] + f64::from(f32::MIN_POSITIVE)
        })
    }
}
