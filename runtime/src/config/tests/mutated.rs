//! A configuration that sets every key there is, with whatever somebody may do to it by mistake.
//!
//! `PROPTEST_CASES=100000 cargo test -p rustkernel-core --lib mutated` for the full size.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::Value;

use super::super::*;
use super::sound;

/// In which form it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Toml,
    Yaml,
    Environment,
}

/// Every key as variables have it: with its default, or else a value that will do.
fn every_value() -> Vec<(&'static Field, String)> {
    let defaults = layer::preset(None);
    let text = |field: &Field| match defaults.get(&field.key()) {
        None | Some(Value::Array(_)) => sound(field),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    fields().iter().map(|field| (field, text(field))).collect()
}

/// All of them at once, a line each, within their tables.
fn every_key(form: Form) -> Vec<String> {
    if form == Form::Environment {
        let line = |(field, text): (&Field, String)| {
            format!("{}={text}", field.variable().replace('*', "NAME"))
        };
        return every_value().into_iter().map(line).collect();
    }
    let (mut lines, mut table, mut all) = (Vec::new(), String::new(), layer::Layer::default());
    for (field, text) in every_value() {
        let key = field.key().replace('*', "name");
        let path: Vec<&str> = key.split('.').collect();
        all.set_text(&path, &text, Origin::Code);
        let (last, tables) = path.split_last().expect("a key has a name");
        let around = tables.join(".");
        if around != table {
            lines.push(format!("[{around}]"));
            table = around;
        }
        // (TOML writes these values as JSON does.)
        lines.push(format!("{last} = {}", all.get(&key).expect("it was just set")));
    }
    if form == Form::Yaml {
        let text = serde_yaml::to_string(&all.to_json()).expect("JSON is YAML");
        lines = text.lines().map(str::to_owned).collect();
    }
    lines
}

/// What is done to lines: which kind of mistake, where, and with what.
type Mistake = (u8, usize, usize, String);

fn mistake() -> impl Strategy<Value = Mistake> {
    let values = [
        "",
        "0",
        "-1",
        "1.5",
        "1e999",
        "nan",
        "99999999999999999999",
        "true",
        "yes",
        "null",
        "~",
        "[]",
        "{}",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "[[1]]",
        "\"30s\"",
        "30",
        "'5 parsecs'",
        "\"16GiBs\"",
        "[\"cuda:x\"]",
        "0.0.0.0:1",
        "hp",
        "\"none\"",
        "&a",
        "*a",
        "!t 1",
        "<<: *a",
        "|",
        "- x",
        "#",
        "[http]",
        "[security.jwt]",
        "kernels.a = 1",
        "= 1",
        "a.b.c.d: 1",
        "\t",
        "\r",
        "\u{0}",
        "\u{feff}",
        "é",
        "\\u0000",
    ];
    let text = prop_oneof![
        3 => prop::sample::select(values.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,30}",
        1 => "[a-z_]{1,12}(=| = |: )[a-z0-9]{0,5}",
    ];
    (0..9u8, any::<usize>(), any::<usize>(), text)
}

fn make(lines: &mut Vec<String>, (kind, line, at, text): &Mistake) {
    if lines.is_empty() {
        return lines.push(text.clone());
    }
    let count = lines.len();
    let (line, other) = (line % count, at % count);
    let own = &mut lines[line];
    let at = own.floor_char_boundary(at % (own.len() + 1));
    match kind {
        0 => own.insert_str(at, text),
        1 => own.truncate(at),
        2 if at < own.len() => drop(own.remove(at)),
        3 => drop(lines.remove(line)),
        4 => lines.insert(other, lines[line].clone()),
        5 => lines.swap(line, other),
        6 => lines.insert(line, text.clone()),
        // Its value, whatever it was.
        _ => {
            if let Some(end) = own.find([':', '=']) {
                own.replace_range(end + 1.., &format!(" {text}"));
            }
        }
    }
}

/// Whether a file says anything at all, by the libraries that read its format.
fn is_sound(form: Form, text: &str) -> bool {
    match form {
        Form::Toml => text.parse::<::toml::Table>().is_ok(),
        Form::Yaml => serde_yaml::from_str::<serde_yaml::Value>(text).is_ok(),
        Form::Environment => true,
    }
}

/// What is refused is refused with its place: a key and its line, or the variable. What no configuration holds (a
/// number that is none, a tag of YAML) has its line, and so has what is not of the format where that tells it.
fn has_its_place(form: Form, lines: &[String], problem: &Problem) -> Result<(), TestCaseError> {
    prop_assert!(!problem.reason.is_empty());
    match &problem.origin {
        Origin::File { line, .. } => {
            let is_there = line.is_none_or(|line| (1..=lines.len() + 1).contains(&line));
            prop_assert!(is_there, "{problem}");
            prop_assert!(form == Form::Yaml || line.is_some(), "{problem}");
            let is_placed = !problem.key.is_empty() || line.is_some();
            prop_assert!(is_placed || !is_sound(form, &lines.join("\n")), "{problem}");
        }
        Origin::Variable(name) => {
            prop_assert!(lines.iter().any(|line| line.starts_with(name)), "{problem}");
            let unknown = problem.reason.starts_with("there is no such variable");
            prop_assert!(!problem.key.is_empty() || unknown, "{problem}");
        }
        other => prop_assert!(false, "nobody said it, by {other:?}: {problem}"),
    }
    Ok(())
}

fn load(form: Form, lines: &[String]) -> Result<Loaded, ConfigError> {
    let file = |format| Loader::new().load_text(lines.join("\n").as_bytes(), format, "file");
    match form {
        Form::Toml => file(Format::Toml),
        Form::Yaml => file(Format::Yaml),
        Form::Environment => {
            Loader::new().variables(lines.iter().filter_map(|line| line.split_once('='))).load()
        }
    }
}

#[test]
fn every_key_can_be_set_at_once() {
    let key = |row: &Effective| row.key.clone();
    let keys = |form| load(form, &every_key(form)).unwrap().effective().iter().map(key).collect();
    let keys: [Vec<String>; 3] = [Form::Toml, Form::Yaml, Form::Environment].map(keys);
    assert_eq!(keys[0].len(), fields().len(), "{:#?}", keys[0]);
    assert!(keys.iter().all(|these| *these == keys[0]));
}

/// By form. (They take longer to make than to read.)
static WRITTEN: LazyLock<[Vec<String>; 3]> =
    LazyLock::new(|| [Form::Toml, Form::Yaml, Form::Environment].map(every_key));

proptest! {
    #[test]
    fn whatever_is_done_to_it_is_read_or_refused_with_its_place(
        form in prop::sample::select(vec![Form::Toml, Form::Yaml, Form::Environment]),
        mistakes in prop::collection::vec(mistake(), 1..6),
    ) {
        let mut lines = WRITTEN[form as usize].clone();
        mistakes.iter().for_each(|mistake| make(&mut lines, mistake));
        // (A line that was put in may be several, or begin one.)
        let lines: Vec<String> = lines.join("\n").split('\n').map(str::to_owned).collect();
        match load(form, &lines) {
            Ok(loaded) => prop_assert!(loaded.config.validate().is_ok()),
            Err(error) => {
                prop_assert!(!error.problems().is_empty());
                for problem in error.problems() {
                    has_its_place(form, &lines, problem)?;
                }
            }
        }
    }
}
