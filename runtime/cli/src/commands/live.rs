//! The configuration of a service: shown, and read again while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustkernel_core::config::{Loaded, fields};
use rustkernel_core::gpu::memory::PressureThresholds;
use rustkernel_core::kernel::ChangeError;
use rustkernel_core::runtime::{LiveConfig, ReconfigureError, Runtime};
use rustkernel_http::security::Guard;
use rustkernel_http::{Configuration, Reloaded};
use serde_json::{Value, json};

use super::config;
use crate::args::LayerArgs;

/// What a service was told, and what has become of it.
pub(super) struct Live {
    runtime: Arc<Runtime>,
    guard: Arc<Guard>,
    layers: LayerArgs,
    /// What is read again with it: `keys` of callers, `certificates`.
    beside: Vec<&'static str>,
    told: Mutex<Told>,
}

/// The configuration that was read last, and the values that are in effect, some of them of earlier ones.
struct Told {
    last: Loaded,
    in_effect: BTreeMap<String, Value>,
}

impl Live {
    pub(super) fn new(
        runtime: Arc<Runtime>,
        guard: Arc<Guard>,
        layers: LayerArgs,
        started: Loaded,
    ) -> Self {
        let security = &started.config.security;
        let keys = security.rbac_enabled.then_some("keys");
        let certificates = security.tls.is_on().then_some("certificates");
        let beside = keys.into_iter().chain(certificates).collect();
        let told = Mutex::new(Told { in_effect: values(&started), last: started });
        Self { runtime, guard, layers, beside, told }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn values(loaded: &Loaded) -> BTreeMap<String, Value> {
    loaded.effective().into_iter().map(|row| (row.key, row.value)).collect()
}

impl Told {
    /// The keys whose values in effect are not those of that configuration.
    fn differing(&self, new: &Loaded) -> Vec<String> {
        let new = values(new);
        let keys: BTreeSet<&String> = self.in_effect.keys().chain(new.keys()).collect();
        let differs = |key: &&String| self.in_effect.get(*key) != new.get(*key);
        keys.into_iter().filter(differs).cloned().collect()
    }
}

fn is_live(key: &str) -> bool {
    fields().iter().any(|field| field.is_live() && field.names(key))
}

impl Configuration for Live {
    /// A row for each key: `key`, `value`, `origin` and, as long as another value is in effect, `needs_restart` and
    /// that value, `in_effect`.
    fn show(&self) -> Value {
        let told = self.told();
        let waiting = told.differing(&told.last);
        let rows = told.last.effective();
        let gone = waiting.iter().filter(|key| rows.iter().all(|row| row.key != **key));
        let gone = gone.map(|key| (key.clone(), Value::Null, "nowhere any more".to_owned()));
        let rows =
            rows.iter().map(|row| (row.key.clone(), row.value.clone(), row.origin.to_string()));
        let shown = rows.chain(gone).map(|(key, value, origin)| {
            let needs_restart = waiting.contains(&key);
            let mut row = json!({
                "key": key, "value": value, "origin": origin, "needs_restart": needs_restart,
            });
            if needs_restart {
                row["in_effect"] = json!(told.in_effect.get(&key));
            }
            row
        });
        shown.collect()
    }

    fn reload(&self) -> Result<Reloaded, Vec<String>> {
        let file = config::file(self.layers.config.as_ref()).map(|_| "configuration");
        let read: Vec<String> =
            file.iter().chain(&self.beside).map(|read| (*read).to_owned()).collect();
        if read.is_empty() {
            let none = "there is no configuration file to read again; `--config FILE` names one at the start";
            return Err(vec![none.into()]);
        }
        // (Held while the file is read: of two reloads the later one wins.)
        let mut told = self.told();
        let new = config::layers(&self.layers)
            .load()
            .map_err(|error| error.to_string().lines().map(str::to_owned).collect::<Vec<_>>())?;
        let (live, mut need_restart): (Vec<String>, Vec<String>) =
            told.differing(&new).into_iter().partition(|key| is_live(key));
        let (changed, later) = self.change(&live, &new)?;
        need_restart.extend(later);
        need_restart.sort();
        self.guard.limit_callers(new.config.security.caller);
        let values = values(&new);
        let now = changed.iter().filter_map(|key| Some((key.clone(), values.get(key)?.clone())));
        told.in_effect.extend(now);
        told.last = new;
        Ok(Reloaded { read, changed, need_restart })
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
