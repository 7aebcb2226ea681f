//! Work cut into pieces, done by the calling thread or by all cores.
//!
//! The pieces depend on the shape of the work only, and results come back in the order of the
//! pieces: who computed what does not show. Handing work to the pool wakes sleeping threads, which
//! can cost 50 µs, so each kernel says from which size on that pays (`PARALLEL_FROM`, measured on two
//! cores: there the sequential run takes some 200 to 400 µs).

use std::ops::Range;

use rayon::prelude::*;

/// `f()`, on a thread of the pool if it is going to share its work out more than once: every call
/// from outside sleeps until the pool has answered.
pub(crate) fn entered<R: Send>(parallel: bool, f: impl FnOnce() -> R + Send) -> R {
    if parallel { rayon::scope(|_| f()) } else { f() }
}

/// `f(0)`, `f(1)`, … `f(count - 1)`.
pub(crate) fn map<R: Send>(count: usize, parallel: bool, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    if parallel && count > 1 {
        (0..count).into_par_iter().map(&f).collect()
    } else {
        (0..count).map(&f).collect()
    }
}

/// `f` of every piece of `0..length`; all pieces but the last have length `piece`.
pub(crate) fn map_ranges<R: Send>(
    length: usize,
    piece: usize,
    parallel: bool,
    f: impl Fn(Range<usize>) -> R + Sync,
) -> Vec<R> {
    map(length.div_ceil(piece), parallel, |i| f(i * piece..length.min((i + 1) * piece)))
}

/// `f` of every piece of `output`, with the place of the piece in it.
pub(crate) fn map_pieces<T: Send, R: Send>(
    output: &mut [T],
    piece: usize,
    parallel: bool,
    f: impl Fn(Range<usize>, &mut [T]) -> R + Sync,
) -> Vec<R> {
    let piece = piece.max(1);
    let placed = |(i, values): (usize, &mut [T])| f(i * piece..i * piece + values.len(), values);
    if parallel && output.len() > piece {
        output.par_chunks_mut(piece).enumerate().map(&placed).collect()
    } else {
        output.chunks_mut(piece).enumerate().map(&placed).collect()
    }
}

/// [`map_pieces`] for the effect alone.
pub(crate) fn for_pieces<T: Send>(
    output: &mut [T],
    piece: usize,
    parallel: bool,
    f: impl Fn(Range<usize>, &mut [T]) + Sync,
) {
    // A vector of units needs no memory.
    map_pieces(output, piece, parallel, f);
}
