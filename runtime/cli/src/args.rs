//! The command line: what can be said, and how it is explained.

mod bench;
mod config;
mod manual;
mod security;
mod service;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, StyledStr, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use rustkernel_core::kernel::DeviceChoice;
use rustkernel_core::prelude::DeviceId;

use crate::exit::Exit;
use crate::output::BOLD;

pub(crate) use bench::BenchArgs;
use bench::bench_help;
use config::config_examples;
pub(crate) use config::{ConfigCommand, GenerateArgs, InitArgs, LayerArgs, ShowArgs, ValidateArgs};
pub(crate) use manual::{CompletionsArgs, ManArgs};
use manual::{completions_examples, man_examples};
pub(crate) use security::{
    AuditCommand, CreateArgs, KeyCommand, KeysArgs, ListArgs, RevokeArgs, VerifyArgs,
};
use security::{audit_examples, key_examples};
pub(crate) use service::{
    DrainArgs, MapArgs, MemoryArgs, RuntimeCommand, ServeArgs, ServiceArgs, ShowRunningArgs,
    StatsArgs, TellArgs, WaitArgs,
};
use service::{runtime_examples, serve_examples};

/// Runs compute kernels, on the CPU and on CUDA GPUs.
#[derive(Debug, Parser)]
#[command(name = "rustkernel", version, max_term_width = 100, after_help = after_help())]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) talk: Talk,
}

/// How much is said on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Args)]
pub(crate) struct Talk {
    /// Log what happens; given twice, also why
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 100)]
    pub(crate) verbose: u8,
    /// Say only what goes wrong
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 101)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a kernel on files
    #[command(after_help = call_examples())]
    Call(CallArgs),
    /// Show the kernels and what they take
    #[command(subcommand, after_help = kernel_examples())]
    Kernel(KernelCommand),
    /// Show the devices that kernels can run on
    #[command(subcommand, after_help = device_examples())]
    Device(DeviceCommand),
    /// Serve the built-in kernels, in a process that can be asked and drained
    #[command(after_help = serve_examples())]
    Serve(ServeArgs),
    /// Begin a project, and ask a process that serves how it is, or tell it to end
    #[command(subcommand, after_help = runtime_examples())]
    Runtime(RuntimeCommand),
    /// Write, check and explain configurations
    #[command(subcommand, after_help = config_examples())]
    Config(ConfigCommand),
    /// Make and revoke the API keys that callers of a service need
    #[command(subcommand, after_help = key_examples())]
    Key(KeyCommand),
    /// Check audit logs
    #[command(subcommand, after_help = audit_examples())]
    Audit(AuditCommand),
    /// Measure calls, memory and transfers on this machine
    #[command(after_help = bench_help())]
    Bench(BenchArgs),
    /// Print what a shell needs to complete commands, flags and files
    #[command(after_help = completions_examples())]
    Completions(CompletionsArgs),
    /// Print manual pages, or write them
    #[command(after_help = man_examples())]
    Man(ManArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum KernelCommand {
    /// List the kernels
    #[command(after_help = kernel_examples())]
    List(FormatArgs),
    /// Show everything about one kernel
    #[command(after_help = kernel_examples())]
    Describe(DescribeArgs),
    /// Show how the kernels of the running process are
    #[command(after_help = kernel_examples())]
    Stats(StatsArgs),
    /// Have the running process drop a kernel's state and begin it afresh
    #[command(after_help = kernel_examples())]
    Restart(TellArgs),
    /// Have the running process try a kernel that is quarantined
    #[command(after_help = kernel_examples())]
    Lift(TellArgs),
    /// Have the running process finish a kernel's requests, drop its state and memory, and refuse new ones
    #[command(after_help = kernel_examples())]
    Unload(WaitArgs),
    /// Have the running process begin a kernel that is unloaded, or quarantined
    #[command(after_help = kernel_examples())]
    Load(WaitArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// List the devices, and say why if there is no GPU
    #[command(after_help = device_examples())]
    List(FormatArgs),
    /// Show everything about one device
    #[command(after_help = device_examples())]
    Info(InfoArgs),
    /// Show how the memory of the running process's devices is
    #[command(after_help = device_examples())]
    Stats(MemoryArgs),
    /// Show what lies where in the memory of the running process
    #[command(after_help = device_examples())]
    Map(MapArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// The device: `host`, `cuda:0`, …
    #[arg(value_parser = device_id)]
    pub(crate) device: DeviceId,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FormatArgs {
    /// How to print it: for people or for programs
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output_format: OutputFormat,
}

#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The kernel
    pub(crate) kernel: String,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// The kernel; `rustkernel kernel list` shows them
    pub(crate) kernel: String,

    /// An input, and the file with it: .npy, or a picture where the kernel takes one
    #[arg(short, long = "input", value_name = "NAME=FILE", value_parser = named_file())]
    pub(crate) inputs: Vec<NamedFile>,

    /// A parameter; those that have a default may be left out
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = named_text)]
    pub(crate) parameters: Vec<NamedText>,

    /// An output, and the file to write: .npy or, for a picture, also .png, .jpg, .bmp, .ppm. Without
    /// any, results are printed
    #[arg(short, long = "output", value_name = "NAME=FILE", value_parser = named_file())]
    pub(crate) outputs: Vec<NamedFile>,

    /// Where to run: `auto` takes a GPU if there is one and the kernel has code for it, else the CPU
    #[arg(short, long, value_name = "auto|host|cuda:N", default_value = "auto", value_parser = device)]
    pub(crate) device: DeviceChoice,

    /// Give up after this time, as in `500ms` or `2m`
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) deadline: Duration,

    /// Record each allocation and free of device memory in this file, .csv or .csv.gz (one for each
    /// device if there are several)
    #[arg(long, value_name = "FILE")]
    pub(crate) record_memory: Option<PathBuf>,

    /// What the rows of that file look like: the replay program's, or RMM's
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, requires = "record_memory")]
    pub(crate) record_format: RecordRows,

    /// How to report: for people, or for programs as one object on standard output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output_format: OutputFormat,
}

