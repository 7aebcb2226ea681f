//! What routes and signals share.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustkernel_core::kernel::Instant;
use rustkernel_core::runtime::{LifecycleState, Runtime};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::health::Readiness;
use crate::security::Guard;
use crate::signals::Ask;
use crate::systemd;
use crate::tracing::Tracing;
use crate::view::Problem;

/// The configuration of a service, as far as it has one that can be shown and read again.
pub trait Configuration: Send + Sync {
    /// What is in effect, without secrets.
    fn show(&self) -> Value;

    /// Reads it again, and changes what can be changed while the runtime runs. May block.
    ///
    /// # Errors
    /// Each thing that is wrong with it, in a sentence; nothing was changed then.
    fn reload(&self) -> Result<Reloaded, Vec<String>>;
}

/// What came of reading a configuration again: the keys whose values differ, by their paths.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reloaded {
    /// What was read: `configuration`, `keys`, `certificates`, as far as there are any.
    #[serde(default)]
    pub read: Vec<String>,
    /// Those that are in effect now.
    pub changed: Vec<String>,
    /// Those that will be when the service is started anew.
    pub need_restart: Vec<String>,
}

/// The service, as routes and signals see it.
pub(crate) struct Control {
    pub(crate) name: String,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) configuration: Option<Arc<dyn Configuration>>,
    /// Who admits requests, and has them written down.
    pub(crate) guard: Arc<Guard>,
    /// Who traces requests.
    pub(crate) tracing: Option<Arc<Tracing>>,
    /// How long requests are still taken when it was told to drain.
    pub(crate) drain_delay: Duration,
    /// When it drains, from when it was told to end.
    pub(crate) leaves: OnceLock<Instant>,
    /// Held by whoever reads the configuration again.
    pub(crate) reloading: Arc<Mutex<()>>,
    /// To whoever runs the service.
    pub(crate) asks: mpsc::Sender<Ask>,
}

impl Control {
    /// Asks whoever runs the service; whether it will be heard.
    pub(crate) fn ask(&self, ask: Ask) -> bool {
        // (If nobody listens it has ended.)
        !matches!(self.asks.try_send(ask), Err(TrySendError::Full(_)))
    }

    /// Whether it ends, or soon will.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaves.get().is_some()
            || matches!(self.runtime.state(), LifecycleState::Draining | LifecycleState::Stopped)
    }

    /// For how long it takes requests although it was told to drain.
    pub(crate) fn drains_in(&self) -> Option<Duration> {
        let left = self.leaves.get()?.checked_duration_since(Instant::now())?;
        (self.runtime.state() == LifecycleState::Running).then_some(left)
    }

    /// Whether it has started, and does not end.
    fn is_up(&self) -> bool {
        self.runtime.state() == LifecycleState::Running && !self.is_leaving()
    }

    /// How ready it is.
    pub(crate) fn readiness(&self) -> Readiness {
        Readiness::of(&self.runtime.stats(), self.is_leaving()).with_audit(self.guard.audit())
    }

    /// Reads the configuration and the keys of callers again.
    ///
    /// # Errors
    /// If there is none, or one of them is wrong.
    pub(crate) async fn reload(&self) -> Result<Reloaded, Problem> {
        let Some(configuration) = self.configuration.clone() else {
            return Err(Problem::new("there is no configuration file to read again")
                .hint("it was started without one; start it anew to change anything"));
        };
        // (Before it is up, and when it ends, systemd is told of that alone.)
        let is_told = self.is_up();
        if is_told {
            systemd::reloading();
        }
        let (guard, reloading) = (Arc::clone(&self.guard), Arc::clone(&self.reloading));
        let read = move || {
            // One at a time: what was read first, a key that is revoked since, is never put in place last.
            let _alone = reloading.lock().unwrap_or_else(PoisonError::into_inner);
            read_again(&guard, &*configuration)
        };
        let read = tokio::task::spawn_blocking(read).await;
        if is_told && self.is_up() {
            systemd::reloaded();
        }
        match read {
            Ok(Ok(reloaded)) => Ok(reloaded),
            Ok(Err(problems)) => {
                let error = "the configuration cannot be used, and nothing was changed";
                Err(Problem { problems, ..Problem::new(error) })
            }
            Err(panicked) => Err(Problem::new(format!("reading the configuration: {panicked}"))),
        }
    }
}

/// Reads keys, certificates and configuration again; if any is wrong, nothing changes.
fn read_again(guard: &Guard, configuration: &dyn Configuration) -> Result<Reloaded, Vec<String>> {
    let fresh = guard.read_again().map_err(|error| vec![error.to_string()])?;
    let reloaded = configuration.reload()?;
    guard.put_in_place(fresh);
    Ok(reloaded)
}
