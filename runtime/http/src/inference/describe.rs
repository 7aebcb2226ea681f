//! A kernel's metadata and configuration, as clients of Triton expect them.

use rustkernel_core::gpu::ElementType;
use rustkernel_core::message::{Dimension, FieldKind, FieldSpec, Signature};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// What runs the kernels, by the protocol's word for it.
const PLATFORM: &str = "rustkernel";
/// What the server can do beyond the protocol.
const EXTENSIONS: [&str; 5] =
    ["binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics"];

/// The server's metadata.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ServerMetadata<'a> {
    name: &'a str,
    version: &'static str,
    extensions: [&'static str; 5],
}

impl<'a> ServerMetadata<'a> {
    pub(crate) fn new(name: &'a str) -> Self {
        Self { name, version: env!("CARGO_PKG_VERSION"), extensions: EXTENSIONS }
    }
}

/// A kernel's metadata.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Metadata<'a> {
    name: &'a str,
    versions: [&'a str; 1],
    platform: &'static str,
    inputs: Vec<TensorMetadata<'a>>,
    outputs: Vec<TensorMetadata<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct TensorMetadata<'a> {
    name: &'a str,
    datatype: &'static str,
    /// −1 is any length.
    shape: Vec<i64>,
}

impl<'a> From<&'a Signature> for Metadata<'a> {
    fn from(signature: &'a Signature) -> Self {
        Self {
            name: &signature.name,
            versions: [&signature.version],
            platform: PLATFORM,
            inputs: signature.inputs().filter_map(TensorMetadata::of).collect(),
            outputs: signature.outputs().filter_map(TensorMetadata::of).collect(),
        }
    }
}

impl<'a> TensorMetadata<'a> {
    fn of(field: &'a FieldSpec) -> Option<Self> {
        let (element, shape) = tensor(field)?;
        Some(Self { name: &field.name, datatype: element.name(), shape })
    }
}

fn tensor(field: &FieldSpec) -> Option<(ElementType, Vec<i64>)> {
    let FieldKind::Tensor { element, shape, .. } = &field.kind else { return None };
    let length = |dimension: &Dimension| match dimension {
        Dimension::Fixed(length) => i64::try_from(*length).unwrap_or(i64::MAX),
        Dimension::Named(_) => -1,
    };
    // (The protocol has no word for any number of dimensions.)
    let shape = if shape.is_empty() { vec![-1] } else { shape.iter().map(length).collect() };
    Some((*element, shape))
}

/// A kernel's configuration.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Config<'a> {
    name: &'a str,
    platform: &'static str,
    backend: &'static str,
    /// No batching: each request is one execution.
    max_batch_size: u32,
    input: Vec<TensorConfig<'a>>,
    output: Vec<TensorConfig<'a>>,
    /// The kernel's own parameters, each described in words.
    parameters: Map<String, Value>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct TensorConfig<'a> {
    name: &'a str,
    data_type: String,
    dims: Vec<i64>,
}

impl<'a> From<&'a Signature> for Config<'a> {
    fn from(signature: &'a Signature) -> Self {
        Self {
            name: &signature.name,
            platform: PLATFORM,
            backend: PLATFORM,
            max_batch_size: 0,
            input: signature.inputs().filter_map(TensorConfig::of).collect(),
            output: signature.outputs().filter_map(TensorConfig::of).collect(),
            parameters: signature.parameters().filter_map(parameter).collect(),
        }
    }
}

impl<'a> TensorConfig<'a> {
    fn of(field: &'a FieldSpec) -> Option<Self> {
        let (element, dims) = tensor(field)?;
        Some(Self { name: &field.name, data_type: format!("TYPE_{element}"), dims })
    }
}

fn parameter(field: &FieldSpec) -> Option<(String, Value)> {
    let FieldKind::Parameter { kind, default } = &field.kind else { return None };
    let default = match default {
        Some(value) => format!("{value} unless given"),
        None => "has to be given".into(),
    };
    let text = format!("{kind}, {default}: {}", field.description);
    Some((field.name.clone(), json!({ "string_value": text })))
}
