//! The code for a message.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Expr, Fields, Lit, Result};

use crate::field::{Kind, MessageField};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let fields = named_fields(input)?;
    check_names(input, &fields)?;
    let ident = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    let specs = fields.iter().map(spec);
    let reads = fields.iter().map(read);
    let writes = fields.iter().map(write);
    let shapes = fields.iter().filter_map(shape);
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::rustkernel_core::__private::KernelMessage for #ident #arguments #bounds {
            fn fields() -> ::std::vec::Vec<::rustkernel_core::__private::FieldSpec> {
                ::std::vec![#(#specs),*]
            }

            fn from_fields(
                fields: ::rustkernel_core::__private::Fields,
            ) -> ::std::result::Result<Self, ::rustkernel_core::__private::MessageError> {
                let mut reader = ::rustkernel_core::__private::Reader::new(
                    fields,
                    <Self as ::rustkernel_core::__private::KernelMessage>::fields,
                );
                let message = Self { #(#reads),* };
                reader.finish()?;
                ::std::result::Result::Ok(message)
            }

            fn into_fields(self) -> ::rustkernel_core::__private::Fields {
                ::rustkernel_core::__private::Fields::new() #(#writes)*
            }

            fn shapes(&self) -> ::std::vec::Vec<&[usize]> {
                ::std::vec![#(#shapes),*]
            }
        }
    })
}

fn named_fields(input: &DeriveInput) -> Result<Vec<MessageField<'_>>> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "only a struct can be a kernel message"));
    };
    match &data.fields {
        Fields::Named(fields) => fields.named.iter().map(MessageField::new).collect(),
        Fields::Unit => Ok(Vec::new()),
        Fields::Unnamed(_) => {
            Err(Error::new_spanned(&input.ident, "a kernel message needs named fields"))
        }
    }
}

fn check_names(input: &DeriveInput, fields: &[MessageField<'_>]) -> Result<()> {
    for (index, field) in fields.iter().enumerate() {
        if fields[..index].iter().any(|other| other.name == field.name) {
            return Err(Error::new_spanned(
                &input.ident,
                format!("two fields are named `{}`", field.name),
            ));
        }
    }
    Ok(())
}

fn spec(field: &MessageField<'_>) -> TokenStream {
    let (name, description) = (&field.name, &field.description);
    let spec = match &field.kind {
        Kind::Tensor { element, shape, picture } => {
            let picture = picture.then(|| quote!(.as_picture()));
            quote! {
                ::rustkernel_core::__private::FieldSpec::tensor(
                    #name,
                    <#element as ::rustkernel_core::__private::Element>::TYPE,
                    &[#(#shape),*],
                ) #picture
            }
        }
        Kind::Parameter { value, default } => {
            let default = match default.as_ref().map(owned) {
                None => quote!(::std::option::Option::None),
                Some(default) => quote! {
                    ::std::option::Option::Some(
                        <#value as ::rustkernel_core::__private::ParameterValue>::into_parameter(
                            { let value: #value = #default; value },
                        ),
                    )
                },
            };
            quote! {
                ::rustkernel_core::__private::FieldSpec::parameter(
                    #name,
                    <#value as ::rustkernel_core::__private::ParameterValue>::KIND,
                    #default,
                )
            }
        }
    };
    quote!(#spec.describe(#description))
}

/// A text literal stands for a `String`.
fn owned(default: &Expr) -> TokenStream {
    match default {
        Expr::Lit(literal) if matches!(literal.lit, Lit::Str(_)) => {
            quote!(::std::string::String::from(#literal))
        }
        other => quote!(#other),
    }
}

fn read(field: &MessageField<'_>) -> TokenStream {
    let (ident, name) = (field.ident, &field.name);
    match field.kind {
        Kind::Tensor { .. } => quote!(#ident: reader.tensor(#name)?),
        Kind::Parameter { .. } => quote!(#ident: reader.parameter(#name)?),
    }
}

fn write(field: &MessageField<'_>) -> TokenStream {
    let (ident, name) = (field.ident, &field.name);
    match field.kind {
        Kind::Tensor { .. } => quote!(.with_tensor(#name, self.#ident)),
        Kind::Parameter { .. } => quote!(.with_parameter(#name, self.#ident)),
    }
}

fn shape(field: &MessageField<'_>) -> Option<TokenStream> {
    let ident = field.ident;
    matches!(field.kind, Kind::Tensor { .. }).then(|| quote!(self.#ident.shape()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    fn error(input: &DeriveInput) -> String {
        expand(input).unwrap_err().to_string()
    }

    #[test]
    fn a_struct_of_tensors_and_parameters_is_expanded() {
        let input = parse_quote! {
            struct Request {
                #[kernel(shape = "m, 3")]
                x: Tensor<f32>,
                #[kernel(default = 2.0)]
                a: f32,
            }
        };
        let code = expand(&input).unwrap().to_string();
        assert!(
            code.contains("KernelMessage for Request") && code.contains("\"m\" , \"3\""),
            "{code}"
        );
    }

    #[test]
    fn each_mistake_is_an_error_with_its_reason() {
        let cases: [(DeriveInput, &str); 8] = [
            (parse_quote! { enum E { A } }, "only a struct"),
            (parse_quote! { struct S(Tensor<f32>); }, "named fields"),
            (
                parse_quote! { struct S { #[kernel(shape = "n")] a: f32 } },
                "a parameter has no shape",
            ),
            (
                parse_quote! { struct S { #[kernel(default = 1.0)] x: Tensor<f32> } },
                "a tensor has no default",
            ),
            (
                parse_quote! { struct S { #[kernel(picture)] x: Tensor<f32> } },
                "a picture is a `Tensor<u8>`",
            ),
            (
                parse_quote! { struct S { #[kernel(shape = "m,")] x: Tensor<f32> } },
                "`` is no dimension",
            ),
            (parse_quote! { struct S { #[kernel(size = 3)] x: Tensor<f32> } }, "there are `name`"),
            (
                parse_quote! { struct S { #[kernel(name = "b")] a: f32, b: f32 } },
                "two fields are named `b`",
            ),
        ];
        for (input, part) in cases {
            let text = error(&input);
            assert!(text.contains(part), "{text}");
        }
    }
}
