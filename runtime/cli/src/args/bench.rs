//! The command that measures this machine.

use std::time::Duration;

use clap::Args;
use clap::builder::StyledStr;
use rustkernel_core::prelude::DeviceId;

use super::{FormatArgs, device_id, duration, section};

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Only this device: `host`, `cuda:0`, …; without it, all of them
    #[arg(short, long, value_parser = device_id)]
    pub(crate) device: Option<DeviceId>,
    /// How long each of about ten measurements on a device takes
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = duration)]
    pub(crate) time: Duration,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

pub(super) fn bench_help() -> StyledStr {
    let mut help = section(
        "Examples",
        "  rustkernel bench
  rustkernel bench --device host --time 2s
  rustkernel bench --output-format json",
    );
    help.push_str("\n\n");
    let figures = section(
        "Figures",
        "  They are of this machine at this moment, with whatever else it is doing; other machines,
  and other moments, have others.
  calls      of a kernel that does nothing, from another thread
  memory     a block of the device's pool taken and given back, beside malloc and free
  transfers  of a request's data, through staging memory",
    );
    help.push_str(&figures.ansi().to_string());
    help
}
