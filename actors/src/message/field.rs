//! Named values, and reading them into typed messages.

use std::collections::BTreeMap;
use std::fmt;

use rustkernel_gpu::ElementType;

use super::signature::{FieldKind, FieldSpec, ParameterKind};
use super::{MessageError, nearest};
use crate::tensor::{AnyElement, AnyTensor, Tensor};

/// A value that is not a tensor.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Parameter {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Any number.
    Float(f64),
    /// A text.
    Text(String),
}

impl Parameter {
    /// What it is, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Bool(value) => format!("the truth value {value}"),
            Self::Int(value) => format!("the whole number {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Text(value) => format!("the text `{value}`"),
        }
    }

    /// Reads a text as a parameter of that type, as a command line gives it.
    ///
    /// # Errors
    /// The text, as a [`Parameter::Text`], if it is no such value.
    pub fn parse(text: &str, kind: ParameterKind) -> Result<Self, Self> {
        let parsed = match kind {
            ParameterKind::Bool => text.parse().ok().map(Self::Bool),
            ParameterKind::Text => Some(Self::Text(text.into())),
            ParameterKind::Number(ElementType::F32 | ElementType::F64) => {
                text.parse().ok().map(Self::Float)
            }
            ParameterKind::Number(_) => text.parse().ok().map(Self::Int),
        };
        parsed.ok_or_else(|| Self::Text(text.into()))
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

/// A type that a parameter can have in a typed message.
pub trait ParameterValue: Sized {
    /// The type as a value.
    const KIND: ParameterKind;

    /// The parameter as this type, if it is one and in range.
    fn from_parameter(parameter: &Parameter) -> Option<Self>;

    /// The value as a parameter.
    fn into_parameter(self) -> Parameter;
}

macro_rules! whole_numbers {
    ($($kind:ty => $element:ident),*) => {$(
        impl ParameterValue for $kind {
            const KIND: ParameterKind = ParameterKind::Number(ElementType::$element);

            fn from_parameter(parameter: &Parameter) -> Option<Self> {
                match parameter {
                    Parameter::Int(value) => Self::try_from(*value).ok(),
                    _ => None,
                }
            }

            fn into_parameter(self) -> Parameter {
                Parameter::Int(self.into())
            }
        }
    )*};
}

whole_numbers!(u8 => U8, u16 => U16, u32 => U32, u64 => U64, i8 => I8, i16 => I16, i32 => I32, i64 => I64);

macro_rules! numbers {
    ($($kind:ty => $element:ident),*) => {$(
        impl ParameterValue for $kind {
            const KIND: ParameterKind = ParameterKind::Number(ElementType::$element);

            #[allow(clippy::cast_possible_truncation, reason = "rounding to the type asked for is meant")]
            fn from_parameter(parameter: &Parameter) -> Option<Self> {
                match parameter {
                    Parameter::Float(value) => Some(*value as $kind),
                    Parameter::Int(value) => Some(*value as $kind),
                    _ => None,
                }
            }

            fn into_parameter(self) -> Parameter {
                Parameter::Float(self.into())
            }
        }
    )*};
}

numbers!(f32 => F32, f64 => F64);

impl ParameterValue for bool {
    const KIND: ParameterKind = ParameterKind::Bool;

    fn from_parameter(parameter: &Parameter) -> Option<Self> {
        match parameter {
            Parameter::Bool(value) => Some(*value),
            _ => None,
        }
    }

    fn into_parameter(self) -> Parameter {
        Parameter::Bool(self)
    }
}

impl ParameterValue for String {
    const KIND: ParameterKind = ParameterKind::Text;

    fn from_parameter(parameter: &Parameter) -> Option<Self> {
        match parameter {
            Parameter::Text(value) => Some(value.clone()),
            _ => None,
        }
    }

    fn into_parameter(self) -> Parameter {
        Parameter::Text(self)
    }
}

/// Named tensors and parameters.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields {
    /// The tensors, by name.
    pub tensors: BTreeMap<String, AnyTensor>,
    /// The parameters, by name.
    pub parameters: BTreeMap<String, Parameter>,
}

impl Fields {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a tensor.
    #[must_use]
    pub fn with_tensor(mut self, name: &str, tensor: impl Into<AnyTensor>) -> Self {
        self.tensors.insert(name.into(), tensor.into());
        self
    }

    /// The same with a parameter.
    #[must_use]
    pub fn with_parameter(mut self, name: &str, value: impl ParameterValue) -> Self {
        self.parameters.insert(name.into(), value.into_parameter());
        self
    }
}

/// Takes typed values out of [`Fields`], and at the end says what is left over.
#[derive(Debug)]
pub struct Reader {
    fields: Fields,
    specs: fn() -> Vec<FieldSpec>,
}

impl Reader {
    /// Reads a message whose fields `specs` describes; it is asked only for defaults and for errors.
    pub fn new(fields: Fields, specs: fn() -> Vec<FieldSpec>) -> Self {
        Self { fields, specs }
    }

    fn missing(&self, name: &str) -> MessageError {
        MessageError::Missing { name: name.into(), expected: self.expected(name) }
    }

