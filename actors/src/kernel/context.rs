//! What a kernel's code is given.

use std::fmt;
use std::sync::Arc;

use rustkernel_gpu::memory::{Lease, MemoryKind, Need, Reservation};
use rustkernel_gpu::{
    Buffer, Device, DeviceError, DeviceKind, Element, Epoch, HostBuffer, Module, ModuleSource,
    Staging, Stream, StreamOptions,
};
use rustkernel_port::Key;
use slog::{Logger, o};

use super::Priority;
use crate::allocator::{MemoryClient, Refused};
use crate::clock::Instant;
use crate::error::KernelResult;
use crate::instance::Seat;
use crate::panic;

/// Bytes copied through one staging block: large enough for the full speed of a copy engine, small
/// enough that copying to staging and copying from it overlap.
const CHUNK_BYTES: usize = 4 << 20;

/// Device, stream, memory, deadline and logger of one instance.
pub struct KernelContext {
    kernel: Arc<str>,
    seat: Arc<Seat>,
    client: MemoryClient,
    stream: Stream,
    inline: bool,
    logger: Logger,
    status: Arc<dyn RequestStatus>,
    request: Option<Request>,
    reservation: Option<Reservation>,
    /// What the request that is running has declared.
    need: Need,
    exit: bool,
    served: bool,
    /// Of the device when this was made.
    epoch: Epoch,
}

/// The request that is running.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) key: Key,
    pub(crate) deadline: Option<Instant>,
    pub(crate) priority: Priority,
}

/// Who knows whether a request is still wanted.
pub(crate) trait RequestStatus: Send + Sync {
    fn is_over(&self, key: Key) -> bool;

    /// Whether the kernel stops for good.
    fn is_stopped(&self) -> bool;

    /// Has instances that wait for a request look at their seats.
    fn rouse(&self);
}

/// Has an instance check its health now.
pub(crate) struct HealthBell {
    seat: Arc<Seat>,
    status: Arc<dyn RequestStatus>,
}

impl HealthBell {
    pub(crate) fn ring(&self) {
        self.seat.want_check();
        self.status.rouse();
    }
}

/// What a context is made of.
pub(crate) struct Setting {
    pub(crate) kernel: Arc<str>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) client: MemoryClient,
    /// Whether the instance's thread may block, and so run its own host streams.
    pub(crate) inline: bool,
    pub(crate) logger: Logger,
    pub(crate) status: Arc<dyn RequestStatus>,
}

impl KernelContext {
    pub(crate) fn new(setting: Setting) -> KernelResult<Self> {
        let Setting { kernel, seat, client, inline, logger, status } = setting;
        let epoch = client.device().epoch();
        let stream = client.memory().open_stream(&StreamOptions { inline, priority: 0 })?;
        Ok(Self {
            kernel,
            seat,
            client,
            stream,
            inline,
            logger,
            status,
            request: None,
            reservation: None,
            need: Need::NOTHING,
            exit: false,
            served: false,
            epoch,
        })
    }

    pub(crate) fn begin(&mut self, request: Request) {
        self.request = Some(request);
        self.need = Need::NOTHING;
        // Those of the requests before are not this one's.
        self.stream.disown_failures();
    }

    /// The request is over: its reservation ends, and its stream's blocks find their way back.
    pub(crate) fn end(&mut self) {
        self.request = None;
        self.reservation = None;
        self.stream.set_watch(None);
        if !self.stream.is_idle() {
            // Marks the stream's end, so that the pool hears when what is parked behind it is free.
            // (An error here is met again, and told, by the next request.)
            drop(self.stream.completion());
        }
    }

    /// What the request that is running has declared and leased, if it has any of both.
    pub(crate) fn reservation(&self) -> Option<(&Reservation, Need)> {
        self.reservation.as_ref().map(|reservation| (reservation, self.need))
    }

    pub(crate) async fn reserve(&mut self, need: Need) -> Result<(), Refused> {
        let (deadline, priority) = (self.deadline(), self.priority());
        self.reservation = Some(self.client.reserve(need, priority, deadline).await?);
        self.need = need;
        Ok(())
    }

    /// Has the instance end when the request that is running is answered, or its health check is over.
    /// Whether it is restarted is up to its [`RestartType`](crate::RestartType).
    pub fn exit(&mut self) {
        self.exit = true;
    }

    /// Whether the device was lost since this was made: nothing of it can be used any more.
    pub(crate) fn is_stale(&self) -> bool {
        self.client.device().epoch() != self.epoch
    }

    pub(crate) fn wants_exit(&self) -> bool {
        self.exit
    }

    /// Says that the instance has proved itself, as one that is tried after a quarantine has to, by other
    /// means than a request.
    pub(crate) fn note_served(&mut self) {
        self.served = true;
    }

