//! The runtime: built, started, drained, stopped.
//!
//! ```text
//!  Starting ──start()──► Running ──shutdown()──► Draining ──drain complete──► Stopped
//! ```

mod builder;
mod cgroup;
mod config;
mod devices;
mod handle;
mod live;
mod preset;

pub use builder::{BuildError, RuntimeBuilder};
pub use config::{InvalidConfig, RuntimeConfig};
pub use devices::{Devices, devices};
pub use handle::{Runtime, ShutdownError};
pub use live::{LiveConfig, ReconfigureError};
pub use preset::{ParsePresetError, RuntimePreset};
pub use rustkernel_actors::supervisor::{
    IllegalTransition, LifecycleEvent, LifecycleState, OnDeviceLoss, ShutdownReport, Step,
    StopReason, transition,
};
pub use rustkernel_actors::{
    DeadLetter, DeviceStats, DrainPhase, Events, Heard, LoadError, LookupError, RuntimeEvent,
    RuntimeStats, StartError,
};

pub(crate) use devices::{default_device, physical_memory, usable_memory};
