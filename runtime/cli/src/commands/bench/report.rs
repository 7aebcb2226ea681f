//! What was measured, for people and for programs.
//!
//! In JSON: `devices`, an array of `id`, `name`, `calls`, `memory`, `transfers` as below, and `cuda` as `device
//! list` has it. Times are in nanoseconds, rates in calls or bytes a second.

use std::fmt;

use serde::Serialize;

use super::super::device::CudaJson;
use crate::output::{BOLD, Table};

/// All devices.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) devices: Vec<DeviceReport>,
    pub(super) cuda: CudaJson,
}

/// A device.
#[derive(Debug, Serialize)]
pub(super) struct DeviceReport {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) calls: Calls,
    pub(super) memory: Vec<Memory>,
    pub(super) transfers: Vec<Transfers>,
}

/// Calls of a kernel that does nothing, from another thread.
#[derive(Debug, Serialize)]
pub(super) struct Calls {
    /// One at a time: from the call to its answer.
    pub(super) median_ns: f64,
    pub(super) p99_ns: f64,
    pub(super) per_second: f64,
    /// So many open at once.
    pub(super) at_once: usize,
    pub(super) per_second_at_once: f64,
}

/// A block taken and given back.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    pub(super) bytes: usize,
    /// From the device's pool.
    pub(super) lease_ns: f64,
    /// From this program's allocator, on the host.
    pub(super) malloc_ns: f64,
}

/// Copies through staging memory, of one request.
#[derive(Debug, Serialize)]
pub(super) struct Transfers {
    pub(super) bytes: usize,
    pub(super) to_device_bytes_per_second: f64,
    pub(super) from_device_bytes_per_second: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, device) in self.devices.iter().enumerate() {
            let gap = if at > 0 { "\n" } else { "" };
            write!(f, "{gap}{device}")?;
        }
        match &self.cuda.reason {
            Some(reason) => writeln!(f, "\nNo CUDA devices: {reason}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for DeviceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, calls, memory, transfers } = self;
        writeln!(f, "{BOLD}{id}{BOLD:#}: {name}\n")?;
        writeln!(f, "{}", of_calls(calls))?;
        writeln!(f, "{}", of_memory(memory))?;
        write!(f, "{}", of_transfers(transfers))
    }
}

fn of_calls(calls: &Calls) -> Table {
    let mut table = Table::new(&["calls", "median", "99 % within", "calls a second"]);
    let [median, p99] = [calls.median_ns, calls.p99_ns].map(time);
    table.row(["one at a time".into(), median, p99, count(calls.per_second)]);
    let many = format!("{} at once", calls.at_once);
    table.row([many, "-".into(), "-".into(), count(calls.per_second_at_once)]);
    table
}

fn of_memory(memory: &[Memory]) -> Table {
    let mut table = Table::new(&["memory", "lease", "malloc", "lease / malloc"]);
    for Memory { bytes, lease_ns, malloc_ns } in memory {
        let ratio = format!("{:.2}", lease_ns / malloc_ns);
        table.row([size(*bytes), time(*lease_ns), time(*malloc_ns), ratio]);
    }
    table
}

fn of_transfers(transfers: &[Transfers]) -> Table {
    let mut table = Table::new(&["transfers", "to the device", "from the device"]);
    for it in transfers {
        let rates = [it.to_device_bytes_per_second, it.from_device_bytes_per_second];
        let [to, from] = rates.map(|rate| format!("{:.2} GiB/s", rate / f64::from(1 << 30)));
        table.row([size(it.bytes), to, from]);
    }
    table
}

/// Three digits and a unit.
fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 100.0 => format!("{ns:.1} ns"),
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e5 => format!("{:.1} µs", ns / 1e3),
        ns if ns < 1e6 => format!("{:.0} µs", ns / 1e3),
        ns => format!("{:.1} ms", ns / 1e6),
    }
}

fn count(rate: f64) -> String {
    match rate {
        rate if rate < 1e4 => format!("{rate:.0}"),
        rate if rate < 1e6 => format!("{:.0} thousand", rate / 1e3),
        rate => format!("{:.2} million", rate / 1e6),
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
        bytes if bytes >= 1 << 10 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units_that_suit_them() {
        let times = [8.25, 640.0, 1234.0, 123_456.0, 2_000_000.0].map(time);
        assert_eq!(times, ["8.2 ns", "640 ns", "1.2 µs", "123 µs", "2.0 ms"]);
        assert_eq!(
            [900.0, 65_000.0, 3_210_000.0].map(count),
            ["900", "65 thousand", "3.21 million"]
        );
        assert_eq!([512, 65536, 4 << 20].map(size), ["512 B", "64 KiB", "4 MiB"]);
    }
}
