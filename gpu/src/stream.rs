//! An ordered queue of device work, with one owner.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use crate::argument::{Argument, Value};
use crate::device::Device;
use crate::element::Element;
use crate::error::{DeviceError, DeviceResult};
use crate::event::Event;
use crate::memory::pool::Pool;
use crate::memory::{Buffer, Lease, Staging, StreamMagazine};
use crate::module::{Function, LaunchConfig};
use crate::timeline::{Completion, Timeline};

/// Most operations that may be open in one stream. A CUDA driver takes about a thousand, and then has whoever
/// submits wait.
pub(crate) const MOST_OPEN: usize = 896;

/// How a stream is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamOptions {
    /// On the host device: run work on the submitting thread while the stream is idle, instead of on
    /// a thread of the device. For owners whose thread may block; other devices ignore it.
    pub inline: bool,
    /// Lower runs first, where the device has priorities; 0 is the default.
    pub priority: i32,
}

/// One thing for a stream to do.
#[cfg_attr(
    not(feature = "cuda"),
    allow(dead_code, reason = "the host copies alike in every direction")
)]
pub(crate) enum Operation {
    Copy { from: u64, to: u64, bytes: usize, direction: Direction },
    Fill { to: u64, bytes: usize, value: u8 },
    Launch { function: Function, config: LaunchConfig, values: Vec<Value> },
    Record(Event),
    Wait(Event),
    Run(Box<dyn FnOnce() + Send>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToDevice,
    ToHost,
    OnDevice,
}

/// What a kind of device has to bring for its streams.
pub(crate) trait StreamBackend: Send {
    fn timeline(&self) -> &Arc<Timeline>;
    fn submit(&mut self, operation: Operation) -> DeviceResult;
    /// Sees to it that the timeline hears of everything submitted so far.
    fn completion(&mut self) -> DeviceResult<Completion>;
}

/// Somebody who wants to know when work is given to a stream: launches, and closures on the host.
pub trait Watch: Send + Sync {
    /// It is about to be submitted.
    fn submitting(&self);
    /// It was, or could not be. (On a stream that runs inline it has been done.)
    fn submitted(&self);
}

/// An ordered queue of work on a device: copies, fills, launches, host functions.
///
/// Submitting never waits: a stream with 896 operations open refuses more by
/// [`StreamFull`](DeviceError::StreamFull) until some are over. Operations run in the order of submission; those of
/// other streams run beside them unless an [`Event`] orders them. Dropping a stream lets what was submitted finish.
pub struct Stream {
    device: Device,
    backend: Box<dyn StreamBackend>,
    magazine: Option<Arc<StreamMagazine>>,
    watch: Option<Arc<dyn Watch>>,
}

impl Stream {
    pub(crate) fn new(device: Device, backend: Box<dyn StreamBackend>) -> Self {
        Self { device, backend, magazine: None, watch: None }
    }

    /// Keeps small blocks of a pool at hand, until the stream is dropped.
    pub(crate) fn keep_blocks(&mut self, magazine: Arc<StreamMagazine>) {
        self.magazine = Some(magazine);
    }

    /// Has work that is given to the stream from now on be watched, or no longer.
    pub fn set_watch(&mut self, watch: Option<Arc<dyn Watch>>) {
        self.watch = watch;
    }

    /// What the stream keeps of that pool.
    pub(crate) fn magazine(&self, pool: &Arc<Pool>) -> Option<&Arc<StreamMagazine>> {
        self.magazine.as_ref().filter(|magazine| magazine.is_of(pool))
    }

    pub(crate) fn timeline(&self) -> &Arc<Timeline> {
        self.backend.timeline()
    }

    /// The device that the stream belongs to.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether everything submitted is over, as far as is known without asking the device.
    pub fn is_idle(&self) -> bool {
        self.timeline().is_idle()
    }

    /// Failures of what was submitted so far are told to no completion from now on: whoever submitted it does not
    /// wait for it any more.
    pub fn disown_failures(&mut self) {
        self.timeline().disown();
    }

