//! PageRank.

use proptest::prelude::*;

use super::random::Random;
use super::{Case, Mismatch, all_close, all_equal};

/// A random graph; `star` lets every vertex link to the first one too.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's shape")]
pub struct PageRank {
    pub vertices: usize,
    pub edges: usize,
    pub star: bool,
    pub damping: f32,
    pub tolerance: f32,
    pub iterations: u32,
    pub seed: u64,
}

/// The kernel's arguments.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the kernel's arguments")]
pub struct Inputs {
    pub offsets: Vec<i32>,
    pub targets: Vec<i32>,
    pub damping: f32,
    pub tolerance: f32,
    pub iterations: u32,
}

/// The kernel's results.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names of the kernel's results")]
pub struct Output {
    pub ranks: Vec<f32>,
    pub iterations: u32,
}

impl Case for PageRank {
    type Inputs = Inputs;
    type Output = Output;

    fn awkward() -> Vec<Self> {
        let case = |(vertices, edges)| Self {
            vertices,
            edges,
            star: false,
            damping: 0.85,
            tolerance: 1e-6,
            iterations: 100,
            seed: 1,
        };
        let mut cases = [(0, 0), (1, 0), (1, 3), (2, 1), (5, 0), (31, 100), (33, 100), (257, 900)]
            .map(case)
            .to_vec();
        cases.push(case((1009, 500)));
        cases.push(Self { star: true, ..case((300, 400)) });
        cases.push(Self { iterations: 0, ..case((10, 20)) });
        cases.push(Self { iterations: 3, ..case((100, 300)) });
        cases.push(Self { damping: 0.0, ..case((10, 20)) });
        cases.push(Self { damping: 1.0, iterations: 20, ..case((50, 200)) });
        cases
    }

    fn large() -> Vec<Self> {
        let (damping, tolerance, iterations) = (0.85, 1e-5, 30);
        vec![Self {
            vertices: 50_021,
            edges: 300_000,
            star: true,
            damping,
            tolerance,
            iterations,
            seed: 2,
        }]
    }

    fn random() -> BoxedStrategy<Self> {
        (1..300_usize, 0..1_000_usize, any::<bool>(), 0.0..0.95_f32, any::<u64>())
            .prop_map(|(vertices, edges, star, damping, seed)| Self {
                vertices,
                edges,
                star,
                damping,
                tolerance: 1e-6,
                iterations: 50,
                seed,
            })
            .boxed()
    }

    fn inputs(&self) -> Inputs {
        let mut random = Random::new(self.seed);
        let mut links = vec![Vec::new(); self.vertices];
        for _ in 0..self.edges {
            links[random.below(self.vertices)].push(random.below(self.vertices) as i32);
        }
        if self.star {
            links.iter_mut().for_each(|targets| targets.push(0));
        }
        let mut offsets = vec![0];
        for targets in &links {
            offsets.push(offsets[offsets.len() - 1] + targets.len() as i32);
        }
        Inputs {
            offsets,
            targets: links.concat(),
            damping: self.damping,
            tolerance: self.tolerance,
            iterations: self.iterations,
        }
    }

    /// Ranks to the rounding of the result; the number of iterations exactly.
    fn check(inputs: &Inputs, output: &Output) -> Result<(), Mismatch> {
        let (ranks, iterations) = pagerank(inputs);
        all_equal(&[output.iterations], &[iterations])?;
        all_close(&output.ranks, &ranks, |i| 1e-7 * ranks[i])?;
        let sum: f64 = output.ranks.iter().copied().map(f64::from).sum();
        let expected = if ranks.is_empty() { 0.0 } else { 1.0 };
        all_close(&[sum as f32], &[expected], |_| 1e-6)
    }
}

fn pagerank(inputs: &Inputs) -> (Vec<f64>, u32) {
    let vertices = inputs.offsets.len() - 1;
    let (count, damping) = (vertices as f64, f64::from(inputs.damping));
    let mut ranks = vec![1.0 / count; vertices];
    let mut done = 0;
    while done < inputs.iterations && vertices > 0 {
        let mut next = vec![(1.0 - damping) / count; vertices];
        for (rank, ends) in ranks.iter().zip(inputs.offsets.windows(2)) {
            let links = ends[0] as usize..ends[1] as usize;
            if links.is_empty() {
                next.iter_mut().for_each(|other| *other += damping * rank / count);
            }
            for &target in &inputs.targets[links.clone()] {
                next[target as usize] += damping * rank / links.len() as f64;
            }
        }
        let change: f64 = ranks.iter().zip(&next).map(|(old, new)| (new - old).abs()).sum();
        ranks = next;
        done += 1;
        if change <= f64::from(inputs.tolerance) {
            break;
        }
    }
    (ranks, done)
}
