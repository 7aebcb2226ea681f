//! What is to be done, by the configuration and by the variables that OpenTelemetry has for it.
//!
//! A key of the configuration wins over a variable. Of two variables that say the same, the one for traces alone
//! wins.

use std::fs;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use rustkernel_core::config::ObservabilityConfig;
use uuid::Uuid;

use super::TracingError;
use super::sampler::Sampler;

/// Where collectors are, by default.
const ENDPOINT: &str = "http://localhost:4318";
/// Below it.
const PATH: &str = "/v1/traces";

/// What is to be done.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) sampler: Sampler,
    /// Where spans are posted, in full.
    pub(super) endpoint: String,
    /// How long sending a batch may take.
    pub(super) timeout: Duration,
    /// How many spans may wait to be sent.
    pub(super) queue: usize,
    /// The certificates that the collector's is checked by, in PEM, if not those of the system.
    pub(super) certificate: Option<Vec<u8>>,
}

/// What a variable of the environment says.
pub(super) type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// What is asked for; `None` if the environment switches traces off.
    ///
    /// # Errors
    /// If something cannot be.
    pub(super) fn of(
        config: &ObservabilityConfig,
        variable: Variable<'_>,
    ) -> Result<Option<Self>, TracingError> {
        let says = |name, wanted: &str| {
            variable(name).is_some_and(|value| value.eq_ignore_ascii_case(wanted))
        };
        if says("OTEL_SDK_DISABLED", "true") || says("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        check_protocol(variable)?;
        let settings = Self {
            sampler: sampler(config, variable)?,
            endpoint: endpoint(config, variable)?,
            timeout: Duration::from_millis(
                number(
                    variable,
                    &["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"],
                )?
                .unwrap_or(10_000),
            ),
            queue: number(variable, &["OTEL_BSP_MAX_QUEUE_SIZE"])?.unwrap_or(2048),
            certificate: certificate(variable)?,
        };
        Ok(Some(settings))
    }
}

fn invalid(name: &str, value: String, wanted: &'static str) -> TracingError {
    TracingError::Invalid { name: name.into(), value, wanted }
}

/// The first of these variables that is there, and what it says.
fn first<'n>(variable: Variable<'_>, names: &[&'n str]) -> Option<(&'n str, String)> {
    names.iter().find_map(|name| Some((*name, variable(name)?)))
}

/// A collector that is spoken to in another protocol would take nothing.
fn check_protocol(variable: Variable<'_>) -> Result<(), TracingError> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    match first(variable, &names) {
        Some((name, value)) if value != "http/protobuf" => {
            Err(invalid(name, value, "http/protobuf"))
        }
        _ => Ok(()),
    }
}

fn sampler(config: &ObservabilityConfig, variable: Variable<'_>) -> Result<Sampler, TracingError> {
    match (config.trace_sampling_ratio, variable("OTEL_TRACES_SAMPLER")) {
        (Some(ratio), _) => Ok(Sampler::parent_based(ratio)),
        (None, Some(name)) => Sampler::named(&name, variable("OTEL_TRACES_SAMPLER_ARG").as_deref()),
        (None, None) => Ok(Sampler::parent_based(1.0)),
    }
}

fn endpoint(config: &ObservabilityConfig, variable: Variable<'_>) -> Result<String, TracingError> {
    let below = |base: &str| format!("{}{PATH}", base.trim_end_matches('/'));
    let own = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    let shared = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let (name, endpoint) = match (&config.otlp_endpoint, first(variable, &[own, shared])) {
        (Some(base), _) => ("observability.otlp_endpoint", below(base)),
        (None, Some((name, full))) if name == own => (name, full),
        (None, Some((name, base))) => (name, below(&base)),
        (None, None) => (shared, below(ENDPOINT)),
    };
    if endpoint.contains('@') {
        return Err(TracingError::Credentials { name: name.into() });
    }
    let host = endpoint.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
    match host {
        Some((_, rest)) if !rest.starts_with('/') => Ok(endpoint),
        _ => Err(invalid(name, endpoint, "a web address, as http://localhost:4318,")),
    }
}

