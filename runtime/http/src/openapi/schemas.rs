//! Bodies that are read or written by hand, as types to make schemas of.
#![allow(dead_code, reason = "they are there for their schemas")]

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

/// What may be left out. (In requests it may be null as well.)
fn absent<T>(_: &T) -> bool {
    true
}

/// Why there is no answer.
#[derive(JsonSchema, Serialize)]
pub(super) struct Refusal {
    /// In a sentence.
    error: String,
    /// For machines.
    #[serde(skip_serializing_if = "absent")]
    reason: String,
    /// The way out, where there is one.
    #[serde(skip_serializing_if = "absent")]
    hint: String,
    /// Where there are several, each.
    #[serde(skip_serializing_if = "absent")]
    problems: Vec<String>,
    /// The request's id, which the audit log has too.
    #[serde(skip_serializing_if = "absent")]
    request_id: String,
}

/// A call of a kernel.
#[derive(JsonSchema, Serialize)]
pub(super) struct InferRequest {
    /// The caller's own name for it, which comes back with the answer.
    #[serde(skip_serializing_if = "absent")]
    id: Option<String>,
    /// The kernel's parameters, and what is said of the call (`timeout` in microseconds, `priority`,
    /// `binary_data_output`).
    #[serde(skip_serializing_if = "absent")]
    parameters: Option<BTreeMap<String, Parameter>>,
    /// The kernel's tensors.
    inputs: Vec<Tensor>,
    /// The tensors that are wanted; all if this is left out.
    #[serde(skip_serializing_if = "absent")]
    outputs: Option<Vec<WantedTensor>>,
}

/// A parameter's value.
#[derive(JsonSchema, Serialize)]
#[serde(untagged)]
enum Parameter {
    Number(f64),
    Text(String),
    Bool(bool),
}

/// What is asked of the repository's index.
#[derive(JsonSchema, Serialize)]
pub(super) struct IndexRequest {
    /// Only the kernels that are ready.
    #[serde(skip_serializing_if = "absent")]
    ready: Option<bool>,
}

/// What is said of loading a kernel: nothing.
#[derive(JsonSchema, Serialize)]
pub(super) struct LoadRequest {}

/// What is said of unloading a kernel.
#[derive(JsonSchema, Serialize)]
pub(super) struct UnloadRequest {
    #[serde(skip_serializing_if = "absent")]
    parameters: Option<Dependents>,
}

/// Whether those are unloaded too that depend on it; none does.
#[derive(JsonSchema, Serialize)]
struct Dependents {
    #[serde(skip_serializing_if = "absent")]
    unload_dependents: Option<bool>,
}

/// A tensor.
#[derive(JsonSchema, Serialize)]
struct Tensor {
    name: String,
    datatype: Datatype,
    shape: Vec<u64>,
    /// Left out where `binary_data_size` says that it stands behind the JSON.
    #[serde(skip_serializing_if = "absent")]
    data: Vec<TensorData>,
    #[serde(skip_serializing_if = "absent")]
    parameters: Option<BinarySize>,
}

/// How many bytes of a tensor stand behind the JSON.
#[derive(JsonSchema, Serialize)]
struct BinarySize {
    #[serde(skip_serializing_if = "absent")]
    binary_data_size: Option<u64>,
}

/// A tensor that is wanted.
#[derive(JsonSchema, Serialize)]
struct WantedTensor {
    name: String,
    #[serde(skip_serializing_if = "absent")]
    parameters: Option<InBytes>,
}

/// Whether it is wanted in bytes.
#[derive(JsonSchema, Serialize)]
struct InBytes {
    #[serde(skip_serializing_if = "absent")]
    binary_data: Option<bool>,
}

/// What a kernel has answered.
#[derive(JsonSchema, Serialize)]
pub(super) struct InferResponse {
    model_name: String,
    model_version: String,
    /// The request's, if it has one.
    #[serde(skip_serializing_if = "absent")]
    id: String,
    /// Single values of the answer.
    #[serde(skip_serializing_if = "absent")]
    parameters: BTreeMap<String, Parameter>,
    outputs: Vec<Tensor>,
}

/// The type of a tensor's elements.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Datatype {
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp32,
    Fp64,
}

/// Elements, flat or nested. A number that JSON does not have is null in answers.
#[derive(Serialize)]
struct TensorData;

impl JsonSchema for TensorData {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TensorData".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let below = generator.subschema_for::<Self>();
        json_schema!({
            "description": "An element, or some that are nested. A number that JSON does not have is null.",
            "anyOf": [{ "type": ["number", "null"] }, { "type": "array", "items": below }],
        })
    }
}

/// Bytes.
pub(super) fn bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "contentMediaType": "application/octet-stream" })
}

/// Text.
pub(super) fn text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string" })
}

/// A document of OpenAPI.
pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}
