//! The figures of all traces, for people.

use std::path::Path;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

use super::report::Report;

const HEADER: [&str; 16] = [
    "trace",
    "allocations",
    "peak live",
    "mapped / live",
    "fragmentation",
    "mapped / live, capped",
    "least capacity / live",
    "driver calls",
    "remaps",
    "stream waits",
    "messages",
    "without one, warm",
    "driver calls, warm",
    "after the peak",
    "magazine hits",
    "ns a pair, 1 and 2 threads",
];

/// A row for each trace, and the means of what has targets.
pub(super) fn table(reports: &[Report]) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(HEADER);
    reports.iter().for_each(|report| {
        table.add_row(cells(report));
    });
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n{}", summary(reports))
}

fn cells(report: &Report) -> [String; 16] {
    let over_live = |bytes: Option<u64>| bytes.map(|it| it as f64 / report.peak_live.max(1) as f64);
    let mapped = over_live(report.peak_mapped);
    let fragmentation =
        mapped.map(|ratio| format!("{:.1} %", 100.0 * (1.0 - 1.0 / ratio).max(0.0)));
    let file = Path::new(&report.trace).file_name();
    [
        file.map_or(report.trace.clone(), |name| name.to_string_lossy().into_owned()),
        report.allocs.to_string(),
        size(report.peak_live),
        ratio(mapped),
        fragmentation.unwrap_or_else(|| "-".into()),
        ratio(over_live(report.peak_mapped_capped)),
        ratio(report.min_capacity_ratio),
        report.driver_calls.to_string(),
        report.remaps.to_string(),
        report.stream_waits.to_string(),
        report.messages.to_string(),
        percent(report.no_message_warm),
        report.driver_calls_warm.to_string(),
        report.driver_calls_after_peak.to_string(),
        percent(report.hit_rate),
        format!("{:.1}, {:.1}", report.ns_per_pair_1t, report.ns_per_pair_2t),
    ]
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or("-".into(), |ratio| format!("{ratio:.3}"))
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

fn size(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib >= 10.0 { format!("{mib:.0} MiB") } else { format!("{:.0} KiB", mib * 1024.0) }
}

fn summary(reports: &[Report]) -> String {
    let ratios: Vec<f64> = reports.iter().filter_map(|report| report.min_capacity_ratio).collect();
    let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
    let worst = ratios.iter().copied().fold(0.0, f64::max);
    match reports.len() - ratios.len() {
        _ if ratios.is_empty() => "no trace finishes".into(),
        0 => format!("least capacity / live: geometric mean {mean:.3}, worst {worst:.3}"),
        none => format!(
            "least capacity / live: geometric mean {mean:.3}, worst {worst:.3}; {none} not finished"
        ),
    }
}
