//! TOML: a table, with the line of each key.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use toml::de::{DeTable, DeValue, Error};

use super::{Budget, Layer, Malformed, at};

/// Most bytes of a text that is read to its end although it is malformed.
const RECOVERED: usize = 32 * 1024;

/// What a file of TOML says.
///
/// # Errors
/// Each place that is malformed.
pub(super) fn layer(text: &str, path: &Arc<Path>) -> Result<Layer, Vec<Malformed>> {
    let lines = Lines::of(text);
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(first) => return Err(malformed(first, text, &lines)),
    };
    let mut layer = Layer::new(Map::new(), at(path, None));
    let (budget, wrong) = (Budget::new(), Vec::new());
    let mut reading = Reading { lines, path, budget, layer: &mut layer, wrong, is_full: false };
    let values = reading.table(table.get_ref(), "");
    let wrong = reading.wrong;
    if !wrong.is_empty() {
        return Err(wrong);
    }
    layer.fill(values);
    Ok(layer)
}

/// Every place that is malformed. Of a long text only the first: each may have as many as it has bytes.
fn malformed(first: Error, text: &str, lines: &Lines) -> Vec<Malformed> {
    let errors =
        if text.len() > RECOVERED { vec![first] } else { DeTable::parse_recoverable(text).1 };
    let place = |error: Error| {
        let line = error.span().map(|span| lines.at(span.start));
        (line, error.message().to_owned())
    };
    let mut malformed: Vec<Malformed> = errors.into_iter().map(place).collect();
    malformed.sort();
    malformed
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line of a byte, counted from 1.
    fn at(&self, byte: usize) -> usize {
        1 + self.0.partition_point(|end| *end < byte)
    }
}

/// TOML as values, their lines noted.
struct Reading<'t> {
    lines: Lines,
    path: &'t Arc<Path>,
    budget: Budget,
    layer: &'t mut Layer,
    wrong: Vec<Malformed>,
    is_full: bool,
}

impl Reading<'_> {
    fn table(&mut self, table: &DeTable<'_>, key: &str) -> Map<String, Value> {
        let mut values = Map::new();
        for (name, value) in table {
            let key = if key.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{key}.{}", name.get_ref())
            };
            let line = self.lines.at(name.span().start);
            if !self.has_room(line) {
                break;
            }
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
                number.map_or_else(|_| self.no_number(key, line), Value::from)
            }
            DeValue::Float(number) => {
                let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
                number.map_or_else(|| self.no_number(key, line), Value::Number)
            }
            DeValue::Boolean(value) => json!(value),
            DeValue::Datetime(time) => json!(time.to_string()),
            DeValue::Array(items) => {
                let mut values = Vec::new();
                for item in items.iter() {
                    let line = self.lines.at(item.span().start);
                    if !self.has_room(line) {
                        break;
                    }
                    values.push(self.value(item.get_ref(), key, line));
                }
                Value::Array(values)
            }
            DeValue::Table(table) => Value::Object(self.table(table, key)),
        }
    }

    /// Whether there is room for one more value. If there is none, that is said once.
    fn has_room(&mut self, line: usize) -> bool {
        let spent = self.budget.spend(1, 0);
        if let Err(reason) = spent
            && !std::mem::replace(&mut self.is_full, true)
        {
            self.wrong.push((Some(line), reason));
        }
        !self.is_full
    }

    fn no_number(&mut self, key: &str, line: usize) -> Value {
        self.wrong.push((Some(line), format!("{key}: a number is too large, or is none")));
        Value::Null
    }
}
