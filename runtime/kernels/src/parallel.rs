//! Work cut into pieces, done by the calling thread or by all cores.
//!
//! The pieces depend on the shape of the work only, and results come back in the order of the
//! pieces: who computed what does not show. Handing work to the pool wakes sleeping threads, which
//! can cost 50 µs, so each kernel says from which size on that pays (`PARALLEL_FROM`, measured on two
//! cores: there the sequential run takes some 200 to 400 µs).
//!
//! All requests share one pool. A piece is begun only while somebody waits for it ([`until`]), so
//! that a request which was given up leaves the pool to the others.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

/// Says whether the work was given up; once it does, it always does.
type GivenUp = Arc<dyn Fn() -> bool + Send + Sync>;

thread_local! {
    static CALLER: RefCell<Option<GivenUp>> = const { RefCell::new(None) };
}

/// `f()`. Once `given_up` is true the host functions in it end early, with results that mean
/// nothing; it has to stay true.
pub fn until<R>(given_up: impl Fn() -> bool + Send + Sync + 'static, f: impl FnOnce() -> R) -> R {
    Caller(Some(Arc::new(given_up))).asks(f)
}

/// Whom this thread works for.
pub(crate) struct Caller(Option<GivenUp>);

impl Caller {
    pub(crate) fn current() -> Self {
        CALLER.with_borrow(|caller| Self(caller.clone()))
    }

    /// Whether nobody waits for the result.
    pub(crate) fn has_gone(&self) -> bool {
        self.0.as_ref().is_some_and(|given_up| given_up())
    }

    /// `f()`, whichever thread this is.
    fn asks<R>(&self, f: impl FnOnce() -> R) -> R {
        /// The caller before, also if `f` panics: threads of the pool work for many in turn.
        struct Before(Option<GivenUp>);
        impl Drop for Before {
            fn drop(&mut self) {
                CALLER.set(self.0.take());
            }
        }
        let _before = Before(CALLER.replace(self.0.clone()));
        f()
    }

    /// `f()` if somebody waits for it.
    fn wants<R: Default>(&self, f: impl FnOnce() -> R) -> R {
        if self.has_gone() { R::default() } else { f() }
    }
}

/// `f()`, on a thread of the pool if it is going to share its work out more than once: every call
/// from outside sleeps until the pool has answered.
pub(crate) fn entered<R: Send>(parallel: bool, f: impl FnOnce() -> R + Send) -> R {
    let caller = Caller::current();
    if parallel { rayon::scope(|_| caller.asks(f)) } else { f() }
}

/// `f(0)`, `f(1)`, … `f(count - 1)`; the default for those that nobody waits for any more.
pub(crate) fn map<R: Default + Send>(
    count: usize,
    parallel: bool,
    f: impl Fn(usize) -> R + Sync,
) -> Vec<R> {
    let caller = Caller::current();
    if parallel && count > 1 {
        (0..count).into_par_iter().map(|i| caller.asks(|| caller.wants(|| f(i)))).collect()
    } else {
        (0..count).map(|i| caller.wants(|| f(i))).collect()
    }
}

/// [`map`] of every piece of `0..length`; all pieces but the last have length `piece`.
pub(crate) fn map_ranges<R: Default + Send>(
    length: usize,
    piece: usize,
    parallel: bool,
    f: impl Fn(Range<usize>) -> R + Sync,
) -> Vec<R> {
    map(length.div_ceil(piece), parallel, |i| f(i * piece..length.min((i + 1) * piece)))
}

/// [`map`] of every piece of `output`, with the place of the piece in it.
pub(crate) fn map_pieces<T: Send, R: Default + Send>(
    output: &mut [T],
    piece: usize,
    parallel: bool,
    f: impl Fn(Range<usize>, &mut [T]) -> R + Sync,
) -> Vec<R> {
    let (piece, caller) = (piece.max(1), Caller::current());
    let placed = |(i, values): (usize, &mut [T])| {
        caller.wants(|| f(i * piece..i * piece + values.len(), values))
    };
    if parallel && output.len() > piece {
        // A thread of the pool may have come here from the midst of another's work.
        output.par_chunks_mut(piece).enumerate().map(|i| caller.asks(|| placed(i))).collect()
    } else {
        output.chunks_mut(piece).enumerate().map(placed).collect()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{Caller, entered, for_pieces, map, map_ranges, until};

    /// How many pieces of `work` are begun if the caller goes after the third look.
    fn begun(work: impl FnOnce(&AtomicUsize)) -> usize {
        let (looks, begun) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        until(move || looks.fetch_add(1, Ordering::Relaxed) >= 3, || work(&begun));
        begun.into_inner()
    }

    #[test]
    fn pieces_that_nobody_waits_for_are_not_begun() {
        let count = |begun: &AtomicUsize| {
            begun.fetch_add(1, Ordering::Relaxed);
        };
        for parallel in [false, true] {
            assert_eq!(begun(|n| drop(map(1_000, parallel, |_| count(n)))), 3);
            assert_eq!(begun(|n| drop(map_ranges(1_000, 10, parallel, |_| count(n)))), 3);
            assert_eq!(begun(|n| for_pieces(&mut [0; 1_000], 7, parallel, |_, _| count(n))), 3);
            // Within another thread of the pool, and within a piece.
            let inner = |n: &AtomicUsize| drop(map(1_000, parallel, |_| count(n)));
            assert_eq!(begun(|n| entered(parallel, || inner(n))), 3);
            let nested = |n: &AtomicUsize| drop(map(2, parallel, |_| inner(n)));
            assert!(begun(nested) < 3, "a look for each outer piece");
        }
        assert_eq!(map(3, true, |i| i + 1), [1, 2, 3]);
    }

    #[test]
    fn a_thread_of_the_pool_knows_for_whom_it_works_and_forgets() {
        let knows = |i: usize| assert!(Caller::current().0.is_some(), "{i}");
        until(|| false, || drop(map(100, true, knows)));
        until(|| false, || for_pieces(&mut [0; 100], 1, true, |place, _| knows(place.start)));
        let caught = std::panic::catch_unwind(|| until(|| true, || panic!("planted")));
        assert!(caught.is_err());
        assert!(Caller::current().0.is_none());
        drop(map(100, true, |i| assert!(Caller::current().0.is_none(), "{i}")));
    }
}
