//! The schema of configuration files, made from the types; what is known of each key is read from it: its
//! description, its variable, whether it changes while the runtime runs.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::ProductionConfig;

/// How a key that holds a duration ends if it says it in whole seconds.
pub(super) const SECONDS: &str = "_secs";

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<ProductionConfig>();
    let mut schema = schema.to_value();
    finish(&mut schema);
    schema
});

/// The JSON Schema of configuration files (draft 2020-12). It accepts a file if and only if each value
/// alone is acceptable; what values together have to be is in [`ProductionConfig::validate`].
pub fn json_schema() -> &'static Value {
    &SCHEMA
}

/// Says of each duration that it can be said in seconds; leaves out defaults, which depend on the machine
/// and the preset, and formats that only schemars knows.
fn finish(node: &mut Value) {
    let Value::Object(object) = node else { return };
    object.remove("default");
    match object.get("format").and_then(Value::as_str) {
        Some("uint32") => object.insert("maximum".into(), json!(u32::MAX)),
        _ => None,
    };
    if object.get("format").and_then(Value::as_str).is_some_and(is_of_schemars) {
        object.remove("format");
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        let durations = add_seconds(properties);
        properties.values_mut().for_each(finish);
        if !durations.is_empty() {
            let both =
                |key: &String| json!({ "not": { "required": [key, format!("{key}{SECONDS}")] } });
            object.insert("allOf".into(), durations.iter().map(both).collect());
        }
    }
    for below in ["additionalProperties", "items"] {
        object.get_mut(below).into_iter().for_each(finish);
    }
    // (What may be left out is left out, not null.)
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
}

fn is_of_schemars(format: &str) -> bool {
    ["uint", "uint32", "double"].contains(&format)
}

/// Adds the second key of each duration; returns the first ones.
fn add_seconds(properties: &mut Map<String, Value>) -> Vec<String> {
    let durations = properties.iter().filter(|(_, node)| is(node, "duration"));
    let durations: Vec<(String, Value)> =
        durations.map(|(key, node)| (key.clone(), node["description"].clone())).collect();
    for (key, description) in &durations {
        let mut seconds = json!({
            "type": "integer", "minimum": 0, "maximum": u32::MAX, "format": "seconds",
        });
        seconds["description"] = description.clone();
        properties.insert(format!("{key}{SECONDS}"), seconds);
    }
    durations.into_iter().map(|(key, _)| key).collect()
}

/// Whether the node's values have that format.
pub(super) fn is(node: &Value, format: &str) -> bool {
    node.get("format").and_then(Value::as_str) == Some(format)
}

/// The node of a key. Names in the place of `*` are the user's.
pub(super) fn node<'s>(mut node: &'s Value, path: &[&str]) -> Option<&'s Value> {
    for key in path {
        node = node
            .get("properties")
            .and_then(|properties| properties.get(key))
            .or_else(|| node.get("additionalProperties").filter(|below| below.is_object()))?;
    }
    Some(node)
}

/// A key that a file may have, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    node: &'static Value,
    path: &'static [&'static str],
}

static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| {
    let mut fields = Vec::new();
    collect(json_schema(), &mut Vec::new(), &mut fields);
    fields
});

/// Every key, in the order of the types. `*` stands for a name that the user gives, of a kernel say.
pub fn fields() -> &'static [Field] {
    &FIELDS
}

fn collect(node: &'static Value, path: &mut Vec<&'static str>, fields: &mut Vec<Field>) {
    let below = node.get("properties").and_then(Value::as_object);
    let named = node.get("additionalProperties").filter(|below| below.is_object());
    if below.is_none() && named.is_none() {
        fields.push(Field { node, path: path.clone().leak() });
        return;
    }
    let below = below.into_iter().flatten().map(|(key, node)| (key.as_str(), node));
    for (key, node) in below.chain(named.map(|node| ("*", node))) {
        if !is(node, "seconds") {
            path.push(key);
            collect(node, path, fields);
            path.pop();
        }
    }
}

/// Variables with names of their own, beside those that follow from the keys.
const OWN_NAMES: [(&str, &str); 4] = [
    ("environment", "RUSTKERNEL_ENV"),
    ("runtime.gpu_enabled", "RUSTKERNEL_GPU_ENABLED"),
    ("runtime.max_kernel_instances", "RUSTKERNEL_MAX_INSTANCES"),
    ("memory.max_gpu_memory", "RUSTKERNEL_MAX_GPU_MEMORY_GB"),
];

/// What variables take whose names end in a unit.
pub(super) const GIB: &str = "a number of GiB, as \"16\"";

/// Whether it is such a variable.
pub(super) fn is_in_gib(variable: &str) -> bool {
    variable.ends_with("_GB")
}

impl Field {
    /// The key, as in `runtime.worker_threads`.
    pub fn key(&self) -> String {
        self.path.join(".")
    }

    pub(super) fn path(&self) -> &'static [&'static str] {
        self.path
    }

    /// Whether that is the key of such a value, with a user's names in it.
    pub fn names(&self, key: &str) -> bool {
        let mut names = key.split('.');
        let alike = |own: &&str| names.next().is_some_and(|name| *own == "*" || *own == name);
        self.path.iter().all(alike) && names.next().is_none()
    }

    /// What it is, in sentences.
    pub fn description(&self) -> String {
        self.node["description"].as_str().unwrap_or_default().replace('\n', " ")
    }

    /// What its values look like.
    pub fn values(&self) -> String {
        super::check::expected(self.node)
    }

    /// What values of a variable that sets it look like.
    pub fn values_of(&self, variable: &str) -> String {
        if is_in_gib(variable) { GIB.into() } else { self.values() }
    }

    /// What it is where nobody says anything, if that is not the same everywhere.
    pub(super) fn default_text(&self) -> Option<&'static str> {
        self.node.get("x-default").and_then(Value::as_str)
    }

    /// Whether a change of it takes effect while the runtime runs.
    pub fn is_live(&self) -> bool {
        self.node.get("x-live").is_some()
    }

    /// The variable that sets it, as in `RUSTKERNEL_RUNTIME__WORKER_THREADS`.
    pub fn variable(&self) -> String {
        format!("RUSTKERNEL_{}", self.path.join("__").to_uppercase())
    }

    /// The shorter variable that sets it as well, if it has one.
    pub fn short_variable(&self) -> Option<&'static str> {
        let key = self.key();
        OWN_NAMES.into_iter().find(|(own, _)| *own == key).map(|(_, name)| name)
    }
}
