//! The JSON of a body.
//!
//! Read by hand-written visitors, because what the data of an input is depends on the type beside it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use rustkernel_core::gpu::ElementType;
use rustkernel_core::kernel::AnyTensor;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::inference::Fault;
use crate::inference::object::Object;
use crate::inference::scalar::Scalar;
use crate::inference::tensor::Elements;

/// More parameters than any kernel has; each takes many times its own text in memory.
const PARAMETERS: usize = 256;
/// More dimensions than any kernel has.
const DIMENSIONS: usize = 64;

/// The JSON of a body.
#[derive(Debug, Default)]
pub(super) struct Document<'a> {
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) parameters: Parameters,
    pub(super) inputs: Vec<Input<'a>>,
    pub(super) outputs: Vec<Object<Output>>,
}

#[derive(Debug, Default)]
pub(super) struct Input<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) element: Option<ElementType>,
    pub(super) shape: Vec<usize>,
    pub(super) parameters: InputParameters,
    pub(super) data: Option<AnyTensor>,
    /// Its data stood before its type or its shape, and was passed over.
    again: bool,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct InputParameters {
    pub(super) binary_data_size: Option<Count>,
    shared_memory_region: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) parameters: Option<Object<OutputParameters>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct OutputParameters {
    pub(super) binary_data: Option<bool>,
    classification: Option<IgnoredAny>,
    shared_memory_region: Option<IgnoredAny>,
}

/// A number of elements or bytes. (Of a `usize` serde would say just that, to clients in any language.)
#[derive(Debug, Clone, Copy)]
pub(super) struct Count(pub(super) usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_u64(CountVisitor)
    }
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of at least 0")
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<Count, E> {
        let too_large = |_| E::invalid_value(de::Unexpected::Unsigned(count), &self);
        usize::try_from(count).map(Count).map_err(too_large)
    }
}

impl InputParameters {
    /// # Errors
    /// If it is to be read from elsewhere.
    pub(super) fn check(&self) -> Result<(), Fault> {
        without("shared_memory_region", self.shared_memory_region)
    }
}

impl OutputParameters {
    /// # Errors
    /// If something else is wanted, or elsewhere.
    pub(super) fn check(&self) -> Result<(), Fault> {
        without("classification", self.classification)?;
        without("shared_memory_region", self.shared_memory_region)
    }
}

/// Refuses a parameter of an extension that is not here: to pass it over would be to answer something else.
fn without(name: &str, parameter: Option<IgnoredAny>) -> Result<(), Fault> {
    let error =
        || format!("`{name}` is of an extension of the protocol that this server does not have");
    parameter.map_or(Ok(()), |_| Err(Fault::invalid(error())))
}

/// A text, borrowed if it stands there as it is. (Where it is not a field, serde copies into a `Cow`.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What is said of the call, or to the kernel, by name.
#[derive(Debug, Default)]
pub(in super::super) struct Parameters(pub(in super::super) BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(ParametersVisitor)
    }
}

struct ParametersVisitor;

impl<'de> Visitor<'de> for ParametersVisitor {
    type Value = Parameters;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
        let mut parameters = BTreeMap::new();
        while let Some((name, Scalar(value))) = map.next_entry()? {
            parameters.insert(name, value);
            if parameters.len() > PARAMETERS {
                return Err(de::Error::custom(format_args!("more than {PARAMETERS} parameters")));
            }
        }
        Ok(Parameters(parameters))
    }
}

/// The lengths of a tensor's dimensions.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_seq(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shape: an array of lengths")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Shape, A::Error> {
        let mut shape = Vec::new();
        while let Some(Count(length)) = array.next_element()? {
            if shape.len() == DIMENSIONS {
                let error = format_args!("a shape of more than {DIMENSIONS} dimensions");
                return Err(de::Error::custom(error));
            }
            shape.push(length);
        }
        Ok(Shape(shape))
    }
}

/// What extensions of the protocol add is passed over.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum DocumentKey {
    Id,
    Parameters,
    Inputs,
    Outputs,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum InputKey {
    Name,
    Shape,
    Datatype,
    Parameters,
    Data,
    #[serde(other)]
    Other,
}

/// The type and shape of each input, from a first reading.
type Known = Vec<(Option<ElementType>, Vec<usize>)>;

