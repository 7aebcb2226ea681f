//! Layers of values, each with where they are from; later ones win.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::check::check;
use super::error::{Origin, Problem, TOLD};
use super::schema::{Field, SECONDS, fields, is, json_schema, node};
use super::{ProductionConfig, check, schema};
use crate::runtime::RuntimePreset;

/// Values, and where each is from.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    values: Map<String, Value>,
    /// By key. Where there is none, that of the table around it holds.
    origins: BTreeMap<String, Origin>,
}

impl Layer {
    /// Values of one origin.
    pub(super) fn new(values: Map<String, Value>, origin: Origin) -> Self {
        Self { values, origins: BTreeMap::from([(String::new(), origin)]) }
    }

    /// What a value that the program has says.
    pub(super) fn of(config: &ProductionConfig, origin: Origin) -> Self {
        match json(config) {
            Value::Object(values) => Self::new(values, origin),
            other => unreachable!("invariant: a structure is an object, not {other}"),
        }
    }

    /// Takes these values.
    pub(super) fn fill(&mut self, values: Map<String, Value>) {
        self.values = values;
    }

    #[cfg(test)]
    pub(super) fn to_json(&self) -> Value {
        Value::Object(self.values.clone())
    }

    /// Says where a key is from.
    pub(super) fn locate(&mut self, key: String, origin: Origin) {
        self.origins.insert(key, origin);
    }

    /// Sets a value by its key.
    pub(super) fn set(&mut self, path: &[impl AsRef<str>], value: Value, origin: Origin) {
        let path: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
        self.locate(path.join("."), origin);
        let Some((last, tables)) = path.split_last() else { return };
        let mut table = &mut self.values;
        for name in tables {
            let below = table.entry(*name).or_insert_with(|| json!({}));
            if !below.is_object() {
                *below = json!({});
            }
            table = below.as_object_mut().expect("invariant: made an object above");
        }
        let is_there = table.get(*last).is_some_and(Value::is_object);
        if !is_there || value != json!({}) {
            table.insert((*last).to_owned(), value);
        }
    }

    /// Sets a value from text, of a variable or a flag: read as its key's values are written.
    pub(super) fn set_text(&mut self, path: &[&str], text: &str, origin: Origin) {
        let value = node(json_schema(), path).map_or_else(|| json!(text), |node| read(node, text));
        self.set(path, value, origin);
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let mut path = key.split('.');
        let first = self.values.get(path.next()?)?;
        path.try_fold(first, |value, name| value.get(name))
    }

    /// Where a key's value is from.
    pub(super) fn origin(&self, key: &str) -> Origin {
        if let Some(below) = self.origin_below(key) {
            return below;
        }
        let mut key = key;
        loop {
            if let Some(origin) = self.origins.get(key) {
                return origin.clone();
            }
            let Some(end) = key.rfind(['.', '[']) else { break };
            key = &key[..end];
        }
        self.origins.get("").cloned().unwrap_or(Origin::Default)
    }

    /// Where the first value of a table is from that somebody has set, if the key is one's.
    fn origin_below(&self, key: &str) -> Option<Origin> {
        let below = format!("{key}.");
        let set =
            self.origins.range(below.clone()..).take_while(|(name, _)| name.starts_with(&below));
        let mut set = set.map(|(_, origin)| origin);
        let found = set.find(|origin| origin.is_own());
        found.filter(|_| !self.origins.contains_key(key)).cloned()
    }

    /// The keys that somebody has set, and where.
    pub(super) fn said(&self) -> impl Iterator<Item = (&str, &Origin)> {
        let all = self.origins.iter().map(|(key, origin)| (key.as_str(), origin));
        all.filter(|(_, origin)| origin.is_own())
    }

    /// Everything that is wrong with it by the schema. It is as if nobody had said it from then on.
    pub(super) fn take_problems(&mut self) -> Vec<Problem> {
        let found = check(&Value::Object(self.values.clone())).into_iter();
        let found = found.map(|(key, reason)| Problem { origin: self.origin(&key), key, reason });
        let found: Vec<Problem> = found.collect();
        self.forget(&found);
        found
    }

    /// Leaves out what is wrong.
    pub(super) fn forget(&mut self, wrong: &[Problem]) {
        for Problem { key, .. } in wrong {
            let (key, _item) = key.split_once('[').unwrap_or((key, ""));
            let (tables, last) = key.rsplit_once('.').unwrap_or(("", key));
            let mut path = tables.split('.').filter(|name| !name.is_empty());
            let table =
                path.try_fold(&mut self.values, |table, name| table.get_mut(name)?.as_object_mut());
            table.and_then(|table| table.remove(last));
        }
    }

