//! A point in one stream that others wait for.

use std::fmt;
use std::sync::Arc;

use crate::device::Device;
use crate::error::DeviceResult;
use crate::host::HostEvent;

/// A point in a stream, marked by [`Stream::record`](crate::Stream::record) and waited for by
/// [`Stream::wait`](crate::Stream::wait) without the host taking part.
///
/// Before it is recorded it counts as reached; recording it again moves it. Clones are the same event.
#[derive(Clone)]
pub struct Event {
    device: Device,
    kind: EventKind,
}

#[derive(Clone)]
pub(crate) enum EventKind {
    Host(Arc<HostEvent>),
    #[cfg(feature = "cuda")]
    Cuda(Arc<crate::cuda::CudaEvent>),
}

impl Event {
    pub(crate) fn new(device: Device, kind: EventKind) -> Self {
        Self { device, kind }
    }

    pub(crate) fn kind(&self) -> &EventKind {
        &self.kind
    }

    /// The device that the event belongs to.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the stream has passed the point that was recorded last.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn is_reached(&self) -> DeviceResult<bool> {
        match &self.kind {
            EventKind::Host(event) => Ok(event.is_reached()),
            #[cfg(feature = "cuda")]
            EventKind::Cuda(event) => event.is_reached(),
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("device", &self.device.id()).finish_non_exhaustive()
    }
}
