//! Kernels that are called by name, with what a file or a network brings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::shared::AnyKernel;
use super::{Condition, KernelStats, Priority, Timing};
use crate::error::CallError;
use crate::message::{Fields, Signature};

/// A published kernel, found once and called often. Clones call the same kernel.
#[derive(Clone)]
pub struct NamedKernel {
    kernel: Arc<dyn AnyKernel>,
}

/// What a caller says of a call by name. The default is what the kernel's spec says.
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// How much it matters where memory is short.
    pub priority: Option<Priority>,
    /// Refuse it if as many requests are open as the kernel allows, instead of waiting for room.
    pub no_waiting: bool,
    /// Where to note when the kernel's code ran.
    pub timing: Option<Arc<Timing>>,
    /// It is one of many that its thread brings; see [`KernelRef::gathering`](super::KernelRef::gathering).
    pub gather: bool,
}

impl NamedKernel {
    /// The kernel, if it is published.
    pub(crate) fn new(kernel: Arc<dyn AnyKernel>) -> Option<Self> {
        kernel.signature().is_some().then_some(Self { kernel })
    }

    /// What it takes and gives, under its name.
    pub fn signature(&self) -> &Signature {
        self.kernel.signature().expect("invariant: it was looked at when this was made")
    }

    /// A reading of the kernel.
    pub fn stats(&self) -> KernelStats {
        self.kernel.stats()
    }

    /// How it is.
    pub fn condition(&self) -> Condition {
        self.kernel.condition()
    }

    /// Calls it. Nothing is copied, and so a request that is refused does not come back.
    ///
    /// # Errors
    /// [`CallError`] says why there is no answer.
    pub async fn call(
        &self,
        fields: Fields,
        options: CallOptions,
    ) -> Result<Fields, CallError<()>> {
        let call = Arc::clone(&self.kernel).call_named(fields, options);
        call.expect("invariant: it was looked at when this was made").await
    }
}

impl fmt::Debug for NamedKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamedKernel").field(&self.kernel.name()).finish()
    }
}