    /// Copies all of `from` to `to`, beginning at element `at`. The staging memory goes back to its
    /// pool behind the copy.
    ///
    /// # Errors
    /// If the range or the owners do not fit, or the device fails.
    pub fn upload<T: Element>(
        &mut self,
        mut from: Staging<T>,
        to: &mut Buffer<T>,
        at: usize,
    ) -> DeviceResult {
        let range = self.check_range(to, at..at.saturating_add(from.len()))?;
        self.check_device(from.lease())?;
        from.set_home(self.timeline());
        self.copy(
            from.lease().address(),
            to.address_of(range.start),
            size_of_val(&*from),
            Direction::ToDevice,
        )
    }

    /// Copies the elements `range` of `from` to the front of `into`, which must be as long, and
    /// returns it when the copy is done.
    ///
    /// # Errors
    /// If the range or the owners do not fit, or the device fails.
    pub fn download<T: Element>(
        &mut self,
        from: &Buffer<T>,
        range: Range<usize>,
        mut into: Staging<T>,
    ) -> DeviceResult<Download<T>> {
        let range = self.check_range(from, range)?;
        self.check_device(into.lease())?;
        if into.len() != range.len() {
            let (have, want) = (into.len(), range.len());
            return Err(DeviceError::InvalidArgument(format!(
                "{want} elements do not fill {have}"
            )));
        }
        into.set_home(self.timeline());
        let (from, to) = (from.address_of(range.start), into.lease().address());
        self.copy(from, to, size_of_val(&*into), Direction::ToHost)?;
        Ok(Download { completion: self.completion()?, staging: Some(into) })
    }

    /// Copies `from` to the front of `to`, which must not be shorter.
    ///
    /// # Errors
    /// If the sizes or the owners do not fit, or the device fails.
    pub fn copy_within_device<T: Element>(
        &mut self,
        from: &Buffer<T>,
        to: &mut Buffer<T>,
    ) -> DeviceResult {
        self.check_range(from, 0..from.len())?;
        self.check_range(to, 0..from.len())?;
        self.copy(from.address_of(0), to.address_of(0), from.bytes(), Direction::OnDevice)
    }

    /// Sets every byte of `buffer` to `value`.
    ///
    /// # Errors
    /// If the buffer is not this stream's, or the device fails.
    pub fn fill<T: Element>(&mut self, buffer: &mut Buffer<T>, value: u8) -> DeviceResult {
        self.check_range(buffer, 0..buffer.len())?;
        if buffer.is_empty() {
            return Ok(());
        }
        self.backend.submit(Operation::Fill {
            to: buffer.address_of(0),
            bytes: buffer.bytes(),
            value,
        })
    }

