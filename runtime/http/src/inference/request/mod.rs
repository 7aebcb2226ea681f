//! A body as a kernel's fields, and what its caller says of the call.
//!
//! A body is JSON, or JSON with binary tensors behind it; where the JSON ends is said by a header. Tensors
//! are read at once into where they stay: a tensor in JSON whose type stands before its data, as clients
//! write it, is read in one pass; another has the body read twice.

mod document;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use rustkernel_core::gpu::ElementType;
use rustkernel_core::kernel::{AnyTensor, Priority};
use rustkernel_core::message::{FieldKind, Fields, Parameter, ParameterKind, Signature};
use serde_json::Value;

use self::document::{Document, Input, Output};
use super::{Fault, tensor};

/// What a caller asks for.
#[derive(Debug)]
pub(crate) struct Inference {
    /// Its own name for the request; comes back with the answer.
    pub(crate) id: Option<String>,
    pub(crate) fields: Fields,
    pub(crate) outputs: Outputs,
    pub(crate) timeout: Option<Duration>,
    pub(crate) priority: Option<Priority>,
}

/// Which tensors of the answer are wanted, and how.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// Those named, in their order, and whether in bytes; without any, all.
    pub(crate) named: Vec<(String, Option<bool>)>,
    /// Whether in bytes, where it is not said of the tensor.
    pub(crate) binary: bool,
}

/// Reads a body. `header` is the length of its JSON, where bytes follow.
///
/// # Errors
/// If it is not what it has to be, saying what and where.
pub(crate) fn read(
    signature: &Signature,
    header: Option<usize>,
    body: &[u8],
) -> Result<Inference, Fault> {
    match header {
        Some(0) => raw(signature, body),
        Some(length) if length > body.len() => Err(Fault::invalid(format!(
            "`{}` is {length}, and the body has {} bytes",
            super::HEADER_LENGTH,
            body.len()
        ))),
        Some(length) => {
            let (json, bytes) = body.split_at(length);
            Document::read(json)?.inference(signature, bytes)
        }
        None => Document::read(body)?.inference(signature, &[]),
    }
}

/// A body that is the one input of its kernel, and nothing else.
fn raw(signature: &Signature, body: &[u8]) -> Result<Inference, Fault> {
    let mut inputs = signature.inputs();
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        return Err(Fault::invalid(format!(
            "a body without JSON is for kernels of one input, and `{}` has {}",
            signature.name,
            signature.inputs().count()
        )));
    };
    let FieldKind::Tensor { element, shape, .. } = &input.kind else {
        return Err(Fault::invalid("the input is no tensor"));
    };
    if shape.len() > 1 {
        return Err(Fault::invalid(format!(
            "a body without JSON has no shape, and `{}` has {} dimensions",
            input.name,
            shape.len()
        )));
    }
    let read = tensor::from_bytes(*element, vec![body.len() / element.size()], body);
    let read = read.map_err(|error| Fault::invalid(format!("`{}`: {error}", input.name)))?;
    let fields = Fields::new().with_tensor(&input.name, read);
    let outputs = Outputs { binary: true, ..Outputs::default() };
    Ok(Inference { id: None, fields, outputs, timeout: None, priority: None })
}

impl Document<'_> {
    fn inference(self, signature: &Signature, bytes: &[u8]) -> Result<Inference, Fault> {
        let mut fields = Fields::new();
        let mut rest = bytes;
        for mut input in self.inputs {
            let name = std::mem::take(&mut input.name);
            let tensor = input.tensor(&mut rest);
            let tensor =
                tensor.map_err(|error| Fault::invalid(format!("input `{name}`: {error}")))?;
            if fields.tensors.contains_key(&*name) {
                return Err(Fault::invalid(format!("input `{name}` is there twice")));
            }
            fields.tensors.insert(name.into_owned(), tensor);
        }
        if !rest.is_empty() {
            let error = format!("{} bytes at the end of the body belong to no input", rest.len());
            return Err(Fault::invalid(error));
        }
        let mut inference = Inference {
            id: self.id.map(Cow::into_owned).filter(|id| !id.is_empty()),
            fields,
            outputs: outputs(signature, self.outputs)?,
            timeout: None,
            priority: None,
        };
        for (name, value) in self.parameters {
            inference.parameter(signature, name, &value)?;
        }
        Ok(inference)
    }
}

