//! What is told after a call: what ran where, how long it took, and what came out.
//!
//! In JSON: `kernel`, `device` (`host`, `cuda:0`, …), `milliseconds`, `memory` with `device` and `staging`,
//! each the bytes `declared` and held at most at once (`peak`, in whole blocks), and `outputs`, an array of
//! `name`, `datatype`, `shape` and `file`. Where no file is written at all, an output has `data` (its
//! elements, row by row) if there are few, else `summary` (`min`, `max`, `mean`). Numbers that JSON
//! does not have, such as infinities, are null. Single values of the answer, if it has any, are in
//! the object `results`.

use std::fmt;
use std::path::Path;

use num_traits::AsPrimitive;
use rustkernel_core::gpu::Element;
use rustkernel_core::kernel::{AnyTensor, LearnedMemory, LearnedPeaks, Tensor, with_tensor};
use rustkernel_core::message::{FieldKind, FieldSpec, Signature};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::plan::Plan;
use super::run::Outcome;
use crate::catalogue::{self, value_json};
use crate::output::BOLD;

/// Tensors of at most this many elements are printed, larger ones summarised.
const FEW: usize = 16;

/// What is told after a call.
pub(super) struct Report<'a> {
    signature: &'a Signature,
    plan: &'a Plan<'a>,
    outcome: &'a Outcome,
}

#[derive(Debug, Serialize)]
pub(super) struct ReportJson<'a> {
    kernel: &'a str,
    device: String,
    milliseconds: f64,
    memory: MemoryJson,
    outputs: Vec<OutputJson<'a>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    results: Map<String, Value>,
}

#[derive(Debug, Serialize)]
struct MemoryJson {
    device: PeakJson,
    staging: PeakJson,
}

#[derive(Debug, Serialize)]
struct PeakJson {
    declared: u64,
    peak: u64,
}

impl From<LearnedPeaks> for PeakJson {
    fn from(learned: LearnedPeaks) -> Self {
        Self { declared: learned.declared, peak: learned.max }
    }
}

#[derive(Debug, Serialize)]
struct OutputJson<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [usize],
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Value>,
}

impl<'a> Report<'a> {
    pub(super) fn new(signature: &'a Signature, plan: &'a Plan<'a>, outcome: &'a Outcome) -> Self {
        Self { signature, plan, outcome }
    }

    fn outputs(&self) -> impl Iterator<Item = (&'a str, &'a AnyTensor, Option<&'a Path>)> {
        let (plan, fields) = (self.plan, &self.outcome.fields);
        self.signature.outputs().filter_map(|FieldSpec { name, .. }| {
            Some((name.as_str(), fields.tensors.get(name)?, plan.path(name)))
        })
    }

    fn results(&self) -> impl Iterator<Item = (&'a str, Value)> {
        let given = &self.outcome.fields.parameters;
        catalogue::results(self.signature).filter_map(|FieldSpec { name, kind, .. }| {
            let FieldKind::Parameter { kind, .. } = kind else { return None };
            Some((name.as_str(), value_json(given.get(name)?, *kind)))
        })
    }

    /// The line for people on what happened.
    pub(super) fn summary(&self) -> String {
        let Outcome { device, took, .. } = self.outcome;
        let kernel = &self.signature.name;
        let mut line = format!("{kernel} on {} ({}) in {took:.1?}", device.id, device.name);
        for (name, tensor, path) in self.outputs() {
            if let Some(path) = path {
                line += &format!("\n  {name}: {} → {}", kind(tensor), path.display());
            }
        }
        let LearnedMemory { device, staging, .. } = self.outcome.memory;
        for (kind, LearnedPeaks { declared, max, .. }) in [("device", device), ("staging", staging)]
        {
            if declared > 0 || max > 0 {
                let declared = match declared {
                    0 => "nothing declared".to_owned(),
                    bytes => format!("declared {}", in_bytes(bytes)),
                };
                line += &format!("\n  {kind} memory: {declared}, peak {}", in_bytes(max));
            }
        }
        line
    }

    /// What came out, for people, as far as it is not in files.
    pub(super) fn values(&self) -> String {
        let results =
            self.results().map(|(name, value)| format!("{BOLD}{name}{BOLD:#} = {value}\n"));
        let mut text: String = results.collect();
        if self.plan.writes_nothing() {
            for (name, tensor, _) in self.outputs() {
                text += &format!("{BOLD}{name}{BOLD:#}, {}{}\n", kind(tensor), in_words(tensor));
            }
        }
        text
    }

