//! How far a stream has got.
//!
//! Each stream numbers its operations. Its owner raises `issued` as it submits; the backend raises
//! `completed` as they end. Everything that waits for a stream waits for a number: completions,
//! events of the host device, and memory on its way back to its pool.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use crate::device::Epoch;
use crate::error::{DeviceError, DeviceResult};

/// A position in a stream: how many operations come before it.
pub(crate) type Position = u64;

/// A stream that says how far it has got only where it was marked.
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "host streams always say"))]
pub(crate) trait Marker: Send + Sync {
    /// Sees to it that the timeline hears of that position, which was issued.
    fn mark(&self, position: Position);
}

#[derive(Debug, Default)]
pub(crate) struct Timeline {
    epoch: Epoch,
    issued: AtomicU64,
    completed: AtomicU64,
    /// Failures up to here are nobody's to be told. Written under the lock of the state.
    disowned: AtomicU64,
    /// Who marks positions that somebody waits for, where they have to be.
    marker: OnceLock<Weak<dyn Marker>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiters: Vec<(Position, Waker)>,
    /// Operations that failed on their own; each is told to one completion that covers it.
    failed: Vec<(Position, DeviceError)>,
    /// The stream will never move again, and why.
    lost: Option<DeviceError>,
}

impl Timeline {
    /// Of a stream of that epoch.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "the host is never lost"))]
    pub(crate) fn of(epoch: Epoch) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Has `marker` asked, as long as it is there, to mark what is waited for.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "host streams always say"))]
    pub(crate) fn marked_by(&self, marker: Weak<dyn Marker>) {
        self.marker.set(marker).ok();
    }

    /// The epoch that the stream is of.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn issued(&self) -> Position {
        self.issued.load(Ordering::Acquire)
    }

    /// One more operation was submitted; its position.
    pub(crate) fn issue(&self) -> Position {
        self.issued.fetch_add(1, Ordering::AcqRel) + 1
    }

    pub(crate) fn has_reached(&self, position: Position) -> bool {
        self.completed.load(Ordering::Acquire) >= position
    }

    /// How many operations are not over yet, as far as is known.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "a host stream counts what waits"))]
    pub(crate) fn open(&self) -> u64 {
        self.issued().saturating_sub(self.completed.load(Ordering::Acquire))
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.has_reached(self.issued())
    }

    /// Everything up to `position` is over.
    pub(crate) fn complete(&self, position: Position) {
        self.completed.fetch_max(position, Ordering::AcqRel);
        let mut state = self.state();
        let (reached, waiting) =
            mem::take(&mut state.waiters).into_iter().partition(|(at, _)| *at <= position);
        state.waiters = waiting;
        drop(state);
        wake(reached);
    }

    /// The operation at `position` ended badly; the stream goes on.
    pub(crate) fn fail(&self, position: Position, error: DeviceError) {
        let mut state = self.state();
        if position > self.disowned.load(Ordering::Relaxed) {
            state.failed.push((position, error));
        }
        drop(state);
        self.complete(position);
    }

    /// Failures of what was submitted so far are told to nobody from now on.
    pub(crate) fn disown(&self) {
        if self.disowned.load(Ordering::Relaxed) == self.issued() {
            return;
        }
        let mut state = self.state();
        self.disowned.store(self.issued(), Ordering::Relaxed);
        state.failed.clear();
    }

    /// The stream will never move again: whoever waits is told.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "the host is never lost"))]
    pub(crate) fn lose(&self, error: DeviceError) {
        let mut state = self.state();
        state.lost.get_or_insert(error);
        let waiters = mem::take(&mut state.waiters);
        drop(state);
        wake(waiters);
    }

    /// Wakes `waker` once `position` is reached or never will be. False if it is now.
    pub(crate) fn register(&self, position: Position, waker: &Waker) -> bool {
        self.have_marked(position);
        let mut state = self.state();
        if self.has_reached(position) || state.lost.is_some() {
            return false;
        }
        state.enlist(position, waker);
        true
    }

    fn poll(&self, position: Position, waker: &Waker) -> Poll<DeviceResult> {
        self.have_marked(position);
        let mut state = self.state();
        if self.has_reached(position) {
            return Poll::Ready(state.take_failure(position).map_or(Ok(()), Err));
        }
        if let Some(error) = &state.lost {
            return Poll::Ready(Err(error.clone()));
        }
        state.enlist(position, waker);
        Poll::Pending
    }

    fn have_marked(&self, position: Position) {
        if !self.has_reached(position)
            && let Some(marker) = self.marker.get().and_then(Weak::upgrade)
        {
            marker.mark(position);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Once, however often the same one asks.
    fn enlist(&mut self, position: Position, waker: &Waker) {
        let mut waiters = self.waiters.iter();
        if !waiters.any(|(at, known)| *at == position && known.will_wake(waker)) {
            self.waiters.push((position, waker.clone()));
        }
    }

    fn take_failure(&mut self, position: Position) -> Option<DeviceError> {
        let index = self.failed.iter().position(|(at, _)| *at <= position)?;
        Some(self.failed.remove(index).1)
    }
}

fn wake(waiters: Vec<(Position, Waker)>) {
    waiters.into_iter().for_each(|(_, waker)| waker.wake());
}

/// Looks whether a position was reached without waiting for anybody to say so.
pub(crate) trait Probe: Send {
    /// Looks for a bounded moment; the timeline knows afterwards.
    fn look(&mut self);
}

/// A future that is ready once a stream has passed a point.
///
/// # Errors
/// [`DeviceError::Lost`] if it never will; [`DeviceError::HostFunction`] if a host function before
/// the point failed (told once, to the first completion that covers it).
#[must_use = "a completion does nothing unless awaited"]
pub struct Completion {
    timeline: Arc<Timeline>,
    position: Position,
    probe: Option<Box<dyn Probe>>,
    /// Failures are for somebody else to hear.
    deaf: bool,
}

impl Completion {
    pub(crate) fn new(timeline: Arc<Timeline>, position: Position) -> Self {
        Self { timeline, position, probe: None, deaf: false }
    }

    /// For who only waits until the stream has passed the point, or never will.
    pub(crate) fn of_passing(timeline: Arc<Timeline>, position: Position) -> Self {
        Self { deaf: true, ..Self::new(timeline, position) }
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn with_probe(mut self, probe: Box<dyn Probe>) -> Self {
        self.probe = Some(probe);
        self
    }
}

impl Future for Completion {
    type Output = DeviceResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<DeviceResult> {
        if let Some(mut probe) = self.probe.take() {
            probe.look();
        }
        if self.deaf {
            let waits = self.timeline.register(self.position, cx.waker());
            return if waits { Poll::Pending } else { Poll::Ready(Ok(())) };
        }
        self.timeline.poll(self.position, cx.waker())
    }
}

impl std::fmt::Debug for Completion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Completion").field("position", &self.position).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_executor::block_on;

    fn failure(entry: &str) -> DeviceError {
        DeviceError::HostFunction { entry: entry.into(), message: "no".into() }
    }

    #[test]
    fn a_completion_waits_for_its_position_only() {
        let timeline = Arc::new(Timeline::default());
        let first = timeline.issue();
        let second = timeline.issue();
        timeline.complete(first);
        assert!(timeline.has_reached(first) && !timeline.has_reached(second));
        block_on(Completion::new(timeline.clone(), first)).unwrap();

        let late = std::thread::spawn({
            let timeline = timeline.clone();
            move || block_on(Completion::new(timeline, second))
        });
        timeline.complete(second);
        late.join().unwrap().unwrap();
        assert!(timeline.is_idle());
    }

    #[test]
    fn a_failure_is_told_once_and_the_stream_goes_on() {
        let timeline = Arc::new(Timeline::default());
        let failing = timeline.issue();
        timeline.fail(failing, failure("f"));
        let later = timeline.issue();
        timeline.complete(later);
        assert_eq!(block_on(Completion::new(timeline.clone(), later)), Err(failure("f")));
        assert_eq!(block_on(Completion::new(timeline, later)), Ok(()));
    }

    #[test]
    fn failures_of_what_is_disowned_are_told_to_nobody() {
        let timeline = Arc::new(Timeline::default());
        let [early, late] = [(); 2].map(|()| timeline.issue());
        timeline.fail(early, failure("early"));
        timeline.disown();
        timeline.fail(late, failure("late"));
        let own = timeline.issue();
        timeline.fail(own, failure("own"));
        assert_eq!(block_on(Completion::new(timeline.clone(), own)), Err(failure("own")));
        assert_eq!(block_on(Completion::new(timeline, own)), Ok(()));
    }

    #[test]
    fn who_waits_for_memory_takes_no_failure_from_who_awaits_the_work() {
        let timeline = Arc::new(Timeline::default());
        let failing = timeline.issue();
        timeline.fail(failing, failure("f"));
        block_on(Completion::of_passing(timeline.clone(), failing)).unwrap();
        assert_eq!(block_on(Completion::new(timeline, failing)), Err(failure("f")));
    }

    #[test]
    fn who_asks_again_waits_once() {
        let timeline = Arc::new(Timeline::default());
        let position = timeline.issue();
        // (A clone: a waker and its first clone may have two copies of one table, and then differ.)
        let waker = Waker::noop().clone();
        let mut cx = Context::from_waker(&waker);
        for _ in 0..3 {
            // (As the allocator does: a look with an end, and then another.)
            let passing = std::pin::pin!(Completion::of_passing(timeline.clone(), position));
            assert!(passing.poll(&mut cx).is_pending());
            let done = std::pin::pin!(Completion::new(timeline.clone(), position));
            assert!(done.poll(&mut cx).is_pending());
        }
        assert_eq!(timeline.state().waiters.len(), 1);
    }

    #[test]
    fn a_lost_stream_fails_what_waits_and_what_comes() {
        let timeline = Arc::new(Timeline::default());
        let done = timeline.issue();
        timeline.complete(done);
        let never = timeline.issue();
        timeline.lose(failure("lost"));
        assert_eq!(block_on(Completion::new(timeline.clone(), never)), Err(failure("lost")));
        assert_eq!(block_on(Completion::new(timeline, done)), Ok(()), "what was done stays done");
    }
}
