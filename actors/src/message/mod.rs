//! Requests and responses as named tensors and parameters.
//!
//! A typed message is a plain struct. `#[derive(KernelMessage)]` describes its fields and converts it
//! to and from [`Fields`], so that a kernel of such messages has a [`Signature`] and can be called by
//! name with what a file, a command line or a network brings.

mod check;
mod field;
mod signature;

use crate::tensor::{AnyElement, Tensor};

pub use check::check_shapes;
pub use field::{Fields, Parameter, ParameterValue, Reader};
pub use signature::{Dimension, FieldKind, FieldSpec, ParameterKind, Signature};

/// A request or response whose fields are named tensors and parameters.
///
/// Made by `#[derive(KernelMessage)]`. `Tensor<T>` is one too: a single tensor named `output`.
pub trait KernelMessage: Sized + Send + 'static {
    /// What the fields are, in their order.
    fn fields() -> Vec<FieldSpec>;

    /// Makes a message of named values. Parameters with a default may be missing.
    ///
    /// # Errors
    /// [`MessageError`] names the first field that is missing, unknown or of the wrong type.
    fn from_fields(fields: Fields) -> Result<Self, MessageError>;

    /// The named values of a message.
    fn into_fields(self) -> Fields;

    /// The shape of each tensor, in the order of [`fields`](Self::fields).
    fn shapes(&self) -> Vec<&[usize]>;

    /// Checks the shapes against the declared ones: equal names, equal lengths. `fields` are those of
    /// [`fields`](Self::fields), which a kernel makes once and not for each request.
    ///
    /// # Errors
    /// [`MessageError::WrongShape`] names the tensor.
    fn check(&self, fields: &[FieldSpec]) -> Result<(), MessageError> {
        check_shapes(fields, &self.shapes())
    }
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// A tensor or a parameter without default was not given.
    #[error("`{name}` is missing; it is {expected}")]
    Missing {
        /// The field.
        name: String,
        /// What it has to be.
        expected: String,
    },
    /// There is no such field.
    #[error("there is no {what} `{name}`{}", did_you_mean(.suggestion.as_deref()))]
    Unknown {
        /// A tensor or a parameter.
        what: &'static str,
        /// The name given.
        name: String,
        /// The nearest name that there is.
        suggestion: Option<String>,
    },
    /// A value of another type.
    #[error("`{name}` is {given}; it has to be {expected}")]
    WrongType {
        /// The field.
        name: String,
        /// What was given.
        given: String,
        /// What it has to be.
        expected: String,
    },
    /// A shape that does not fit the declared one.
    #[error("`{name}` has the shape {given:?}; it has to be [{expected}]{reason}")]
    WrongShape {
        /// The tensor.
        name: String,
        /// Its shape.
        given: Vec<usize>,
        /// The declared shape.
        expected: String,
        /// Where a length comes from, if from another tensor.
        reason: String,
    },
}

fn did_you_mean(name: Option<&str>) -> String {
    name.map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}

/// The nearest of `names`, if one is near enough to be what was meant.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let scored = names.into_iter().map(|known| (strsim::jaro_winkler(name, known), known));
    let best = scored.max_by(|(left, _), (right, _)| left.total_cmp(right));
    best.filter(|(score, _)| *score > 0.8).map(|(_, known)| known.to_owned())
}

/// A single tensor, named `output`.
impl<T: AnyElement> KernelMessage for Tensor<T> {
    fn fields() -> Vec<FieldSpec> {
        vec![FieldSpec::tensor("output", T::TYPE, &[])]
    }

    fn from_fields(fields: Fields) -> Result<Self, MessageError> {
        let mut reader = Reader::new(fields, Self::fields);
        let tensor = reader.tensor("output")?;
        reader.finish()?;
        Ok(tensor)
    }

    fn into_fields(self) -> Fields {
        Fields::new().with_tensor("output", self)
    }

    fn shapes(&self) -> Vec<&[usize]> {
        vec![self.shape()]
    }
}
