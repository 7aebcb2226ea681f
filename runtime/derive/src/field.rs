//! What a field says about itself.

use proc_macro2::Span;
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, Field, GenericArgument, Ident, Lit, LitStr, Meta, PathArguments,
    Result, Type,
};

/// A field of a message.
pub(crate) struct MessageField<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) kind: Kind<'a>,
}

/// A tensor or a parameter.
pub(crate) enum Kind<'a> {
    Tensor { element: &'a Type, shape: Vec<String>, picture: bool },
    Parameter { value: &'a Type, default: Option<Expr> },
}

/// What `#[kernel(…)]` may say.
#[derive(Default)]
struct Options {
    name: Option<LitStr>,
    shape: Option<LitStr>,
    picture: Option<Span>,
    default: Option<Expr>,
}

impl<'a> MessageField<'a> {
    pub(crate) fn new(field: &'a Field) -> Result<Self> {
        let ident = field
            .ident
            .as_ref()
            .ok_or_else(|| Error::new(field.span(), "the field needs a name"))?;
        let options = Options::parse(&field.attrs)?;
        let name = options.name.as_ref().map_or_else(|| ident.to_string(), LitStr::value);
        let kind = match tensor_element(&field.ty) {
            Some(element) => options.tensor(element)?,
            None => options.parameter(&field.ty)?,
        };
        Ok(Self { ident, name, description: documentation(&field.attrs), kind })
    }
}

impl Options {
    fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut options = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("kernel")) {
            attribute.parse_nested_meta(|meta| {
                let key = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
                match key.as_str() {
                    "name" => options.name = Some(meta.value()?.parse()?),
                    "shape" => options.shape = Some(meta.value()?.parse()?),
                    "picture" => options.picture = Some(meta.path.span()),
                    "default" => options.default = Some(meta.value()?.parse()?),
                    _ => return Err(meta.error("there are `name`, `shape`, `picture` and `default`")),
                }
                Ok(())
            })?;
        }
        Ok(options)
    }

    fn tensor(self, element: &Type) -> Result<Kind<'_>> {
        if let Some(default) = &self.default {
            return Err(Error::new(default.span(), "a tensor has no default; only parameters do"));
        }
        let picture = self.picture.is_some();
        if picture && element.to_token_stream().to_string() != "u8" {
            return Err(Error::new(element.span(), "a picture is a `Tensor<u8>`"));
        }
        let shape = match &self.shape {
            Some(shape) => dimensions(shape)?,
            None if picture => ["height", "width", "channels"].map(String::from).into(),
            None => Vec::new(),
        };
        Ok(Kind::Tensor { element, shape, picture })
    }

    fn parameter(self, value: &Type) -> Result<Kind<'_>> {
        if let Some(shape) = &self.shape {
            return Err(Error::new(
                shape.span(),
                "a parameter has no shape; only a `Tensor<T>` has",
            ));
        }
        if let Some(span) = self.picture {
            return Err(Error::new(span, "a parameter is no picture; only a `Tensor<u8>` can be"));
        }
        Ok(Kind::Parameter { value, default: self.default })
    }
}

fn dimensions(text: &LitStr) -> Result<Vec<String>> {
    let value = text.value();
    let dimensions: Vec<String> = value.split(',').map(|part| part.trim().to_owned()).collect();
    match dimensions.iter().find(|part| !is_dimension(part)) {
        None => Ok(dimensions),
        Some(part) => {
            let message = format!(
                "`{part}` is no dimension; write numbers or names, as in \"m, k\" or \"n, 3\""
            );
            Err(Error::new(text.span(), message))
        }
    }
}

fn is_dimension(part: &str) -> bool {
    let mut characters = part.chars();
    match characters.next() {
        Some(first) if first.is_ascii_digit() => part.parse::<usize>().is_ok(),
        Some(first) => {
            first.is_ascii_alphabetic() && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
        }
        None => false,
    }
}

/// `T` of `Tensor<T>`, however the path to it is written.
fn tensor_element(kind: &Type) -> Option<&Type> {
    let Type::Path(path) = kind else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == "Tensor")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(element) => Some(element),
        _ => None,
    }
}

/// The first paragraph of the documentation, in one line.
fn documentation(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    let paragraph: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    paragraph.join(" ")
}