impl<'a> Document<'a> {
    /// # Errors
    /// If it is not what it has to be.
    pub(super) fn read(json: &'a [u8]) -> Result<Self, Fault> {
        let document = Self::read_with(json, &Known::new())?;
        if !document.inputs.iter().any(|input| input.again) {
            return Ok(document);
        }
        let known = document.inputs.into_iter().map(|input| (input.element, input.shape)).collect();
        Self::read_with(json, &known)
    }

    fn read_with(json: &'a [u8], known: &Known) -> Result<Self, Fault> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let read = DocumentSeed { known }.deserialize(&mut deserializer);
        let read = read.and_then(|document| deserializer.end().map(|()| document));
        read.map_err(|error| Fault::invalid(format!("the body is not a request: {error}")))
    }
}

/// Types by the protocol's names.
fn element(name: &str) -> Result<ElementType, String> {
    let known = ElementType::ALL.into_iter().find(|element| element.name() == name);
    known.ok_or_else(|| {
        let known: Vec<_> = ElementType::ALL.iter().map(|element| element.name()).collect();
        format!("the datatype `{name}` is not one that kernels take: {}", known.join(", "))
    })
}

struct DocumentSeed<'k> {
    known: &'k Known,
}

impl<'de> DeserializeSeed<'de> for DocumentSeed<'_> {
    type Value = Document<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Document<'de>, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for DocumentSeed<'_> {
    type Value = Document<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `inputs`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document<'de>, A::Error> {
        let mut document = Document::default();
        let mut inputs = None;
        while let Some(key) = map.next_key()? {
            match key {
                DocumentKey::Id => {
                    document.id = map.next_value::<Option<Text<'de>>>()?.map(|id| id.0)
                }
                DocumentKey::Parameters => {
                    document.parameters = map.next_value::<Option<_>>()?.unwrap_or_default()
                }
                DocumentKey::Inputs => {
                    inputs = Some(map.next_value_seed(InputsSeed { known: self.known })?);
                }
                DocumentKey::Outputs => {
                    document.outputs = map.next_value::<Option<_>>()?.unwrap_or_default()
                }
                DocumentKey::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        document.inputs = inputs.ok_or_else(|| de::Error::missing_field("inputs"))?;
        Ok(document)
    }
}

struct InputsSeed<'k> {
    known: &'k Known,
}

impl<'de> DeserializeSeed<'de> for InputsSeed<'_> {
    type Value = Vec<Input<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Vec<Input<'de>>, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for InputsSeed<'_> {
    type Value = Vec<Input<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of inputs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<Input<'de>>, A::Error> {
        let mut inputs = Vec::new();
        while let Some(input) =
            array.next_element_seed(InputSeed { known: self.known.get(inputs.len()) })?
        {
            inputs.push(input);
        }
        Ok(inputs)
    }
}

struct InputSeed<'k> {
    known: Option<&'k (Option<ElementType>, Vec<usize>)>,
}

impl<'de> DeserializeSeed<'de> for InputSeed<'_> {
    type Value = Input<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Input<'de>, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for InputSeed<'_> {
    type Value = Input<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an input: an object with `name`, `datatype`, `shape` and `data`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Input<'de>, A::Error> {
        let mut input = Input::default();
        let (mut name, mut shape) = (None, None);
        if let Some((element, known)) = self.known {
            (input.element, shape) = (*element, Some(known.clone()));
        }
        while let Some(key) = map.next_key()? {
            match key {
                InputKey::Name => name = Some(map.next_value::<Text<'de>>()?.0),
                InputKey::Shape => shape = Some(map.next_value::<Shape>()?.0),
                InputKey::Datatype => {
                    let Text(text) = map.next_value()?;
                    input.element = Some(element(&text).map_err(de::Error::custom)?);
                }
                InputKey::Parameters => {
                    input.parameters = map.next_value::<Option<Object<_>>>()?.unwrap_or_default().0
                }
                InputKey::Data => match (input.element, &shape) {
                    (Some(element), Some(shape)) => {
                        let shape = shape.clone();
                        input.data = Some(map.next_value_seed(Elements { element, shape })?);
                    }
                    _ => {
                        map.next_value::<IgnoredAny>()?;
                        input.again = true;
                    }
                },
                InputKey::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        input.name = name.ok_or_else(|| de::Error::missing_field("name"))?;
        input.shape = shape.ok_or_else(|| de::Error::missing_field("shape"))?;
        if input.element.is_none() {
            return Err(de::Error::missing_field("datatype"));
        }
        Ok(input)
    }
}
