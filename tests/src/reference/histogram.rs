//! Counts in bins of equal width.

use proptest::prelude::*;

use super::random::Random;
use super::{Case, LENGTHS, Mismatch, all_equal};

/// `n` values around `low..=high`, some of them NaN or exactly on an edge.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's shape")]
pub struct Histogram {
    pub n: usize,
    pub bins: u32,
    pub low: f32,
    pub high: f32,
    pub seed: u64,
}

/// The kernel's arguments.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's arguments")]
pub struct Inputs {
    pub input: Vec<f32>,
    pub bins: u32,
    pub low: f32,
    pub high: f32,
}

impl Case for Histogram {
    type Inputs = Inputs;
    type Output = Vec<u64>;

    fn awkward() -> Vec<Self> {
        let bins = |(bins, low, high)| Self { n: 5_000, bins, low, high, seed: 1 };
        LENGTHS
            .map(|n| Self { n, bins: 10, low: 0.0, high: 1.0, seed: 1 })
            .into_iter()
            .chain(
                [(1, -1.0, 1.0), (7, -1.5, 2.25), (256, -3.0, 3.0), (1_000, 1e6, 1.1e6)].map(bins),
            )
            .chain([(16, 1e6, 1_000_001.0), (9_000, -1.0, 0.0), (100, -3e38, 3e38)].map(bins))
            .chain([(3, 0.0, 1e-44), (8_000, 0.0, 1.2e-41), (65_537, -1.0, 1.0)].map(bins))
            .collect()
    }

    fn large() -> Vec<Self> {
        // Those of the second are so narrow that their number per unit is beyond `f32`.
        [(100, -1.0, 1.0), (60_000, 0.0, 8.5e-41)]
            .map(|(bins, low, high)| Self { n: 1_000_003, bins, low, high, seed: 2 })
            .into()
    }

    fn random() -> BoxedStrategy<Self> {
        (0..5_000_usize, 1..300_u32, -10.0..10.0_f32, 0.1..5.0_f32, any::<u64>())
            .prop_map(|(n, bins, low, width, seed)| Self { n, bins, low, high: low + width, seed })
            .boxed()
    }

    fn inputs(&self) -> Inputs {
        let Self { n, bins, low, high, seed } = *self;
        let mut random = Random::new(seed);
        let edges = edges(bins, low, high);
        let input = random.floats(n, -0.1, 1.1).into_iter().map(|place| match random.below(10) {
            0 => f32::NAN,
            1 | 2 => edges[random.below(edges.len())],
            3 => edges[random.below(edges.len())].next_down(),
            _ => (f64::from(low) + f64::from(place) * (f64::from(high) - f64::from(low))) as f32,
        });
        Inputs { input: input.collect(), bins, low, high }
    }

    /// Integers: equal.
    fn check(inputs: &Inputs, output: &Vec<u64>) -> Result<(), Mismatch> {
        let edges = edges(inputs.bins, inputs.low, inputs.high);
        let mut counts = vec![0; inputs.bins as usize];
        for &value in &inputs.input {
            if value == inputs.high {
                counts[inputs.bins as usize - 1] += 1;
            } else if value >= inputs.low && value < inputs.high {
                counts[edges.partition_point(|&edge| edge <= value) - 1] += 1;
            }
        }
        all_equal(output, &counts)
    }
}

/// As `numpy.linspace` for float32, which `numpy.histogram` compares with.
fn edges(bins: u32, low: f32, high: f32) -> Vec<f32> {
    let step = (f64::from(high) - f64::from(low)) / f64::from(bins);
    let mut edges: Vec<f32> =
        (0..=bins).map(|i| (f64::from(i) * step + f64::from(low)) as f32).collect();
    edges[bins as usize] = high;
    edges
}
