//! The sections that have no type of their own elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use rustkernel_actors::kernel::{AnySpec, DeviceChoice, Priority};
use rustkernel_actors::supervisor::OnDeviceLoss;
use rustkernel_actors::{Group, OnExceeded, RestartPolicy, RestartType, Strategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{
    Choice, choice, chosen, device_choice_schema, duration_schema, text, url_schema,
};
use crate::observability::{LogConfig, LogFormat};

/// What the runtime tells about itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ObservabilityConfig {
    /// Serve metrics.
    pub metrics_enabled: bool,
    /// Send spans of requests to a collector.
    pub tracing_enabled: bool,
    /// The collector that spans are sent to, by OTLP over HTTP: its address, to which `/v1/traces` is added.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "url_schema", extend("x-default" = "`$OTEL_EXPORTER_OTLP_ENDPOINT`, else `http://localhost:4318`"))]
    pub otlp_endpoint: Option<String>,
    /// The share of requests that are traced, where callers have not decided about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1), extend("x-default" = "what `$OTEL_TRACES_SAMPLER` says, else all"))]
    pub trace_sampling_ratio: Option<f64>,
    /// The log.
    pub log: LogConfig,
}

/// How kernels are supervised, where their own section does not say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SupervisionConfig {
    /// Kernels that start first, in that order; the others follow in the order in which the application
    /// adds them. They stop in reverse.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub start_order: Vec<String>,
    /// How kernels are restarted.
    pub restart: RestartConfig,
    /// Groups of kernels that are restarted together, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, GroupConfig>,
}

/// A group of kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// Who is restarted when one of them is.
    #[serde(with = "choice")]
    #[schemars(schema_with = "choice::schema::<Strategy>")]
    pub strategy: Strategy,
}

impl SupervisionConfig {
    /// The groups, as a runtime takes them.
    pub(crate) fn groups(&self) -> impl Iterator<Item = Group> {
        self.groups.iter().map(|(name, group)| Group::new(name, group.strategy))
    }
}

/// How a kernel is restarted. What is left out is as the application has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RestartConfig {
    /// After which ends it is restarted: all, faults, or none.
    #[serde(rename = "type", with = "chosen", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "choice::schema::<RestartType>")]
    pub restart: Option<RestartType>,
    /// Most restarts within the window. 4294967295 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The window.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration_schema")]
    pub window: Option<Duration>,
    /// The longest wait before the second restart; it doubles with each further one.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration_schema")]
    pub backoff: Option<Duration>,
    /// The longest wait before any restart.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration_schema")]
    pub backoff_cap: Option<Duration>,
    /// After this time without a fault waits begin anew.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration_schema")]
    pub backoff_reset: Option<Duration>,
    /// What follows more restarts than the limit.
    #[serde(with = "chosen", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "choice::schema::<Exceeded>")]
    pub on_exceeded: Option<Exceeded>,
    /// How long a quarantine lasts before one instance is tried.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration_schema")]
    pub quarantine: Option<Duration>,
    /// How long code may go on after its request is over before it is taken to hang.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration_schema")]
    pub hang_grace: Option<Duration>,
    /// Failed launches in a row that end an instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub launch_failures: Option<u32>,
}

/// What follows more restarts than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// The kernel refuses requests for a time; then one instance is tried.
    Quarantine,
    /// The kernel refuses requests until somebody lifts its quarantine.
    QuarantineUntilLifted,
    /// The runtime drains and stops.
    StopRuntime,
}

