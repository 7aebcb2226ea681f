//! The reference of all keys, as Markdown.

use std::fmt::Write;

use super::schema::{Field, json_schema, node};
use super::{Origin, ProductionConfig, fields};
use crate::config::layer::Layer;
use crate::runtime::RuntimePreset;

/// Tables of all keys, one for each section: what they take, what they are by default and in the presets,
/// and what they mean.
pub fn reference() -> String {
    let mut text = String::new();
    let mut section = None;
    for field in fields() {
        let (path, _) = field.path().split_at(field.path().len() - 1);
        if section != Some(path) {
            heading(&mut text, path);
            section = Some(path);
        }
        row(&mut text, field);
    }
    text
}

fn heading(text: &mut String, path: &[&str]) {
    let title = if path.is_empty() {
        "Top level".into()
    } else {
        format!("`[{}]`", path.join(".").replace('*', "NAME"))
    };
    let about = node(json_schema(), path).and_then(|node| node["description"].as_str());
    let about = about.filter(|_| !path.is_empty()).unwrap_or("What everything else belongs to.");
    let about = about.replace('\n', " ");
    write(
        text,
        format_args!(
            "### {title}\n\n{about}\n\n| key | takes | default | meaning |\n|---|---|---|---|\n"
        ),
    );
}

fn row(text: &mut String, field: &Field) {
    let key = field.path().last().expect("invariant: a field has a name");
    let default = field.default_text().map(str::to_owned);
    let default =
        default.or_else(|| value(field, &ProductionConfig::default())).unwrap_or("–".into());
    let live = if field.is_live() { " *Live.*" } else { "" };
    let presets = presets(field, &default);
    let (takes, about) = (field.values(), field.description());
    write(text, format_args!("| `{key}` | {takes} | {default} | {about}{presets}{live} |\n"));
}

/// The presets in which it is not the default.
fn presets(field: &Field, default: &str) -> String {
    let values = RuntimePreset::ALL.into_iter().filter_map(|preset| {
        let value = value(field, &ProductionConfig::preset(preset))?;
        let differs = value != default && field.default_text().is_none();
        differs.then(|| format!("{preset}: {value}"))
    });
    let values: Vec<String> = values.collect();
    if values.is_empty() { String::new() } else { format!(" ({})", values.join(", ")) }
}

fn value(field: &Field, config: &ProductionConfig) -> Option<String> {
    let layer = Layer::of(config, Origin::Code);
    layer.get(&field.key()).map(|value| format!("`{value}`"))
}

fn write(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("invariant: a String takes whatever is written");
}