impl Input<'_> {
    /// Its elements, from the document or from the bytes behind it.
    fn tensor(self, rest: &mut &[u8]) -> Result<AnyTensor, String> {
        let Self { element, shape, parameters, data, .. } = self;
        match (data, parameters.binary_data_size) {
            (Some(tensor), None) => Ok(tensor),
            (Some(_), Some(_)) => {
                Err("both `data` and `binary_data_size`; it is one of them".into())
            }
            (None, None) => Err("neither `data` nor `binary_data_size`".into()),
            (None, Some(size)) => {
                let element = element.ok_or("no `datatype`")?;
                let (own, others) = rest.split_at_checked(size).ok_or_else(|| {
                    format!("`binary_data_size` is {size}, and {} bytes are left", rest.len())
                })?;
                *rest = others;
                tensor::from_bytes(element, shape, own)
            }
        }
    }
}

fn outputs(signature: &Signature, asked: Vec<Output>) -> Result<Outputs, Fault> {
    let mut seen = HashSet::new();
    for output in &asked {
        if !signature.outputs().any(|known| known.name == output.name) {
            let kernel = &signature.name;
            let error = format!("`{kernel}` has no output `{}`", output.name);
            return Err(Fault::invalid(error));
        }
        if !seen.insert(output.name.as_str()) {
            return Err(Fault::invalid(format!("output `{}` is asked for twice", output.name)));
        }
    }
    let named = asked.into_iter().map(|output| (output.name, output.parameters.binary_data));
    Ok(Outputs { named: named.collect(), binary: false })
}

impl Inference {
    /// A parameter of the request: its kernel's, if it has one of that name; else what is said of the call.
    fn parameter(
        &mut self,
        signature: &Signature,
        name: String,
        value: &Value,
    ) -> Result<(), Fault> {
        let field = signature.parameters().find(|field| field.name == name);
        if let Some(FieldKind::Parameter { kind, .. }) = field.map(|field| &field.kind) {
            let parameter = of_json(value, *kind).ok_or_else(|| {
                Fault::invalid(format!("parameter `{name}` is {value}; it has to be a {kind}"))
            })?;
            self.fields.parameters.insert(name, parameter);
            return Ok(());
        }
        let wrong = |expected| {
            Fault::invalid(format!("parameter `{name}` is {value}; it has to be {expected}"))
        };
        match name.as_str() {
            "binary_data_output" => {
                self.outputs.binary = value.as_bool().ok_or_else(|| wrong("true or false"))?;
            }
            "timeout" => {
                let micros = value.as_u64().ok_or_else(|| wrong("microseconds, a whole number"))?;
                self.timeout = (micros > 0).then(|| Duration::from_micros(micros));
            }
            "priority" => {
                let level = value.as_u64().ok_or_else(|| wrong("a whole number, 1 the highest"))?;
                self.priority = priority(level);
            }
            // (The kernel says that it has no such parameter, and what was perhaps meant.)
            _ => {
                let text = Parameter::Text(value.to_string());
                self.fields.parameters.insert(name, text);
            }
        }
        Ok(())
    }
}

/// Priorities by number, as Triton has them: 1 is the highest, 0 is what the kernel has.
fn priority(level: u64) -> Option<Priority> {
    match level {
        0 => None,
        1 => Some(Priority::High),
        2 => Some(Priority::Normal),
        _ => Some(Priority::Low),
    }
}

fn of_json(value: &Value, kind: ParameterKind) -> Option<Parameter> {
    match (value, kind) {
        (Value::Bool(value), ParameterKind::Bool) => Some(Parameter::Bool(*value)),
        (Value::String(text), ParameterKind::Text) => Some(Parameter::Text(text.clone())),
        (Value::Number(number), ParameterKind::Number(element)) => match element {
            ElementType::F32 | ElementType::F64 => number.as_f64().map(Parameter::Float),
            _ => number
                .as_i64()
                .map(i128::from)
                .or_else(|| number.as_u64().map(i128::from))
                .map(Parameter::Int),
        },
        _ => None,
    }
}
