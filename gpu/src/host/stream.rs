//! Streams and events of the host device.
//!
//! A stream is a queue that at most one thread runs at a time (`running`). A wait for a point that
//! another stream has not reached leaves the queue standing and the thread free; the other stream's
//! timeline schedules the queue again. As on CUDA, an event is recorded, and what a wait waits for is
//! read, at submission: recording the event again later moves neither.
#![allow(
    unsafe_code,
    reason = "device memory is reached by address; each block says why it is sound"
)]

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use super::executor::{Executor, Runnable};
use crate::argument::HostArguments;
#[cfg(feature = "cuda")]
use crate::device::DeviceId;
use crate::error::{DeviceError, DeviceResult};
use crate::event::{Event, EventKind};
use crate::module::{Function, FunctionKind, HostFunction};
use crate::stream::{MOST_OPEN, Operation, StreamBackend};
use crate::timeline::{Completion, Position, Timeline};

pub(crate) struct HostStream {
    queue: Arc<Queue>,
    inline: bool,
}

struct Queue {
    timeline: Arc<Timeline>,
    state: Mutex<State>,
    executor: Executor,
    /// How many there are: also those that are not open any more and have work left.
    count: Arc<AtomicUsize>,
}

enum Step {
    Perform(Operation),
    /// Stand until another stream has reached a point.
    Stand(Arc<Timeline>, Position),
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Position, Step)>,
    /// A thread runs the queue, is about to, or an event will see to it.
    running: bool,
}

impl HostStream {
    pub(crate) fn new(executor: Executor, inline: bool, count: Arc<AtomicUsize>) -> Self {
        let queue = Queue { timeline: Arc::default(), state: Mutex::default(), executor, count };
        Self { queue: Arc::new(queue), inline }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

impl StreamBackend for HostStream {
    fn timeline(&self) -> &Arc<Timeline> {
        &self.queue.timeline
    }

    fn submit(&mut self, operation: Operation) -> DeviceResult {
        let step = match operation {
            Operation::Record(event) => {
                return host_event(&event).map(|event| event.record(self.timeline()));
            }
            Operation::Wait(event) => match host_event(&event)?.mark() {
                Some((timeline, position)) if !timeline.has_reached(position) => {
                    Step::Stand(timeline, position)
                }
                _ => return Ok(()),
            },
            other => Step::Perform(other),
        };
        if !self.queue.push(step)? {
            return Ok(());
        }
        let queue = Arc::clone(&self.queue);
        if self.inline {
            queue.run()
        } else {
            self.queue.executor.schedule(queue)
        }
        Ok(())
    }

    fn completion(&mut self) -> DeviceResult<Completion> {
        let timeline = &self.queue.timeline;
        Ok(Completion::new(Arc::clone(timeline), timeline.issued()))
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a step. True if the caller has to see that the queue is run.
    fn push(&self, step: Step) -> DeviceResult<bool> {
        let mut state = self.state();
        if state.waiting.len() >= MOST_OPEN {
            return Err(DeviceError::StreamFull { limit: MOST_OPEN });
        }
        state.waiting.push_back((self.timeline.issue(), step));
        Ok(!std::mem::replace(&mut state.running, true))
    }

    fn next(&self) -> Option<(Position, Step)> {
        let mut state = self.state();
        let next = state.waiting.pop_front();
        state.running = next.is_some();
        next
    }

    /// Has `other` schedule the queue, with this wait at its front again, when it reaches `point`.
    /// False if it has by now.
    fn stand(self: &Arc<Self>, position: Position, other: &Arc<Timeline>, point: Position) -> bool {
        // `running` stays true until the wake-up, so nobody else runs the queue meanwhile.
        self.state().waiting.push_front((position, Step::Stand(Arc::clone(other), point)));
        other.register(point, &Waker::from(Arc::clone(self)))
    }
}

impl Runnable for Queue {
    fn run(self: Arc<Self>) {
        while let Some((position, step)) = self.next() {
            match step {
                Step::Stand(other, point) if !other.has_reached(point) => {
                    if self.stand(position, &other, point) {
                        return;
                    }
                }
                Step::Stand(..) => self.timeline.complete(position),
                Step::Perform(operation) => match perform(operation) {
                    Ok(()) => self.timeline.complete(position),
                    Err(error) => self.timeline.fail(position, error),
                },
            }
        }
    }
}

impl Wake for Queue {
    fn wake(self: Arc<Self>) {
        let executor = self.executor.clone();
        executor.schedule(self);
    }
}

fn perform(operation: Operation) -> DeviceResult {
    match operation {
        Operation::Copy { from, to, bytes, .. } => {
            // SAFETY: `Stream` has checked that both ranges lie in live leases of this device. They
            // stay so: a lease dropped meanwhile is parked behind this stream. Two leases do not
            // overlap.
            unsafe {
                std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes);
            }
            Ok(())
        }
        Operation::Fill { to, bytes, value } => {
            // SAFETY: as for a copy.
            unsafe {
                std::ptr::write_bytes(to as *mut u8, value, bytes);
            }
            Ok(())
        }
        Operation::Launch { function, config, values } => {
            let body = host_body(&function)?;
            let arguments = HostArguments::new(values, config);
            let result = catch_unwind(AssertUnwindSafe(|| body(&arguments)));
            let failed =
                |message| DeviceError::HostFunction { entry: function.entry().into(), message };
            result.unwrap_or_else(|panic| Err(panic_text(&*panic))).map_err(failed)
        }
        Operation::Run(function) => {
            function();
            Ok(())
        }
        Operation::Record(_) | Operation::Wait(_) => {
            unreachable!("invariant: dealt with at submission")
        }
    }
}

fn host_body(function: &Function) -> DeviceResult<&HostFunction> {
    match function.kind() {
        FunctionKind::Host(body) => Ok(body),
        #[cfg(feature = "cuda")]
        FunctionKind::Cuda(_) => Err(foreign("kernel")),
    }
}

fn host_event(event: &Event) -> DeviceResult<&Arc<HostEvent>> {
    match event.kind() {
        EventKind::Host(event) => Ok(event),
        #[cfg(feature = "cuda")]
        EventKind::Cuda(_) => Err(foreign("event")),
    }
}

#[cfg(feature = "cuda")]
fn foreign(what: &str) -> DeviceError {
    DeviceError::WrongOwner(format!("the {what} is not one of {}", DeviceId::Host))
}

/// What a panic said.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("it panicked: {}", text.as_deref().unwrap_or("(not a text)"))
}

/// An event of the host device: a position in a timeline.
#[derive(Debug, Default)]
pub(crate) struct HostEvent {
    mark: Mutex<Option<(Arc<Timeline>, Position)>>,
}

impl HostEvent {
    fn mark(&self) -> Option<(Arc<Timeline>, Position)> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Marks the current end of a stream.
    fn record(&self, timeline: &Arc<Timeline>) {
        let mark = Some((Arc::clone(timeline), timeline.issued()));
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = mark;
    }

    pub(crate) fn is_reached(&self) -> bool {
        self.mark().is_none_or(|(timeline, position)| timeline.has_reached(position))
    }
}
