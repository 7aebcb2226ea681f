//! One hub per CUDA device: the only owner of its context and of its epoch.
//!
//! The context is retained when the device is opened first and kept until the process ends: the last
//! `Context` dropped would reset the device under everybody. A fault that breaks the context ("sticky":
//! every later call fails) is noticed by whichever call meets it first. From then on the epoch has
//! changed, calls are refused before they reach the driver, and whoever waits is told. That it comes back,
//! with another context, is the matter of `recovery`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cust::context::Context;
use cust::sys::{self, CUresult};

use super::driver::{self, Raw};
use super::held::Holdings;
use super::module::Modules;
use super::reactor::Reactor;
use super::recovery::retain;
use crate::device::{DeviceId, DeviceInfo, Epoch, MemoryInfo};
use crate::epochs::{Codes, Epochs};
use crate::error::{DeviceError, DeviceResult};
use crate::memory::MemoryKind;
use crate::timeline::Timeline;

const CODES: Codes = Codes { name: driver::name, is_sticky: driver::is_sticky };

static HUBS: Mutex<BTreeMap<u32, Arc<Hub>>> = Mutex::new(BTreeMap::new());

pub(super) struct Hub {
    info: DeviceInfo,
    /// Held while it is made anew.
    retained: Mutex<Context>,
    /// The same, for calls to set: it changes only while the gate is closed.
    current: AtomicPtr<sys::CUctx_st>,
    epochs: Epochs,
    /// Events to mark positions with, for reuse: making one costs twenty times taking one from here.
    marks: Mutex<Marks>,
    /// Memory that outlives a context.
    holdings: Holdings,
    modules: Modules,
    reactor: Reactor,
}

/// Events of one epoch.
#[derive(Default)]
struct Marks {
    epoch: Epoch,
    events: Vec<Raw<sys::CUevent_st>>,
}

impl Hub {
    /// The hub of a device, made at the first call.
    pub(super) fn open(ordinal: u32) -> DeviceResult<Arc<Self>> {
        let mut hubs = HUBS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = hubs.get(&ordinal) {
            return Ok(Arc::clone(hub));
        }
        let hub = Arc::new(Self::new(ordinal)?);
        hub.reactor.start(&hub)?;
        hubs.insert(ordinal, Arc::clone(&hub));
        Ok(hub)
    }

    fn new(ordinal: u32) -> DeviceResult<Self> {
        let info = driver::describe(ordinal)?;
        let device =
            cust::device::Device::get_device(ordinal).map_err(|_| driver::failed("cuDeviceGet"))?;
        let _others = OthersContext::unless(std::ptr::null_mut());
        let context = retain(device).map_err(|_| driver::failed("cuDevicePrimaryCtxRetain"))?;
        Ok(Self {
            current: AtomicPtr::new(context.as_raw()),
            retained: Mutex::new(context),
            epochs: Epochs::new(info.id, CODES),
            info,
            marks: Mutex::default(),
            holdings: Holdings::default(),
            modules: Modules::default(),
            reactor: Reactor::new(),
        })
    }

    pub(super) fn id(&self) -> DeviceId {
        self.info.id
    }

    pub(super) fn ordinal(&self) -> u32 {
        match self.info.id {
            DeviceId::Cuda(ordinal) => ordinal,
            DeviceId::Host => unreachable!("invariant: a hub is one of a CUDA device"),
        }
    }

    pub(super) fn info(&self) -> &DeviceInfo {
        &self.info
    }