    pub(crate) fn has_served(&self) -> bool {
        self.served
    }

    /// Whether the kernel stops for good.
    pub(crate) fn is_stopping(&self) -> bool {
        self.status.is_stopped()
    }

    pub(crate) fn health_bell(&self) -> HealthBell {
        HealthBell { seat: Arc::clone(&self.seat), status: Arc::clone(&self.status) }
    }

    /// How much the request that is running matters where memory is short.
    pub fn priority(&self) -> Priority {
        self.request.map_or(Priority::default(), |request| request.priority)
    }

    /// The kernel's name.
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// Which of the kernel's instances this is, from 0.
    pub fn instance(&self) -> usize {
        self.seat.index()
    }

    /// The device that this instance runs on.
    pub fn device(&self) -> &Device {
        self.client.device()
    }

    /// The instance's stream.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Opens a further stream, for work beside [`stream`](Self::stream).
    ///
    /// # Errors
    /// If the device is lost, or its driver fails.
    pub fn open_stream(&self) -> KernelResult<Stream> {
        // Two streams of one thread that ran inline would never run beside each other.
        Ok(self.device().open_stream(&StreamOptions { inline: false, priority: 0 })?)
    }

    /// Loads a module on this instance's device.
    ///
    /// # Errors
    /// If its source does not compile, or lacks what the device needs.
    pub fn load(&self, source: &ModuleSource) -> KernelResult<Module> {
        Ok(self.device().load_module(source)?)
    }

    /// The number of the request that is running, from 1; none outside of `execute`.
    pub fn request_id(&self) -> Option<u64> {
        self.request.map(|request| request.id)
    }

    /// When the request's time is over; none outside of `execute` and without a deadline.
    pub fn deadline(&self) -> Option<Instant> {
        self.request.and_then(|request| request.deadline)
    }

    /// Whether nobody waits for the answer any more. Ask it now and then in long computations.
    pub fn is_cancelled(&self) -> bool {
        self.request.is_some_and(|request| self.status.is_over(request.key))
    }

    /// The same question for code that runs elsewhere, as in [`compute`](Self::compute).
    pub fn cancel_token(&self) -> CancelToken {
        CancelToken {
            status: Arc::clone(&self.status),
            key: self.request.map(|request| request.key),
        }
    }

    /// A logger whose lines carry kernel, instance, device and, within `execute`, request.
    pub fn logger(&self) -> Logger {
        match self.request {
            Some(request) => self.logger.new(o!("request" => request.id)),
            None => self.logger.clone(),
        }
    }

    /// Leases device memory for `len` elements from the pool, out of what the request declared if it
    /// declared any. Its contents are undefined.
    ///
    /// # Errors
    /// If the memory is not there; never within what the request declared.
    pub async fn alloc<T: Element>(&mut self, len: usize) -> KernelResult<Buffer<T>> {
        let bytes = len.saturating_mul(size_of::<T>());
        Ok(Buffer::new(self.leased(MemoryKind::Device, bytes).await?, len)?)
    }

    /// Leases staging memory for `len` elements from the pool.
    ///
    /// # Errors
    /// If the memory is not there.
    pub async fn stage<T: Element>(&mut self, len: usize) -> KernelResult<Staging<T>> {
        let bytes = len.saturating_mul(size_of::<T>());
        Ok(Staging::new(self.leased(MemoryKind::Staging, bytes).await?, len)?)
    }

    /// Host memory for `len` elements of an answer, or for work on the host: on a host device from the
    /// pool, out of what the request declared ([`Need::host`]), or on the heap if it takes less than
    /// [`Need::POOLED_FROM`] bytes; on another device on the heap. Its contents are undefined.
    ///
    /// # Errors
    /// If the memory is not there; never within what the request declared.
    pub async fn alloc_host<T: Element>(&mut self, len: usize) -> KernelResult<HostBuffer<T>> {
        let bytes = len.saturating_mul(size_of::<T>());
        let pooled = self.device().kind() == DeviceKind::Host && bytes as u64 >= Need::POOLED_FROM;
        if !pooled {
            return Ok(vec![T::default(); len].into());
        }
        Ok(HostBuffer::new(self.lease(MemoryKind::Device, bytes, false).await?, len)?)
    }

    /// Leases for the instance's stream.
    async fn leased(&mut self, kind: MemoryKind, bytes: usize) -> KernelResult<Lease> {
        self.lease(kind, bytes, true).await
    }

