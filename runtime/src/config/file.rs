//! Files: TOML and YAML, told apart by their names.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, json};
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Origin, Problem};
use super::layer::Layer;

/// Most bytes of a file. (Reading YAML takes time by the square of its depth.)
const MOST: u64 = 256 * 1024;
/// Most tables and lists within one another.
const DEPTH: usize = 16;
/// Most of them that are read at all: the parser's time grows with the square of their depth.
const PARSED: usize = 64;

/// What a file says.
///
/// # Errors
/// If it cannot be read, is neither TOML nor YAML by its name, or is malformed: then each place, where the
/// format gives it.
pub(super) fn read(path: &Path) -> Result<Layer, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(MOST + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(error.to_string()))?;
    let format = Format::of(path).map_err(unreadable)?;
    parse(&bytes, format, &Arc::from(path))
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.toml`
    Toml,
    /// `.yaml` or `.yml`
    Yaml,
}

impl Format {
    /// That of a file, by its name.
    ///
    /// # Errors
    /// A sentence if it has neither.
    pub fn of(path: &Path) -> Result<Self, String> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Ok(Self::Toml),
            Some("yaml" | "yml") => Ok(Self::Yaml),
            _ => Err("its name has to end in .toml, .yaml or .yml".into()),
        }
    }
}

/// What bytes say.
pub(super) fn parse(bytes: &[u8], format: Format, path: &Arc<Path>) -> Result<Layer, ConfigError> {
    let problem = |line, reason| Problem { key: String::new(), origin: at(path, line), reason };
    let invalid = |line, reason| ConfigError::Invalid(vec![problem(line, reason)]);
    if bytes.len() as u64 > MOST {
        return Err(invalid(None, format!("it is longer than {} KiB", MOST / 1024)));
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        invalid(Some(line), "it is not UTF-8".into())
    })?;
    let layer = match format {
        Format::Toml => toml_layer(text, path),
        Format::Yaml => yaml_layer(text, path),
    };
    let found =
        layer.map_err(|found| found.into_iter().map(|(line, reason)| problem(line, reason)));
    found.map_err(|problems| ConfigError::Invalid(problems.collect()))
}

/// A line, if it is known, and what is wrong there.
type Malformed = (Option<usize>, String);

fn at(path: &Arc<Path>, line: Option<usize>) -> Origin {
    Origin::File { path: Arc::clone(path), line }
}

fn toml_layer(text: &str, path: &Arc<Path>) -> Result<Layer, Vec<Malformed>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let malformed = |error: toml::de::Error| {
            let line = error.span().map(|span| line_of(text, span.start));
            (line, error.message().to_owned())
        };
        let mut malformed: Vec<Malformed> = errors.into_iter().map(malformed).collect();
        malformed.sort();
        return Err(malformed);
    }
    let mut layer = Layer::new(Map::new(), at(path, None));
    let mut reading = Toml { text, path, layer: &mut layer, wrong: Vec::new() };
    let values = reading.table(table.get_ref(), "");
    let wrong = reading.wrong;
    if !wrong.is_empty() {
        return Err(wrong);
    }
    layer.fill(values);
    Ok(layer)
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

/// TOML as values, their lines noted.
struct Toml<'t> {
    text: &'t str,
    path: &'t Arc<Path>,
    layer: &'t mut Layer,
    wrong: Vec<Malformed>,
}

impl Toml<'_> {
    fn table(&mut self, table: &DeTable<'_>, key: &str) -> Map<String, Value> {
        let mut values = Map::new();
        for (name, value) in table {
            let key = if key.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{key}.{}", name.get_ref())
            };
            let line = line_of(self.text, name.span().start);
            self.layer.locate(key.clone(), at(self.path, Some(line)));
            let value = self.value(value.get_ref(), &key, line);
            values.insert(name.get_ref().to_string(), value);
        }
        values
    }

    fn value(&mut self, value: &DeValue<'_>, key: &str, line: usize) -> Value {
        match value {
            DeValue::String(text) => json!(text),
            DeValue::Integer(number) => {
                let number = i64::from_str_radix(number.as_str(), number.radix());
                number.map_or_else(|_| self.no_number(line), Value::from)
            }
            DeValue::Float(number) => {
                let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
                number.map_or_else(|| self.no_number(line), Value::Number)
            }
            DeValue::Boolean(value) => json!(value),
            DeValue::Datetime(time) => json!(time.to_string()),
            DeValue::Array(items) => {
                let items = items.iter();
                items.map(|item| self.value(item.get_ref(), key, line)).collect()
            }
            DeValue::Table(table) => Value::Object(self.table(table, key)),
        }
    }

    fn no_number(&mut self, line: usize) -> Value {
        self.wrong.push((Some(line), "a number is too large, or is none".into()));
        Value::Null
    }
}

fn yaml_layer(text: &str, path: &Arc<Path>) -> Result<Layer, Vec<Malformed>> {
    let malformed = |error: serde_yaml::Error| {
        vec![(error.location().map(|place| place.line()), error.to_string())]
    };
    if let Some(line) = deep_line(text) {
        let reason = format!("tables and lists are nested more than {PARSED} deep");
        return Err(vec![(Some(line), reason)]);
    }
    let value: serde_yaml::Value = serde_yaml::from_str(text).map_err(malformed)?;
    let value = from_yaml(value, 0).map_err(|reason| vec![(None, reason)])?;
    let values = match value {
        Value::Object(values) => values,
        Value::Null => Map::new(),
        _ => return Err(vec![(Some(1), "it has to be a table, `key: value` on each line".into())]),
    };
    let mut layer = Layer::new(values, at(path, None));
    for key in layer.keys() {
        let line = yaml_line(text, &key);
        layer.locate(key, at(path, line));
    }
    Ok(layer)
}

/// The line in which more lists and tables are open than are read, counted by their signs alone. (Those
/// that are nested by indentation alone take too many bytes to be deep.)
fn deep_line(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let deep = text.lines().position(|line| {
        let begun = line.chars().take_while(|sign| " \t-?:".contains(*sign));
        let begun = begun.filter(|sign| !sign.is_whitespace()).count();
        let most = line.chars().fold(open, |most, sign| {
            match sign {
                '[' | '{' => open += 1,
                ']' | '}' => open = open.saturating_sub(1),
                _ => {}
            }
            most.max(open)
        });
        begun > PARSED || most > PARSED
    });
    deep.map(|before| before + 1)
}

fn from_yaml(value: serde_yaml::Value, depth: usize) -> Result<Value, String> {
    use serde_yaml::Value as Yaml;
    if depth > DEPTH {
        return Err(format!("tables and lists are nested more than {DEPTH} deep"));
    }
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => json!(value),
        Yaml::Number(number) => {
            let whole =
                number.as_u64().map(Value::from).or_else(|| number.as_i64().map(Value::from));
            let float =
                || number.as_f64().and_then(serde_json::Number::from_f64).map(Value::Number);
            whole
                .or_else(float)
                .ok_or_else(|| format!("{number} is no number that could be meant"))?
        }
        Yaml::String(text) => json!(text),
        Yaml::Sequence(items) => {
            let items = items.into_iter().map(|item| from_yaml(item, depth + 1));
            items.collect::<Result<_, _>>()?
        }
        Yaml::Mapping(entries) => {
            let entries = entries.into_iter().map(|(name, value)| match name {
                Yaml::String(name) => Ok((name, from_yaml(value, depth + 1)?)),
                other => Err(format!("a key is no text: {other:?}")),
            });
            Value::Object(entries.collect::<Result<_, _>>()?)
        }
        Yaml::Tagged(tagged) => return Err(format!("`{}` is not understood here", tagged.tag)),
    })
}

/// The line of a key's value. The parser tells places only with errors: so one is made there.
fn yaml_line(text: &str, key: &str) -> Option<usize> {
    let path: Vec<&str> = key.split('.').collect();
    let error = Finder(&path).deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    error.location().map(|place| place.line())
}

/// Fails at the value of a path. (Values that are no tables fail by themselves: nothing else is expected.)
struct Finder<'p>(&'p [&'p str]);

impl<'de> DeserializeSeed<'de> for Finder<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Finder<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a place")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.0.split_first() else {
            return Err(A::Error::custom("here"));
        };
        while let Some(name) = map.next_key::<String>()? {
            if name == *first {
                return map.next_value_seed(Finder(rest));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
