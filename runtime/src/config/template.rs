//! Files to begin with: every key, explained.

use std::fmt::Write;

use serde_json::Value;

use super::layer::{self, Layer};
use super::schema::Field;
use super::{ProductionConfig, fields};
use crate::runtime::RuntimePreset;

/// A file with every key, its description and its value. What the preset sets is there; what has its
/// default, or has none, is a comment.
pub fn template(preset: RuntimePreset) -> String {
    let values = layer::preset(Some(preset));
    let mut text = format!(
        "# RustKernel, preset {preset}.\n#\n\
         # Commented lines are defaults, or keys that need not be there. Durations are written as \"30s\" or\n\
         # \"1m 30s\" (or as whole seconds, `…_secs = 30`), sizes as \"16GiB\" or in bytes. `rustkernel config\n\
         # validate FILE` checks a file, `rustkernel config show` tells what is in effect, and why.\n"
    );
    let mut table = String::new();
    for field in fields() {
        let (path, key) = field.path().split_at(field.path().len() - 1);
        let path = path.join(".");
        if path != table {
            heading(&mut text, &path);
            table = path;
        }
        entry(&mut text, field, key[0], &values);
    }
    text
}

/// A table that users name is a comment: there is none before somebody names it.
fn heading(text: &mut String, path: &str) {
    let example = path.replace('*', "NAME");
    let mark = if path.contains('*') { "# " } else { "" };
    write(text, format_args!("\n\n{mark}[{example}]\n"));
}

fn entry(text: &mut String, field: &Field, key: &str, values: &Layer) {
    text.push('\n');
    for line in wrapped(&field.description()) {
        write(text, format_args!("# {line}\n"));
    }
    let name = field.key();
    let default = Layer::of(&ProductionConfig::default(), super::Origin::Default);
    match (values.get(&name), field.default_text()) {
        (Some(value), None) if default.get(&name) != Some(value) => {
            write(text, format_args!("{key} = {}\n", literal(value)));
        }
        (Some(value), None) => write(text, format_args!("# {key} = {}\n", literal(value))),
        (_, default) => {
            let default =
                default.map(|default| format!("; default: {default}")).unwrap_or_default();
            write(text, format_args!("# {key} = …  ({}{default})\n", field.values()));
        }
    }
}

fn write(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("invariant: a String takes whatever is written");
}

/// A value as TOML writes it: JSON is the same for what is no table.
fn literal(value: &Value) -> String {
    value.to_string()
}

fn wrapped(text: &str) -> Vec<String> {
    const WIDTH: usize = 100;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("invariant: there is a line");
        if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