impl RestartConfig {
    /// The policy with what is said here.
    pub(crate) fn over(&self, mut policy: RestartPolicy) -> RestartPolicy {
        fn set<T: Copy>(place: &mut T, value: Option<T>) {
            *place = value.unwrap_or(*place);
        }
        set(&mut policy.restart, self.restart);
        set(&mut policy.limit, self.limit);
        set(&mut policy.window, self.window);
        set(&mut policy.backoff.first, self.backoff);
        set(&mut policy.backoff.cap, self.backoff_cap);
        set(&mut policy.backoff.reset_after, self.backoff_reset);
        set(&mut policy.hang_grace, self.hang_grace);
        set(&mut policy.launch_failures, self.launch_failures);
        set(&mut policy.quarantine, self.quarantine.map(Some));
        match self.on_exceeded {
            None => {}
            Some(Exceeded::Quarantine) => policy.on_exceeded = OnExceeded::Quarantine,
            Some(Exceeded::QuarantineUntilLifted) => policy = policy.quarantine_until_lifted(),
            Some(Exceeded::StopRuntime) => policy.on_exceeded = OnExceeded::StopRuntime,
        }
        policy
    }
}

/// How one kernel is run. What is left out is as the application has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KernelConfig {
    /// How many instances serve requests side by side.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub instances: Option<usize>,
    /// How many requests may be open at once (live up to the length that it began with).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-live" = true))]
    pub queue: Option<usize>,
    /// How long a request may take, from the call to the answer.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration_schema", extend("x-live" = true))]
    pub deadline: Option<Duration>,
    /// How long the instances' start may take.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration_schema")]
    pub start_timeout: Option<Duration>,
    /// How long it may take to finish its requests when it is stopped.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration_schema")]
    pub shutdown_timeout: Option<Duration>,
    /// How much its requests matter where memory is short.
    #[serde(with = "chosen", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "choice::schema::<Priority>")]
    pub priority: Option<Priority>,
    /// Where its instances run.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "device_choice_schema")]
    pub device: Option<DeviceChoice>,
    /// The group that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How it is restarted.
    pub restart: RestartConfig,
}

impl KernelConfig {
    /// Sets what is said here.
    pub(crate) fn apply(&self, spec: &mut dyn AnySpec) {
        if let Some(instances) = self.instances {
            spec.set_instances(instances);
        }
        if let Some(queue) = self.queue {
            spec.set_queue(queue);
        }
        if self.deadline.is_some() {
            spec.set_deadline(self.deadline);
        }
        if let Some(timeout) = self.start_timeout {
            spec.set_start_timeout(timeout);
        }
        if let Some(timeout) = self.shutdown_timeout {
            spec.set_shutdown_timeout(timeout);
        }
        if let Some(priority) = self.priority {
            spec.set_priority(priority);
        }
        if let Some(device) = self.device {
            spec.set_device(device);
        }
        if let Some(group) = &self.group {
            spec.set_group(group.clone());
        }
        spec.set_restart(self.restart.over(spec.restart()));
    }
}

impl Choice for OnDeviceLoss {
    fn names() -> impl IntoIterator<Item = (&'static str, Self)> {
        [("recover", Self::Recover), ("exit", Self::Exit)]
    }
}

impl Choice for Strategy {
    fn names() -> impl IntoIterator<Item = (&'static str, Self)> {
        [
            ("one_for_one", Self::OneForOne),
            ("one_for_all", Self::OneForAll),
            ("rest_for_one", Self::RestForOne),
        ]
    }
}

impl Choice for RestartType {
    fn names() -> impl IntoIterator<Item = (&'static str, Self)> {
        [
            ("permanent", Self::Permanent),
            ("transient", Self::Transient),
            ("temporary", Self::Temporary),
        ]
    }
}

impl Choice for Exceeded {
    fn names() -> impl IntoIterator<Item = (&'static str, Self)> {
        [
            ("quarantine", Self::Quarantine),
            ("quarantine_until_lifted", Self::QuarantineUntilLifted),
            ("stop_runtime", Self::StopRuntime),
        ]
    }
}

impl Choice for Priority {
    fn names() -> impl IntoIterator<Item = (&'static str, Self)> {
        [("low", Self::Low), ("normal", Self::Normal), ("high", Self::High)]
    }
}

impl Choice for LogFormat {
    fn names() -> impl IntoIterator<Item = (&'static str, Self)> {
        [("auto", Self::Auto), ("text", Self::Text), ("json", Self::Json)]
    }
}
