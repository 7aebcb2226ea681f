//! YAML: a table, with the line of each key as far as it is found.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde_json::{Map, Value, json};

use super::super::schema;
use super::{Budget, Layer, Malformed, at};

/// Most tables and lists within one another.
const DEPTH: usize = 16;
/// Most of them that are read at all: the parser's time grows with the square of their depth.
const PARSED: usize = 64;

/// What a file of YAML says.
///
/// # Errors
/// The first place that is malformed.
pub(super) fn layer(text: &str, path: &Arc<Path>) -> Result<Layer, Vec<Malformed>> {
    let malformed = |error: serde_yaml::Error| vec![told(&error)];
    if let Some(line) = deep_line(text) {
        let reason = format!("tables and lists are nested more than {PARSED} deep");
        return Err(vec![(Some(line), reason)]);
    }
    let reading = Reading { budget: &mut Budget::new(), depth: 0, is_twice: false };
    let value = reading.deserialize(serde_yaml::Deserializer::from_str(text)).map_err(malformed)?;
    let values = match value {
        Value::Object(mut values) => {
            fill_empty(&mut values, schema::json_schema());
            values
        }
        Value::Null => Map::new(),
        _ => return Err(vec![(Some(1), "it has to be a table, `key: value` on each line".into())]),
    };
    let mut layer = Layer::new(values, at(path, None));
    for (key, line) in lines(text) {
        layer.locate(key, at(path, Some(line)));
    }
    Ok(layer)
}

/// Makes tables of those whose lines are all comments, or not there.
fn fill_empty(values: &mut Map<String, Value>, node: &Value) {
    for (name, value) in values {
        let Some(node) = schema::node(node, &[name]) else { continue };
        if value.is_null() && node["type"] == "object" {
            *value = Map::new().into();
        }
        if let Value::Object(below) = value {
            fill_empty(below, node);
        }
    }
}

/// What the parser says, and where.
fn told(error: &serde_yaml::Error) -> Malformed {
    let reason = error.to_string();
    let Some(place) = error.location() else { return (None, reason) };
    let said_twice = format!(" at line {} column {}", place.line(), place.column());
    let reason = reason.strip_suffix(&said_twice).unwrap_or(&reason);
    (Some(place.line()), reason.to_owned())
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

/// Reads a value: no more than may be spent, and without what JSON does not have.
struct Reading<'b> {
    budget: &'b mut Budget,
    depth: usize,
    /// It is that of a key that was there before.
    is_twice: bool,
}

