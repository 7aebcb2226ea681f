//! What each kernel must compute: straightforward implementations in `f64` or exact integers, the
//! inputs to try, and how far a result may be off.
//!
//! Every module holds a `Case` (a shape and a seed, so that a failure prints in one line) and its
//! `Inputs`. A runner turns inputs into an output, on whichever device; [`conform`] compares:
//!
//! ```ignore
//! conform::<dot::Case>(Effort::FULL, |inputs| host::dot(&inputs.x, &inputs.y).unwrap());
//! ```

pub mod black_scholes;
mod compare;
pub mod conv2d;
pub mod dot;
pub mod gaussian_blur;
pub mod gemm;
pub mod histogram;
pub mod image;
pub mod pagerank;
pub mod random;
pub mod reduce;
pub mod saxpy;
pub mod scan;
pub mod sobel;
pub mod softmax;
pub mod vector_add;

use std::fmt::Debug;

use proptest::strategy::BoxedStrategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

pub use compare::{Mismatch, all_close, all_equal};

/// Lengths around the widths of warps, blocks and pieces of work, and one prime beyond.
pub const LENGTHS: [usize; 11] = [0, 1, 2, 31, 32, 33, 255, 256, 257, 1009, 65537];

/// One input of a kernel, by its shape and a seed.
pub trait Case: Debug + Sized {
    /// All arguments of the kernel.
    type Inputs;
    /// All results.
    type Output;

    /// Shapes at which implementations tend to go wrong; small enough for an interpreter.
    fn awkward() -> Vec<Self>;

    /// Shapes that are worth all cores.
    fn large() -> Vec<Self>;

    /// Any shape of moderate size.
    fn random() -> BoxedStrategy<Self>;

    /// The arguments; the same each time.
    fn inputs(&self) -> Self::Inputs;

    /// Compares a result with the reference.
    ///
    /// # Errors
    /// The first difference that is too large.
    fn check(inputs: &Self::Inputs, output: &Self::Output) -> Result<(), Mismatch>;
}

/// How many cases to try.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Whether to try the large ones.
    pub large: bool,
    /// How many random ones to try.
    pub random: u32,
}

impl Effort {
    /// For a runner at the speed of the processor.
    pub const FULL: Self = Self { large: true, random: 256 };
}

/// Runs the cases of a kernel and compares every result with the reference.
///
/// # Panics
/// At the first case whose result is wrong; random cases are first made as small as possible.
pub fn conform<C: Case>(effort: Effort, run: impl Fn(&C::Inputs) -> C::Output) {
    let attempt = |case: &C| {
        let inputs = case.inputs();
        C::check(&inputs, &run(&inputs))
    };
    let large = if effort.large { C::large() } else { Vec::new() };
    for case in C::awkward().into_iter().chain(large) {
        if let Err(mismatch) = attempt(&case) {
            panic!("{case:?}: {mismatch}");
        }
    }
    // The same random cases in every run.
    let generator = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let config = Config { cases: effort.random, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, generator)
        .run(&C::random(), |case| {
            attempt(&case).map_err(|mismatch| TestCaseError::fail(mismatch.to_string()))
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}
