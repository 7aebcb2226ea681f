//! How many devices there are, and what they can take.

use std::env;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{faults, gates, ledger, log};
use crate::device;

/// What the driver stands in for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The number of devices; at most 1024. With none, `cuInit` answers that there is no device.
    pub devices: usize,
    /// The memory of each device, in bytes.
    pub memory_bytes: u64,
    /// The most instructions that the warps of one launch may run together. A launch that runs
    /// longer fails with `CUDA_ERROR_LAUNCH_TIMEOUT` (702), which breaks its context.
    pub instruction_limit: Option<u64>,
    /// Whether faults of kernels and refused modules are told on standard error.
    pub verbose: bool,
}

impl Default for Config {
    /// One device of 1 GiB, without an instruction limit.
    fn default() -> Self {
        Self { devices: 1, memory_bytes: 1 << 30, instruction_limit: None, verbose: false }
    }
}

/// Makes the devices. Returns false, and changes nothing, if there are devices already: it must come
/// before the first call of the driver, which makes those that the environment asks for.
pub fn configure(config: &Config) -> bool {
    if !device::configure(config) {
        return false;
    }
    log::set_verbose(config.verbose);
    LIMIT.store(config.instruction_limit.unwrap_or(u64::MAX), Ordering::Relaxed);
    true
}

/// Has another process hold that many bytes of a device's memory, from now on; a device that is not
/// there has none. The device says that they are not free, and gives none of them.
pub fn occupy(ordinal: usize, bytes: u64) {
    if let Some(device) = device::find(ordinal) {
        device.budget.occupy(bytes);
    }
}

static LIMIT: AtomicU64 = AtomicU64::new(u64::MAX);
/// Something in the environment could not be understood.
static MALFORMED: AtomicBool = AtomicBool::new(false);

pub(crate) fn instruction_limit() -> Option<u64> {
    Some(LIMIT.load(Ordering::Relaxed)).filter(|limit| *limit != u64::MAX)
}

/// Whether the environment asked for something that could not be understood. Then `cuInit` fails: a
/// test whose fault is never injected must not pass.
pub(crate) fn is_malformed() -> bool {
    MALFORMED.load(Ordering::Relaxed)
}

/// What the variables `FAKE_CUDA_…` say; arms faults and delays too.
pub(crate) fn from_environment() -> Config {
    let default = Config::default();
    let config = Config {
        devices: variable("FAKE_CUDA_DEVICES").unwrap_or(default.devices),
        memory_bytes: variable("FAKE_CUDA_MEMORY").unwrap_or(default.memory_bytes),
        instruction_limit: variable("FAKE_CUDA_INSTRUCTIONS"),
        verbose: variable::<u8>("FAKE_CUDA_VERBOSE").is_some_and(|level| level > 0),
    };
    log::set_verbose(config.verbose);
    LIMIT.store(config.instruction_limit.unwrap_or(u64::MAX), Ordering::Relaxed);
    each("FAKE_CUDA_FAULTS", |text| text.parse().map(faults::inject));
    each("FAKE_CUDA_DELAYS", gates::from_text);
    if let Some(file) = env::var_os("FAKE_CUDA_LEDGER").filter(|file| !file.is_empty()) {
        ledger::write_at_exit(file.into());
    }
    config
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    let value = text.parse().ok();
    if value.is_none() {
        refuse(name, &text, "not a number");
    }
    value
}

/// Each part of a list with semicolons.
fn each<E: std::fmt::Display>(name: &str, take: impl Fn(&str) -> Result<(), E>) {
    let list = env::var(name).unwrap_or_default();
    for part in list.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        if let Err(error) = take(part) {
            refuse(name, part, error);
        }
    }
}

fn refuse(name: &str, text: &str, reason: impl std::fmt::Display) {
    log::always(format_args!("{name}: `{text}`: {reason}; cuInit will fail"));
    MALFORMED.store(true, Ordering::Relaxed);
}
