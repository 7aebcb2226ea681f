//! The unified configuration: files, variables of the environment and flags, laid over presets.
//!
//! ```
//! use std::time::Duration;
//! use rustkernel_core::config::ProductionConfigBuilder;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ProductionConfigBuilder::production()
//!     .service_name("my-kernel-service")
//!     .runtime(|r| r.max_kernel_instances(500).shutdown_timeout(Duration::from_secs(60)))
//!     .memory(|m| m.max_gpu_memory(16 * 1024 * 1024 * 1024))
//!     .build()?;
//! let runtime = config.runtime_builder().build()?;
//! # Ok(())
//! # }
//! ```
//!
//! Values are laid over one another: defaults, a [preset](RuntimePreset), a file, variables, flags; the later
//! wins, key by key. [`Loader`] does that, and remembers [where each value is from](Origin). Each layer is
//! compared with [the schema](json_schema), which is made from the types, and everything that is wrong
//! anywhere is said at once.

mod builder;
mod check;
mod error;
mod file;
mod http;
mod layer;
mod load;
mod reference;
mod rules;
mod schema;
mod sections;
mod security;
mod template;
#[cfg(test)]
mod tests;
pub(crate) mod values;

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use builder::{
    HttpSection, MemorySection, ObservabilitySection, ProductionConfigBuilder, RuntimeSection,
    SecuritySection,
};
pub use error::{ConfigError, Origin, Problem};
pub use file::Format;
pub use http::{HttpConfig, Listen};
pub use layer::Effective;
pub use load::{Changes, Loaded, Loader};
pub use reference::reference;
pub use schema::{Field, fields, json_schema};
pub use sections::{
    Exceeded, GroupConfig, KernelConfig, ObservabilityConfig, RestartConfig, SupervisionConfig,
};
pub use security::{AuditConfig, CallerConfig, JwtAlgorithm, JwtConfig, SecurityConfig, TlsConfig};
pub use template::template;

use crate::memory::MemoryConfig;
use crate::observability::LogConfig;
use crate::runtime::{RuntimeBuilder, RuntimeConfig, RuntimePreset};
use values::{choice, chosen};

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProductionConfig {
    /// The preset that all that is not said otherwise is taken from. Without one the defaults hold.
    #[serde(with = "chosen", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "choice::schema::<RuntimePreset>")]
    pub environment: Option<RuntimePreset>,
    /// What the service is called.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,32}$"))]
    pub service_name: String,
    /// Which version of it this is.
    pub service_version: String,
    /// Threads, devices, timeouts.
    pub runtime: RuntimeConfig,
    /// Memory, and what is done when it runs short.
    pub memory: MemoryConfig,
    /// How requests come in over the network.
    pub http: HttpConfig,
    /// How kernels are supervised.
    pub supervision: SupervisionConfig,
    /// How single kernels are run, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kernels: BTreeMap<String, KernelConfig>,
    /// Who may do what.
    pub security: SecurityConfig,
    /// What the runtime tells about itself.
    pub observability: ObservabilityConfig,
}

impl Default for ProductionConfig {
    fn default() -> Self {
        Self {
            environment: None,
            service_name: "rustkernel".into(),
            service_version: env!("CARGO_PKG_VERSION").into(),
            runtime: RuntimeConfig::default(),
            memory: MemoryConfig::default(),
            http: HttpConfig::default(),
            supervision: SupervisionConfig::default(),
            kernels: BTreeMap::new(),
            security: SecurityConfig::default(),
            observability: ObservabilityConfig::default(),
        }
    }
}

impl ProductionConfig {
    /// The values of a preset.
    pub fn preset(preset: RuntimePreset) -> Self {
        let runtime = RuntimeConfig::preset(preset);
        let observability = ObservabilityConfig { log: runtime.log, ..Default::default() };
        Self {
            environment: Some(preset),
            memory: MemoryConfig::preset(preset),
            http: HttpConfig::preset(preset),
            security: SecurityConfig::preset(preset),
            observability,
            runtime: RuntimeConfig { log: LogConfig::default(), ..runtime },
            ..Self::default()
        }
    }

    /// What the variables of the environment say, over the preset that `RUSTKERNEL_ENV` names.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn from_env() -> Result<Self, ConfigError> {
        Loader::new().environment().load().map(|loaded| loaded.config)
    }

    /// What a file says, over the preset that it names. Its name ends in `.toml`, `.yaml` or `.yml`. The
    /// environment is not looked at; [`Loader`] lays it over the file.
    ///
    /// # Errors
    /// If it cannot be read; else everything that is wrong with it.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Loader::new().file(path).load().map(|loaded| loaded.config)
    }

    /// Checks what single values, and values together, have to be.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let found = rules::problems(self).into_iter();
        let code = |(key, reason)| Problem { key, origin: Origin::Code, reason };
        ConfigError::of(found.map(code).collect())
    }

    /// The runtime's own part of it, with its log.
    pub fn runtime_config(&self) -> RuntimeConfig {
        RuntimeConfig { log: self.observability.log, ..self.runtime.clone() }
    }

    /// A builder of a runtime with this configuration. It holds for the kernels that are added to it as
    /// well: for each, its own section wins over what the application says.
    pub fn runtime_builder(&self) -> RuntimeBuilder {
        RuntimeBuilder::configured(self)
    }
}
