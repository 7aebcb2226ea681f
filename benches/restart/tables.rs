//! Tables of what is no time.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use rustkernel_benches::Options;
use serde::Serialize;

use crate::measure::{Loss, Quantiles, Storm};

/// A row of a table.
pub(crate) trait Row: Serialize {
    const HEADER: &'static [&'static str];

    fn cells(&self) -> Vec<String>;
}

/// Prints a table, or its rows as JSON.
pub(crate) fn print<R: Row>(options: &Options, rows: &[R]) {
    if options.json {
        println!("{}", serde_json::to_string_pretty(rows).unwrap());
        return;
    }
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(R::HEADER.iter().copied());
    table.add_rows(rows.iter().map(Row::cells));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("\n{table}");
}

/// What became of queued requests.
#[derive(Serialize)]
pub(crate) struct LossRow {
    peer: &'static str,
    answered: usize,
    handed_back: usize,
    gone: usize,
    lost: usize,
}

impl LossRow {
    pub(crate) fn new(peer: &'static str, loss: &Loss) -> Self {
        let Loss { answered, handed_back, gone, lost } = *loss;
        Self { peer, answered, handed_back, gone, lost }
    }
}

impl Row for LossRow {
    const HEADER: &'static [&'static str] =
        &["1000 queued, the 51st panics", "answered", "failed, handed back", "failed", "no answer"];

    fn cells(&self) -> Vec<String> {
        let counts = [self.answered, self.handed_back, self.gone, self.lost];
        std::iter::once(self.peer.into()).chain(counts.map(|count| count.to_string())).collect()
    }
}

/// What a crash loop did: medians over rounds.
#[derive(Serialize)]
pub(crate) struct StormRow {
    peer: &'static str,
    restarts: u64,
    serves: bool,
    neighbour_failed: usize,
    /// None if some of its requests failed: what is refused is no measure.
    neighbour_p99_ratio: Option<f64>,
}

impl StormRow {
    pub(crate) fn new(peer: &'static str, storms: &[Storm]) -> Self {
        let served = |storm: &Storm| storm.neighbour.filter(|_| storm.neighbour_failed == 0);
        let neighbours: Option<Vec<_>> = storms.iter().map(served).collect();
        let p99 = |of: Vec<Quantiles>| median(of.iter().map(|quantiles| quantiles.p99).collect());
        let control = p99(storms.iter().map(|storm| storm.control).collect());
        Self {
            peer,
            restarts: median(storms.iter().map(|storm| storm.restarts).collect()),
            serves: storms.iter().all(|storm| storm.serves),
            neighbour_failed: median(storms.iter().map(|storm| storm.neighbour_failed).collect()),
            neighbour_p99_ratio: neighbours.map(|neighbours| p99(neighbours) / control),
        }
    }
}

fn median<T: Copy + PartialOrd>(mut figures: Vec<T>) -> T {
    figures.sort_by(|left, right| left.partial_cmp(right).unwrap());
    figures[figures.len() / 2]
}

impl Row for StormRow {
    const HEADER: &'static [&'static str] = &[
        "crash loop, as by default",
        "restarts in 1 s",
        "worker serves at last",
        "neighbour failed",
        "neighbour p99, ratio to control",
    ];

    fn cells(&self) -> Vec<String> {
        let serves = if self.serves { "yes" } else { "no" };
        vec![
            self.peer.into(),
            self.restarts.to_string(),
            serves.into(),
            self.neighbour_failed.to_string(),
            self.neighbour_p99_ratio
                .map_or_else(|| "ended too".into(), |ratio| format!("{ratio:.2}")),
        ]
    }
}

/// A promise, and what was measured.
#[derive(Serialize)]
pub(crate) struct ReachRow {
    pub(crate) what: &'static str,
    pub(crate) target: &'static str,
    pub(crate) measured: f64,
    pub(crate) unit: &'static str,
}

impl Row for ReachRow {
    const HEADER: &'static [&'static str] = &["reach, of kernels", "target", "measured"];

    fn cells(&self) -> Vec<String> {
        let Self { what, target, measured, unit } = self;
        vec![(*what).into(), (*target).into(), format!("{measured:.1} {unit}")]
    }
}
