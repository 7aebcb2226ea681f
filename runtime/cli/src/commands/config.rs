//! `rustkernel config …`: what can be configured, what is, and why.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustkernel_core::config::{self, ConfigError, Field, Loaded, Loader, Origin, fields};
use serde_json::{Value, json};

use crate::args::{GenerateArgs, LayerArgs, OutputFormat, ShowArgs, ValidateArgs};
use crate::exit::{Exit, Failure};
use crate::output::{self, Table};

/// Where a configuration is looked for if nobody names one.
const USUAL: &str = "rustkernel.toml";
/// The variable that names one.
const VARIABLE: &str = "RUSTKERNEL_CONFIG";

pub(crate) fn generate(args: &GenerateArgs) -> Result<(), Failure> {
    let text = config::template(args.preset);
    let Some(path) = &args.output else { return output::print(text) };
    if path.extension().is_none_or(|extension| extension != "toml") {
        return Err(Failure::usage(format!("{}: templates are TOML", path.display()))
            .hint("give the file a name that ends in .toml"));
    }
    write_new(path, &text, args.force)?;
    output::print(format_args!("wrote {} (preset {})\n", path.display(), args.preset))
}

/// Writes a file; not over one that is there, unless that is wanted.
pub(super) fn write_new(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).create_new(!force);
    let written = options
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.map_err(|error| {
        let failure = |reason: String| {
            Failure::new(Exit::CannotCreate, format!("{}: {reason}", path.display()))
        };
        match error.kind() {
            ErrorKind::AlreadyExists => failure("it is there already".into())
                .hint("take another name, or write over it by --force"),
            _ => failure(error.to_string()),
        }
    })
}

pub(crate) fn validate(args: &ValidateArgs) -> Result<(), Failure> {
    let outcome = Loader::new().file(&args.file).load();
    let format = args.format.output_format;
    if format != OutputFormat::Table {
        let problems = outcome.as_ref().err().map_or(&[][..], ConfigError::problems);
        output::print_value(
            format,
            &json!({
                "file": args.file.display().to_string(),
                "valid": outcome.is_ok(),
                "problems": problems.iter().map(described).collect::<Vec<_>>(),
            }),
        )?;
    }
    let loaded = outcome.map_err(|error| failure(&error))?;
    if format == OutputFormat::Table {
        let preset = loaded.config.environment;
        let preset = preset.map_or_else(|| "no preset".into(), |preset| format!("preset {preset}"));
        output::print(format_args!("{} is valid ({preset})\n", args.file.display()))?;
    }
    Ok(())
}

fn described(problem: &config::Problem) -> Value {
    let (file, line) = match &problem.origin {
        Origin::File { path, line } => (Some(path.display().to_string()), *line),
        _ => (None, None),
    };
    json!({ "key": problem.key, "file": file, "line": line, "reason": problem.reason })
}

/// Why there is no configuration: one line for each thing that is wrong.
pub(super) fn failure(error: &ConfigError) -> Failure {
    match error {
        ConfigError::Unreadable { .. } => Failure::new(Exit::NoInput, error.to_string()),
        _ => {
            let count = error.problems().len();
            let things = if count == 1 { "a problem" } else { &format!("{count} problems") };
            let lines = error.to_string().replace('\n', "\n  ");
            Failure::new(Exit::Config, format!("the configuration has {things}\n  {lines}"))
        }
    }
}

/// The file that holds: named by a flag, by a variable, or where it usually is.
pub(super) fn file(named: Option<&PathBuf>) -> Option<PathBuf> {
    let variable = || std::env::var_os(VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
    let usual = || Some(PathBuf::from(USUAL)).filter(|path| path.exists());
    named.cloned().or_else(variable).or_else(usual)
}

/// What the flags, the environment and the file make together.
///
/// # Errors
/// Everything that is wrong, wherever it is.
pub(crate) fn load(args: &LayerArgs) -> Result<Loaded, Failure> {
    layers(args).load().map_err(|error| failure(&error))
}

/// What a configuration is made of.
pub(super) fn layers(args: &LayerArgs) -> Loader {
    let mut loader = Loader::new().environment();
    if let Some(path) = file(args.config.as_ref()) {
        loader = loader.file(path);
    }
    if let Some(preset) = args.preset {
        loader = loader.preset(preset, "--preset");
    }
    for set in &args.set {
        loader = loader.set(&set.name, &set.text, "--set");
    }
    loader
}

pub(crate) fn show(args: &ShowArgs) -> Result<(), Failure> {
    show_layers(&args.layers, args.format.output_format)
}

/// What a process that is started here with these flags has.
pub(super) fn show_layers(layers: &LayerArgs, format: OutputFormat) -> Result<(), Failure> {
    let rows = load(layers)?.effective();
    if format != OutputFormat::Table {
        let rows = rows.iter().map(
            |row| json!({ "key": row.key, "value": row.value, "origin": row.origin.to_string() }),
        );
        return output::print_value(format, &rows.collect::<Vec<_>>());
    }
    let mut table = Table::new(&["key", "value", "from"]);
    for row in rows {
        table.row([row.key, row.value.to_string(), row.origin.to_string()]);
    }
    output::print(table)
}

pub(crate) fn env(format: OutputFormat) -> Result<(), Failure> {
    let names = |field: &'static Field| {
        let short = field.short_variable().map(str::to_owned);
        short.into_iter().chain([field.variable()]).map(move |name| (name, field))
    };
    let variables = fields().iter().flat_map(names);
    if format != OutputFormat::Table {
        let rows = variables.map(|(name, field)| {
            json!({
                "variable": name,
                "key": field.key(),
                "values": field.values_of(&name),
                "description": field.description(),
                "set": std::env::var(&name).ok(),
            })
        });
        return output::print_value(format, &rows.collect::<Vec<_>>());
    }
    let mut table = Table::new(&["variable", "key", "values", "set to"]);
    for (name, field) in variables {
        let set = std::env::var(&name).unwrap_or_default();
        let values = field.values_of(&name);
        table.row([name, field.key(), values, set]);
    }
    output::print(format_args!(
        "{table}\n* stands for the name of a kernel or group, in capitals. {VARIABLE} names the file.\n"
    ))
}

pub(crate) fn reference() -> Result<(), Failure> {
    output::print(config::reference())
}

pub(crate) fn schema() -> Result<(), Failure> {
    output::print_value(OutputFormat::Json, config::json_schema())
}
