//! Writing and calling kernels.
//!
//! A [`Kernel`] is the code, a [`KernelSpec`] says how to run it, a [`KernelRef`] calls it.

pub use rustkernel_actors::clock::Instant;
pub use rustkernel_actors::kernel::{
    AnySpec, Call, CallOptions, CancelToken, ChangeError, Condition, DeviceChoice, Devices, Kernel,
    KernelChange, KernelContext, KernelProxy, KernelRef, KernelSpec, KernelStats, LearnedMemory,
    LearnedPeaks, NamedKernel, Placement, Priority, Timing,
};
pub use rustkernel_actors::{
    ActorSpec, AnyElement, AnyTensor, Backoff, CallError, Cancellation, Cause, Effects,
    HistoryEntry, HostedActor, KernelError, KernelResult, Ledger, OnExceeded, PanicReport,
    Rejection, RestartPolicy, RestartType, RetryPolicy, ShapeError, Strategy, Tensor,
};
pub use rustkernel_gpu::memory::Need;

/// Does the same with an [`AnyTensor`] of whatever element type.
pub use rustkernel_actors::with_tensor;