/// For whom something is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OutputFormat {
    #[default]
    Table,
    Json,
    Yaml,
}

/// What a recording looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum RecordRows {
    #[default]
    Trace,
    Rmm,
}

/// `NAME=FILE`. The file's name need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedFile {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedText {
    pub(crate) name: String,
    pub(crate) text: String,
}

fn named_file() -> impl TypedValueParser<Value = NamedFile> {
    OsStringValueParser::new().try_map(|text| {
        let (name, path) = split(text).ok_or("write a name, `=` and a file, as in x=data.npy")?;
        if name.is_empty() {
            return Err("the name before `=` is missing");
        }
        if path.is_empty() {
            return Err("the file after `=` is missing");
        }
        Ok(NamedFile { name, path: path.into() })
    })
}

/// Splits at the first `=`, if what is before it is UTF-8, as names are.
#[cfg(unix)]
fn split(text: OsString) -> Option<(String, OsString)> {
    use std::os::unix::ffi::OsStringExt;
    let mut name = text.into_vec();
    let at = name.iter().position(|byte| *byte == b'=')?;
    let path = name.split_off(at + 1);
    name.pop();
    Some((String::from_utf8(name).ok()?, OsString::from_vec(path)))
}

/// Splits at the first `=`.
#[cfg(not(unix))]
fn split(text: OsString) -> Option<(String, OsString)> {
    let (name, path) = text.to_str()?.split_once('=')?;
    Some((name.into(), path.into()))
}

fn named_text(text: &str) -> Result<NamedText, &'static str> {
    match text.split_once('=') {
        None => Err("write a name, `=` and a value, as in sigma=1.5"),
        Some(("", _)) => Err("the name before `=` is missing"),
        Some((name, text)) => Ok(NamedText { name: name.into(), text: text.into() }),
    }
}

fn device(text: &str) -> Result<DeviceChoice, &'static str> {
    text.parse().map_err(|_| "write `auto`, `host` or `cuda:0`")
}

fn device_id(text: &str) -> Result<DeviceId, &'static str> {
    text.parse().map_err(|_| "write `host` or `cuda:0`")
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("it has to be more than nothing".into()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write a number and a unit, as in 500ms, 60s or 2m")),
    }
}

/// Text under a heading, as clap sets its own.
fn section(heading: &str, text: &str) -> StyledStr {
    let underlined = BOLD.underline();
    format!("{underlined}{heading}:{underlined:#}\n{}", text.trim_end()).into()
}

fn after_help() -> StyledStr {
    let examples = "  rustkernel kernel list
  rustkernel kernel describe gaussian_blur
  rustkernel call gaussian_blur --input image=cat.png --param sigma=3 --output output=blurred.png
  rustkernel device list
  rustkernel serve
  rustkernel runtime status";
    let mut help = section("Examples", examples);
    help.push_str("\n\n");
    help.push_str(&section("Exit codes", &Exit::table()).ansi().to_string());
    help
}

fn call_examples() -> StyledStr {
    section(
        "Examples",
        "  Blur a picture, on the GPU if there is one:
    rustkernel call gaussian_blur -i image=cat.png -p sigma=3 -o output=blurred.png

  Add two vectors on the CPU, and print the sum:
    rustkernel call saxpy -i x=x.npy -i y=y.npy -p a=1 --device host

  The same for a program to read:
    rustkernel call saxpy -i x=x.npy -i y=y.npy -p a=1 -o output=sum.npy --output-format json",
    )
}

fn kernel_examples() -> StyledStr {
    section(
        "Examples",
        "  rustkernel kernel list
  rustkernel kernel describe saxpy
  rustkernel kernel describe saxpy --output-format json
  rustkernel kernel stats saxpy
  rustkernel kernel unload saxpy
  rustkernel kernel load saxpy --timeout 5s",
    )
}

fn device_examples() -> StyledStr {
    section(
        "Examples",
        "  rustkernel device list
  rustkernel device list --output-format json
  rustkernel device info cuda:0
  rustkernel device stats
  rustkernel device stats host --output-format json
  rustkernel device map cuda:0",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn names_and_files_are_split_at_the_first_equals_sign() {
        let split = |text: &str| split(text.into());
        assert_eq!(split("x=a=b.npy"), Some(("x".into(), "a=b.npy".into())));
        assert_eq!(split("x="), Some(("x".into(), "".into())));
        assert_eq!(split("x"), None);
    }

    #[test]
    fn devices_and_durations_are_read() {
        use rustkernel_core::gpu::DeviceId;
        assert_eq!(device("auto"), Ok(DeviceChoice::Auto));
        assert_eq!(device("cuda:1"), Ok(DeviceChoice::On(DeviceId::Cuda(1))));
        assert!(device("gpu").is_err());
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "0s", "60", "soon", "-1s", "1e9999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