    /// Lays one over this, key by key.
    pub(super) fn cover(&mut self, above: Self) {
        for (path, value) in leaves(&above.values) {
            let origin = above.origin(&path.join("."));
            let (path, value) = in_full(path, value);
            self.set(&path, value, origin);
        }
    }

    /// The configuration that it makes. (Each layer was checked; what looks right may still be no address.)
    pub(super) fn config(&self) -> Result<ProductionConfig, Vec<Problem>> {
        read_all(self.values.clone()).map_err(|reason| {
            let mut wrong = Vec::new();
            self.find_unreadable(&leaves(&self.values), &mut wrong);
            if wrong.is_empty() {
                wrong.push(Problem { key: String::new(), origin: self.origin(""), reason });
            }
            wrong
        })
    }

    /// Which of these values cannot be read, by halves: most can.
    fn find_unreadable(&self, leaves: &[(Vec<String>, Value)], wrong: &mut Vec<Problem>) {
        let mut these = Self::default();
        for (path, value) in leaves {
            these.set(path, value.clone(), Origin::Default);
        }
        let Err(reason) = read_all(these.values) else { return };
        match leaves {
            _ if wrong.len() > TOLD => {}
            [(path, _)] => {
                let key = path.join(".");
                wrong.push(Problem { origin: self.origin(&key), key, reason });
            }
            _ => {
                let (some, others) = leaves.split_at(leaves.len() / 2);
                self.find_unreadable(some, wrong);
                self.find_unreadable(others, wrong);
            }
        }
    }
}

fn read_all(values: Map<String, Value>) -> Result<ProductionConfig, String> {
    serde_json::from_value(Value::Object(values)).map_err(|error| error.to_string())
}

/// The values that are not tables, by key.
fn leaves(table: &Map<String, Value>) -> Vec<(Vec<String>, Value)> {
    let mut leaves = Vec::new();
    flatten(table, &mut Vec::new(), &mut leaves);
    leaves
}

fn flatten(
    table: &Map<String, Value>,
    path: &mut Vec<String>,
    leaves: &mut Vec<(Vec<String>, Value)>,
) {
    for (name, value) in table {
        path.push(name.clone());
        match value {
            Value::Object(below) if !below.is_empty() => flatten(below, path, leaves),
            _ => leaves.push((path.clone(), value.clone())),
        }
        path.pop();
    }
}

/// A duration that is said in seconds, in full.
fn in_full(mut path: Vec<String>, value: Value) -> (Vec<String>, Value) {
    let last = path.last().expect("invariant: a leaf has a name");
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    let seconds = node(json_schema(), &names).is_some_and(|node| is(node, "seconds"));
    match (last.strip_suffix(SECONDS), value.as_u64()) {
        (Some(name), Some(count)) if seconds => {
            let name = name.to_owned();
            path.pop();
            path.push(name);
            (path, json!(format!("{count}s")))
        }
        _ => (path, value),
    }
}

/// Text as a value of the node; as text if it is none, so that the check can say so.
fn read(node: &Value, text: &str) -> Value {
    let types = [&node["type"]].into_iter().chain(node["type"].as_array().into_iter().flatten());
    let types: Vec<&str> = types.filter_map(Value::as_str).collect();
    let parsed = || serde_json::from_str(text).ok();
    let value = match types.as_slice() {
        ["array"] => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(items.map(|item| read(&node["items"], item)).collect())
        }
        ["string"] => None,
        _ => parsed().filter(|value: &Value| value.is_number() || value.is_boolean()),
    };
    value.unwrap_or_else(|| json!(text))
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("invariant: a configuration can be written as JSON")
}

/// A key of a configuration, its value, and where that is from.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Where it is from.
    pub origin: Origin,
}

/// Every value in effect, in the order of the types.
pub(super) fn effective(config: &ProductionConfig, layer: &Layer) -> Vec<Effective> {
    let all = Layer::of(config, Origin::Code);
    let mut found: Vec<_> = leaves(&all.values)
        .into_iter()
        .filter(|(_, value)| *value != json!({}))
        .map(|(path, value)| {
            let key = path.join(".");
            let place = fields().iter().position(|field| field.names(&key));
            (place, Effective { origin: layer.origin(&key), key, value })
        })
        .collect();
    found.sort_by(|(a, x), (b, y)| (a, &x.key).cmp(&(b, &y.key)));
    found.into_iter().map(|(_, effective)| effective).collect()
}

static DEFAULTS: LazyLock<Layer> =
    LazyLock::new(|| Layer::of(&ProductionConfig::default(), Origin::Default));