    /// Launches a kernel. The arguments are checked against what its PTX declares, buffers against
    /// their owner; see [`arguments!`](crate::arguments) for how to write them.
    ///
    /// # Errors
    /// [`DeviceError::InvalidLaunch`] or [`DeviceError::WrongOwner`] before anything is submitted;
    /// what the kernel itself does wrong reaches a later completion.
    pub fn launch<const N: usize>(
        &mut self,
        function: &Function,
        config: LaunchConfig,
        arguments: [Argument<'_>; N],
    ) -> DeviceResult {
        self.check_same(function.device(), "the kernel")?;
        function.check(&config, &arguments)?;
        for home in arguments.iter().filter_map(Argument::home) {
            self.check_home(home)?;
        }
        let values = arguments.iter().map(Argument::value).collect();
        self.submit_watched(Operation::Launch { function: function.clone(), config, values })
    }

    /// Runs a Rust closure in the stream's order; on the host device only. A panic in it continues in
    /// whoever awaits the result.
    ///
    /// # Errors
    /// [`DeviceError::Unsupported`] on other devices, [`DeviceError::StreamFull`].
    pub fn run<R: Send + 'static>(
        &mut self,
        function: impl FnOnce() -> R + Send + 'static,
    ) -> DeviceResult<Run<R>> {
        let outcome = Arc::new(Mutex::new(None));
        let place = Arc::clone(&outcome);
        self.submit_watched(Operation::Run(Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(function));
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        })))?;
        Ok(Run { completion: self.completion()?, outcome })
    }

    /// Marks the stream's current end with `event`.
    ///
    /// # Errors
    /// If the event is another device's, or the device fails.
    pub fn record(&mut self, event: &Event) -> DeviceResult {
        self.check_same(event.device(), "the event")?;
        self.backend.submit(Operation::Record(event.clone()))
    }

    /// What is submitted from now on starts after the point that `event` marks. The host does not
    /// wait.
    ///
    /// # Errors
    /// If the event is another device's, or the device fails.
    pub fn wait(&mut self, event: &Event) -> DeviceResult {
        self.check_same(event.device(), "the event")?;
        self.backend.submit(Operation::Wait(event.clone()))
    }

    /// Takes `buffer` from `other`: what this stream does with it comes after all that `other` has
    /// been given so far.
    ///
    /// # Errors
    /// If the buffer is not `other`'s, the streams are of two devices, or the device fails.
    pub fn take_over<T: Element>(
        &mut self,
        buffer: &mut Buffer<T>,
        other: &mut Self,
    ) -> DeviceResult {
        self.check_same(&other.device, "the other stream")?;
        other.check_home(buffer.home())?;
        let event = self.device.create_event()?;
        other.record(&event)?;
        self.wait(&event)?;
        buffer.set_home(self.timeline());
        Ok(())
    }

    /// A future that is ready once everything submitted so far is over.
    ///
    /// # Errors
    /// If the device is lost or fails.
    pub fn completion(&mut self) -> DeviceResult<Completion> {
        self.backend.completion()
    }

    fn submit_watched(&mut self, operation: Operation) -> DeviceResult {
        self.watch.iter().for_each(|watch| watch.submitting());
        let submitted = self.backend.submit(operation);
        self.watch.iter().for_each(|watch| watch.submitted());
        submitted
    }

    fn copy(&mut self, from: u64, to: u64, bytes: usize, direction: Direction) -> DeviceResult {
        if bytes == 0 {
            return Ok(());
        }
        self.backend.submit(Operation::Copy { from, to, bytes, direction })
    }

    fn check_range<T: Element>(
        &self,
        buffer: &Buffer<T>,
        range: Range<usize>,
    ) -> DeviceResult<Range<usize>> {
        self.check_home(buffer.home())?;
        self.check_device(buffer.lease())?;
        if range.start <= range.end && range.end <= buffer.len() {
            return Ok(range);
        }
        let len = buffer.len();
        Err(DeviceError::InvalidArgument(format!("elements {range:?} of a buffer of {len}")))
    }

    fn check_device(&self, lease: &Lease) -> DeviceResult {
        self.check_same(lease.device(), "the memory")?;
        self.device.check(lease.epoch())
    }

    fn check_home(&self, home: &Arc<Timeline>) -> DeviceResult {
        if Arc::ptr_eq(home, self.timeline()) {
            return Ok(());
        }
        let reason = "the buffer belongs to another stream; hand it over with `take_over` first";
        Err(DeviceError::WrongOwner(reason.into()))
    }

    fn check_same(&self, other: &Device, what: &str) -> DeviceResult {
        if std::ptr::addr_eq(other.backend(), self.device.backend()) {
            return Ok(());
        }
        let (here, there) = (self.device.id(), other.id());
        Err(DeviceError::WrongOwner(format!("{what} is of {there}, the stream of {here}")))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(magazine) = &self.magazine {
            magazine.close();
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("device", &self.device.id()).finish_non_exhaustive()
    }
}

/// A download in flight: ready with the staging memory once the copy is done. Dropped before, the
/// memory goes back to its pool behind the copy.
#[derive(Debug)]
#[must_use = "the data is there only once this is awaited"]
pub struct Download<T: Element> {
    completion: Completion,
    staging: Option<Staging<T>>,
}

impl<T: Element> Future for Download<T> {
    type Output = DeviceResult<Staging<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        ready!(pin!(&mut this.completion).poll(cx))?;
        Poll::Ready(Ok(this
            .staging
            .take()
            .expect("invariant: a future is not polled after it was ready")))
    }
}

impl<T: Element> Unpin for Download<T> {}

type Outcome<R> = Arc<Mutex<Option<Result<R, Box<dyn Any + Send>>>>>;

/// A closure on a stream: ready with what it returned. If it panicked, so does awaiting it.
#[must_use = "the result is there only once this is awaited"]
pub struct Run<R> {
    completion: Completion,
    outcome: Outcome<R>,
}

impl<R> Future for Run<R> {
    type Output = DeviceResult<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(pin!(&mut self.completion).poll(cx))?;
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        match outcome.expect("invariant: the closure has run before its stream passed it") {
            Ok(result) => Poll::Ready(Ok(result)),
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl<R> fmt::Debug for Run<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}
