//! Streams of a CUDA device.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, Weak};

use cust::sys;

use super::driver::{self, Raw};
use super::held::lock;
use super::hub::Hub;
use super::reactor::{InlineLook, Mark};
use crate::argument::Value;
use crate::device::Epoch;
use crate::error::{DeviceError, DeviceResult};
use crate::event::{Event, EventKind};
use crate::memory::MemoryKind;
use crate::module::{Function, FunctionKind, LaunchConfig};
use crate::stream::{Direction, MOST_OPEN, Operation, StreamBackend};
use crate::timeline::{Completion, Marker, Position, Timeline};

/// What is registered of host memory at once, in bytes, and aligned to as much. The driver copies on its
/// own only what lies in one registration.
pub(super) const SLAB: u64 = 8 << 20;
/// After so many operations the stream is marked in any case: how many are open is known from its marks.
const MARK_EVERY: u64 = 128;

/// A stream of the driver, for its one owner to give work to. Others only mark it.
pub(super) struct CudaStream(Arc<Shared>);

struct Shared {
    hub: Arc<Hub>,
    raw: Raw<sys::CUstream_st>,
    epoch: Epoch,
    timeline: Arc<Timeline>,
    last_mark: Mutex<Option<(Position, Arc<Mark>)>>,
}

impl CudaStream {
    pub(super) fn open(hub: &Arc<Hub>, priority: i32) -> DeviceResult<Self> {
        let epoch = hub.epoch();
        let mut raw = std::ptr::null_mut();
        let flags = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: `raw` is valid for a write. (`cust` would take the non-blocking flag away.)
        hub.call(epoch, "cuStreamCreateWithPriority", || unsafe {
            sys::cuStreamCreateWithPriority(&raw mut raw, flags, priority)
        })?;
        let (hub, timeline) = (Arc::clone(hub), hub.new_timeline(epoch));
        let shared = Shared { hub, raw: Raw(raw), epoch, timeline, last_mark: Mutex::default() };
        let shared = Arc::new(shared);
        let marker: Weak<Shared> = Arc::downgrade(&shared);
        shared.timeline.marked_by(marker);
        Ok(Self(shared))
    }
}

impl Shared {
    fn check_epoch(&self) -> DeviceResult {
        self.hub.check(self.epoch)
    }

    fn check_depth(&self) -> DeviceResult {
        let full = self.timeline.open() >= MOST_OPEN as u64;
        if full { Err(DeviceError::StreamFull { limit: MOST_OPEN }) } else { Ok(()) }
    }

    fn copy(&self, from: u64, to: u64, bytes: usize, direction: Direction) -> DeviceResult {
        let host = match direction {
            Direction::ToDevice => from,
            Direction::ToHost => to,
            Direction::OnDevice => return self.copy_piece(from, to, bytes, direction),
        };
        pieces(host, bytes).try_for_each(|(offset, bytes)| {
            let (from, to) = (from + offset as u64, to + offset as u64);
            let copied = self.copy_piece(from, to, bytes, direction);
            if copied.is_err() && offset > 0 {
                // The stream copies those before it.
                self.timeline.issue();
            }
            copied
        })
    }

    fn copy_piece(&self, from: u64, to: u64, bytes: usize, direction: Direction) -> DeviceResult {
        let (host_from, host_to, stream) = (from as *const c_void, to as *mut c_void, self.raw.0);
        // SAFETY: `Stream` has checked that both ranges lie in live leases of this device
        // and epoch. They stay so: a lease dropped meanwhile is parked behind this stream. Host
        // addresses are those of staging memory.
        let upload = || unsafe { sys::cuMemcpyHtoDAsync_v2(to, host_from, bytes, stream) };
        // SAFETY: as above.
        let download = || unsafe { sys::cuMemcpyDtoHAsync_v2(host_to, from, bytes, stream) };
        // SAFETY: as above.
        let within = || unsafe { sys::cuMemcpyDtoDAsync_v2(to, from, bytes, stream) };
        match direction {
            Direction::ToDevice => self.hub.call(self.epoch, "cuMemcpyHtoDAsync", upload),
            Direction::ToHost => self.hub.call(self.epoch, "cuMemcpyDtoHAsync", download),
            Direction::OnDevice => self.hub.call(self.epoch, "cuMemcpyDtoDAsync", within),
        }
    }

    fn fill(&self, to: u64, bytes: usize, value: u8) -> DeviceResult {
        // SAFETY: as for a copy.
        self.hub.call(self.epoch, "cuMemsetD8Async", || unsafe {
            sys::cuMemsetD8Async(to, value, bytes, self.raw.0)
        })
    }

