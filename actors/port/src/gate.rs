//! Who is inside, and whether anybody may still come in: one atomic word.
//!
//! The lowest bit says closed, the rest counts. A caller enters before it does anything that somebody
//! must wait for, and leaves when it is answered. Because closing and counting share the word, there
//! is no moment at which a caller is inside a closed gate unseen: either it entered before the close
//! and is counted, or it finds the gate closed and backs out.

use crate::sync::{AtomicUsize, Ordering};

const CLOSED: usize = 1;
const ONE: usize = 2;

#[derive(Debug)]
pub(crate) struct Gate {
    word: AtomicUsize,
}

/// What the caller of a transition has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Left {
    /// Nothing.
    Others,
    /// The gate is closed and now empty: whoever waits for that must be told.
    Drained,
}

impl Gate {
    /// An open gate with nobody inside.
    pub(crate) fn new() -> Self {
        Self { word: AtomicUsize::new(0) }
    }

    /// Comes in. False if the gate is closed; the second says what backing out left to do.
    pub(crate) fn enter(&self) -> Result<(), Left> {
        let before = self.word.fetch_add(ONE, Ordering::SeqCst);
        if before & CLOSED == 0 { Ok(()) } else { Err(self.leave()) }
    }

    /// Goes out.
    pub(crate) fn leave(&self) -> Left {
        let before = self.word.fetch_sub(ONE, Ordering::SeqCst);
        debug_assert!(before >= ONE, "invariant: nobody leaves who has not entered");
        if before == ONE | CLOSED { Left::Drained } else { Left::Others }
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) -> Left {
        let before = self.word.fetch_or(CLOSED, Ordering::SeqCst);
        if before < ONE { Left::Drained } else { Left::Others }
    }

    /// Lets callers in again.
    pub(crate) fn open(&self) {
        self.word.fetch_and(!CLOSED, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.word.load(Ordering::SeqCst) & CLOSED != 0
    }

    /// How many are inside, counting those about to find it closed.
    pub(crate) fn inside(&self) -> usize {
        self.word.load(Ordering::SeqCst) / ONE
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_lets_nobody_in_and_tells_when_the_last_has_left() {
        let gate = Gate::new();
        assert_eq!((gate.enter(), gate.enter(), gate.inside()), (Ok(()), Ok(()), 2));
        assert_eq!(gate.close(), Left::Others);
        assert_eq!(gate.enter(), Err(Left::Others));
        assert_eq!(gate.leave(), Left::Others);
        assert_eq!(gate.leave(), Left::Drained);
        gate.open();
        assert_eq!((gate.enter(), gate.is_closed()), (Ok(()), false));
    }

    #[test]
    fn closing_an_empty_gate_drains_at_once() {
        assert_eq!(Gate::new().close(), Left::Drained);
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, AtomicUsize};
    use loom::thread;

    /// Two callers against a close: afterwards nobody is inside, somebody was told so after the last
    /// admitted caller had done its work, and nobody was admitted after that.
    #[test]
    fn loom_a_drain_is_told_after_the_last_admitted_caller() {
        loom::model(|| {
            let gate = Arc::new(Gate::new());
            let working = Arc::new(AtomicUsize::new(0));
            let told = Arc::new(AtomicBool::new(false));
            let callers: Vec<_> = (0..2)
                .map(|_| {
                    let (gate, working, told) = (gate.clone(), working.clone(), told.clone());
                    thread::spawn(move || match gate.enter() {
                        Ok(()) => {
                            assert!(
                                !told.load(Ordering::SeqCst),
                                "admitted after the drain was told"
                            );
                            working.fetch_add(1, Ordering::SeqCst);
                            working.fetch_sub(1, Ordering::SeqCst);
                            tell(gate.leave(), &working, &told);
                        }
                        Err(left) => tell(left, &working, &told),
                    })
                })
                .collect();
            tell(gate.close(), &working, &told);
            callers.into_iter().for_each(|caller| caller.join().unwrap());
            assert!(told.load(Ordering::SeqCst));
            assert_eq!(gate.inside(), 0);
        });
    }

    fn tell(left: Left, working: &AtomicUsize, told: &AtomicBool) {
        if left == Left::Drained {
            assert_eq!(working.load(Ordering::SeqCst), 0, "told while a caller was at work");
            told.store(true, Ordering::SeqCst);
        }
    }
}
