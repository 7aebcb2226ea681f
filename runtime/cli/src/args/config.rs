//! Commands about configuration.

use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::{Args, Subcommand};
use rustkernel_core::runtime::RuntimePreset;

use super::{FormatArgs, NamedText, named_text, section};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Write a file to begin with: every key, explained
    #[command(after_help = examples())]
    Generate(GenerateArgs),
    /// Check a file, and say everything that is wrong with it
    #[command(after_help = examples())]
    Validate(ValidateArgs),
    /// Show every value in effect, and where it is from
    #[command(after_help = examples())]
    Show(ShowArgs),
    /// Show the variables of the environment, and what they are
    #[command(after_help = examples())]
    Env(FormatArgs),
    /// Print the JSON Schema of configuration files, for editors
    #[command(after_help = examples())]
    Schema,
    /// Print the reference of all keys, as Markdown
    #[command(after_help = examples())]
    Reference,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The values to begin with: development, production or high_performance
    #[arg(long, default_value = "production")]
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
    #[arg(long)]
    pub(crate) preset: Option<RuntimePreset>,
    /// A value by its key, as in runtime.worker_threads=4
    #[arg(long, value_name = "KEY=VALUE", value_parser = named_text)]
    pub(crate) set: Vec<NamedText>,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The values to begin with: development, production or high_performance
    #[arg(long, default_value = "development")]
    pub(crate) preset: RuntimePreset,
    /// Where to write; made if it is not there
    #[arg(default_value = ".", value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
    /// Write a small kernel application as well, ready for `cargo run`
    #[arg(long)]
    pub(crate) example: bool,
}

fn examples() -> StyledStr {
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
  rustkernel runtime init --example my-service",
    )
}
