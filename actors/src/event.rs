//! What happens, for whoever subscribes.

use std::time::Duration;

use rustkernel_gpu::DeviceId;
use rustkernel_gpu::memory::PressureLevel;
use tokio::sync::broadcast;

use crate::panic::PanicReport;
use crate::restart::{Cause, DeadLetter};
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
    /// A kernel's instance has ended for another reason than a panic.
    KernelFailed {
        /// The kernel.
        kernel: String,
        /// Which of its instances.
        instance: usize,
        /// Why.
        cause: Cause,
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
    /// A kernel has ended too often: its requests are refused.
    KernelQuarantined {
        /// The kernel.
        kernel: String,
        /// Why it ended the last time.
        cause: Cause,
        /// For how long; `None` until somebody lifts it.
        time: Option<Duration>,
    },
    /// A quarantine is over: one instance is tried.
    KernelOnTrial {
        /// The kernel.
        kernel: String,
    },
    /// The kernel has served a request after a quarantine.
    KernelRecovered {
        /// The kernel.
        kernel: String,
    },
    /// A kernel was told to, and has dropped its state: its requests are refused.
    KernelUnloaded {
        /// The kernel.
        kernel: String,
        /// How many of its instances did not come back in time, and were replaced.
        replaced: usize,
    },
    /// A kernel that was unloaded is to serve again.
    KernelLoaded {
        /// The kernel.
        kernel: String,
    },
    /// A kernel's last instance has ended and is not restarted: its requests are refused.
    KernelEnded {
        /// The kernel.
        kernel: String,
        /// Why.
        cause: Cause,
    },
    /// Kernels of a group were restarted together.
    GroupRestarted {
        /// The group.
        group: String,
        /// The kernel because of which.
        kernel: String,
        /// Those that were restarted, in the order of their start.
        restarted: Vec<String>,
    },
    /// A request has ended its kernel as often as it may, and is not tried again.
    DeadLetter(DeadLetter),
    /// A drain has come so far.
    Draining(DrainPhase),
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
    /// A device that was lost can be used again.
    DeviceRecovered {
        /// The device.
        device: DeviceId,
    },
    /// A device that was lost does not come back: kernels that can have moved elsewhere.
    DeviceOut {
        /// The device.
        device: DeviceId,
        /// What the last try to recover it said.
        reason: String,
    },
}

/// How far a drain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainPhase {
    /// New requests are refused, those in flight finish.
    Finishing,
    /// The time is over: what is left is cancelled.
    Cancelling,
    /// Instances end.
    Stopping,
    /// Memory is given back.
    Releasing,
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
