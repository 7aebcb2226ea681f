//! `rustkernel kernel …`: which kernels there are, and what they take.

use std::fmt::Write;

use rustkernel_core::message::{FieldKind, FieldSpec, Parameter, ParameterKind, Signature};

use crate::args::{DescribeArgs, OutputFormat};
use crate::catalogue::{self, KernelJson};
use crate::exit::Failure;
use crate::output::{self, BOLD, Table};

/// A longer command line is broken into several.
const EXAMPLE_WIDTH: usize = 100;

/// `rustkernel kernel list`.
pub(super) fn list(format: OutputFormat) -> Result<(), Failure> {
    let signatures = catalogue::signatures();
    if format != OutputFormat::Table {
        return output::print_value(
            format,
            &signatures.iter().map(KernelJson::from).collect::<Vec<_>>(),
        );
    }
    let mut table =
        Table::new(&["kernel", "version", "inputs", "parameters", "outputs", "description"]);
    for signature in &signatures {
        table.row([
            signature.name.clone(),
            signature.version.clone(),
            names(signature.inputs()),
            names(signature.parameters()),
            names(&signature.response),
            signature.description.clone(),
        ]);
    }
    output::print(table)
}

/// `rustkernel kernel describe`.
pub(super) fn describe(args: &DescribeArgs) -> Result<(), Failure> {
    let (_, signature) = catalogue::find(&args.kernel)?;
    match args.format.output_format {
        format @ (OutputFormat::Json | OutputFormat::Yaml) => {
            output::print_value(format, &KernelJson::from(&signature))
        }
        OutputFormat::Table => output::print(in_full(&signature)),
    }
}

fn in_full(signature: &Signature) -> String {
    let Signature { name, version, description, .. } = signature;
    let mut text = format!("{BOLD}{name}{BOLD:#}, version {version}\n{description}\n");
    let mut add = |table: Option<Table>| {
        if let Some(table) = table {
            write!(text, "\n{table}").expect("invariant: a String takes whatever is written");
        }
    };
    add(tensors("input", signature.inputs()));
    add(parameters(signature.parameters()));
    add(tensors("output", signature.outputs()));
    add(results(catalogue::results(signature)));
    format!("{text}\n{BOLD}EXAMPLE{BOLD:#}\n{}\n", example(signature))
}

fn tensors<'a>(heading: &str, fields: impl Iterator<Item = &'a FieldSpec>) -> Option<Table> {
    let rows = fields.filter_map(|FieldSpec { name, description, kind }| {
        let FieldKind::Tensor { element, shape, picture } = kind else { return None };
        let lengths: Vec<String> = shape.iter().map(ToString::to_string).collect();
        let shape =
            if shape.is_empty() { "any".into() } else { format!("[{}]", lengths.join(", ")) };
        let picture = if *picture { " picture" } else { "" };
        Some([name.clone(), format!("{element}{picture}"), shape, description.clone()])
    });
    table(&[heading, "type", "shape", "meaning"], rows)
}

fn parameters<'a>(fields: impl Iterator<Item = &'a FieldSpec>) -> Option<Table> {
    let rows = fields.filter_map(|FieldSpec { name, description, kind }| {
        let FieldKind::Parameter { kind, default } = kind else { return None };
        let default = default.as_ref().map_or("(required)".into(), |value| text(value, *kind));
        Some([name.clone(), kind.to_string(), default, description.clone()])
    });
    table(&["parameter", "type", "default", "meaning"], rows)
}

fn results<'a>(fields: impl Iterator<Item = &'a FieldSpec>) -> Option<Table> {
    let rows = fields.filter_map(|FieldSpec { name, description, kind }| {
        let FieldKind::Parameter { kind, .. } = kind else { return None };
        Some([name.clone(), kind.to_string(), description.clone()])
    });
    table(&["result", "type", "meaning"], rows)
}

/// A table, unless it has no rows.
fn table<const N: usize>(
    headings: &[&str],
    rows: impl Iterator<Item = [String; N]>,
) -> Option<Table> {
    let mut rows = rows.peekable();
    rows.peek()?;
    let mut table = Table::new(headings);
    rows.for_each(|row| table.row(row));
    Some(table)
}

/// The fields' names.
fn names<'a>(fields: impl IntoIterator<Item = &'a FieldSpec>) -> String {
    let names: Vec<&str> = fields.into_iter().map(|field| field.name.as_str()).collect();
    if names.is_empty() { "-".into() } else { names.join(", ") }
}

/// A value as it would be written on the command line.
fn text(value: &Parameter, kind: ParameterKind) -> String {
    match catalogue::value_json(value, kind) {
        serde_json::Value::Number(number) => number.to_string(),
        _ => value.to_string(),
    }
}

/// A command line that runs the kernel, given the files.
fn example(signature: &Signature) -> String {
    let value = |field: &FieldSpec| match &field.kind {
        FieldKind::Parameter { kind, default: Some(value) } => text(value, *kind),
        FieldKind::Parameter { kind, default: None } => any(*kind).into(),
        FieldKind::Tensor { .. } => file(field),
    };
    let flag = |flag: &str, field: &FieldSpec| format!("--{flag} {}={}", field.name, value(field));
    let groups = [
        vec![format!("rustkernel call {}", signature.name)],
        signature.inputs().map(|field| flag("input", field)).collect(),
        signature.parameters().map(|field| flag("param", field)).collect(),
        signature.outputs().map(|field| flag("output", field)).collect(),
    ];
    let groups = groups.into_iter().filter(|group| !group.is_empty());
    let lines: Vec<String> = groups.map(|group| group.join(" ")).collect();
    let length: usize = lines.iter().map(|line| line.len() + 1).sum();
    lines.join(if length <= EXAMPLE_WIDTH { " " } else { " \\\n  " })
}

fn file(field: &FieldSpec) -> String {
    match field.kind {
        FieldKind::Tensor { picture: true, .. } => format!("{}.png", field.name),
        _ => format!("{}.npy", field.name),
    }
}

/// Some value of that type.
const fn any(kind: ParameterKind) -> &'static str {
    match kind {
        ParameterKind::Bool => "true",
        ParameterKind::Number(_) => "1",
        _ => "text",
    }
}
