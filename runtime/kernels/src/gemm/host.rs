//! The matrix product on the host.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par, unzip, zip};

use crate::error::{LengthError, elements};
use crate::parallel::Caller;

/// Multiply-adds (m n k) from which a product is cut in two, for two threads.
const PARALLEL_FROM: usize = 1 << 25;

/// No side of a piece gets shorter than this: the panels of the micro-kernels would be too thin.
const SHORTEST_SIDE: usize = 64;

/// Products that are added up in `f32`.
const LONGEST_SUM: usize = 1 << 12;

/// The extents of `c[m, n] = a[m, k] b[k, n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows of `a` and `c`.
    pub m: usize,
    /// Columns of `b` and `c`.
    pub n: usize,
    /// Columns of `a`, rows of `b`.
    pub k: usize,
}

/// `c = a b`; zeros if `k` is 0.
///
/// # Errors
/// If a slice's length is not that of its matrix.
pub fn gemm(shape: Shape, a: &[f32], b: &[f32], c: &mut [f32]) -> Result<(), LengthError> {
    let Shape { m, n, k } = shape;
    LengthError::unless_exact("a", a.len(), elements(&[m, k]))?;
    LengthError::unless_exact("b", b.len(), elements(&[k, n]))?;
    LengthError::unless_exact("c", c.len(), elements(&[m, n]))?;
    product(
        MatMut::from_row_major_slice_mut(c, m, n),
        MatRef::from_row_major_slice(a, m, k),
        MatRef::from_row_major_slice(b, k, n),
        &Caller::current(),
    );
    Ok(())
}

/// `c = a b`, halved along its longer side until the pieces are not worth a thread. faer can use
/// threads too, but cuts by their number, and its workers spin while they wait for each other.
fn product(c: MatMut<'_, f32>, a: MatRef<'_, f32>, b: MatRef<'_, f32>, caller: &Caller) {
    let (m, n, k) = (c.nrows(), c.ncols(), a.ncols());
    let small = elements(&[m, n, k]) < PARALLEL_FROM || m.max(n) < 2 * SHORTEST_SIDE;
    if small {
        sequential_product(c, a, b, caller);
    } else if m >= n {
        let middle = half(m);
        let (above, below) = c.split_at_row_mut(middle);
        let (a_above, a_below) = a.split_at_row(middle);
        rayon::join(|| product(above, a_above, b, caller), || product(below, a_below, b, caller));
    } else {
        let middle = half(n);
        let (left, right) = c.split_at_col_mut(middle);
        let (b_left, b_right) = b.split_at_col(middle);
        rayon::join(|| product(left, a, b_left, caller), || product(right, a, b_right, caller));
    }
}

/// `c = a b` by the calling thread, unless the caller has gone.
///
/// Sums are formed in `f32`, as fast as it goes, but no longer ones than of [`LONGEST_SUM`]
/// products: those are added up in `f64`.
pub(crate) fn sequential_product(
    mut c: MatMut<'_, f32>,
    a: MatRef<'_, f32>,
    b: MatRef<'_, f32>,
    caller: &Caller,
) {
    let (m, n, k) = (c.nrows(), c.ncols(), a.ncols());
    if k <= LONGEST_SUM {
        if !caller.has_gone() {
            matmul(c, Accum::Replace, a, b, 1.0, Par::Seq);
        }
        return;
    }
    let mut sums = Mat::<f64>::zeros(m, n);
    for first in (0..k).step_by(LONGEST_SUM).take_while(|_| !caller.has_gone()) {
        let length = LONGEST_SUM.min(k - first);
        let (a, b) = (a.subcols(first, length), b.subrows(first, length));
        matmul(c.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
        zip!(&mut sums, &c).for_each(|unzip!(sum, part)| *sum += f64::from(*part));
    }
    zip!(c, &sums).for_each(|unzip!(c, sum)| *c = *sum as f32);
}

/// Half of a side, rounded so that the first part is whole panels.
fn half(side: usize) -> usize {
    (side / 2).next_multiple_of(SHORTEST_SIDE)
}
