//! The configuration of a service: shown, and read again while it runs.

use std::sync::{Arc, Mutex, PoisonError};

use rustkernel_core::config::Loaded;
use rustkernel_core::gpu::memory::PressureThresholds;
use rustkernel_core::kernel::ChangeError;
use rustkernel_core::runtime::{LiveConfig, ReconfigureError, Runtime};
use rustkernel_http::{Configuration, Reloaded};
use serde_json::{Value, json};

use super::config;
use crate::args::LayerArgs;

/// What a service was started with, and what has become of it.
pub(super) struct Live {
    runtime: Arc<Runtime>,
    layers: LayerArgs,
    started: Loaded,
    current: Mutex<Loaded>,
}

impl Live {
    pub(super) fn new(runtime: Arc<Runtime>, layers: LayerArgs, started: Loaded) -> Self {
        let current = Mutex::new(started.clone());
        Self { runtime, layers, started, current }
    }
}

impl Configuration for Live {
    fn show(&self) -> Value {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = self.started.changes(&current).at_restart;
        let rows = current.effective().into_iter().map(|row| {
            json!({
                "key": row.key,
                "value": row.value,
                "origin": row.origin.to_string(),
                "needs_restart": pending.contains(&row.key),
            })
        });
        rows.collect()
    }

    fn reload(&self) -> Result<Reloaded, Vec<String>> {
        // (Where callers have keys, those are read again in any case.)
        let has_keys = self.started.config.security.rbac_enabled;
        if !has_keys && config::file(self.layers.config.as_ref()).is_none() {
            let none = "there is no configuration file to read again; `--config FILE` names one at the start";
            return Err(vec![none.into()]);
        }
        // (Held while the file is read: of two reloads the later one wins.)
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let new = config::layers(&self.layers)
            .load()
            .map_err(|error| error.to_string().lines().map(str::to_owned).collect::<Vec<_>>())?;
        let (changed, mut need_restart) = self.change(&current.changes(&new).live, &new)?;
        need_restart.extend(self.started.changes(&new).at_restart);
        *current = new;
        Ok(Reloaded { changed, need_restart })
    }
}

impl Live {
    /// Changes what those keys are for. Returns which have their effect, and which need a restart.
    fn change(
        &self,
        keys: &[String],
        new: &Loaded,
    ) -> Result<(Vec<String>, Vec<String>), Vec<String>> {
        let (mut wanted, mut later): (Vec<String>, Vec<String>) =
            keys.iter().cloned().partition(|key| is_given(key, new));
        loop {
            match self.runtime.reconfigure(&changes(&wanted, new)) {
                Ok(()) => return Ok((wanted, later)),
                Err(ReconfigureError::Kernels(errors))
                    if errors.iter().all(ChangeError::needs_restart) =>
                {
                    let too_long = |key: &String| errors.iter().any(|error| is_queue(error, key));
                    let (waiting, rest): (Vec<String>, Vec<String>) =
                        wanted.into_iter().partition(too_long);
                    if waiting.is_empty() {
                        return Err(errors.iter().map(ToString::to_string).collect());
                    }
                    later.extend(waiting);
                    wanted = rest;
                }
                Err(error) => return Err(vec![error.to_string()]),
            }
        }
    }
}

/// Whether the configuration has a value for the key. What a kernel would have without one is the
/// application's to say, when it starts.
fn is_given(key: &str, config: &Loaded) -> bool {
    config.effective().iter().any(|row| row.key == key)
}

fn is_queue(error: &ChangeError, key: &str) -> bool {
    matches!(error, ChangeError::QueueTooLong { kernel, .. } if key == format!("kernels.{kernel}.queue"))
}

/// The changes that those keys stand for.
fn changes(keys: &[String], new: &Loaded) -> LiveConfig {
    let mut live = LiveConfig::default();
    for key in keys {
        let path: Vec<&str> = key.split('.').collect();
        match path.as_slice() {
            ["observability", "log", "level"] => {
                live.log_level = Some(new.config.observability.log.level);
            }
            ["memory", _] => {
                let memory = &new.config.memory;
                live.pressure_thresholds = Some(PressureThresholds {
                    warning: memory.pressure_threshold,
                    critical: memory.critical_threshold,
                    emergency: memory.emergency_threshold,
                });
            }
            ["kernels", name, what] => {
                let Some(kernel) = new.config.kernels.get(*name) else { continue };
                let change = live.kernels.entry((*name).to_owned()).or_default();
                match *what {
                    "queue" => change.queue = kernel.queue,
                    _ => change.deadline = kernel.deadline.map(Some),
                }
            }
            _ => {}
        }
    }
    live
}