    /// What happened and what came out, for programs.
    pub(super) fn json(&self) -> ReportJson<'_> {
        let outputs = self.outputs().map(|(name, tensor, path)| {
            let printed = self.plan.writes_nothing().then(|| in_json(tensor));
            let (data, summary) = printed.unwrap_or_default();
            OutputJson {
                name,
                datatype: tensor.element_type().name(),
                shape: tensor.shape(),
                file: path.map(|path| path.display().to_string()),
                data,
                summary,
            }
        });
        ReportJson {
            kernel: &self.signature.name,
            device: self.outcome.device.id.to_string(),
            milliseconds: (self.outcome.took.as_secs_f64() * 1e6).round() / 1e3,
            memory: MemoryJson {
                device: self.outcome.memory.device.into(),
                staging: self.outcome.memory.staging.into(),
            },
            outputs: outputs.collect(),
            results: self.results().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }
}

/// Bytes in the unit in which they are at least one.
fn in_bytes(bytes: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

fn kind(tensor: &AnyTensor) -> String {
    format!("{} {:?}", tensor.element_type(), tensor.shape())
}

/// The elements of a small tensor, the summary of a large one.
fn in_words(tensor: &AnyTensor) -> String {
    with_tensor!(tensor, tensor => match Summary::of(tensor) {
        None => format!(" = {}", nested(tensor.shape(), tensor.as_slice())),
        Some(summary) => format!(": {summary}"),
    })
}

/// The same for programs: one of the two.
fn in_json(tensor: &AnyTensor) -> (Option<Value>, Option<Value>) {
    with_tensor!(tensor, tensor => match Summary::of(tensor) {
        None => (Some(json!(tensor.as_slice())), None),
        Some(summary) => (None, Some(json!(summary))),
    })
}

/// Elements in brackets, as in `[[1, 2], [3, 4]]`.
fn nested<T: Element>(shape: &[usize], elements: &[T]) -> String {
    match shape {
        // (Also where there would be no end of empty rows.)
        _ if elements.is_empty() => "[]".into(),
        [] => format!("{:?}", elements[0]),
        [length, inner @ ..] => {
            let size = inner.iter().product::<usize>();
            let rows = (0..*length).map(|row| nested(inner, &elements[row * size..][..size]));
            format!("[{}]", rows.collect::<Vec<_>>().join(", "))
        }
    }
}

/// What is said of a tensor that is too large to print.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Summary<T> {
    min: T,
    max: T,
    mean: f64,
}

impl<T: Element + PartialOrd + AsPrimitive<f64>> Summary<T> {
    /// None if the tensor is small.
    fn of(tensor: &Tensor<T>) -> Option<Self> {
        let elements = || tensor.as_slice().iter().copied();
        let sum: f64 = elements().map(AsPrimitive::as_).sum();
        (tensor.len() > FEW).then_some(Self {
            min: elements().reduce(|a, b| if a < b || is_nan(&a) { a } else { b })?,
            max: elements().reduce(|a, b| if a > b || is_nan(&a) { a } else { b })?,
            mean: sum / tensor.len() as f64,
        })
    }
}

/// A NaN anywhere is worth knowing of: it is the least and the greatest.
fn is_nan<T: PartialOrd>(element: &T) -> bool {
    element.partial_cmp(element).is_none()
}

impl<T: fmt::Debug> fmt::Display for Summary<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, max, mean } = self;
        // Six digits of the mean say enough.
        let rounded: f64 = format!("{mean:.5e}").parse().unwrap_or(*mean);
        write!(f, "min {min:?}, max {max:?}, mean {rounded:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_tensors_are_printed_row_by_row() {
        assert_eq!(nested(&[2, 2], &[1u8, 2, 3, 4]), "[[1, 2], [3, 4]]");
        assert_eq!(nested(&[], &[0.1f32]), "0.1");
        assert_eq!(nested(&[2, 1, 1], &[-1i64, 7]), "[[[-1]], [[7]]]");
        assert_eq!(nested::<f64>(&[usize::MAX, 0, usize::MAX], &[]), "[]");
    }

    #[test]
    fn bytes_are_told_in_a_unit_that_fits() {
        let sizes = [0, 1023, 1024, 1_258_291, 1 << 30, u64::MAX];
        let told = ["0 B", "1023 B", "1.0 KiB", "1.2 MiB", "1.0 GiB", "17179869184.0 GiB"];
        assert_eq!(sizes.map(in_bytes), told);
    }

    #[test]
    fn large_tensors_are_summarised_in_their_own_type() {
        let summary = |data: Vec<f32>| Summary::of(&Tensor::from(data)).unwrap().to_string();
        assert_eq!(summary(vec![1.0 / 3.0; 17]), "min 0.33333334, max 0.33333334, mean 0.333333");
        let mut one_is_nan = vec![1.0; 17];
        one_is_nan[5] = f32::NAN;
        assert_eq!(summary(one_is_nan), "min NaN, max NaN, mean NaN");
        let exact = Summary::of(&Tensor::from((0..17).map(|n| u64::MAX - n).collect::<Vec<_>>()));
        assert_eq!(json!(exact)["max"], u64::MAX);
        assert!(Summary::of(&Tensor::from(vec![1u8; FEW])).is_none());
    }
}
