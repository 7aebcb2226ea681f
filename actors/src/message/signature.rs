//! What a kernel takes and gives.

use std::fmt;

use rustkernel_gpu::ElementType;

use super::field::Parameter;

/// What a kernel takes and gives: printed by the command line, published by the service.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// The kernel's name.
    pub name: String,
    /// The version of its interface.
    pub version: String,
    /// What it does, in a sentence.
    pub description: String,
    /// Tensors and parameters of a request.
    pub request: Vec<FieldSpec>,
    /// Tensors and parameters of a response.
    pub response: Vec<FieldSpec>,
}

impl Signature {
    /// The tensors that a request brings.
    pub fn inputs(&self) -> impl Iterator<Item = &FieldSpec> {
        self.request.iter().filter(|field| field.is_tensor())
    }

    /// The parameters that a request brings.
    pub fn parameters(&self) -> impl Iterator<Item = &FieldSpec> {
        self.request.iter().filter(|field| !field.is_tensor())
    }

    /// The tensors that a response brings.
    pub fn outputs(&self) -> impl Iterator<Item = &FieldSpec> {
        self.response.iter().filter(|field| field.is_tensor())
    }
}

/// One field of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldSpec {
    /// Its name.
    pub name: String,
    /// What it means, in a sentence; may be empty.
    pub description: String,
    /// What it is.
    pub kind: FieldKind,
}

/// A tensor or a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldKind {
    /// A tensor.
    Tensor {
        /// The type of its elements.
        element: ElementType,
        /// The length of each dimension; without any, every shape will do.
        shape: Vec<Dimension>,
        /// Whether it is a picture: `[height, width, channels]` of 8-bit values.
        picture: bool,
    },
    /// A single value.
    Parameter {
        /// Its type.
        kind: ParameterKind,
        /// Its value if none is given.
        default: Option<Parameter>,
    },
}

impl FieldSpec {
    /// A tensor. A dimension is a number, or a name that stands for one length within a message.
    pub fn tensor(name: &str, element: ElementType, shape: &[&str]) -> Self {
        let shape = shape.iter().map(|text| Dimension::new(text)).collect();
        let kind = FieldKind::Tensor { element, shape, picture: false };
        Self { name: name.into(), description: String::new(), kind }
    }

    /// A parameter.
    pub fn parameter(name: &str, kind: ParameterKind, default: Option<Parameter>) -> Self {
        let kind = FieldKind::Parameter { kind, default };
        Self { name: name.into(), description: String::new(), kind }
    }

    /// The same with a sentence on what it means.
    #[must_use]
    pub fn describe(mut self, description: &str) -> Self {
        self.description = description.trim().into();
        self
    }

    /// The same tensor, said to be a picture.
    #[must_use]
    pub fn as_picture(mut self) -> Self {
        if let FieldKind::Tensor { picture, .. } = &mut self.kind {
            *picture = true;
        }
        self
    }

    /// Whether it is a tensor.
    pub fn is_tensor(&self) -> bool {
        matches!(self.kind, FieldKind::Tensor { .. })
    }

    /// The shape in words, as in `m, k`; `any shape` without dimensions.
    pub fn shape_text(&self) -> String {
        match &self.kind {
            FieldKind::Tensor { shape, .. } if shape.is_empty() => "any shape".into(),
            FieldKind::Tensor { shape, .. } => {
                shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
            FieldKind::Parameter { .. } => String::new(),
        }
    }
}

/// What it has to be, in words: `a FP32 tensor [m, k]`, `a FP32 parameter`.
impl fmt::Display for FieldSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FieldKind::Tensor { element, shape, .. } if shape.is_empty() => {
                write!(f, "a {element} tensor")
            }
            FieldKind::Tensor { element, .. } => {
                write!(f, "a {element} tensor [{}]", self.shape_text())
            }
            FieldKind::Parameter { kind, .. } => write!(f, "a {kind} parameter"),
        }
    }
}

/// The length of one dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dimension {
    /// Always that long.
    Fixed(usize),
    /// Any length, but the same wherever the name stands in a message.
    Named(String),
}

impl Dimension {
    fn new(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Named(text.into()), Self::Fixed)
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(length) => write!(f, "{length}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParameterKind {
    /// True or false.
    Bool,
    /// A number of that element type.
    Number(ElementType),
    /// A text.
    Text,
}

impl ParameterKind {
    /// `BOOL`, an element type's name, or `STRING`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Number(element) => element.name(),
            Self::Text => "STRING",
        }
    }
}

impl fmt::Display for ParameterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
