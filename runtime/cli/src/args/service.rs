//! The commands about a process that serves: `serve`, `runtime …`.

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::{OsStringValueParser, StyledStr, TypedValueParser};
use clap::{Args, Subcommand};
use rustkernel_core::config::Listen;
use rustkernel_core::prelude::DeviceId;
use rustkernel_http::Endpoint;

use super::config::init_examples;
use super::{FormatArgs, InitArgs, LayerArgs, NamedText, device_id, duration, section};

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The service's name, by which it is told from others on this machine; without it, what the
    /// configuration calls it
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) name: Option<String>,

    #[command(flatten)]
    pub(crate) layers: LayerArgs,

    /// Where requests are listened for, as in 127.0.0.1:8000, or `off`; without it, what the configuration says
    #[arg(long, value_name = "ADDRESS", value_parser = listen)]
    pub(crate) listen: Option<Listen>,

    /// Where its control endpoint is, as in unix:/run/a.sock; without it, a place that goes by the name
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint())]
    pub(crate) endpoint: Option<Endpoint>,

    /// Also serve `identity` and `delay`, for trying out a deployment
    #[arg(long)]
    pub(crate) diagnostics: bool,
}

impl ServeArgs {
    /// What its configuration is made of.
    pub(crate) fn layers(&self) -> LayerArgs {
        let listen = self
            .listen
            .map(|listen| NamedText { name: "http.listen".into(), text: listen.to_string() });
        let mut layers = self.layers.clone();
        layers.set.extend(listen);
        layers
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum RuntimeCommand {
    /// Show how the running process is
    #[command(after_help = runtime_examples())]
    Status(ServiceArgs),
    /// Let it finish the requests in flight, refuse new ones, and end
    #[command(after_help = runtime_examples())]
    Drain(DrainArgs),
    /// Cancel the requests in flight, and end
    #[command(after_help = runtime_examples())]
    Stop(ServiceArgs),
    /// Have it read its configuration again
    #[command(after_help = runtime_examples())]
    Reload(ServiceArgs),
    /// Show every value of its configuration, and where it is from; if none runs, of one started here
    #[command(after_help = runtime_examples())]
    Show(ShowRunningArgs),
    /// Begin a project: a configuration file, and an application if wanted
    #[command(after_help = init_examples())]
    Init(InitArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ShowRunningArgs {
    #[command(flatten)]
    pub(crate) layers: LayerArgs,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// Do not wait until it has ended
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
}

/// Which process, and how to print what it says.
#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// Where it listens, as in unix:/run/a.sock; without it, $RUSTKERNEL_ENDPOINT, or the only one that runs
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint())]
    pub(crate) endpoint: Option<Endpoint>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// The kernel; all of them without it
    pub(crate) kernel: Option<String>,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MemoryArgs {
    /// The device, and its blocks by size; all devices without it
    #[arg(value_parser = device_id)]
    pub(crate) device: Option<DeviceId>,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MapArgs {
    /// The device; all devices without it
    #[arg(value_parser = device_id)]
    pub(crate) device: Option<DeviceId>,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TellArgs {
    /// The kernel
    pub(crate) kernel: String,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    pub(crate) tell: TellArgs,
    /// How long to wait until it is done, as in `500ms` or `2m`; it goes on all the same
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

fn endpoint() -> impl TypedValueParser<Value = Endpoint> {
    OsStringValueParser::new().try_map(|text: OsString| Endpoint::parse(&text))
}

fn listen(text: &str) -> Result<Listen, String> {
    text.parse()
}

fn name(text: &str) -> Result<String, rustkernel_http::InvalidEndpoint> {
    Endpoint::of_service(text).map(|_| text.to_owned())
}

pub(super) fn serve_examples() -> StyledStr {
    section(
        "Examples",
        "  Serve the built-in kernels until SIGTERM or Ctrl-C, then finish what is in flight:
    rustkernel serve

  As a file says:
    rustkernel serve --config production.toml

  Two on one machine:
    rustkernel serve --name a &
    rustkernel serve --name b --listen 127.0.0.1:8001 &

  Call a kernel over HTTP:
    curl http://127.0.0.1:8000/v2/models/scan/infer -d \\
      '{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":[3],\"data\":[1,2,3]}]}'",
    )
}

pub(super) fn runtime_examples() -> StyledStr {
    section(
        "Examples",
        "  rustkernel runtime status
  rustkernel runtime status --output-format json
  rustkernel runtime show
  rustkernel runtime drain --endpoint unix:/run/rustkernel/a.sock",
    )
}
