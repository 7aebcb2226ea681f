//! What happens to a device's memory, told to whoever records it.
//!
//! Every lease and its end pass [`Lease`](super::Lease), and there a [`Recorder`] is told, if the pool
//! was given one. It must not slow a kernel down: an event goes into a bounded channel, or is counted
//! as lost where the channel is full. At the other end of it, [`Events`] hands them out in their order.
//! A block's end is told before its pool can hand it on, so that of each address ends and beginnings
//! take turns, whichever threads they are on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use crate::timeline::Timeline;

/// What happens to a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is leased.
    Allocate,
    /// Its lease ends.
    Free,
}

/// The beginning or the end of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEvent {
    /// When, since the recorder was made. Of two threads' events the first may be the later by a little.
    pub at: Duration,
    /// What happens.
    pub action: Action,
    /// Where the block is, in the device's own terms.
    pub address: u64,
    /// The size of the block, in bytes: what was asked for, rounded up as the pool does.
    pub bytes: u64,
    /// The stream that has the block, if one has: a number that no two open streams share.
    pub stream: Option<u64>,
    /// The thread: a small number that no two threads of the process share.
    pub thread: u32,
}

/// Tells what happens; clones tell the same [`Events`].
#[derive(Debug, Clone)]
pub struct Recorder {
    events: Sender<Option<MemoryEvent>>,
    shared: Arc<Shared>,
}

/// What was told, in its order.
#[derive(Debug)]
pub struct Events {
    events: Receiver<Option<MemoryEvent>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    closed: AtomicBool,
    lost: AtomicU64,
}

/// A recorder, and where its events arrive. At most `bound` of them wait; it has to be at least 1.
pub fn recorder(bound: usize) -> (Recorder, Events) {
    let (sender, receiver) = bounded(bound.max(1));
    let shared = Arc::new(Shared { start: now(), closed: false.into(), lost: 0.into() });
    let events = Events { events: receiver, shared: Arc::clone(&shared) };
    (Recorder { events: sender, shared }, events)
}

impl Recorder {
    /// Ends the events: those told so far still arrive, and no others.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Whoever waits is woken. (If the channel is full nobody waits, and the flag is seen in time.)
        self.events.try_send(None).ok();
    }

    /// Events that there was no room for.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Acquire)
    }

    pub(super) fn tell(&self, action: Action, block: (u64, u64), home: Option<&Arc<Timeline>>) {
        let Shared { start, closed, lost } = &*self.shared;
        if closed.load(Ordering::Acquire) {
            return;
        }
        let (address, bytes) = block;
        let at = now().saturating_duration_since(*start);
        let stream = home.map(|home| Arc::as_ptr(home).addr() as u64);
        let event = MemoryEvent { at, action, address, bytes, stream, thread: thread_number() };
        if self.events.try_send(Some(event)).is_err_and(|error| error.is_full()) {
            lost.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Iterator for Events {
    type Item = MemoryEvent;

    /// The next event, waiting for it if need be; none after the last.
    fn next(&mut self) -> Option<MemoryEvent> {
        loop {
            let next = match self.events.try_recv() {
                // (Asked before waiting, and after the channel was found empty: see `close`.)
                Err(TryRecvError::Empty) if self.shared.closed.load(Ordering::SeqCst) => {
                    return None;
                }
                Err(TryRecvError::Empty) => self.events.recv().ok()?,
                next => next.ok()?,
            };
            if next.is_some() {
                return next;
            }
        }
    }
}

impl Events {
    /// Events that there was no room for.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Acquire)
    }
}

fn thread_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    thread_local!(static NUMBER: u32 = NEXT.fetch_add(1, Ordering::Relaxed));
    NUMBER.with(|number| *number)
}

#[allow(clippy::disallowed_methods, reason = "real time: a trace says when memory was in use")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(recorder: &Recorder, address: u64) {
        recorder.tell(Action::Allocate, (address, 512), None);
    }

    fn addresses(events: impl Iterator<Item = MemoryEvent>) -> Vec<u64> {
        events.map(|event| event.address).collect()
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let (recorder, mut events) = recorder(3);
        (0..5).for_each(|address| told(&recorder, address));
        assert_eq!((recorder.lost(), events.lost()), (2, 2));
        assert_eq!(events.next().map(|event| event.address), Some(0));
        told(&recorder, 5);
        recorder.close();
        told(&recorder, 6);
        assert_eq!(
            addresses(&mut events),
            [1, 2, 5],
            "what came before the end, and nothing after it"
        );
        assert_eq!(events.lost(), 2, "after the end nothing is lost");
    }

    #[test]
    fn whoever_waits_hears_of_the_end() {
        for _ in 0..1000 {
            let (recorder, events) = recorder(1);
            let waiting = std::thread::spawn(move || addresses(events));
            told(&recorder, 7);
            recorder.close();
            assert_eq!(waiting.join().unwrap(), [7]);
        }
        let (recorder, mut events) = recorder(1);
        drop(recorder);
        assert_eq!(events.next(), None, "nobody is left to tell anything");
    }

    #[test]
    fn threads_and_streams_are_told_apart() {
        let (recorder, events) = recorder(10);
        let streams = [(); 2].map(|()| Arc::new(Timeline::default()));
        let tell = |stream| recorder.tell(Action::Free, (1, 1), stream);
        tell(None);
        streams.iter().for_each(|stream| tell(Some(stream)));
        std::thread::scope(|scope| {
            scope.spawn(|| tell(Some(&streams[0])));
        });
        recorder.close();
        let all: Vec<_> = events.collect();
        assert_eq!((all[0].stream, all[1].stream), (None, all[3].stream));
        assert_ne!(all[1].stream, all[2].stream);
        assert_eq!((all[0].thread, all[1].thread), (all[2].thread, all[0].thread));
        assert_ne!(all[3].thread, all[0].thread);
    }
}
