//! What a kernel and its application need: `use rustkernel_core::prelude::*;`

pub use rustkernel_actors::kernel::{
    Call, CancelToken, Condition, DeviceChoice, Devices, Kernel, KernelContext, KernelProxy,
    KernelRef, KernelSpec, Placement, Priority,
};
pub use rustkernel_actors::message::KernelMessage;
pub use rustkernel_actors::{
    ActorSpec, Backoff, CallError, Cancellation, Cause, Heard, KernelError, KernelResult, Ledger,
    Rejection, RestartPolicy, RestartType, RetryPolicy, RuntimeEvent, Strategy, Tensor,
};
pub use rustkernel_derive::KernelMessage;
pub use rustkernel_gpu::{DeviceId, DeviceKind, LaunchConfig, ModuleSource, arguments};

pub use crate::memory::{KernelMemoryManager, MemoryConfig, PressureLevel};
pub use crate::runtime::{LifecycleState, Runtime, RuntimeBuilder, RuntimeConfig, RuntimePreset};
