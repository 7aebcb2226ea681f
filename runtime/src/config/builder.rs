//! Building a configuration in code.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rustkernel_actors::supervisor::OnDeviceLoss;
use rustkernel_gpu::DeviceId;

use super::error::{ConfigError, Origin, Problem};
use super::{
    AuditConfig, CallerConfig, HttpConfig, JwtConfig, KernelConfig, Listen, MemoryConfig,
    ObservabilityConfig, ProductionConfig, RuntimeConfig, RuntimePreset, SecurityConfig, TlsConfig,
};
use crate::observability::LogConfig;

/// Makes a section's builder: a method for each field.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident of $config:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name($config);

        impl $name {
            $(
                #[doc = concat!("Sets [`", stringify!($config), "::", stringify!($field), "`].")]
                #[must_use]
                pub fn $field(mut self, value: $type) -> Self {
                    self.0.$field = value;
                    self
                }
            )*
        }
    };
}

section! {
    /// Builds the section `runtime`.
    RuntimeSection of RuntimeConfig {
        gpu_enabled: bool,
        devices: Vec<DeviceId>,
        max_kernel_instances: usize,
        worker_threads: usize,
        blocking_threads: usize,
        shutdown_timeout: Duration,
        health_check_interval: Duration,
        on_device_loss: OnDeviceLoss,
        spin: Duration,
    }
}

section! {
    /// Builds the section `memory`.
    MemorySection of MemoryConfig {
        max_gpu_memory: u64,
        max_staging_memory: u64,
        pooling_enabled: bool,
        pressure_threshold: f64,
        critical_threshold: f64,
        emergency_threshold: f64,
        auto_defrag: bool,
    }
}

section! {
    /// Builds the section `http`.
    HttpSection of HttpConfig {
        listen: Listen,
        workers: usize,
        max_connections: usize,
        max_body_bytes: u64,
        max_held_bytes: u64,
        max_answer_bytes: u64,
        header_timeout: Duration,
        body_timeout: Duration,
        keep_alive: Duration,
        drain_delay: Duration,
    }
}

section! {
    /// Builds the section `security`.
    SecuritySection of SecurityConfig {
        rbac_enabled: bool,
        audit_logging: bool,
        allow_unauthenticated: bool,
        allow_unaudited: bool,
        allow_plaintext: bool,
        keys_file: Option<PathBuf>,
        jwt: JwtConfig,
        audit: AuditConfig,
        tls: TlsConfig,
        caller: CallerConfig,
    }
}

section! {
    /// Builds the section `observability`.
    ObservabilitySection of ObservabilityConfig {
        metrics_enabled: bool,
        tracing_enabled: bool,
        otlp_endpoint: Option<String>,
        trace_sampling_ratio: Option<f64>,
        log: LogConfig,
    }
}

/// Builds a [`ProductionConfig`] in code.
#[derive(Debug, Clone, Default)]
pub struct ProductionConfigBuilder {
    config: ProductionConfig,
    problems: Vec<Problem>,
}

impl ProductionConfigBuilder {
    /// Begins with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins with the values of a preset.
    pub fn preset(preset: RuntimePreset) -> Self {
        Self { config: ProductionConfig::preset(preset), problems: Vec::new() }
    }

    /// Begins with the values for development.
    pub fn development() -> Self {
        Self::preset(RuntimePreset::Development)
    }

    /// Begins with the values for production.
    pub fn production() -> Self {
        Self::preset(RuntimePreset::Production)
    }

    /// Begins with the values for high performance.
    pub fn high_performance() -> Self {
        Self::preset(RuntimePreset::HighPerformance)
    }

    /// Names the environment: `development`, `production` or `high_performance`. No other value changes.
    #[must_use]
    pub fn environment(mut self, name: &str) -> Self {
        match name.parse() {
            Ok(preset) => self.config.environment = Some(preset),
            Err(error) => self.problems.push(Problem {
                key: "environment".into(),
                origin: Origin::Code,
                reason: format!("{error}"),
            }),
        }
        self
    }

    /// Sets what the service is called.
    #[must_use]
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.config.service_name = name.into();
        self
    }

    /// Sets which version of the service this is.
    #[must_use]
    pub fn service_version(mut self, version: impl Into<String>) -> Self {
        self.config.service_version = version.into();
        self
    }

    /// Changes the section `runtime`.
    #[must_use]
    pub fn runtime(mut self, build: impl FnOnce(RuntimeSection) -> RuntimeSection) -> Self {
        self.config.runtime = build(RuntimeSection(self.config.runtime)).0;
        self
    }

    /// Changes the section `memory`.
    #[must_use]
    pub fn memory(mut self, build: impl FnOnce(MemorySection) -> MemorySection) -> Self {
        self.config.memory = build(MemorySection(self.config.memory)).0;
        self
    }

    /// Changes the section `http`.
    #[must_use]
    pub fn http(mut self, build: impl FnOnce(HttpSection) -> HttpSection) -> Self {
        self.config.http = build(HttpSection(self.config.http)).0;
        self
    }

    /// Changes the section `security`.
    #[must_use]
    pub fn security(mut self, build: impl FnOnce(SecuritySection) -> SecuritySection) -> Self {
        self.config.security = build(SecuritySection(self.config.security)).0;
        self
    }

    /// Changes the section `observability`.
    #[must_use]
    pub fn observability(
        mut self,
        build: impl FnOnce(ObservabilitySection) -> ObservabilitySection,
    ) -> Self {
        self.config.observability = build(ObservabilitySection(self.config.observability)).0;
        self
    }

    /// Sets how single kernels are run.
    #[must_use]
    pub fn kernels(mut self, kernels: BTreeMap<String, KernelConfig>) -> Self {
        self.config.kernels = kernels;
        self
    }

    /// The configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn build(self) -> Result<ProductionConfig, ConfigError> {
        let found = self.config.validate().err();
        let found = found.iter().flat_map(|error| error.problems().iter().cloned());
        ConfigError::of(self.problems.into_iter().chain(found).collect())?;
        Ok(self.config)
    }
}
