//! Learns what a device has finished.
//!
//! One thread per device asks the events that streams were marked with, oldest first, and raises the
//! streams' timelines. It asks eagerly for a moment, then at growing intervals that stay a small part
//! of the time already waited, and sleeps without polling while nothing is marked. Asking is the
//! durable way: driver callbacks are not called once the context is broken, may not call the driver,
//! and published measurements put them at three times the latency.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use cust::sys;

use super::driver::{self, Raw};
use super::hub::Hub;
use crate::device::Epoch;
use crate::error::{DeviceError, DeviceResult};
use crate::timeline::{Position, Probe, Timeline};

/// Most marks that may wait to be taken up, over all streams of a device.
const BACKLOG: usize = 16_384;
/// How long to ask without a pause after the last news.
const EAGER: Duration = Duration::from_micros(50);
/// The longest pause between two questions.
const PATIENT: Duration = Duration::from_millis(1);
/// How long a waiter looks for itself before it leaves it to the reactor.
const INLINE: Duration = Duration::from_micros(20);

/// A position of a stream, marked by an event. The event is used again once nobody asks it.
pub(super) struct Mark {
    pub(super) hub: Arc<Hub>,
    pub(super) timeline: Arc<Timeline>,
    pub(super) position: Position,
    pub(super) event: Raw<sys::CUevent_st>,
    pub(super) epoch: Epoch,
}

impl Mark {
    /// Whether the position is over; raises the timeline if so.
    fn ask(&self) -> DeviceResult<bool> {
        if self.timeline.has_reached(self.position) {
            return Ok(true);
        }
        let reached = ask(&self.hub, self.epoch, self.event)?;
        if reached {
            self.timeline.complete(self.position);
        }
        Ok(reached)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.hub.give_mark(self.epoch, self.event);
    }
}

/// Whether an event of that epoch was reached. No answer is the end of the epoch: nobody would ever learn what
/// its streams have done. (No memory for the question is one: it is asked again.)
pub(super) fn ask(hub: &Hub, epoch: Epoch, event: Raw<sys::CUevent_st>) -> DeviceResult<bool> {
    let answers =
        |code| matches!(code, 0 | driver::NOT_READY | driver::CAPTURING | driver::OUT_OF_MEMORY);
    // SAFETY: the event lives: the epoch is checked, and its owner gives it up only when dropped.
    let code = hub.must_answer(epoch, answers, || unsafe { sys::cuEventQuery(event.0) })?;
    Ok(code == 0)
}

/// Looks for a moment without the reactor: most kernels are shorter than two wake-ups of a thread.
pub(super) struct InlineLook(pub(super) Arc<Mark>);

impl Probe for InlineLook {
    fn look(&mut self) {
        let start = now();
        while let Ok(false) = self.0.ask()
            && start.elapsed() < INLINE
        {
            std::hint::spin_loop();
        }
    }
}

pub(super) struct Reactor {
    marks: Sender<Arc<Mark>>,
    inbox: OnceLock<Receiver<Arc<Mark>>>,
}

impl Reactor {
    pub(super) fn new() -> Self {
        let (marks, inbox) = bounded(BACKLOG);
        Self { marks, inbox: OnceLock::from(inbox) }
    }

    /// Starts the thread; it lives as long as the process, as the hub does.
    pub(super) fn start(&self, hub: &Arc<Hub>) -> DeviceResult {
        let inbox = self.inbox.get().cloned().expect("invariant: set in `new`");
        let name = format!("rk-reactor-{}", hub.id());
        let started = thread::Builder::new().name(name).spawn(move || run(&inbox));
        started
            .map(drop)
            .map_err(|error| DeviceError::InvalidArgument(format!("no thread to be had: {error}")))
    }

    pub(super) fn watch(&self, mark: Arc<Mark>) -> DeviceResult {
        self.marks.try_send(mark).map_err(|refused| match refused {
            TrySendError::Full(_) => DeviceError::StreamFull { limit: BACKLOG },
            TrySendError::Disconnected(_) => {
                unreachable!("invariant: the reactor holds the receiver")
            }
        })
    }
}

/// The marks of one stream, oldest first.
type Line = VecDeque<Arc<Mark>>;

fn run(inbox: &Receiver<Arc<Mark>>) {
    let mut lines: Vec<Line> = Vec::new();
    let mut news = now();
    loop {
        if lines.is_empty() {
            let Ok(mark) = inbox.recv() else { return };
            enqueue(&mut lines, mark);
            news = now();
        }
        while let Ok(mark) = inbox.try_recv() {
            enqueue(&mut lines, mark);
        }
        if advance(&mut lines) {
            news = now();
        }
        let waited = news.elapsed();
        if waited < EAGER {
            thread::yield_now();
        } else if let Ok(mark) = inbox.recv_timeout((waited / 8).min(PATIENT)) {
            enqueue(&mut lines, mark);
            news = now();
        }
    }
}

fn enqueue(lines: &mut Vec<Line>, mark: Arc<Mark>) {
    let same = |line: &&mut Line| {
        line.front().is_some_and(|first| Arc::ptr_eq(&first.timeline, &mark.timeline))
    };
    match lines.iter_mut().find(same) {
        Some(line) => line.push_back(mark),
        None => lines.push(VecDeque::from([mark])),
    }
}

/// Takes out what is over. True if there was any.
fn advance(lines: &mut Vec<Line>) -> bool {
    let mut progress = false;
    for line in lines.iter_mut() {
        while let Some(mark) = line.front() {
            match mark.ask() {
                Ok(false) => break,
                Ok(true) => {}
                // (The hub has told every stream.)
                Err(error) => mark.timeline.lose(error),
            }
            line.pop_front();
            progress = true;
        }
    }
    lines.retain(|line| !line.is_empty());
    progress
}

#[allow(clippy::disallowed_methods, reason = "real time: how long to poll a real device")]
pub(super) fn now() -> Instant {
    Instant::now()
}
