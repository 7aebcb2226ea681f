//! What has to hold after a soak.

use serde::Serialize;
use serde_json::Value;

use super::load::Seen;
use super::watch::Sample;

/// By how much it may grow between the second quarter of the time and the last.
const GROWTH: Sample = Sample { resident_kib: 8192.0, threads: 2.0, descriptors: 16.0 };

/// What was found.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// The medians of the second quarter of the time.
    pub before: Option<Sample>,
    /// Those of the last.
    pub after: Option<Sample>,
    /// What does not hold.
    pub broken: Vec<String>,
}

impl Verdict {
    /// Of what was seen, of the process's own report, and of what was watched.
    pub fn of(seen: &Seen, report: &Value, samples: &[Sample]) -> Self {
        let quarter = |number: usize| {
            let range = samples.len() * number / 4..samples.len() * (number + 1) / 4;
            Sample::median(&samples[range])
        };
        let (before, after) = (quarter(1), quarter(3));
        let mut broken = seen.wrong.clone();
        broken.extend(books(seen, report));
        match (before, after) {
            (Some(before), Some(after)) => broken.extend(growth(before, after)),
            _ => broken.push("it was not watched: the time is too short".into()),
        }
        Self { before, after, broken }
    }
}

fn books(seen: &Seen, report: &Value) -> Vec<String> {
    let number = |key: &str| report[key].as_u64().unwrap_or(u64::MAX);
    let endings = ["completed", "failed", "rejected", "cancelled"].map(number);
    let sum = endings.iter().copied().fold(0, u64::saturating_add);
    let infers = seen.answers.iter().filter(|((kind, _), _)| *kind != super::Kind::Metrics);
    let good: u64 = infers.filter(|((_, status), _)| *status == 200).map(|(_, count)| count).sum();
    let rules = [
        (number("submitted") == sum, "its books do not balance".to_owned()),
        (number("leaked_bytes") == 0, "bytes were still held at the end".to_owned()),
        (number("abandoned_threads") == 0, "threads were abandoned".to_owned()),
        (good <= endings[0], format!("{good} good answers of {} completed requests", endings[0])),
    ];
    let broken = rules.into_iter().filter(|(holds, _)| !holds);
    broken.map(|(_, what)| format!("{what}: {report}")).collect()
}

fn growth(before: Sample, after: Sample) -> Vec<String> {
    let rules = [
        ("KiB of resident memory", before.resident_kib, after.resident_kib, GROWTH.resident_kib),
        ("threads", before.threads, after.threads, GROWTH.threads),
        ("descriptors", before.descriptors, after.descriptors, GROWTH.descriptors),
    ];
    let grown = rules.into_iter().filter(|(_, before, after, most)| after - before > *most);
    grown.map(|(what, before, after, _)| format!("{what} grew from {before} to {after}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn growth_beyond_what_is_allowed_is_told() {
        let flat = Sample { resident_kib: 30_000.0, threads: 20.0, descriptors: 80.0 };
        assert!(growth(flat, flat).is_empty());
        let grown = Sample { resident_kib: 40_000.0, threads: 23.0, descriptors: 97.0 };
        assert_eq!(growth(flat, grown).len(), 3);
        assert_eq!(growth(flat, grown)[1], "threads grew from 20 to 23");
    }

    #[test]
    fn books_that_do_not_balance_are_told() {
        let report = |submitted: u64, leaked: u64| {
            json!({
                "submitted": submitted, "completed": 1, "failed": 1, "rejected": 1, "cancelled": 1,
                "leaked_bytes": leaked, "abandoned_threads": 0,
            })
        };
        let seen = Seen::default();
        assert!(books(&seen, &report(4, 0)).is_empty());
        assert_eq!(books(&seen, &report(5, 1)).len(), 2);
        assert_eq!(books(&seen, &json!({})).len(), 2, "nor is a report that is none");
    }
}
