//! Kernels: what a user writes, and the actors that run it.
//!
//! | part | role |
//! |---|---|
//! | [`Kernel`] | the user's code: `open`, `execute`, `close` |
//! | [`KernelSpec`] | how to run it: name, factory, instances, bounds, memory, deadline |
//! | [`KernelContext`] | what the code is given: device, stream, memory, deadline, logger |
//! | [`KernelRef`] | how it is called |
//! | [`NamedKernel`] | how it is called by name |
//! | [`Timing`] | when a request was run |
//! | `actor` | the kernel's actor: starts, drains and stops its instances, and has them wait |
//! | `places` | where its instances sit, which of them hang, who replaces them |
//! | `gate` | whether requests come in, and why not |
//! | `shared` | what all of these share: the port, the counters |
//! | [`KernelChange`] | what can be changed while it runs |

mod actor;
mod change;
mod context;
mod gate;
mod learned;
mod named;
mod places;
mod priority;
mod reference;
mod shared;
mod spec;
mod timing;

use std::future::{Future, ready};

use rustkernel_gpu::DeviceKind;

use crate::error::KernelResult;

pub use change::{ChangeError, KernelChange};
pub use context::{CancelToken, KernelContext};
pub use gate::Condition;
pub use learned::{LearnedMemory, LearnedPeaks};
pub use named::{CallOptions, NamedKernel};
pub use priority::Priority;
pub use reference::{Call, KernelProxy, KernelRef};
pub use shared::KernelStats;
pub use spec::{AnySpec, DeviceChoice, KernelSpec, Placement};
pub use timing::Timing;

pub(crate) use actor::{Hold, KernelActor, KernelReport, Order};
pub(crate) use context::{HealthBell, Request, Setting};
pub(crate) use shared::{Answer, AnyKernel, Asked, Shared};
pub(crate) use spec::{Environment, SpawnEnvironment, Spawned};

/// The kinds of device that a kernel has code for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    /// The host.
    Host,
    /// CUDA devices.
    Cuda,
    /// Both; see [`KernelContext::device`].
    Any,
}

impl Devices {
    /// Whether the kernel has code for that kind.
    pub const fn includes(self, kind: DeviceKind) -> bool {
        matches!(
            (self, kind),
            (Self::Any, _) | (Self::Host, DeviceKind::Host) | (Self::Cuda, DeviceKind::Cuda)
        )
    }
}

/// A compute kernel.
///
/// One value of the type is one instance. It is made by the factory of its [`KernelSpec`], at the
/// first start and at each restart, on the thread where it then lives; it need not be `Send`. One
/// request at a time is given to an instance.
///
/// A panic in any of these methods fails the request that was running, and the instance is restarted
/// with fresh state. Requests that wait are not affected.
pub trait Kernel: 'static {
    /// What a caller brings.
    type Request: Send + 'static;
    /// What it gets.
    type Response: Send + 'static;

    /// The kinds of device that the kernel has code for.
    const DEVICES: Devices = Devices::Host;

    /// Prepares the instance: loads modules, opens streams, allocates what it keeps. Runs before the
    /// first request and after each restart.
    ///
    /// # Errors
    /// At the first start the runtime's `start()` fails with it; at a restart it is tried again.
    fn open(&mut self, cx: &mut KernelContext) -> impl Future<Output = KernelResult> {
        let _ = cx;
        ready(Ok(()))
    }

    /// Answers a request.
    ///
    /// It is dropped at an `.await` when its caller goes away, its deadline passes, or the runtime
    /// gives up waiting during a shutdown; code that computes for long without waiting should ask
    /// [`KernelContext::is_cancelled`] now and then.
    ///
    /// # Errors
    /// Whatever the kernel says; see [`KernelError`](crate::KernelError).
    fn execute(
        &mut self,
        request: Self::Request,
        cx: &mut KernelContext,
    ) -> impl Future<Output = KernelResult<Self::Response>>;

    /// Says whether the instance is fit for service. Asked at each health check of the runtime, between
    /// requests; an instance that is busy is not asked.
    ///
    /// # Errors
    /// The instance is restarted.
    fn check(&mut self, cx: &mut KernelContext) -> impl Future<Output = KernelResult> {
        let _ = cx;
        ready(Ok(()))
    }

    /// Ends the instance in an orderly way. Not called after a panic, nor after a fatal error.
    fn close(&mut self, cx: &mut KernelContext) -> impl Future<Output = ()> {
        let _ = cx;
        ready(())
    }
}