    fn expected(&self, name: &str) -> String {
        self.spec(name).map_or_else(String::new, |spec| spec.to_string())
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// If it is missing or its elements are of another type.
    pub fn tensor<T: AnyElement>(&mut self, name: &str) -> Result<Tensor<T>, MessageError> {
        let any = self.fields.tensors.remove(name).ok_or_else(|| self.missing(name))?;
        T::recover(any).map_err(|other| MessageError::WrongType {
            name: name.into(),
            given: format!("a {} tensor {:?}", other.element_type(), other.shape()),
            expected: self.expected(name),
        })
    }

    /// The parameter of that name, or its default.
    ///
    /// # Errors
    /// If it is missing and has no default, or is of another type or out of range.
    pub fn parameter<P: ParameterValue>(&mut self, name: &str) -> Result<P, MessageError> {
        let given = self.fields.parameters.remove(name).or_else(|| self.default(name));
        let given = given.ok_or_else(|| self.missing(name))?;
        P::from_parameter(&given).ok_or_else(|| MessageError::WrongType {
            name: name.into(),
            given: given.describe(),
            expected: self.expected(name),
        })
    }

    fn spec(&self, name: &str) -> Option<FieldSpec> {
        (self.specs)().into_iter().find(|spec| spec.name == name)
    }

    fn default(&self, name: &str) -> Option<Parameter> {
        self.spec(name).and_then(|spec| match spec.kind {
            FieldKind::Parameter { default, .. } => default,
            FieldKind::Tensor { .. } => None,
        })
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`MessageError::Unknown`] if a value was given that nothing asked for.
    pub fn finish(self) -> Result<(), MessageError> {
        let tensor = self.fields.tensors.keys().next().map(|name| ("tensor", name, true));
        let parameter = self.fields.parameters.keys().next().map(|name| ("parameter", name, false));
        let Some((what, name, is_tensor)) = tensor.or(parameter) else { return Ok(()) };
        let specs = (self.specs)();
        let names = specs.iter().filter(|spec| spec.is_tensor() == is_tensor);
        let suggestion = nearest(name, names.map(|spec| spec.name.as_str()));
        Err(MessageError::Unknown { what, name: name.clone(), suggestion })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs() -> Vec<FieldSpec> {
        let sigma = FieldSpec::parameter("sigma", f32::KIND, Some(Parameter::Float(1.5)));
        let count = FieldSpec::parameter("count", u8::KIND, None);
        vec![FieldSpec::tensor("image", ElementType::U8, &["h", "w"]), sigma, count]
    }

    fn reader(fields: Fields) -> Reader {
        Reader::new(fields, specs)
    }

    #[test]
    fn values_are_read_by_name_with_defaults() {
        let image = Tensor::<u8>::zeros([2, 2]);
        let mut reader =
            reader(Fields::new().with_tensor("image", image.clone()).with_parameter("count", 3u8));
        assert_eq!(reader.tensor::<u8>("image").unwrap(), image);
        assert_eq!(
            (reader.parameter::<f32>("sigma"), reader.parameter::<u8>("count")),
            (Ok(1.5), Ok(3))
        );
        reader.finish().unwrap();
    }

    #[test]
    fn each_mistake_is_named() {
        let text = |error: MessageError| error.to_string();
        let error = reader(Fields::new()).tensor::<u8>("image").unwrap_err();
        assert_eq!(text(error), "`image` is missing; it is a UINT8 tensor [h, w]");

        let floats = Fields::new().with_tensor("image", Tensor::<f32>::zeros([2]));
        let error = reader(floats).tensor::<u8>("image").unwrap_err();
        assert_eq!(text(error), "`image` is a FP32 tensor [2]; it has to be a UINT8 tensor [h, w]");

        let error = reader(Fields::new().with_parameter("count", 300i64))
            .parameter::<u8>("count")
            .unwrap_err();
        assert_eq!(text(error), "`count` is the whole number 300; it has to be a UINT8 parameter");

        let error = reader(Fields::new().with_parameter("sigm", 1.0f64)).finish().unwrap_err();
        assert_eq!(text(error), "there is no parameter `sigm`; did you mean `sigma`?");
        let error =
            reader(Fields::new().with_tensor("x", Tensor::<u8>::zeros([1]))).finish().unwrap_err();
        assert_eq!(text(error), "there is no tensor `x`");
    }

    #[test]
    fn texts_become_parameters_of_their_type() {
        assert_eq!(Parameter::parse("3", u8::KIND), Ok(Parameter::Int(3)));
        assert_eq!(Parameter::parse("3", f32::KIND), Ok(Parameter::Float(3.0)));
        assert_eq!(Parameter::parse("true", bool::KIND), Ok(Parameter::Bool(true)));
        assert_eq!(Parameter::parse("sum", String::KIND), Ok(Parameter::Text("sum".into())));
        assert_eq!(Parameter::parse("3.5", u8::KIND), Err(Parameter::Text("3.5".into())));
        assert_eq!(Parameter::parse("yes", bool::KIND), Err(Parameter::Text("yes".into())));
    }
}