    pub(super) fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epochs.epoch()
    }

    pub(super) fn reactor(&self) -> &Reactor {
        &self.reactor
    }

    pub(super) fn holdings(&self) -> &Holdings {
        &self.holdings
    }

    pub(super) fn modules(&self) -> &Modules {
        &self.modules
    }

    /// The context that is retained, for who is about to make it anew: one at a time.
    pub(super) fn retained(&self) -> MutexGuard<'_, Context> {
        self.retained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on calls are made in this context. For who keeps the gate closed.
    pub(super) fn set_current(&self, context: &Context) {
        self.current.store(context.as_raw(), Ordering::Release);
    }

    /// Ok while the context is whole.
    pub(super) fn health(&self) -> DeviceResult {
        self.epochs.health()
    }

    /// Ok while the context is whole, and of that epoch.
    pub(super) fn check(&self, epoch: Epoch) -> DeviceResult {
        self.epochs.check(epoch)
    }

    /// Calls the driver with this device's context current, and handles of that epoch. A lost device is not
    /// called, nor one that was lost since.
    pub(super) fn call(
        &self,
        epoch: Epoch,
        name: &'static str,
        call: impl FnOnce() -> CUresult,
    ) -> DeviceResult {
        self.call_for(epoch, (MemoryKind::Device, 0), name, call)
    }

    /// As [`call`](Self::call), for calls that ask for as many bytes of a memory.
    pub(super) fn call_for(
        &self,
        epoch: Epoch,
        asked: (MemoryKind, usize),
        name: &'static str,
        call: impl FnOnce() -> CUresult,
    ) -> DeviceResult {
        match self.try_call(epoch, call)? {
            0 => Ok(()),
            code => Err(self.refused(asked, name, code)),
        }
    }

    /// What it means that the driver refused a call. (Any call may find no memory: the driver takes some for
    /// itself.)
    pub(super) fn refused(
        &self,
        (kind, asked): (MemoryKind, usize),
        call: &'static str,
        code: u32,
    ) -> DeviceError {
        match code {
            driver::OUT_OF_MEMORY => self.out_of_memory(kind, asked),
            code => DeviceError::Driver { call, code, name: driver::name(code) },
        }
    }

    /// (Of the host's memory the driver says neither how much there is nor how much is left.)
    pub(super) fn out_of_memory(&self, kind: MemoryKind, asked: usize) -> DeviceError {
        let (free, limit) = match kind {
            MemoryKind::Device => {
                (self.memory_info().map_or(0, |info| info.free), self.info.memory_bytes)
            }
            MemoryKind::Staging => (0, 0),
        };
        DeviceError::OutOfMemory { device: self.id(), kind, asked: asked as u64, free, limit }
    }

    /// The bytes that are free on the device now, and all that it has.
    pub(super) fn memory_info(&self) -> DeviceResult<MemoryInfo> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: both are valid for a write.
        let info = || unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) };
        // (Not by `call`, which asks this when there is no memory.)
        self.epochs.call(self.epoch(), "cuMemGetInfo", || self.in_context(info))?;
        Ok(MemoryInfo { free: free as u64, total: total as u64 })
    }

    /// As [`call`](Self::call), for calls with failures of their own: the code, unless it broke the context.
    pub(super) fn try_call(
        &self,
        epoch: Epoch,
        call: impl FnOnce() -> CUresult,
    ) -> DeviceResult<u32> {
        self.epochs.try_call(epoch, || self.in_context(call))
    }

    /// As [`try_call`](Self::try_call), for calls by which the context is known to be whole: any code that is
    /// none of their answers ends the epoch.
    pub(super) fn must_answer(
        &self,
        epoch: Epoch,
        answers: fn(u32) -> bool,
        call: impl FnOnce() -> CUresult,
    ) -> DeviceResult<u32> {
        self.epochs.must_answer(epoch, answers, || self.in_context(call))
    }

    /// A call made while dropping a handle of `epoch`: a stale handle is forgotten, an error counted.
    /// Whether it was done.
    pub(super) fn call_in_drop(
        &self,
        epoch: Epoch,
        name: &'static str,
        call: impl FnOnce() -> CUresult,
    ) -> bool {
        self.epochs.call_in_drop(epoch, name, || self.in_context(call))
    }

    /// The code of a call in the present context. For who is inside the gate.
    fn in_context(&self, call: impl FnOnce() -> CUresult) -> u32 {
        let own = self.current.load(Ordering::Acquire);
        let _others = OthersContext::unless(own);
        // SAFETY: the context is retained, and is not made anew as long as somebody is inside.
        let set = unsafe { sys::cuCtxSetCurrent(own) };
        match driver::code(set) {
            0 => driver::code(call()),
            code => code,
        }
    }

    pub(super) fn drop_errors(&self) -> u64 {
        self.epochs.drop_errors()
    }

    /// The timeline of a stream of that epoch, which is told if the device is lost.
    pub(super) fn new_timeline(&self, epoch: Epoch) -> Arc<Timeline> {
        self.epochs.new_timeline(epoch)
    }

    /// An event for a mark, from those given back or a new one.
    pub(super) fn take_mark(&self, epoch: Epoch) -> DeviceResult<Raw<sys::CUevent_st>> {
        match self.marks(epoch).and_then(|mut marks| marks.events.pop()) {
            Some(mark) => Ok(mark),
            None => self.create_event(epoch),
        }
    }

    /// Takes an event back that is of that epoch; if it has ended, the event is forgotten.
    pub(super) fn give_mark(&self, epoch: Epoch, mark: Raw<sys::CUevent_st>) {
        if let Some(mut marks) = self.marks(epoch) {
            marks.events.push(mark);
        }
    }

    pub(super) fn create_event(&self, epoch: Epoch) -> DeviceResult<Raw<sys::CUevent_st>> {
        let mut event = std::ptr::null_mut();
        let flags = sys::CUevent_flags_enum::CU_EVENT_DISABLE_TIMING as u32;
        // SAFETY: `event` is valid for a write.
        let create = || unsafe { sys::cuEventCreate(&raw mut event, flags) };
        self.call(epoch, "cuEventCreate", create)?;
        Ok(Raw(event))
    }

    /// The events of that epoch, unless it has ended. Those of an earlier one are forgotten.
    fn marks(&self, epoch: Epoch) -> Option<MutexGuard<'_, Marks>> {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.epoch < epoch {
            *marks = Marks { epoch, events: Vec::new() };
        }
        (marks.epoch == epoch).then_some(marks)
    }
}

/// The context that the application, or another device's work, has made current on this thread: it is so again
/// when this is dropped.
pub(super) struct OthersContext(Option<sys::CUcontext>);

impl OthersContext {
    /// What is current now, if that is anything else than `own`.
    pub(super) fn unless(own: sys::CUcontext) -> Self {
        let mut current = std::ptr::null_mut();
        // SAFETY: `current` is valid for a write.
        let known = driver::code(unsafe { sys::cuCtxGetCurrent(&raw mut current) }) == 0;
        Self((known && !current.is_null() && current != own).then_some(current))
    }
}

impl Drop for OthersContext {
    fn drop(&mut self) {
        if let Some(context) = self.0 {
            // SAFETY: the driver knows contexts by their handles, and refuses those that are no more.
            let _ = unsafe { sys::cuCtxSetCurrent(context) };
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("device", &self.id())
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}
