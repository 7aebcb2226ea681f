//! One hub per CUDA device: the only owner of its context and of its epoch.
//!
//! The context is retained when the device is opened first and kept until the process ends: the last
//! `Context` dropped would reset the device under everybody. A fault that breaks the context ("sticky":
//! every later call fails) is noticed by whichever call meets it first. From then on the epoch has
//! changed, calls are refused before they reach the driver, and whoever waits is told. That it comes back,
//! with another context, is the matter of `recovery`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cust::context::Context;
use cust::sys::{self, CUresult};

use super::driver::{self, Raw};
use super::gate::Gate;
use super::reactor::Reactor;
use super::recovery::retain;
use crate::device::{DeviceId, DeviceInfo, Epoch};
use crate::error::{DeviceError, DeviceResult};
use crate::timeline::Timeline;

static HUBS: Mutex<BTreeMap<u32, Arc<Hub>>> = Mutex::new(BTreeMap::new());

pub(super) struct Hub {
    info: DeviceInfo,
    /// Held while it is made anew.
    retained: Mutex<Context>,
    /// The same, for calls to set: it changes only while the gate is closed.
    current: AtomicPtr<sys::CUctx_st>,
    gate: Gate,
    /// Why the device was lost last.
    loss: Mutex<Option<DeviceError>>,
    drop_errors: AtomicU64,
    timelines: Mutex<Vec<Weak<Timeline>>>,
    /// Events to mark positions with, for reuse: making one costs twenty times taking one from here.
    marks: Mutex<Marks>,
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
        let context = retain(device).map_err(|_| driver::failed("cuDevicePrimaryCtxRetain"))?;
        Ok(Self {
            info,
            current: AtomicPtr::new(context.as_raw()),
            retained: Mutex::new(context),
            gate: Gate::default(),
            loss: Mutex::new(None),
            drop_errors: AtomicU64::new(0),
            timelines: Mutex::default(),
            marks: Mutex::default(),
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

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.gate.epoch()
    }

    pub(super) fn reactor(&self) -> &Reactor {
        &self.reactor
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
        if self.gate.is_open() { Ok(()) } else { Err(self.refusal()) }
    }

    /// Ok while the context is whole, and of that epoch.
    pub(super) fn check(&self, epoch: Epoch) -> DeviceResult {
        if self.gate.admits(epoch) { Ok(()) } else { Err(self.refusal()) }
    }

    /// Why calls are refused: the device is lost, or was since the handle was made.
    fn refusal(&self) -> DeviceError {
        self.loss().clone().expect("invariant: only after a loss is a call refused")
    }

    /// Calls the driver with this device's context current, and handles of that epoch. A lost device is not
    /// called, nor one that was lost since.
    pub(super) fn call(
        &self,
        epoch: Epoch,
        name: &'static str,
        call: impl FnOnce() -> CUresult,
    ) -> DeviceResult {
        match self.try_call(epoch, call)? {
            0 => Ok(()),
            code => Err(DeviceError::Driver { call: name, code, name: driver::name(code) }),
        }
    }

    /// As [`call`](Self::call), for calls with failures of their own: the code, unless it broke the context.
    pub(super) fn try_call(
        &self,
        epoch: Epoch,
        call: impl FnOnce() -> CUresult,
    ) -> DeviceResult<u32> {
        let inside = self.gate.enter(epoch).ok_or_else(|| self.refusal())?;
        // SAFETY: the context is retained, and is not made anew as long as somebody is inside.
        let set = unsafe { sys::cuCtxSetCurrent(self.current.load(Ordering::Acquire)) };
        let code = match driver::code(set) {
            0 => driver::code(call()),
            code => code,
        };
        if !driver::is_sticky(code) {
            return Ok(code);
        }
        // Inside still: what it says is of this context, and not of the next.
        let error = self.lose(code);
        drop(inside);
        self.tell_lost(&error);
        Err(error)
    }

    /// A call made while dropping a handle of `epoch`: a stale handle is forgotten, an error counted.
    /// Whether it was done.
    pub(super) fn call_in_drop(
        &self,
        epoch: Epoch,
        name: &'static str,
        call: impl FnOnce() -> CUresult,
    ) -> bool {
        if epoch != self.epoch() {
            return false;
        }
        let done = self.call(epoch, name, call).is_ok();
        self.drop_errors.fetch_add(u64::from(!done), Ordering::Relaxed);
        done
    }

    pub(super) fn drop_errors(&self) -> u64 {
        self.drop_errors.load(Ordering::Relaxed)
    }

    /// The context is broken: ends the epoch. The first reason is the one that everybody is told.
    fn lose(&self, code: u32) -> DeviceError {
        let mut loss = self.loss();
        if let (false, Some(error)) = (self.gate.is_open(), &*loss) {
            return error.clone();
        }
        let (device, epoch) = (self.id(), self.epoch());
        let error = DeviceError::Lost { device, epoch, code, name: driver::name(code) };
        *loss = Some(error.clone());
        self.gate.close();
        error
    }

    /// Tells those that wait for streams of epochs that have ended.
    fn tell_lost(&self, error: &DeviceError) {
        let epoch = self.epoch();
        let mut lost = Vec::new();
        self.timelines().retain(|timeline| match timeline.upgrade() {
            Some(timeline) if timeline.epoch() != epoch => {
                lost.push(timeline);
                false
            }
            kept => kept.is_some(),
        });
        lost.iter().for_each(|timeline| timeline.lose(error.clone()));
    }

    /// The timeline of a stream of that epoch, which is told if the device is lost.
    pub(super) fn new_timeline(&self, epoch: Epoch) -> Arc<Timeline> {
        let timeline = Arc::new(Timeline::of(epoch));
        let mut timelines = self.timelines();
        timelines.retain(|timeline| timeline.strong_count() > 0);
        timelines.push(Arc::downgrade(&timeline));
        drop(timelines);
        if let Err(error) = self.check(epoch) {
            timeline.lose(error);
        }
        timeline
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

    fn loss(&self) -> MutexGuard<'_, Option<DeviceError>> {
        self.loss.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timelines(&self) -> MutexGuard<'_, Vec<Weak<Timeline>>> {
        self.timelines.lock().unwrap_or_else(PoisonError::into_inner)
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

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("device", &self.id())
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}
