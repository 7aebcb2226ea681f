//! Events of a CUDA device.

use std::sync::Arc;

use cust::sys;

use super::driver::Raw;
use super::hub::Hub;
use super::reactor;
use crate::device::Epoch;
use crate::error::DeviceResult;

/// A driver event, with the epoch it belongs to.
pub(crate) struct CudaEvent {
    hub: Arc<Hub>,
    raw: Raw<sys::CUevent_st>,
    epoch: Epoch,
}

impl CudaEvent {
    pub(super) fn new(hub: &Arc<Hub>) -> DeviceResult<Self> {
        let epoch = hub.epoch();
        Ok(Self { hub: Arc::clone(hub), raw: hub.create_event(epoch)?, epoch })
    }

    /// The driver's handle, if it is of the current epoch.
    pub(super) fn raw(&self) -> DeviceResult<Raw<sys::CUevent_st>> {
        self.hub.check(self.epoch)?;
        Ok(self.raw)
    }

    pub(crate) fn is_reached(&self) -> DeviceResult<bool> {
        reactor::ask(&self.hub, self.epoch, self.raw)
    }
}

impl Drop for CudaEvent {
    fn drop(&mut self) {
        // SAFETY: nobody has the handle any more. The driver lets recorded work finish.
        let destroy = || unsafe { sys::cuEventDestroy_v2(self.raw.0) };
        self.hub.call_in_drop(self.epoch, "cuEventDestroy", destroy);
    }
}
