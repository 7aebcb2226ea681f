//! The epochs of a device that can be lost: who may call its driver, what ends an epoch, who is told, and what
//! lets the next begin.
//!
//! What is behind it is its user's: the hub of a CUDA device, or the simulated device.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::device::{DeviceId, Epoch};
use crate::error::{DeviceError, DeviceResult, RecoveryFailure};
use crate::gate::Gate;
use crate::timeline::Timeline;

/// How long calls that were under way when the device was lost may take to return.
const CALLS: Duration = Duration::from_secs(5);

/// What a driver's codes mean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codes {
    /// A code's name, or its absence in words.
    pub(crate) name: fn(u32) -> &'static str,
    /// Whether the context is broken for good after that code.
    pub(crate) is_sticky: fn(u32) -> bool,
}

pub(crate) struct Epochs {
    device: DeviceId,
    codes: Codes,
    gate: Gate,
    /// Why the device was lost last.
    loss: Mutex<Option<DeviceError>>,
    drop_errors: AtomicU64,
    timelines: Mutex<Vec<Weak<Timeline>>>,
}

impl Epochs {
    /// In the first one, with the device whole.
    pub(crate) fn new(device: DeviceId, codes: Codes) -> Self {
        Self {
            device,
            codes,
            gate: Gate::default(),
            loss: Mutex::default(),
            drop_errors: AtomicU64::new(0),
            timelines: Mutex::default(),
        }
    }

    /// The epoch that handles made now will carry.
    pub(crate) fn epoch(&self) -> Epoch {
        self.gate.epoch()
    }

    /// Ok while the context is whole.
    pub(crate) fn health(&self) -> DeviceResult {
        if self.gate.is_open() { Ok(()) } else { Err(self.refusal()) }
    }

    /// Ok while the context is whole, and of that epoch.
    pub(crate) fn check(&self, epoch: Epoch) -> DeviceResult {
        if self.gate.admits(epoch) { Ok(()) } else { Err(self.refusal()) }
    }

    /// Why calls are refused: the device is lost, or was since the handle was made.
    fn refusal(&self) -> DeviceError {
        self.loss().clone().expect("invariant: only after a loss is a call refused")
    }

    /// Calls the driver with handles of that epoch. A lost device is not called, nor one that was lost since.
    pub(crate) fn call(
        &self,
        epoch: Epoch,
        name: &'static str,
        call: impl FnOnce() -> u32,
    ) -> DeviceResult {
        match self.try_call(epoch, call)? {
            0 => Ok(()),
            code => Err(DeviceError::Driver { call: name, code, name: (self.codes.name)(code) }),
        }
    }

    /// As [`call`](Self::call), for calls with failures of their own: the code, unless it broke the context.
    pub(crate) fn try_call(&self, epoch: Epoch, call: impl FnOnce() -> u32) -> DeviceResult<u32> {
        self.must_answer(epoch, |code| !(self.codes.is_sticky)(code), call)
    }

    /// As [`try_call`](Self::try_call), where any code that is no answer says that the context is broken.
    pub(crate) fn must_answer(
        &self,
        epoch: Epoch,
        answers: impl FnOnce(u32) -> bool,
        call: impl FnOnce() -> u32,
    ) -> DeviceResult<u32> {
        let inside = self.gate.enter(epoch).ok_or_else(|| self.refusal())?;
        let code = call();
        if answers(code) {
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
    pub(crate) fn call_in_drop(
        &self,
        epoch: Epoch,
        name: &'static str,
        call: impl FnOnce() -> u32,
    ) -> bool {
        if epoch != self.epoch() {
            return false;
        }
        let done = self.call(epoch, name, call).is_ok();
        self.count_drop_errors(u64::from(!done));
        done
    }

    pub(crate) fn count_drop_errors(&self, errors: u64) {
        self.drop_errors.fetch_add(errors, Ordering::Relaxed);
    }

    pub(crate) fn drop_errors(&self) -> u64 {
        self.drop_errors.load(Ordering::Relaxed)
    }

    /// Brings a lost device back, by making its context anew, and returns the epoch. One at a time. Does
    /// nothing where the device is not lost.
    pub(crate) fn recover(
        &self,
        make_anew: impl FnOnce() -> Result<(), RecoveryFailure>,
    ) -> DeviceResult<Epoch> {
        if !self.gate.is_open() {
            let device = self.device;
            let failed = |cause| DeviceError::NotRecovered { device, cause };
            if !self.gate.wait_until_empty(CALLS) {
                return Err(failed(RecoveryFailure::Busy { limit: CALLS }));
            }
            make_anew().map_err(failed)?;
            self.gate.open();
        }
        Ok(self.epoch())
    }

    /// The context is broken: ends the epoch. The first reason is the one that everybody is told.
    fn lose(&self, code: u32) -> DeviceError {
        let mut loss = self.loss();
        if let (false, Some(error)) = (self.gate.is_open(), &*loss) {
            return error.clone();
        }
        let (device, epoch, name) = (self.device, self.epoch(), (self.codes.name)(code));
        let error = DeviceError::Lost { device, epoch, code, name };
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
    pub(crate) fn new_timeline(&self, epoch: Epoch) -> Arc<Timeline> {
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

    fn loss(&self) -> MutexGuard<'_, Option<DeviceError>> {
        self.loss.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timelines(&self) -> MutexGuard<'_, Vec<Weak<Timeline>>> {
        self.timelines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
