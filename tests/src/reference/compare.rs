//! Comparison of results, with failures that say where and by how much.

use std::fmt::{self, Debug, Display};

/// How a result differs from what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The numbers of values differ.
    Length {
        /// How many there are.
        got: usize,
        /// How many there should be.
        expected: usize,
    },
    /// Values differ by too much.
    Values {
        /// The place of the first of them.
        first: usize,
        /// What it is.
        got: String,
        /// What it should be, and how far off it may be.
        expected: String,
        /// How many values differ.
        wrong: usize,
        /// How many there are.
        of: usize,
    },
}

impl Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { got, expected } => write!(f, "{got} values instead of {expected}"),
            Self::Values { first, got, expected, wrong, of } => {
                write!(f, "{wrong} of {of} values differ, first [{first}]: ")?;
                write!(f, "got {got}, expected {expected}")
            }
        }
    }
}

/// `Ok` if every `got[i]` is within `tolerance(i)` of `expected[i]`. NaN is close to NaN only, and
/// infinity to itself only.
///
/// # Errors
/// The first value that is not, and how many are not.
pub fn all_close(
    got: &[f32],
    expected: &[f64],
    tolerance: impl Fn(usize) -> f64,
) -> Result<(), Mismatch> {
    compare(
        got,
        expected,
        |i, &got, &expected| {
            let got = f64::from(got);
            let same = got == expected || (got.is_nan() && expected.is_nan());
            same || (expected.is_finite() && (got - expected).abs() <= tolerance(i))
        },
        |i| format!("{} ± {:e}", expected[i], tolerance(i)),
    )
}

/// `Ok` if every `got[i]` is `expected[i]`.
///
/// # Errors
/// The first value that is not, and how many are not.
pub fn all_equal<T: PartialEq + Debug>(got: &[T], expected: &[T]) -> Result<(), Mismatch> {
    compare(got, expected, |_, got, expected| got == expected, |i| format!("{:?}", expected[i]))
}

fn compare<T: Debug, E>(
    got: &[T],
    expected: &[E],
    agree: impl Fn(usize, &T, &E) -> bool,
    describe: impl Fn(usize) -> String,
) -> Result<(), Mismatch> {
    if got.len() != expected.len() {
        return Err(Mismatch::Length { got: got.len(), expected: expected.len() });
    }
    let differs = |&i: &usize| !agree(i, &got[i], &expected[i]);
    let mut differing = (0..got.len()).filter(differs);
    match differing.next() {
        None => Ok(()),
        Some(first) => Err(Mismatch::Values {
            first,
            got: format!("{:?}", got[first]),
            expected: describe(first),
            wrong: 1 + differing.count(),
            of: got.len(),
        }),
    }
}
