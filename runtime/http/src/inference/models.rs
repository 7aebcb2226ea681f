//! Kernels as they are found by name, and what is counted of each.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rustkernel_core::kernel::{Condition, NamedKernel};
use rustkernel_core::message::Signature;
use rustkernel_core::runtime::{LifecycleState, Runtime};

use super::statistics::Counts;
use super::{Fault, Reason};
use crate::metrics::{KernelMetrics, Metrics};
use crate::security::Principal;

/// A kernel, and what is counted of it.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) kernel: NamedKernel,
    pub(crate) counts: Counts,
    pub(crate) metrics: KernelMetrics,
}

impl Model {
    pub(crate) fn signature(&self) -> &Signature {
        self.kernel.signature()
    }

    /// Whether it takes requests.
    ///
    /// # Errors
    /// If not, and why.
    pub(crate) fn serves(&self) -> Result<(), Fault> {
        let (reason, why) = match self.kernel.condition() {
            Condition::Quarantined => (Reason::Quarantined, "is quarantined"),
            Condition::Unloaded => (Reason::Unloaded, "is unloaded"),
            Condition::Ended => (Reason::Ended, "has ended"),
            _ => return Ok(()),
        };
        Err(Fault::new(reason, format!("`{}` {why}", self.signature().name)))
    }
}

/// The kernels that were asked for so far, by name; the others are found at the runtime.
#[derive(Debug)]
pub(crate) struct Models {
    runtime: Arc<Runtime>,
    metrics: Arc<Metrics>,
    known: RwLock<HashMap<String, Arc<Model>>>,
}

impl Models {
    pub(crate) fn new(runtime: Arc<Runtime>, metrics: Arc<Metrics>) -> Self {
        Self { runtime, metrics, known: RwLock::default() }
    }

    /// Whether requests are taken, before anything is read of one.
    ///
    /// # Errors
    /// If not, and why.
    pub(crate) fn admit(&self) -> Result<(), Fault> {
        let (reason, state) = match self.runtime.state() {
            LifecycleState::Running => return Ok(()),
            state @ LifecycleState::Starting => (Reason::Starting, state),
            state @ LifecycleState::Draining => (Reason::Draining, state),
            state @ LifecycleState::Stopped => (Reason::Stopped, state),
        };
        Err(Fault::new(reason, format!("the runtime is {state}; it takes no requests")))
    }

    /// The kernel of that name, and of that version if one is named.
    ///
    /// # Errors
    /// If there is none, in the words that clients of Triton know.
    pub(crate) fn find(&self, name: &str, version: Option<&str>) -> Result<Arc<Model>, Fault> {
        let model = self.known(name).map_or_else(|| self.meet(name), Ok)?;
        match version {
            Some(version) if version != model.signature().version => {
                let error =
                    format!("Request for unknown model: '{name}' version {version} is not found");
                Err(Fault::new(Reason::NotFound, error))
            }
            _ => Ok(model),
        }
    }

    fn known(&self, name: &str) -> Option<Arc<Model>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Finds a kernel for the first time.
    fn meet(&self, name: &str) -> Result<Arc<Model>, Fault> {
        let kernel = self.runtime.named_kernel(name).map_err(|_unknown| {
            let error = format!("Request for unknown model: '{name}' is not found");
            Fault::new(Reason::NotFound, error)
        })?;
        let metrics = self.metrics.of_kernel(name);
        let model = Model { kernel, counts: Counts::default(), metrics };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(known.entry(name.to_owned()).or_insert_with(|| Arc::new(model))))
    }

    /// The kernels that can be called by name, of those that somebody is let to.
    pub(crate) fn seen_by(&self, asks: Option<&Principal>) -> Vec<Arc<Model>> {
        let signatures = self.runtime.signatures();
        let names = signatures.iter().map(|signature| &*signature.name);
        let names = names.filter(|name| asks.is_none_or(|asks| asks.is_let_to(name)));
        names.filter_map(|name| self.find(name, None).ok()).collect()
    }
}
