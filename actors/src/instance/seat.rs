//! A seat: what an instance and its kernel's actor tell each other without messages.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Poll, Waker};

use atomic_waker::AtomicWaker;
use rustkernel_port::Key;

use crate::clock::{self, Instant};

/// What its kernel's actor wants of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Wanted {
    /// It serves requests.
    Serve,
    /// It finishes its request, drops its state, and waits.
    Suspend,
    /// As that, and does not finish its request.
    SuspendNow,
    /// It ends, and touches nothing any more.
    Leave,
}

impl Wanted {
    fn of(byte: u8) -> Self {
        [Self::Serve, Self::Suspend, Self::SuspendNow, Self::Leave][usize::from(byte)]
    }
}

/// What an instance runs that is not to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Running {
    /// Nothing.
    Nothing,
    /// A request.
    Request(Key),
    /// A hook, to be over at that time.
    Hook(Instant),
}

/// One instance's place at its kernel.
#[derive(Debug)]
pub(crate) struct Seat {
    index: usize,
    wanted: AtomicU8,
    /// Its health is to be checked.
    check: AtomicBool,
    /// It is opening its state.
    opening: AtomicBool,
    /// It has opened its state and not dropped it.
    up: AtomicBool,
    /// The request that it runs, as [`Key::bits`], or 0.
    request: AtomicU64,
    /// When the hook that it runs has to be over, in ticks, or 0.
    hook: AtomicU64,
    bell: AtomicWaker,
}

impl Seat {
    pub(crate) fn new(index: usize, wanted: Wanted) -> Self {
        Self {
            index,
            wanted: AtomicU8::new(wanted as u8),
            check: AtomicBool::new(false),
            opening: AtomicBool::new(false),
            up: AtomicBool::new(false),
            request: AtomicU64::new(0),
            hook: AtomicU64::new(0),
            bell: AtomicWaker::new(),
        }
    }

    /// Which of its kernel's instances it is for.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    // ---- the kernel's actor

    /// Says what is wanted; nothing once the instance was told to leave. An instance that waits for a
    /// request has to be roused at the port as well.
    pub(crate) fn want(&self, wanted: Wanted) {
        let unless_leaving = |now| (now != Wanted::Leave as u8).then_some(wanted as u8);
        self.wanted.fetch_update(Ordering::SeqCst, Ordering::SeqCst, unless_leaving).ok();
        self.bell.wake();
    }

    /// Has an instance that waits look whether its port is stopped.
    pub(crate) fn ring(&self) {
        self.bell.wake();
    }

