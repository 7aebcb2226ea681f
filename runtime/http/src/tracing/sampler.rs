//! Which requests are traced.

use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_sdk::trace::{SamplingDecision, ShouldSample};

use super::{Parent, TracingError};

/// Decides about a request when it begins.
#[derive(Debug, Clone)]
pub(super) struct Sampler {
    /// Whether what a caller has decided holds.
    parent_based: bool,
    /// What holds otherwise: by the trace's id, so that all who see a part of a trace decide alike.
    root: opentelemetry_sdk::trace::Sampler,
}

impl Sampler {
    /// What callers have decided, and where they have not that share of traces.
    pub(super) fn parent_based(ratio: f64) -> Self {
        Self {
            parent_based: true,
            root: opentelemetry_sdk::trace::Sampler::TraceIdRatioBased(ratio),
        }
    }

    /// The sampler that OpenTelemetry has under that name.
    ///
    /// # Errors
    /// If there is no such sampler here, or its argument is not from 0 to 1.
    pub(super) fn named(name: &str, argument: Option<&str>) -> Result<Self, TracingError> {
        let invalid = |name: &str, value: &str, wanted| {
            Err(TracingError::Invalid { name: name.into(), value: value.into(), wanted })
        };
        let ratio = match argument.map(|text| (text, text.parse())) {
            None => 1.0,
            Some((_, Ok(ratio))) if (0.0..=1.0).contains(&ratio) => ratio,
            Some((text, _)) => {
                return invalid("OTEL_TRACES_SAMPLER_ARG", text, "a number from 0 to 1");
            }
        };
        let (parent_based, ratio) = match name {
            "always_on" => (false, 1.0),
            "always_off" => (false, 0.0),
            "traceidratio" => (false, ratio),
            "parentbased_always_on" => (true, 1.0),
            "parentbased_always_off" => (true, 0.0),
            "parentbased_traceidratio" => (true, ratio),
            other => {
                let wanted =
                    "always_on, always_off or traceidratio, or parentbased_ and one of these,";
                return invalid("OTEL_TRACES_SAMPLER", other, wanted);
            }
        };
        Ok(Self { parent_based, ..Self::parent_based(ratio) })
    }

    /// Whether a request of that trace is traced.
    pub(super) fn samples(&self, parent: Option<&Parent>, trace: TraceId) -> bool {
        match parent {
            Some(parent) if self.parent_based => parent.sampled,
            _ => {
                let asked = self.root.should_sample(None, trace, "", &SpanKind::Server, &[], &[]);
                asked.decision == SamplingDecision::RecordAndSample
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::SpanId;
    use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

    use super::*;

    fn share(sampler: &Sampler, parent: Option<bool>) -> f64 {
        const TRACES: u32 = 4000;
        let sampled = (0..TRACES).filter(|_| {
            let trace = RandomIdGenerator::default().new_trace_id();
            let parent = parent.map(|sampled| Parent { trace, span: SpanId::from(1u64), sampled });
            sampler.samples(parent.as_ref(), trace)
        });
        f64::from(u32::try_from(sampled.count()).unwrap()) / f64::from(TRACES)
    }

    #[test]
    fn each_name_samples_what_it_says() {
        for (name, root, yes, no) in [
            ("always_on", 1.0, 1.0, 1.0),
            ("always_off", 0.0, 0.0, 0.0),
            ("traceidratio", 0.25, 0.25, 0.25),
            ("parentbased_always_on", 1.0, 1.0, 0.0),
            ("parentbased_always_off", 0.0, 1.0, 0.0),
            ("parentbased_traceidratio", 0.25, 1.0, 0.0),
        ] {
            let sampler = Sampler::named(name, Some("0.25")).unwrap();
            for (parent, expected) in [(None, root), (Some(true), yes), (Some(false), no)] {
                let share = share(&sampler, parent);
                // (Six standard deviations of that many traces.)
                assert!((share - expected).abs() < 0.045, "{name}, {parent:?}: {share}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let refused = |name, argument| Sampler::named(name, argument).unwrap_err().to_string();
        assert!(refused("jaeger_remote", None).starts_with("OTEL_TRACES_SAMPLER: `jaeger_remote`"));
        for wrong in ["2", "-0.1", "half", "NaN", ""] {
            let said = refused("traceidratio", Some(wrong));
            assert!(said.starts_with("OTEL_TRACES_SAMPLER_ARG: "), "{said}");
        }
    }
}
