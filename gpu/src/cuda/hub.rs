//! One hub per CUDA device: the only owner of its context and of its epoch.
//!
//! The context is retained when the device is opened first and kept until the process ends: the last
//! `Context` dropped would reset the device under everybody. A fault that breaks the context ("sticky":
//! every later call fails) is noticed by whichever call meets it first. From then on the epoch has
//! changed, calls are refused before they reach the driver, and whoever waits is told.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cust::context::{Context, ContextFlags, CurrentContext};
use cust::sys::{self, CUresult};

use super::driver::{self, Raw};
use super::reactor::Reactor;
use crate::device::{DeviceId, DeviceInfo, Epoch};
use crate::error::{DeviceError, DeviceResult};
use crate::timeline::Timeline;

static HUBS: Mutex<BTreeMap<u32, Arc<Hub>>> = Mutex::new(BTreeMap::new());

pub(super) struct Hub {
    info: DeviceInfo,
    context: Context,
    epoch: AtomicU64,
    lost: Mutex<Option<DeviceError>>,
    drop_errors: AtomicU64,
    timelines: Mutex<Vec<Weak<Timeline>>>,
    /// Events to mark positions with, for reuse: making one costs twenty times taking one from here.
    marks: Mutex<Vec<Raw<sys::CUevent_st>>>,
    reactor: Reactor,
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
        let context =
            Context::new(device).map_err(|_| driver::failed("cuDevicePrimaryCtxRetain"))?;
        // Stray synchronisation shall sleep, not spin. Where others use the context already the
        // driver refuses, and their choice stands.
        context.set_flags(ContextFlags::SCHED_BLOCKING_SYNC).ok();
        Ok(Self {
            info,
            context,
            epoch: AtomicU64::new(0),
            lost: Mutex::new(None),
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

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn reactor(&self) -> &Reactor {
        &self.reactor
    }

    /// Ok while the context is whole.
    pub(super) fn health(&self) -> DeviceResult {
        self.lost().clone().map_or(Ok(()), Err)
    }

    /// Calls the driver with this device's context current. A lost device is not called.
    pub(super) fn call(&self, name: &'static str, call: impl FnOnce() -> CUresult) -> DeviceResult {
        match self.try_call(name, call)? {
            0 => Ok(()),
            code => Err(DeviceError::Driver { call: name, code, name: driver::name(code) }),
        }
    }

    /// As [`call`](Self::call), for calls with failures of their own: the code, unless it broke the context.
    pub(super) fn try_call(
        &self,
        name: &'static str,
        call: impl FnOnce() -> CUresult,
    ) -> DeviceResult<u32> {
        self.health()?;
        let code = match CurrentContext::set_current(&self.context) {
            Ok(()) => driver::code(call()),
            Err(_) => rustkernel_driver::last_code(),
        };
        if driver::is_sticky(code) {
            return Err(self.lose(code, name));
        }
        Ok(code)
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
        let done = self.call(name, call).is_ok();
        self.drop_errors.fetch_add(u64::from(!done), Ordering::Relaxed);
        done
    }

    pub(super) fn drop_errors(&self) -> u64 {
        self.drop_errors.load(Ordering::Relaxed)
    }

    /// The context is broken: ends the epoch and tells whoever waits. Told once; later callers get
    /// the first reason.
    fn lose(&self, code: u32, _call: &'static str) -> DeviceError {
        let mut lost = self.lost();
        if let Some(error) = &*lost {
            return error.clone();
        }
        let (device, epoch) = (self.id(), self.epoch());
        let error = DeviceError::Lost { device, epoch, code, name: driver::name(code) };
        *lost = Some(error.clone());
        self.epoch.fetch_add(1, Ordering::AcqRel);
        drop(lost);
        self.marks().clear();
        let timelines = std::mem::take(&mut *self.timelines());
        for timeline in timelines.iter().filter_map(Weak::upgrade) {
            timeline.lose(error.clone());
        }
        error
    }

    /// The timeline of a stream that is told if the device is lost.
    pub(super) fn new_timeline(&self) -> Arc<Timeline> {
        let timeline = Arc::new(Timeline::default());
        let mut timelines = self.timelines();
        timelines.retain(|timeline| timeline.strong_count() > 0);
        timelines.push(Arc::downgrade(&timeline));
        drop(timelines);
        if let Err(error) = self.health() {
            timeline.lose(error);
        }
        timeline
    }

    /// An event for a mark, from those given back or a new one.
    pub(super) fn take_mark(&self) -> DeviceResult<Raw<sys::CUevent_st>> {
        if let Some(mark) = self.marks().pop() {
            return Ok(mark);
        }
        self.create_event()
    }

    pub(super) fn give_mark(&self, mark: Raw<sys::CUevent_st>) {
        self.marks().push(mark);
    }

    pub(super) fn create_event(&self) -> DeviceResult<Raw<sys::CUevent_st>> {
        let mut event = std::ptr::null_mut();
        let flags = sys::CUevent_flags_enum::CU_EVENT_DISABLE_TIMING as u32;
        // SAFETY: `event` is valid for a write.
        self.call("cuEventCreate", || unsafe { sys::cuEventCreate(&raw mut event, flags) })?;
        Ok(Raw(event))
    }

    fn lost(&self) -> MutexGuard<'_, Option<DeviceError>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timelines(&self) -> MutexGuard<'_, Vec<Weak<Timeline>>> {
        self.timelines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn marks(&self) -> MutexGuard<'_, Vec<Raw<sys::CUevent_st>>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
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
