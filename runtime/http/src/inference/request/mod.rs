//! A body as a kernel's fields, and what its caller says of the call.
//!
//! A body is JSON, or JSON with binary tensors behind it; where the JSON ends is said by a header. Tensors
//! are read at once into where they stay: a tensor in JSON whose type stands before its data, as clients
//! write it, is read in one pass; another has the body read twice. Bytes need not be there yet when the JSON is read.

mod document;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Display;
use std::time::Duration;

use rustkernel_core::gpu::ElementType;
use rustkernel_core::kernel::{AnyTensor, Priority, Tensor};
use rustkernel_core::message::{
    FieldKind, Fields, MessageError, Parameter, ParameterKind, Signature,
};
use serde_json::Value;

pub(super) use self::document::Parameters;
use self::document::{Count, Document, Input, Output};
use super::Fault;
use super::object::Object;
use super::tensor::{self, Coming};

/// What a caller asks for.
#[derive(Debug, Default)]
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

/// A request whose JSON was read, and whose tensors may still lack bytes.
#[derive(Debug, Default)]
pub(crate) struct Begun {
    inference: Inference,
    /// Those that were not whole in what was there, in their order, and how many of them are by now.
    coming: Vec<(String, Coming)>,
    whole: usize,
}

impl Begun {
    fn give(&mut self, name: String, given: Given) {
        let tensors = &mut self.inference.fields.tensors;
        match given {
            Given::Whole(tensor) => drop(tensors.insert(name, tensor)),
            Given::Coming(coming) => {
                // (Its name is taken at once, by a tensor of nothing.)
                tensors.insert(name.clone(), AnyTensor::from(Tensor::<u8>::zeros([0])));
                self.coming.push((name, coming));
            }
        }
    }

    /// Takes the bytes that come next.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) {
        for (_, tensor) in &mut self.coming[self.whole..] {
            bytes = tensor.take(bytes);
            if !tensor.is_whole() {
                break;
            }
            self.whole += 1;
        }
    }

    /// What is asked for, once everything is there.
    ///
    /// # Errors
    /// If it is not.
    pub(crate) fn finish(mut self) -> Result<Inference, Fault> {
        for (name, tensor) in self.coming {
            let tensor = tensor.tensor();
            let tensor =
                tensor.map_err(|error| Fault::invalid(format!("input `{name}`: {error}")))?;
            self.inference.fields.tensors.insert(name, tensor);
        }
        Ok(self.inference)
    }
}

/// Reads a body that is there as a whole. `header` is the length of its JSON, where bytes follow.
///
/// # Errors
/// If it is not what it has to be, saying what and where.
pub(crate) fn read(
    signature: &Signature,
    header: Option<usize>,
    body: &[u8],
) -> Result<Inference, Fault> {
    begin(signature, header, body, body.len())?.finish()
}

/// Reads a body of so many bytes, of which the front is there, with all of the JSON in it.
///
/// # Errors
/// If it is not what it has to be, whatever the bytes are that come yet.
pub(crate) fn begin(
    signature: &Signature,
    header: Option<usize>,
    body: &[u8],
    length: usize,
) -> Result<Begun, Fault> {
    match header {
        Some(0) => raw(signature, Behind { here: body, left: length }),
        Some(header) => {
            let (json, here) = body.split_at_checked(header).ok_or_else(|| {
                let name = &super::HEADER_LENGTH;
                Fault::invalid(format!("`{name}` is {header}, and the body has {length} bytes"))
            })?;
            Document::read(json)?.begin(signature, Behind { here, left: length - header })
        }
        None => Document::read(body)?.begin(signature, Behind { here: &[], left: 0 }),
    }
}

/// The bytes behind the JSON, or what is left of them: those that are here, and how many there will be.
struct Behind<'b> {
    here: &'b [u8],
    left: usize,
}

enum Given {
    Whole(AnyTensor),
    Coming(Coming),
}

impl Behind<'_> {
    /// The tensor that they begin with.
    fn tensor(
        &mut self,
        element: ElementType,
        shape: Vec<usize>,
        size: usize,
    ) -> Result<Given, Fault> {
        let (own, others) = self.here.split_at(size.min(self.here.len()));
        (self.here, self.left) = (others, self.left - size);
        if own.len() == size {
            let tensor = tensor::from_bytes(element, shape, own);
            return tensor.map(Given::Whole).map_err(Fault::invalid);
        }
        let mut coming = Coming::new(element, shape, size)?;
        coming.take(own);
        Ok(Given::Coming(coming))
    }
}

/// A body that is the one input of its kernel, and nothing else.
fn raw(signature: &Signature, mut body: Behind<'_>) -> Result<Begun, Fault> {
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
    let length = body.left;
    let given = body.tensor(*element, vec![length / element.size()], length);
    let given = given.map_err(|fault| fault.of(format_args!("`{}`", input.name)))?;
    let mut begun = Begun::default();
    begun.inference.outputs.binary = true;
    begun.give(input.name.clone(), given);
    Ok(begun)
}