    fn launch(&self, function: &Function, config: &LaunchConfig, values: &[Value]) -> DeviceResult {
        let FunctionKind::Cuda(kernel) = function.kind() else { return Err(foreign("kernel")) };
        let kernel = kernel.raw()?;
        let mut bytes: Vec<[u8; 8]> = values.iter().map(Value::bytes).collect();
        let mut pointers: Vec<*mut c_void> =
            bytes.iter_mut().map(|value| value.as_mut_ptr().cast()).collect();
        let (grid, block) = (config.grid, config.block);
        // SAFETY: `Function::check` has compared the arguments' number and sizes with what the PTX
        // declares, so the driver reads no further than they go; it copies them before it returns.
        let code = self.hub.try_call(self.epoch, || unsafe {
            sys::cuLaunchKernel(
                kernel.0,
                grid.x,
                grid.y,
                grid.z,
                block.x,
                block.y,
                block.z,
                config.shared_bytes,
                self.raw.0,
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        })?;
        match code {
            0 => Ok(()),
            driver::OUT_OF_MEMORY => Err(self.hub.out_of_memory(MemoryKind::Device, 0)),
            code => {
                let reason = format!("{} (CUDA error {code})", driver::name(code));
                Err(DeviceError::InvalidLaunch { entry: function.entry().into(), reason })
            }
        }
    }

    fn record(&self, event: &Event) -> DeviceResult {
        let EventKind::Cuda(event) = event.kind() else { return Err(foreign("event")) };
        let event = event.raw()?;
        // SAFETY: event and stream live and are of this epoch.
        let record = || unsafe { sys::cuEventRecord(event.0, self.raw.0) };
        self.hub.call(self.epoch, "cuEventRecord", record)
    }

    fn wait(&self, event: &Event) -> DeviceResult {
        let EventKind::Cuda(event) = event.kind() else { return Err(foreign("event")) };
        let event = event.raw()?;
        // SAFETY: as in `record`. (`cust` would consume and destroy the event.)
        let wait = || unsafe { sys::cuStreamWaitEvent(self.raw.0, event.0, 0) };
        self.hub.call(self.epoch, "cuStreamWaitEvent", wait)
    }

    /// How far the stream is marked.
    fn marked(&self) -> Position {
        lock(&self.last_mark).as_ref().map_or(0, |(marked, _)| *marked)
    }

    /// Marks the stream at `position` or behind it, for the reactor to watch.
    fn mark(&self, position: Position) -> DeviceResult<Arc<Mark>> {
        let mut last_mark = lock(&self.last_mark);
        if let Some((marked, mark)) = &*last_mark
            && *marked >= position
        {
            return Ok(Arc::clone(mark));
        }
        // (Read before the event is recorded, which therefore comes after it.)
        let position = self.timeline.issued();
        let (hub, timeline) = (Arc::clone(&self.hub), Arc::clone(&self.timeline));
        let event = hub.take_mark(self.epoch)?;
        let mark = Arc::new(Mark { hub, timeline, position, event, epoch: self.epoch });
        // SAFETY: event and stream live and are of this epoch.
        let record = || unsafe { sys::cuEventRecord(event.0, self.raw.0) };
        self.hub.call(self.epoch, "cuEventRecord", record)?;
        self.hub.reactor().watch(Arc::clone(&mark))?;
        *last_mark = Some((position, Arc::clone(&mark)));
        Ok(mark)
    }
}

impl Marker for Shared {
    /// (Where it cannot be marked now the next who asks tries again, or is told that the device is lost.)
    fn mark(&self, position: Position) {
        Shared::mark(self, position).ok();
    }
}

impl StreamBackend for CudaStream {
    fn timeline(&self) -> &Arc<Timeline> {
        &self.0.timeline
    }

    fn submit(&mut self, operation: Operation) -> DeviceResult {
        let stream = &self.0;
        stream.check_epoch()?;
        stream.check_depth()?;
        match operation {
            Operation::Copy { from, to, bytes, direction } => {
                stream.copy(from, to, bytes, direction)?
            }
            Operation::Fill { to, bytes, value } => stream.fill(to, bytes, value)?,
            Operation::Launch { function, config, values } => {
                stream.launch(&function, &config, &values)?
            }
            Operation::Record(event) => return stream.record(&event),
            Operation::Wait(event) => stream.wait(&event)?,
            Operation::Run(_) => {
                let (device, what) = (stream.hub.id(), "run host functions; use the host device");
                return Err(DeviceError::Unsupported { device, what });
            }
        }
        let position = stream.timeline.issue();
        if position >= stream.marked() + MARK_EVERY {
            // The operation is under way: that it is not marked keeps only others out, and the next tries again.
            stream.mark(position).ok();
        }
        Ok(())
    }

    fn completion(&mut self) -> DeviceResult<Completion> {
        let stream = &self.0;
        let position = stream.timeline.issued();
        let completion = Completion::new(Arc::clone(&stream.timeline), position);
        if stream.timeline.has_reached(position) {
            return Ok(completion);
        }
        stream.check_epoch()?;
        let mark = stream.mark(position)?;
        Ok(completion.with_probe(Box::new(InlineLook(mark))))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // What is parked behind this stream comes back when its last mark is reached.
        let to_mark = !self.timeline.is_idle() && self.check_epoch().is_ok();
        if to_mark && self.mark(self.timeline.issued()).is_err() && self.check_epoch().is_ok() {
            // It does not come back before the device is lost.
            self.hub.epochs().count_drop_errors(1);
        }
        // SAFETY: nobody has the handle any more. The driver lets submitted work finish.
        let destroy = || unsafe { sys::cuStreamDestroy_v2(self.raw.0) };
        self.hub.call_in_drop(self.epoch, "cuStreamDestroy", destroy);
    }
}

fn foreign(what: &str) -> DeviceError {
    DeviceError::WrongOwner(format!("the {what} is not one of a CUDA device"))
}

/// A copy of host memory in as many pieces as the slabs that it touches: offset and bytes of each.
fn pieces(host: u64, bytes: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let to_edge = (SLAB - (host + done as u64) % SLAB) as usize;
        let piece = (bytes - done).min(to_edge);
        done += piece;
        (piece > 0).then_some((done - piece, piece))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_end_at_the_edges_of_slabs() {
        let edges = |host, bytes| pieces(host, bytes).collect::<Vec<_>>();
        const S: usize = SLAB as usize;
        assert_eq!(edges(SLAB, 0), []);
        assert_eq!(edges(SLAB, S), [(0, S)]);
        assert_eq!(edges(2 * SLAB - 512, 4096), [(0, 512), (512, 3584)]);
        assert_eq!(edges(SLAB - 1, 2 * S), [(0, 1), (1, S), (S + 1, S - 1)]);
    }
}
