//! What happens, for whoever subscribes.

use rustkernel_gpu::DeviceId;
use rustkernel_gpu::memory::PressureLevel;
use tokio::sync::broadcast;

use crate::panic::PanicReport;
use crate::supervisor::LifecycleState;

/// Events kept for a subscriber that is slow; it is told how many it missed.
const KEPT: usize = 1024;

/// Something that happened in a runtime.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RuntimeEvent {
    /// The lifecycle moved.
    StateChanged {
        /// From here.
        from: LifecycleState,
        /// To here.
        to: LifecycleState,
    },
    /// A kernel's instances have all started.
    KernelStarted {
        /// The kernel.
        kernel: String,
        /// How many instances.
        instances: usize,
    },
    /// A kernel has stopped.
    KernelStopped {
        /// The kernel.
        kernel: String,
        /// Threads that did not come back and were abandoned.
        abandoned: usize,
    },
    /// A kernel's code panicked.
    KernelPanicked {
        /// The kernel.
        kernel: String,
        /// Which of its instances.
        instance: usize,
        /// What it said, and where.
        report: PanicReport,
    },
    /// A kernel's instance was ended by an error that it called fatal.
    KernelFailed {
        /// The kernel.
        kernel: String,
        /// Which of its instances.
        instance: usize,
        /// The error.
        error: String,
    },
    /// A kernel's instance runs again, with fresh state.
    KernelRestarted {
        /// The kernel.
        kernel: String,
        /// Which of its instances.
        instance: usize,
        /// How often it was restarted so far.
        restarts: u64,
    },
    /// A device's memory pressure has changed.
    PressureChanged {
        /// The device.
        device: DeviceId,
        /// From here.
        from: PressureLevel,
        /// To here.
        to: PressureLevel,
        /// Bytes committed at that moment.
        committed: u64,
        /// The most that can be, at that moment.
        limit: u64,
    },
    /// A device was lost, with all that was on it.
    DeviceLost {
        /// The device.
        device: DeviceId,
        /// Why.
        reason: String,
    },
}

/// Receives the events from the moment it was made.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<RuntimeEvent>,
}

/// The next thing that a subscriber hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// An event.
    Event(RuntimeEvent),
    /// That many events were missed, because this subscriber was slow.
    Missed(u64),
}

impl Events {
    /// The next event, or `None` once the runtime is gone.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.receiver.recv().await {
            Ok(event) => Some(Heard::Event(event)),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Heard::Missed(count)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// The next event, if one is there.
    pub fn try_next(&mut self) -> Option<Heard> {
        match self.receiver.try_recv() {
            Ok(event) => Some(Heard::Event(event)),
            Err(broadcast::error::TryRecvError::Lagged(count)) => Some(Heard::Missed(count)),
            Err(broadcast::error::TryRecvError::Closed | broadcast::error::TryRecvError::Empty) => {
                None
            }
        }
    }
}

/// Where events are told.
#[derive(Debug, Clone)]
pub(crate) struct Announcer {
    sender: broadcast::Sender<RuntimeEvent>,
}

impl Announcer {
    pub(crate) fn new() -> Self {
        Self { sender: broadcast::channel(KEPT).0 }
    }

    /// Tells every subscriber; nobody need listen.
    pub(crate) fn tell(&self, event: RuntimeEvent) {
        self.sender.send(event).ok();
    }

    pub(crate) fn subscribe(&self) -> Events {
        Events { receiver: self.sender.subscribe() }
    }
}