    /// Leases out of the reservation if there is one, for the instance's stream or for none. Where there is
    /// no memory, the application is asked to spare some, once.
    async fn lease(
        &mut self,
        kind: MemoryKind,
        bytes: usize,
        for_stream: bool,
    ) -> KernelResult<Lease> {
        self.begin_leasing(kind, bytes).await?;
        let stream = for_stream.then_some(&self.stream);
        let lease = || self.client.lease(kind, bytes, stream, self.reservation.as_ref());
        let first = lease().await;
        let wanted = first.as_ref().err().and_then(MemoryClient::could_be_spared);
        match wanted {
            Some(bytes) if self.client.spill(bytes).await > 0 => Ok(lease().await?),
            _ => Ok(first?),
        }
    }

    /// Before its first lease a request that has declared nothing gets a reservation of nothing, which
    /// counts what it leases. One of low priority waits for it until the pressure level is `Normal`: it
    /// holds nothing yet that others wait for.
    async fn begin_leasing(&mut self, kind: MemoryKind, bytes: usize) -> KernelResult {
        if self.request.is_none() || self.reservation.is_some() {
            return Ok(());
        }
        if !self.client.defers(self.priority()) {
            self.reservation = self.client.memory().try_reserve(Need::NOTHING).ok();
        } else if self.reserve(Need::NOTHING).await.is_err() {
            let (device, stats) = (self.device().id(), self.client.stats(kind));
            let (free, limit) = (stats.attainable.saturating_sub(stats.committed), stats.limit);
            let asked = bytes as u64;
            return Err(DeviceError::OutOfMemory { device, kind, asked, free, limit }.into());
        }
        Ok(())
    }

    /// Copies `data` to new device memory, through staging memory: two chunks of it at a time, one being
    /// filled while the other is copied. Returns once the copies are queued on the instance's stream.
    ///
    /// # Errors
    /// If memory is not there or the device fails; for large data also if work queued before failed.
    pub async fn upload<T: Element>(&mut self, data: &[T]) -> KernelResult<Buffer<T>> {
        let mut buffer = self.alloc(data.len()).await?;
        let (step, mut in_flight) = (chunk_len::<T>(), None);
        for (index, chunk) in data.chunks(step).enumerate() {
            let mut staging = self.stage(chunk.len()).await?;
            staging.copy_from_slice(chunk);
            self.stream.upload(staging, &mut buffer, index * step)?;
            if data.len() > 2 * step
                && let Some(before) = in_flight.replace(self.stream.completion()?)
            {
                before.await?;
            }
        }
        Ok(buffer)
    }

    /// Copies device memory back, through staging memory, when the work queued before it is done.
    ///
    /// # Errors
    /// If memory is not there or the device fails; also if work queued before failed.
    pub async fn download<T: Element>(&mut self, buffer: &Buffer<T>) -> KernelResult<Vec<T>> {
        let mut data = Vec::with_capacity(buffer.len());
        let mut in_flight = None;
        let step = chunk_len::<T>();
        for start in (0..buffer.len()).step_by(step) {
            let range = start..buffer.len().min(start + step);
            let staging = self.stage(range.len()).await?;
            let next = self.stream.download(buffer, range, staging)?;
            // While this chunk is copied to staging, the one before is copied out of it.
            if let Some(before) = in_flight.replace(next) {
                data.extend_from_slice(&before.await?);
            }
        }
        match in_flight {
            Some(last) => data.extend_from_slice(&last.await?),
            None => self.stream.completion()?.await?,
        }
        Ok(data)
    }

    /// Runs a closure in the order of the instance's stream, off the threads that many kernels share,
    /// and waits for what it returns. On the host device only. If it panics, so does the kernel.
    ///
    /// # Errors
    /// On other devices.
    pub async fn compute<R: Send + 'static>(
        &mut self,
        function: impl FnOnce() -> R + Send + 'static,
    ) -> KernelResult<R> {
        match self.stream.run(move || panic::guard(function))?.await? {
            Ok(result) => Ok(result),
            Err(report) => panic::resume(report),
        }
    }

    /// Whether this thread is the instance's own, so that it may block it.
    pub fn may_block(&self) -> bool {
        self.inline
    }
}

fn chunk_len<T>() -> usize {
    CHUNK_BYTES / size_of::<T>()
}

impl fmt::Debug for KernelContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelContext")
            .field("kernel", &self.kernel)
            .field("instance", &self.instance())
            .field("device", &self.device().id())
            .finish_non_exhaustive()
    }
}

/// Tells whether a request is still wanted, from any thread.
#[derive(Clone)]
pub struct CancelToken {
    status: Arc<dyn RequestStatus>,
    key: Option<Key>,
}

impl CancelToken {
    /// Whether nobody waits for the answer any more.
    pub fn is_cancelled(&self) -> bool {
        self.key.is_some_and(|key| self.status.is_over(key))
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelToken").field(&self.is_cancelled()).finish()
    }
}
