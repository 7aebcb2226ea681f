//! What values together have to be.

use super::check::Finding;
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
    found.extend(plaintext(config));
    found.extend(kernels(config));
    found
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
    let restarts = config
        .kernels
        .iter()
        .map(|(name, kernel)| (format!("kernels.{name}.restart"), &kernel.restart));
    let restarts = restarts.chain([("supervision.restart".into(), &config.supervision.restart)]);
    let restarts = restarts.filter_map(|(key, restart)| {
        let shared = config.supervision.restart.over(Default::default());
        Some((key, restart.over(shared).validate().err()?))
    });
    late.chain(crowded).chain(restarts).collect()
}