impl Reading<'_> {
    fn below(&mut self) -> Reading<'_> {
        Reading { budget: self.budget, depth: self.depth + 1, is_twice: false }
    }

    fn spend<E: Error>(&mut self, text: usize) -> Result<(), E> {
        if self.is_twice {
            return Err(E::custom("duplicate key; leave one out"));
        }
        self.budget.spend(1, text).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth > DEPTH {
            let reason = format!("tables and lists are nested more than {DEPTH} deep");
            return Err(D::Error::custom(reason));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(mut self) -> Result<Value, E> {
        self.spend(0).map(|()| Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<Value, E> {
        self.spend(0).map(|()| json!(value))
    }

    fn visit_u64<E: Error>(mut self, number: u64) -> Result<Value, E> {
        self.spend(0).map(|()| json!(number))
    }

    fn visit_i64<E: Error>(mut self, number: i64) -> Result<Value, E> {
        self.spend(0).map(|()| json!(number))
    }

    fn visit_f64<E: Error>(mut self, number: f64) -> Result<Value, E> {
        self.spend(0)?;
        let finite = serde_json::Number::from_f64(number).map(Value::Number);
        finite.ok_or_else(|| E::invalid_value(Unexpected::Float(number), &"a finite number"))
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<Value, E> {
        self.spend(text.len()).map(|()| json!(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.below())? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut entries = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            self.budget.spend(0, name.len()).map_err(A::Error::custom)?;
            if entries.contains_key(&name) {
                // (At its value: an error of a table has the place where the table begins.)
                return map.next_value_seed(Reading { is_twice: true, ..self.below() });
            }
            let value = map.next_value_seed(self.below())?;
            entries.insert(name, value);
        }
        Ok(Value::Object(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        let (tag, _) = data.variant::<String>()?;
        Err(A::Error::custom(format!("the tag `{tag}` is not understood here")))
    }
}

/// The lines of keys, by the text alone: the parser tells places only with errors. A key within braces
/// or brackets has none of its own; then that of the table around it holds.
fn lines(text: &str) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    let mut open: Vec<(usize, &str)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((indent, name)) = key_of(line) else { continue };
        open.retain(|(outer, _)| *outer < indent);
        open.push((indent, name));
        if open.len() <= DEPTH {
            let path: Vec<&str> = open.iter().map(|(_, name)| *name).collect();
            lines.entry(path.join(".")).or_insert(number + 1);
        }
    }
    lines
}

/// How far a line is indented and the key that it begins with, if it does.
fn key_of(line: &str) -> Option<(usize, &str)> {
    let rest = line.trim_start_matches(' ');
    let (name, value) = rest.split_once(':')?;
    let name = name.trim_end().trim_matches(['"', '\'']);
    let is_key = value.is_empty() || value.starts_with([' ', '\t']);
    let begins = |name: &str| name.starts_with(|first: char| !"#-?{[&*!|>%@`".contains(first));
    (is_key && begins(name)).then_some((line.len() - rest.len(), name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    /// The line of a key's value. The parser tells places only with errors: so one is made there.
    fn line_of(text: &str, key: &str) -> Option<usize> {
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

    /// Tables within tables, with values of all kinds.
    fn tables() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(|number| json!(number)),
            "[a-z: #'-]{0,12}".prop_map(|text| json!(text)),
            prop::collection::vec("[a-z]{1,3}", 0..3).prop_map(|items| json!(items)),
        ];
        let table = |below: BoxedStrategy<Value>| {
            let entries = prop::collection::btree_map("[a-z_]{1,6}", below, 1..5);
            entries.prop_map(|entries| Value::Object(entries.into_iter().collect())).boxed()
        };
        let leaf = leaf.boxed();
        let inner = table(leaf.clone());
        let middle = table(prop_oneof![leaf.clone(), inner].boxed());
        table(prop_oneof![leaf, middle].boxed())
    }

    fn texts(value: &Value, key: &str, keys: &mut Vec<String>) {
        for (name, below) in value.as_object().into_iter().flatten() {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            texts(below, &key, keys);
            if !below.is_object() && !below.is_array() {
                keys.push(key);
            }
        }
    }

    proptest! {
        #[test]
        fn lines_are_where_the_parser_finds_the_keys(file in tables()) {
            let text = serde_yaml::to_string(&file).unwrap();
            let (lines, mut keys) = (lines(&text), Vec::new());
            texts(&file, "", &mut keys);
            for key in keys {
                prop_assert_eq!(lines.get(&key).copied(), line_of(&text, &key), "{} in\n{}", key, text);
            }
        }
    }

    #[test]
    fn lines_are_found_in_files_that_people_write() {
        let text = "# a\nruntime:\n  devices:\n    - host\n  'spin': 1us # now\n\nkernels: {a: {queue: 3}}\n\
                    memory:\n    pressure_threshold: 0.7\n    auto_defrag: true\n";
        let found: Vec<_> = lines(text).into_iter().collect();
        let found: Vec<_> = found.iter().map(|(key, line)| (key.as_str(), *line)).collect();
        let expected = [
            ("kernels", 7),
            ("memory", 8),
            ("memory.auto_defrag", 10),
            ("memory.pressure_threshold", 9),
            ("runtime", 2),
            ("runtime.devices", 3),
            ("runtime.spin", 5),
        ];
        assert_eq!(found, expected);
    }
}