/// The default values, and over them those of a preset that differ.
pub(super) fn preset(preset: Option<RuntimePreset>) -> Layer {
    let mut all = DEFAULTS.clone();
    let Some(preset) = preset else { return all };
    let of_preset = Layer::of(&ProductionConfig::preset(preset), Origin::Preset(preset));
    for (path, value) in leaves(&of_preset.values) {
        if all.get(&path.join(".")) != Some(&value) {
            all.set(&path, value, Origin::Preset(preset));
        }
    }
    all
}

/// Sets the values that variables of the environment name. Those that name nothing are problems.
pub(super) fn variables(variables: &[(String, String)]) -> (Layer, Vec<Problem>) {
    let (mut layer, mut problems) = (Layer::default(), Vec::new());
    for (name, text) in variables {
        if problems.len() > TOLD {
            break;
        }
        let origin = Origin::Variable(name.clone());
        match path_of(name) {
            Some(Named::Field(path)) => {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let key = path.join(".");
                if layer.get(&key).is_some() {
                    let reason = format!("{} sets it as well; leave one out", layer.origin(&key));
                    problems.push(Problem { key, origin, reason });
                    continue;
                }
                match in_its_unit(name, text) {
                    Ok(text) => layer.set_text(&path, &text, origin),
                    Err(reason) => problems.push(Problem { key, origin, reason }),
                }
            }
            Some(Named::Foreign) => {}
            None => {
                // (What all of them begin with says nothing.)
                let own = |name| str::strip_prefix(name, PREFIX).unwrap_or(name);
                let near = check::nearest(own(name), NAMES.iter().map(|name| own(name)));
                let hint = near.map_or_else(
                    || "`rustkernel config env` lists them".into(),
                    |near| format!("did you mean {PREFIX}{near}?"),
                );
                let reason = format!("there is no such variable; {hint}");
                problems.push(Problem { key: String::new(), origin, reason });
            }
        }
    }
    (layer, problems)
}

/// The text as its key's values are written, of a variable whose name has the unit.
fn in_its_unit<'t>(name: &str, text: &'t str) -> Result<Cow<'t, str>, String> {
    if !schema::is_in_gib(name) {
        return Ok(text.into());
    }
    let is_number = text.starts_with(|first: char| first.is_ascii_digit())
        && text.chars().all(|character| character.is_ascii_digit() || character == '.');
    if is_number {
        Ok(format!("{text}GiB").into())
    } else {
        let given = check::shown(&json!(text));
        Err(format!("{given} will not do; {} is wanted", schema::GIB))
    }
}

/// What the names of all variables begin with.
const PREFIX: &str = "RUSTKERNEL_";

/// What a variable stands for.
enum Named {
    /// A key.
    Field(Vec<String>),
    /// Nothing here: others use the name.
    Foreign,
}

/// Variables beside those of keys: where the running process is, and which file.
const OTHERS: [&str; 2] = ["RUSTKERNEL_ENDPOINT", "RUSTKERNEL_CONFIG"];

/// The names of all variables.
static NAMES: LazyLock<Vec<String>> =
    LazyLock::new(|| fields().iter().flat_map(names_of).collect());

fn names_of(field: &Field) -> Vec<String> {
    let short = field.short_variable().map(str::to_owned);
    short.into_iter().chain([field.variable()]).collect()
}

/// Whether a variable stands for no key, although it is called as if it did.
pub(super) fn is_foreign(name: &str) -> bool {
    matches!(path_of(name), Some(Named::Foreign))
}

fn path_of(name: &str) -> Option<Named> {
    // A Kubernetes service called `rustkernel` brings these.
    let rest = name.strip_prefix(PREFIX)?;
    let of_kubernetes =
        ["SERVICE_HOST", "SERVICE_PORT", "PORT"].iter().any(|start| rest.starts_with(start));
    if OTHERS.contains(&name) || of_kubernetes {
        return Some(Named::Foreign);
    }
    let own = |path: &[&str]| path.iter().map(|name| (*name).to_owned()).collect();
    let short = fields().iter().find(|field| field.short_variable() == Some(name));
    if let Some(field) = short {
        return Some(Named::Field(own(field.path())));
    }
    let path: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
    let seconds = path.last().and_then(|last| last.strip_suffix(SECONDS));
    let mut full = path.clone();
    if let (Some(last), Some(place)) = (seconds, full.last_mut()) {
        *place = last.to_owned();
    }
    let known = |path: &[String]| {
        let key = path.join(".");
        fields().iter().any(|field| field.names(&key))
    };
    (known(&path) || known(&full)).then_some(Named::Field(path))
}