impl Document<'_> {
    fn begin(self, signature: &Signature, mut behind: Behind<'_>) -> Result<Begun, Fault> {
        let mut begun = Begun::default();
        for mut input in self.inputs {
            let name = std::mem::take(&mut input.name);
            let given = input.given(&mut behind);
            let given = given.map_err(|fault| fault.of(format_args!("input `{name}`")))?;
            if begun.inference.fields.tensors.contains_key(&*name) {
                return Err(Fault::invalid(format!("input `{name}` is there twice")));
            }
            begun.give(name.into_owned(), given);
        }
        if behind.left > 0 {
            let error = format!("{} bytes at the end of the body belong to no input", behind.left);
            return Err(Fault::invalid(error));
        }
        let inference = &mut begun.inference;
        inference.id = self.id.map(Cow::into_owned).filter(|id| !id.is_empty());
        inference.outputs = outputs(signature, self.outputs)?;
        for (name, value) in self.parameters.0 {
            inference.parameter(signature, name, &value)?;
        }
        Ok(begun)
    }
}

impl Input<'_> {
    /// Its elements, from the document or from the bytes behind it.
    fn given(self, behind: &mut Behind<'_>) -> Result<Given, Fault> {
        let Self { element, shape, parameters, data, .. } = self;
        parameters.check()?;
        let size = parameters.binary_data_size.map(|Count(size)| size);
        let error = match (data, size, element) {
            (Some(tensor), None, _) => return Ok(Given::Whole(tensor)),
            (None, Some(size), Some(element)) if size <= behind.left => {
                return behind.tensor(element, shape, size);
            }
            (None, Some(size), Some(_)) => {
                format!("`binary_data_size` is {size}, and {} bytes are left", behind.left)
            }
            (Some(_), Some(_), _) => {
                "both `data` and `binary_data_size`; it is one of them".to_owned()
            }
            (None, None, _) => "neither `data` nor `binary_data_size`".to_owned(),
            (None, Some(_), None) => "no `datatype`".to_owned(),
        };
        Err(Fault::invalid(error))
    }
}

fn outputs(signature: &Signature, asked: Vec<Object<Output>>) -> Result<Outputs, Fault> {
    let (mut seen, mut named) = (HashSet::new(), Vec::new());
    for Object(Output { name, parameters }) in asked {
        if !signature.outputs().any(|known| known.name == name) {
            let kernel = &signature.name;
            return Err(Fault::invalid(format!("`{kernel}` has no output `{name}`")));
        }
        let Object(parameters) = parameters.unwrap_or_default();
        let checked = parameters.check();
        checked.map_err(|fault| fault.of(format_args!("output `{name}`")))?;
        if !seen.insert(name.clone()) {
            return Err(Fault::invalid(format!("output `{name}` is asked for twice")));
        }
        named.push((name, parameters.binary_data));
    }
    Ok(Outputs { named, binary: false })
}

impl Inference {
    /// A parameter of the request: its kernel's, if it has one of that name; else what is said of the call.
    fn parameter(
        &mut self,
        signature: &Signature,
        name: String,
        value: &Value,
    ) -> Result<(), Fault> {
        let wrong = |expected: &dyn Display| {
            let (name, given, expected) = (name.clone(), described(value), expected.to_string());
            Fault::invalid(MessageError::WrongType { name, given, expected }.to_string())
        };
        let field = signature.parameters().find(|field| field.name == name);
        if let Some(field) = field
            && let FieldKind::Parameter { kind, .. } = &field.kind
        {
            let parameter = of_json(value, *kind).ok_or_else(|| wrong(field))?;
            self.fields.parameters.insert(name, parameter);
            return Ok(());
        }
        match name.as_str() {
            "binary_data_output" => {
                self.outputs.binary = value.as_bool().ok_or_else(|| wrong(&"true or false"))?;
            }
            "timeout" => {
                let micros =
                    value.as_u64().ok_or_else(|| wrong(&"microseconds, a whole number"))?;
                self.timeout = (micros > 0).then(|| Duration::from_micros(micros));
            }
            "priority" => {
                let level =
                    value.as_u64().ok_or_else(|| wrong(&"a whole number, 1 the highest"))?;
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

/// A value in the words of [`Parameter::describe`], a number as it was written.
fn described(value: &Value) -> String {
    match value {
        Value::Bool(value) => Parameter::Bool(*value).describe(),
        Value::String(text) => Parameter::Text(text.clone()).describe(),
        Value::Number(number) if number.is_f64() => format!("the number {number}"),
        Value::Number(number) => format!("the whole number {number}"),
        Value::Null | Value::Array(_) | Value::Object(_) => value.to_string(),
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
