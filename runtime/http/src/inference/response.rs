//! A kernel's fields as a body.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use rustkernel_core::gpu::ElementType;
use rustkernel_core::kernel::AnyTensor;
use rustkernel_core::message::{Fields, Parameter, Signature};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::request::Outputs;
use super::tensor::{self, Data};
use super::{Fault, HEADER_LENGTH};

/// An answer, ready to be sent.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    /// The length of the JSON, where bytes follow.
    header: Option<usize>,
}

#[derive(Serialize)]
struct Document<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    parameters: Map<String, Value>,
    outputs: Vec<Output<'a>>,
}

#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<OutputParameters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

#[derive(Serialize)]
struct OutputParameters {
    binary_data_size: usize,
}

/// Writes an answer.
///
/// # Errors
/// If the kernel's answer lacks a tensor that was asked for, or the tensors may take more than `most` bytes.
pub(crate) fn write(
    signature: &Signature,
    id: Option<&str>,
    wanted: &Outputs,
    fields: &Fields,
    most: u64,
) -> Result<Body, Fault> {
    let chosen = choose(signature, wanted, fields)?;
    let size = size(&chosen);
    if size > most {
        let error = format!(
            "the answer may take {size} bytes; {most} are sent (http.max_answer_bytes). Ask for fewer elements, or for \
             them in bytes"
        );
        return Err(Fault::new(super::Reason::NeverFits, error));
    }
    let outputs = chosen.iter().map(|(name, tensor, binary)| Output {
        name,
        datatype: tensor.element_type().name(),
        shape: tensor.shape(),
        parameters: binary
            .then(|| OutputParameters { binary_data_size: tensor::bytes(tensor).len() }),
        data: (!binary).then_some(Data(tensor)),
    });
    let document = Document {
        model_name: &signature.name,
        model_version: &signature.version,
        id,
        parameters: fields
            .parameters
            .iter()
            .map(|(name, value)| (name.clone(), of(value)))
            .collect(),
        outputs: outputs.collect(),
    };
    let packed = || {
        chosen.iter().filter(|(_, _, binary)| *binary).map(|(_, tensor, _)| tensor::bytes(tensor))
    };
    let mut bytes = Vec::with_capacity(FRAME + size as usize);
    serde_json::to_writer(&mut bytes, &document)
        .map_err(|error| Fault::new(super::Reason::Failed, format!("the answer: {error}")))?;
    let header = packed().next().is_some().then_some(bytes.len());
    packed().for_each(|packed| bytes.extend_from_slice(packed));
    Ok(Body { bytes, header })
}

/// A tensor of the answer, and whether it is sent in bytes.
type Chosen<'a> = (&'a str, &'a AnyTensor, bool);

fn choose<'a>(
    signature: &'a Signature,
    wanted: &'a Outputs,
    fields: &'a Fields,
) -> Result<Vec<Chosen<'a>>, Fault> {
    let tensor = |name: &str| {
        fields.tensors.get(name).ok_or_else(|| {
            let error = format!("`{}` has given no `{name}`", signature.name);
            Fault::new(super::Reason::Failed, error)
        })
    };
    if wanted.named.is_empty() {
        let all = signature.outputs();
        return all.map(|field| Ok((&*field.name, tensor(&field.name)?, wanted.binary))).collect();
    }
    let named = wanted.named.iter();
    named
        .map(|(name, binary)| Ok((&**name, tensor(name)?, binary.unwrap_or(wanted.binary))))
        .collect()
}

/// Roughly what an answer takes beside its tensors' elements.
const FRAME: usize = 512;

/// The most bytes that the elements of the tensors may take in the body.
fn size(chosen: &[Chosen<'_>]) -> u64 {
    let size = |(_, tensor, binary): &Chosen<'_>| {
        let (bytes, element) = (tensor.bytes(), tensor.element_type());
        if *binary { bytes } else { bytes / element.size() as u64 * longest(element) }
    };
    chosen.iter().map(size).sum()
}

/// The most bytes of an element in JSON, with what parts it from the next.
fn longest(element: ElementType) -> u64 {
    let longest = match element {
        ElementType::U8 => "255,",
        ElementType::I8 => "-128,",
        ElementType::U16 => "65535,",
        ElementType::I16 => "-32768,",
        ElementType::U32 => "4294967295,",
        ElementType::I32 => "-2147483648,",
        ElementType::F32 => "-0.0000010000003,",
        ElementType::U64 => "18446744073709551615,",
        ElementType::I64 => "-9223372036854775808,",
        _ => "-2.2250738585072014e-308,",
    };
    longest.len() as u64
}

/// A single value in JSON; numbers that JSON does not have are null.
fn of(parameter: &Parameter) -> Value {
    match parameter {
        Parameter::Bool(value) => json!(value),
        // (Every integer type that a parameter can have fits one of the two.)
        Parameter::Int(value) => i64::try_from(*value)
            .map_or_else(|_| json!(u64::try_from(*value).ok()), |value| json!(value)),
        Parameter::Float(value) => json!(value),
        Parameter::Text(value) => json!(value),
        other => json!(other.to_string()),
    }
}

impl Body {
    /// As an answer.
    pub(crate) fn into_response(self) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        match self.header {
            None => {
                response.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")))
            }
            Some(length) => response
                .insert_header((CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")))
                .insert_header((HEADER_LENGTH.clone(), length)),
        };
        response.body(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The element that those bits are, in JSON.
    fn written(element: ElementType, bits: u64) -> String {
        let bytes = &bits.to_le_bytes()[..element.size()];
        let tensor = tensor::from_bytes(element, vec![1], bytes).unwrap();
        serde_json::to_string(&Data(&tensor)).unwrap()
    }

    #[test]
    fn the_longest_elements_are_as_long_as_is_said() {
        let f32_bits = u64::from((-0.000_001_000_000_3_f32).to_bits());
        for (element, bits) in [
            (ElementType::U8, u64::MAX),
            (ElementType::I8, 1 << 7),
            (ElementType::U16, u64::MAX),
            (ElementType::I16, 1 << 15),
            (ElementType::U32, u64::MAX),
            (ElementType::I32, 1 << 31),
            (ElementType::U64, u64::MAX),
            (ElementType::I64, 1 << 63),
            (ElementType::F32, f32_bits),
            (ElementType::F64, (-f64::MIN_POSITIVE).to_bits()),
        ] {
            // (Brackets in place of one comma.)
            assert_eq!(written(element, bits).len() as u64, longest(element) + 1, "{element}");
        }
    }

    proptest! {
        #[test]
        fn none_is_longer(bits: u64) {
            for element in ElementType::ALL {
                prop_assert!(written(element, bits).len() as u64 <= longest(element) + 1);
            }
        }
    }
}