    /// Wants its health checked.
    pub(crate) fn want_check(&self) {
        self.check.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::SeqCst)
    }

    /// Whether it has no state, and makes none.
    pub(crate) fn is_down(&self) -> bool {
        !self.opening.load(Ordering::SeqCst) && !self.is_up()
    }

    pub(crate) fn running(&self) -> Running {
        if let Some(key) = Key::from_bits(self.request.load(Ordering::Acquire)) {
            return Running::Request(key);
        }
        clock::at(self.hook.load(Ordering::Acquire)).map_or(Running::Nothing, Running::Hook)
    }

    // ---- the instance

    pub(crate) fn wanted(&self) -> Wanted {
        Wanted::of(self.wanted.load(Ordering::SeqCst))
    }

    /// Whether there is something else to do than requests.
    pub(crate) fn is_called(&self) -> bool {
        self.wanted.load(Ordering::SeqCst) != Wanted::Serve as u8
            || self.check.load(Ordering::SeqCst)
    }

    /// Whether it is told to give up what it runs.
    pub(crate) fn is_given_up(&self) -> bool {
        self.wanted() >= Wanted::SuspendNow
    }

    pub(crate) fn take_check(&self) -> bool {
        self.check.swap(false, Ordering::SeqCst)
    }

    /// Suspends itself: it has ended in a way that its actor has to see to.
    pub(crate) fn suspend(&self) {
        let if_serving = |now| (now == Wanted::Serve as u8).then_some(Wanted::Suspend as u8);
        self.wanted.fetch_update(Ordering::SeqCst, Ordering::SeqCst, if_serving).ok();
    }

    /// It begins to open its state. False if that is no longer wanted: its actor says what it wants first and
    /// looks whether it is down then, so that one of the two sees the other.
    pub(crate) fn begin_open(&self) -> bool {
        self.opening.store(true, Ordering::SeqCst);
        let wanted = self.wanted() == Wanted::Serve;
        if !wanted {
            self.opening.store(false, Ordering::SeqCst);
        }
        wanted
    }

    /// It has not opened its state.
    pub(crate) fn stay_down(&self) {
        self.opening.store(false, Ordering::SeqCst);
    }

    pub(crate) fn go_up(&self) {
        self.up.store(true, Ordering::SeqCst);
        self.opening.store(false, Ordering::SeqCst);
    }

    /// It has dropped its state, or is given up on. Whether it was up until now.
    pub(crate) fn go_down(&self) -> bool {
        self.up.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn begin(&self, key: Key) {
        self.request.store(key.bits(), Ordering::Release);
    }

    pub(crate) fn end(&self) {
        self.request.store(0, Ordering::Release);
    }

    /// A hook begins that has to be over at that time; `None` at its end.
    pub(crate) fn set_hook(&self, until: Option<Instant>) {
        self.hook.store(until.map_or(0, clock::ticks), Ordering::Release);
    }

    /// Has `waker` woken when something else is wanted.
    pub(crate) fn register(&self, waker: &Waker) {
        self.bell.register(waker);
    }

    /// Waits while it is suspended. Whether it may serve; if not, it leaves.
    pub(crate) async fn may_serve(&self, mut stopped: impl FnMut() -> bool) -> bool {
        poll_fn(|cx| {
            self.bell.register(cx.waker());
            match self.wanted() {
                Wanted::Serve => Poll::Ready(!stopped()),
                Wanted::Leave => Poll::Ready(false),
                Wanted::Suspend | Wanted::SuspendNow if stopped() => Poll::Ready(false),
                Wanted::Suspend | Wanted::SuspendNow => Poll::Pending,
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::time::Duration;

    #[test]
    fn who_has_to_leave_is_wanted_no_more() {
        let seat = Seat::new(3, Wanted::Serve);
        assert_eq!((seat.index(), seat.is_called(), seat.wanted()), (3, false, Wanted::Serve));
        seat.want(Wanted::Suspend);
        assert!(seat.is_called() && !seat.is_given_up());
        seat.want(Wanted::Leave);
        seat.want(Wanted::Serve);
        assert_eq!((seat.wanted(), seat.is_given_up()), (Wanted::Leave, true));
    }

    #[test]
    fn it_serves_when_it_is_wanted_and_not_when_all_is_stopped() {
        let seat = Seat::new(0, Wanted::Suspend);
        let mut waits = Box::pin(seat.may_serve(|| false));
        assert_eq!(waits.as_mut().now_or_never(), None);
        seat.want(Wanted::Serve);
        assert_eq!(seat.may_serve(|| false).now_or_never(), Some(true));
        assert_eq!(seat.may_serve(|| true).now_or_never(), Some(false));
        seat.suspend();
        assert_eq!(seat.may_serve(|| true).now_or_never(), Some(false));
    }

    #[test]
    fn what_runs_can_be_seen() {
        let seat = Seat::new(0, Wanted::Serve);
        assert_eq!(seat.running(), Running::Nothing);
        let until = clock::now() + Duration::from_secs(1);
        seat.set_hook(Some(until));
        assert_eq!(seat.running(), Running::Hook(until));
        seat.set_hook(None);
        let key = Key::from_bits(1 << 32 | 7).unwrap();
        seat.begin(key);
        assert_eq!(seat.running(), Running::Request(key));
        seat.end();
        assert_eq!(seat.running(), Running::Nothing);
    }
}
