//! What values together have to be.

use std::time::Duration;

use super::check::{CREDENTIALS, Finding, nearest};
use super::{Listen, ProductionConfig};
use crate::runtime::{self, RuntimePreset};

/// Everything that is wrong with a configuration whose values are each acceptable.
pub(super) fn problems(config: &ProductionConfig) -> Vec<Finding> {
    let runtime = config.runtime.problems().into_iter();
    let runtime = runtime.map(|found| (format!("runtime.{}", found.name), found.reason));
    let memory = config.memory.problems().into_iter();
    let memory = memory.map(|found| (format!("memory.{}", found.name()), found.to_string()));
    let mut found: Vec<Finding> = runtime.chain(memory).collect();
    found.extend(staging(config));
    found.extend(config.security.problems(is_exposed(config)));
    found.extend(config.http.problems());
    found.extend(plaintext(config));
    found.extend(credentials(config));
    found.extend(kernels(config));
    found
}

/// Whether a rule that is broken by the value of a key looks at another, or at what that seems to mean.
pub(super) fn looks_at(key: &str, other: &str) -> bool {
    const THRESHOLDS: &[&str] =
        &["memory.pressure_threshold", "memory.critical_threshold", "memory.emergency_threshold"];
    let others = match key.rsplit_once('.').unwrap_or(("", key)) {
        ("memory", name) if name.ends_with("_threshold") => THRESHOLDS,
        ("security.jwt", _) => &["security.jwt"],
        ("security.tls", _) => &["security.tls"],
        ("security", "rbac_enabled") => &["security.allow_unauthenticated"],
        ("security", "audit_logging") => &["security.allow_unaudited"],
        ("http", "listen") => &["security.tls", "security.allow_plaintext"],
        (_, "shutdown_timeout") => &["runtime.shutdown_timeout"],
        (_, "instances") => &["runtime.max_kernel_instances"],
        (_, "restart") => &["supervision.restart"],
        _ => &[][..],
    };
    others.iter().chain([&key]).any(|looked_at| is_meant(looked_at, other))
}

/// Whether one key is the other, is within it or around it, or is the other misspelt.
fn is_meant(key: &str, other: &str) -> bool {
    let within =
        |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with(['.', '[']));
    let misspelt = || {
        let ((table, name), (other, as_written)) = (key.rsplit_once('.')?, other.rsplit_once('.')?);
        nearest(as_written, [name].into_iter()).filter(|_| table == other)
    };
    key == other || within(key, other) || within(other, key) || misspelt().is_some()
}

/// Staging memory is pinned: it has to be there.
fn staging(config: &ProductionConfig) -> Option<Finding> {
    let (asked, there) = (config.memory.max_staging_memory, runtime::physical_memory());
    (asked > there).then(|| {
        let reason = format!("{asked} bytes are more than the {there} that this machine has");
        ("memory.max_staging_memory".into(), reason)
    })
}

/// Whether it is meant for others than its developers.
fn is_exposed(config: &ProductionConfig) -> bool {
    !matches!(config.environment, None | Some(RuntimePreset::Development))
}

/// What others than this machine's own programs can reach is read by whoever is on the way.
fn plaintext(config: &ProductionConfig) -> Option<Finding> {
    let Listen::On(address) = config.http.listen else { return None };
    let guarded = config.security.tls.is_on() || config.security.allow_plaintext;
    (is_exposed(config) && !address.ip().is_loopback() && !guarded).then(|| {
        let reason = format!(
            "in production {address} needs TLS, or keys and data can be read on the way; set \
             `security.tls`, listen on 127.0.0.1 behind a proxy that has it, or set \
             `security.allow_plaintext = true` if that is what you want"
        );
        ("http.listen".into(), reason)
    })
}

/// (A file's are found by the schema; a program sets what it likes.)
fn credentials(config: &ProductionConfig) -> Option<Finding> {
    let endpoint = config.observability.otlp_endpoint.as_deref()?;
    let key = "observability.otlp_endpoint";
    endpoint.contains('@').then(|| (key.into(), CREDENTIALS.into()))
}

fn kernels(config: &ProductionConfig) -> Vec<Finding> {
    let most = config.runtime.shutdown_timeout;
    let late = config.kernels.iter().filter_map(|(name, kernel)| {
        let own = kernel.shutdown_timeout.filter(|own| *own > most)?;
        let reason = format!("{own:?} is longer than the runtime's own, {most:?}");
        Some((format!("kernels.{name}.shutdown_timeout"), reason))
    });
    let crowded = config.kernels.iter().filter_map(|(name, kernel)| {
        let most = config.runtime.max_kernel_instances;
        let own = kernel.instances.filter(|own| *own > most)?;
        let reason = format!("{own} are more than `runtime.max_kernel_instances`, {most}");
        Some((format!("kernels.{name}.instances"), reason))
    });
    let hurried = config.kernels.iter().filter_map(|(name, kernel)| {
        kernel.deadline.filter(Duration::is_zero)?;
        let reason = "no request could be answered in no time; leave it out for no deadline".into();
        Some((format!("kernels.{name}.deadline"), reason))
    });
    late.chain(crowded).chain(hurried).chain(restarts(config)).collect()
}

fn restarts(config: &ProductionConfig) -> Vec<Finding> {
    let shared = config.supervision.restart.over(Default::default());
    let wrong = shared.validate().err();
    // (What is wrong with the one for all is not said again of each kernel.)
    let sound = if wrong.is_some() { Default::default() } else { shared };
    let own = config.kernels.iter().filter_map(|(name, kernel)| {
        Some((format!("kernels.{name}.restart"), kernel.restart.over(sound).validate().err()?))
    });
    wrong.map(|reason| ("supervision.restart".into(), reason)).into_iter().chain(own).collect()
}