fn number<N: std::str::FromStr + PartialOrd + From<u8>>(
    variable: Variable<'_>,
    names: &[&str],
) -> Result<Option<N>, TracingError> {
    let Some((name, value)) = first(variable, names) else { return Ok(None) };
    match value.parse() {
        Ok(number) if number >= N::from(1) => Ok(Some(number)),
        _ => Err(invalid(name, value, "a whole number of at least 1")),
    }
}

fn certificate(variable: Variable<'_>) -> Result<Option<Vec<u8>>, TracingError> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
    let Some((name, path)) = first(variable, &names) else { return Ok(None) };
    let read = fs::read(&path);
    read.map(Some).map_err(|error| TracingError::Certificates(format!("{name}, {path}: {error}")))
}

/// What the spans are of. What the variables say of it (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`) wins.
pub(super) fn resource(name: &str, version: &str, variable: Variable<'_>) -> Resource {
    let named = variable("OTEL_SERVICE_NAME");
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", name.to_owned()),
            KeyValue::new("service.version", version.to_owned()),
            KeyValue::new("service.instance.id", Uuid::now_v7().to_string()),
            KeyValue::new("process.pid", i64::from(std::process::id())),
        ])
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_attributes(named.map(|name| KeyValue::new("service.name", name)))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(config: &ObservabilityConfig, set: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        let variable = |name: &str| {
            set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
        };
        Settings::of(config, &variable).map_err(|error| error.to_string())
    }

    #[test]
    fn the_configuration_wins_over_variables_and_the_closer_one_over_the_other() {
        let none = ObservabilityConfig::default();
        let own = ObservabilityConfig {
            otlp_endpoint: Some("https://a.example/base/".into()),
            ..Default::default()
        };
        let shared = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://b.example:1");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c.example/exactly");
        let endpoint = |config, set: &[_]| of(config, set).unwrap().unwrap().endpoint;
        assert_eq!(endpoint(&none, &[]), "http://localhost:4318/v1/traces");
        assert_eq!(endpoint(&none, &[shared]), "http://b.example:1/v1/traces");
        assert_eq!(endpoint(&none, &[shared, traces]), "http://c.example/exactly");
        assert_eq!(endpoint(&own, &[shared, traces]), "https://a.example/base/v1/traces");
        let timeout = |set: &[_]| of(&none, set).unwrap().unwrap().timeout.as_millis();
        assert_eq!(timeout(&[]), 10_000);
        let both =
            [("OTEL_EXPORTER_OTLP_TIMEOUT", "5"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "7")];
        assert_eq!((timeout(&both[..1]), timeout(&both)), (5, 7));
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let address = "http://user:secret@b.example";
        let none = ObservabilityConfig::default();
        let own = ObservabilityConfig { otlp_endpoint: Some(address.into()), ..Default::default() };
        for (config, set, name) in [
            (&own, None, "observability.otlp_endpoint"),
            (&none, Some(address), "OTEL_EXPORTER_OTLP_ENDPOINT"),
            (&none, Some(address), "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
            (&none, Some("user:secret@b.example"), "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ] {
            let set: Vec<_> = set.map(|address| (name, address)).into_iter().collect();
            let said = of(config, &set).unwrap_err();
            assert!(said.starts_with(&format!("{name}: an address with an `@`")), "{said}");
            assert!(said.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn the_environment_can_switch_it_off() {
        let config = ObservabilityConfig::default();
        assert!(of(&config, &[("OTEL_SDK_DISABLED", "TRUE")]).unwrap().is_none());
        assert!(of(&config, &[("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
        assert!(of(&config, &[("OTEL_TRACES_EXPORTER", "otlp")]).unwrap().is_some());
    }

    #[test]
    fn what_cannot_be_is_said_with_its_name() {
        let config = ObservabilityConfig::default();
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "unix:///var/run/a"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
            ("OTEL_TRACES_SAMPLER", "xray"),
        ] {
            let said = of(&config, &[(name, value)]).unwrap_err();
            assert!(said.starts_with(name), "{said}");
        }
        let said = of(&config, &[("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere")]).unwrap_err();
        assert!(said.contains("OTEL_EXPORTER_OTLP_CERTIFICATE, /nowhere: "), "{said}");
    }
}
