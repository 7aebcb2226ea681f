//! The built-in kernels by name, and how they are described: in words, and in JSON.
//!
//! A kernel in JSON, as `kernel describe` prints it; `kernel list` prints an array of them:
//!
//! | key | value |
//! |---|---|
//! | `name`, `version`, `description` | strings |
//! | `inputs`, `outputs` | tensors: `name`, `datatype` (`FP32`, …), `shape` (numbers, and names that stand for one length each; null if any shape will do), `picture` (whether it is one: `[height, width, channels]` of 8-bit values), `description` |
//! | `parameters` | `name`, `datatype` (an element type, `BOOL` or `STRING`), `default` (null if it has to be given), `description` |
//! | `results` | single values of the answer, as parameters without `default`; left out if there are none |

use rustkernel_core::kernel::AnySpec;
use rustkernel_core::message::{
    Dimension, FieldKind, FieldSpec, Parameter, ParameterKind, Signature, nearest,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::exit::Failure;

/// The signatures of all kernels that can be called by name.
pub(crate) fn signatures() -> Vec<Signature> {
    rustkernel_kernels::all().iter().filter_map(|spec| spec.signature()).collect()
}

/// The kernel of that name, and its signature.
///
/// # Errors
/// If there is none, with the nearest name that there is.
pub(crate) fn find(name: &str) -> Result<(Box<dyn AnySpec>, Signature), Failure> {
    let found = rustkernel_kernels::find(name).and_then(|spec| {
        let signature = spec.signature()?;
        Some((spec, signature))
    });
    found.ok_or_else(|| {
        let known = signatures();
        let meant = did_you_mean(name, known.iter().map(|signature| signature.name.as_str()));
        Failure::usage(format!("there is no kernel `{name}`{meant}"))
            .hint("`rustkernel kernel list` shows the kernels")
    })
}

/// The end of a sentence that says what there is not.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// A kernel in JSON.
#[derive(Debug, Serialize)]
pub(crate) struct KernelJson<'a> {
    name: &'a str,
    version: &'a str,
    description: &'a str,
    inputs: Vec<TensorJson<'a>>,
    parameters: Vec<ParameterJson<'a>>,
    outputs: Vec<TensorJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    results: Vec<ResultJson<'a>>,
}

#[derive(Debug, Serialize)]
struct TensorJson<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: Option<Vec<Value>>,
    picture: bool,
    description: &'a str,
}

#[derive(Debug, Serialize)]
struct ParameterJson<'a> {
    name: &'a str,
    datatype: &'static str,
    default: Option<Value>,
    description: &'a str,
}

#[derive(Debug, Serialize)]
struct ResultJson<'a> {
    name: &'a str,
    datatype: &'static str,
    description: &'a str,
}

impl<'a> From<&'a Signature> for KernelJson<'a> {
    fn from(signature: &'a Signature) -> Self {
        Self {
            name: &signature.name,
            version: &signature.version,
            description: &signature.description,
            inputs: signature.inputs().filter_map(tensor).collect(),
            parameters: signature.parameters().filter_map(parameter).collect(),
            outputs: signature.outputs().filter_map(tensor).collect(),
            results: results(signature).filter_map(result).collect(),
        }
    }
}

/// The single values of an answer.
pub(crate) fn results(signature: &Signature) -> impl Iterator<Item = &FieldSpec> {
    signature.response.iter().filter(|field| !field.is_tensor())
}

fn tensor(FieldSpec { name, description, kind }: &FieldSpec) -> Option<TensorJson<'_>> {
    let FieldKind::Tensor { element, shape, picture } = kind else { return None };
    let length = |dimension: &Dimension| match dimension {
        Dimension::Fixed(length) => json!(length),
        Dimension::Named(name) => json!(name),
    };
    let shape = (!shape.is_empty()).then(|| shape.iter().map(length).collect());
    Some(TensorJson { name, datatype: element.name(), shape, picture: *picture, description })
}

fn parameter(FieldSpec { name, description, kind }: &FieldSpec) -> Option<ParameterJson<'_>> {
    let FieldKind::Parameter { kind, default } = kind else { return None };
    let default = default.as_ref().map(|value| value_json(value, *kind));
    Some(ParameterJson { name, datatype: kind.name(), default, description })
}

fn result(FieldSpec { name, description, kind }: &FieldSpec) -> Option<ResultJson<'_>> {
    let FieldKind::Parameter { kind, .. } = kind else { return None };
    Some(ResultJson { name, datatype: kind.name(), description })
}

/// A single value in JSON; numbers that JSON does not have are null.
pub(crate) fn value_json(value: &Parameter, kind: ParameterKind) -> Value {
    use rustkernel_core::gpu::ElementType::F32;
    match value {
        Parameter::Bool(value) => json!(value),
        // (Every integer type that a parameter can have fits one of the two.)
        Parameter::Int(value) => i64::try_from(*value)
            .map_or_else(|_| json!(u64::try_from(*value).ok()), |value| json!(value)),
        Parameter::Float(value) => json!(shortest(*value, kind == ParameterKind::Number(F32))),
        Parameter::Text(value) => json!(value),
        other => json!(other.to_string()),
    }
}

/// The number with the fewest digits that is the same as a value of single precision: 0.1, not
/// 0.10000000149011612.
fn shortest(value: f64, single: bool) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "the value comes from single precision")]
    let rounded = (value as f32).to_string().parse();
    if single { rounded.unwrap_or(value) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_can_be_found_and_described() {
        for signature in signatures() {
            assert_eq!(find(&signature.name).unwrap().1, signature);
            let json = serde_json::to_value(KernelJson::from(&signature)).unwrap();
            assert_eq!(json["inputs"].as_array().unwrap().len(), signature.inputs().count());
        }
    }

    #[test]
    fn values_are_printed_as_they_are_meant() {
        use rustkernel_core::gpu::ElementType::{F32, F64, U64};
        let json = |value, element| value_json(&value, ParameterKind::Number(element)).to_string();
        assert_eq!(json(Parameter::Float(f64::from(0.1f32)), F32), "0.1");
        assert_eq!(json(Parameter::Float(0.1), F64), "0.1");
        assert_eq!(json(Parameter::Float(f64::NAN), F64), "null");
        assert_eq!(json(Parameter::Int(u64::MAX.into()), U64), u64::MAX.to_string());
        assert_eq!(json(Parameter::Int(-1), U64), "-1");
    }
}
