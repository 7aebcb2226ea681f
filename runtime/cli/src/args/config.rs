//! Commands about configuration.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, StyledStr, TypedValueParser};
use clap::{Args, Subcommand, ValueHint};
use rustkernel_core::runtime::RuntimePreset;

use super::{FormatArgs, NamedText, named_text, section};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Write a file to begin with: every key, explained
    #[command(after_help = config_examples())]
    Generate(GenerateArgs),
    /// Check a file, and say everything that is wrong with it
    #[command(after_help = config_examples())]
    Validate(ValidateArgs),
    /// Show every value in effect, and where it is from
    #[command(after_help = config_examples())]
    Show(ShowArgs),
    /// Show the variables of the environment, and what they are
    #[command(after_help = config_examples())]
    Env(FormatArgs),
    /// Print the JSON Schema of configuration files, for editors
    #[command(after_help = config_examples())]
    Schema,
    /// Print the reference of all keys, as Markdown
    #[command(after_help = config_examples())]
    Reference,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The values to begin with; `hp` is short for high_performance
    #[arg(long, value_parser = preset(), default_value = "production")]
    pub(crate) preset: RuntimePreset,
    /// The file to write; without it the text is printed
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// The file: .toml, .yaml or .yml
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) layers: LayerArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// What a configuration is made of. Flags win over variables, those over the file, that over the preset.
#[derive(Debug, Clone, Args)]
pub(crate) struct LayerArgs {
    /// The file; else the one that RUSTKERNEL_CONFIG names, else rustkernel.toml where it is run
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The preset, whatever the file or RUSTKERNEL_ENV says
    #[arg(long, value_parser = preset())]
    pub(crate) preset: Option<RuntimePreset>,
    /// A value by its key, as in runtime.worker_threads=4
    #[arg(long, value_name = "KEY=VALUE", value_parser = named_text)]
    pub(crate) set: Vec<NamedText>,
}

impl LayerArgs {
    /// Whether any of it was said.
    pub(crate) fn is_given(&self) -> bool {
        self.config.is_some() || self.preset.is_some() || !self.set.is_empty()
    }
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The values to begin with; `hp` is short for high_performance
    #[arg(long, value_parser = preset(), default_value = "development")]
    pub(crate) preset: RuntimePreset,
    /// Where to write; made if it is not there
    #[arg(default_value = ".", value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
    /// Write a small kernel application as well, ready for `cargo run`
    #[arg(long)]
    pub(crate) example: bool,
    /// A checkout of RustKernel's repository, which the application is built with; else the one that this program
    /// was built in
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "example")]
    pub(crate) library: Option<PathBuf>,
}

/// A preset by its name, which shells complete.
fn preset() -> impl TypedValueParser<Value = RuntimePreset> {
    let names = RuntimePreset::ALL.map(|preset| match preset {
        RuntimePreset::HighPerformance => PossibleValue::new(preset.name()).alias("hp"),
        _ => PossibleValue::new(preset.name()),
    });
    PossibleValuesParser::new(names).try_map(|name| name.parse::<RuntimePreset>())
}

pub(super) fn config_examples() -> StyledStr {
    section(
        "Examples",
        "  rustkernel config generate --preset production --output config.toml
  rustkernel config validate config.toml
  rustkernel config show --config config.toml --set runtime.worker_threads=4
  rustkernel config env
  rustkernel config schema > rustkernel.schema.json",
    )
}

pub(super) fn init_examples() -> StyledStr {
    section(
        "Examples",
        "  rustkernel runtime init --preset production
  rustkernel runtime init --example my-service
  rustkernel runtime init --example --library ~/src/rustkernel my-service",
    )
}
