//! One stream: its work in order, and the thread that carries it out.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use super::capture::Capturing;
use super::progress::Latch;
use crate::code::{Answer, Code};
use crate::device::context::Context;

/// Device work, for the stream that carries it out. It may be carried out more than once: graphs are
/// launched again and again.
pub(crate) type Task = Arc<dyn Fn(&Stream) -> Answer + Send + Sync>;

/// What a stream can be given to do.
pub(crate) enum Work {
    /// Skipped when the context is broken; a failure breaks it.
    Device(Task),
    /// A function of the program, skipped when the context is broken.
    Host(Box<dyn FnOnce() + Send>),
    /// A function of the program that is called in any case, with the context's state.
    Status(Box<dyn FnOnce(u32) + Send>),
    /// Opens a latch, in any case.
    Mark(Arc<Latch>),
    /// Waits for a latch that another stream opens.
    Await(Arc<Latch>),
    /// Waits until a condition holds that nobody tells of: it is looked at again and again.
    Poll(Box<dyn Fn() -> Answer<bool> + Send>),
}

/// What a stream's thread is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Busy {
    No,
    /// A copy or a kernel, which end soon when the context is destroyed.
    Device,
    /// A function of the program or of a test, which may take its time.
    Host,
}

/// Work that other work waits for: a stream, and how much of its work must be done.
pub(crate) type Barrier = (Arc<Stream>, u64);

struct Item {
    after: Vec<Barrier>,
    work: Work,
}

pub(crate) struct Stream {
    pub(crate) context: Arc<Context>,
    /// Its handle; the legacy stream has none.
    pub(crate) handle: u64,
    pub(crate) flags: u32,
    pub(crate) priority: i32,
    pub(crate) capturing: Mutex<Option<Capturing>>,
    queue: Mutex<Queue>,
    arrived: Condvar,
    submitted: AtomicU64,
    done: AtomicU64,
    busy: AtomicU8,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    has_thread: bool,
    closed: bool,
}

/// How much work a stream holds; who gives it more waits, inside the call.
const MOST_HELD: u64 = 1024;

/// `CU_STREAM_NON_BLOCKING`: the legacy stream and this one do not wait for each other.
pub(crate) const NON_BLOCKING: u32 = 1;

thread_local!(static IN_HOST_FUNCTION: Cell<bool> = const { Cell::new(false) });

/// Whether the thread is in a function of the program that a stream called: those may not call the
/// driver.
pub(crate) fn in_host_function() -> bool {
    IN_HOST_FUNCTION.get()
}

impl Stream {
    pub(crate) fn new(context: Arc<Context>, handle: u64, flags: u32, priority: i32) -> Arc<Self> {
        Arc::new(Self {
            context,
            handle,
            flags,
            priority,
            capturing: Mutex::new(None),
            queue: Mutex::default(),
            arrived: Condvar::new(),
            submitted: AtomicU64::new(0),
            done: AtomicU64::new(0),
            busy: AtomicU8::new(Busy::No as u8),
        })
    }

    pub(crate) fn blocks(&self) -> bool {
        self.flags & NON_BLOCKING == 0
    }

    /// How much work it has been given.
    pub(crate) fn tail(&self) -> u64 {
        self.submitted.load(Ordering::Acquire)
    }

    pub(crate) fn has_done(&self, work: u64) -> bool {
        self.done.load(Ordering::Acquire) >= work
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.has_done(self.tail())
    }

    pub(crate) fn is_in_device_work(&self) -> bool {
        self.busy.load(Ordering::SeqCst) == Busy::Device as u8
    }

    /// Says what the thread is at. (A registered kernel is a function of the test's.)
    pub(crate) fn set_busy(&self, busy: Busy) {
        self.busy.store(busy as u8, Ordering::SeqCst);
        if busy != Busy::Device {
            self.context.progress.ring();
        }
    }

    /// Waits until the work that it has now is done, or will never be.
    pub(crate) fn wait(&self) {
        self.wait_for(self.tail());
    }

    /// Waits until so much work is done. In a context that is destroyed no more device work begins:
    /// when none is under way either, there is nothing to wait for, whatever hangs in the stream.
    pub(crate) fn wait_for(&self, work: u64) {
        let over = || self.context.is_destroyed() && !self.is_in_device_work();
        self.context.progress.wait_until(|| self.has_done(work) || over());
    }

    /// Adds work, to be done after what `after` names.
    pub(crate) fn push(self: &Arc<Self>, after: Vec<Barrier>, work: Work) -> Answer {
        self.wait_for((self.tail() + 1).saturating_sub(MOST_HELD));
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(Code::INVALID_HANDLE);
        }
        self.submitted.fetch_add(1, Ordering::AcqRel);
        queue.items.push_back(Item { after, work });
        if !queue.has_thread {
            queue.has_thread = true;
            self.start_thread();
        }
        drop(queue);
        self.arrived.notify_one();
        Ok(())
    }

    /// No more work comes; the thread ends with what there is.
    pub(crate) fn close(self: &Arc<Self>) {
        let has_thread = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            queue.has_thread
        };
        self.arrived.notify_one();
        if !has_thread {
            self.context.forget_stream(self);
        }
    }

    fn start_thread(self: &Arc<Self>) {
        let stream = Arc::clone(self);
        let name = format!("fake-cuda {}", self.context.device.ordinal);
        let started = std::thread::Builder::new().name(name).spawn(move || stream.run());
        started.expect("invariant: the host has threads");
    }

    fn next(&self) -> Option<Item> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(item) = queue.items.pop_front() {
                return Some(item);
            }
            if queue.closed {
                queue.has_thread = false;
                return None;
            }
            self.arrived.wait(&mut queue);
        }
    }

    fn run(self: Arc<Self>) {
        while let Some(item) = self.next() {
            for (stream, work) in item.after {
                stream.wait_for(work);
            }
            self.carry_out(item.work);
            self.done.fetch_add(1, Ordering::AcqRel);
            self.set_busy(Busy::No);
        }
        self.context.forget_stream(&self);
    }

    fn carry_out(&self, work: Work) {
        let context = &self.context;
        match work {
            Work::Device(task) => {
                // (first busy, then a look at the context: who destroys it looks the other way round)
                self.set_busy(Busy::Device);
                if context.status().is_ok() {
                    let result = catch_unwind(AssertUnwindSafe(|| task(self)));
                    if let Err(code) = result.unwrap_or(Err(Code::LAUNCH_FAILED)) {
                        context.fail(code);
                    }
                }
            }
            Work::Host(function) if context.status().is_ok() => self.call(function),
            Work::Host(_) => {}
            Work::Status(function) => {
                let status = context.status().err().map_or(0, |code| code.0);
                self.call(|| function(status));
            }
            Work::Mark(latch) => latch.open(),
            Work::Await(latch) => latch.wait(&context.progress, || context.is_destroyed()),
            Work::Poll(condition) => self.poll(&*condition),
        }
    }

    fn call(&self, function: impl FnOnce()) {
        self.set_busy(Busy::Host);
        IN_HOST_FUNCTION.set(true);
        function();
        IN_HOST_FUNCTION.set(false);
    }

    fn poll(&self, condition: &dyn Fn() -> Answer<bool>) {
        const PERIOD: std::time::Duration = std::time::Duration::from_micros(100);
        while self.context.status().is_ok() {
            match condition() {
                Ok(true) => return,
                Ok(false) => {
                    self.context.progress.wait_for(PERIOD, || self.context.status().is_err());
                }
                Err(code) => self.context.fail(code),
            }
        }
    }
}
