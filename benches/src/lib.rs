//! What the benchmarks share: interleaved rounds, medians, a table with ratios.
//!
//! On a shared machine absolute times drift by half from minute to minute. So peers take turns within
//! each round, each figure is the median over rounds, and what counts is the ratio to the first peer.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

pub mod pool;
pub mod replay;
pub mod trace;
pub mod workloads;

use std::collections::BTreeMap;

use clap::Parser;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

/// How a benchmark is run.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    /// Rounds over all peers.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// (cargo passes this)
    #[arg(long, hide = true)]
    pub bench: bool,
}

/// One peer in one column: nanoseconds an operation, round by round.
#[derive(Debug, Default)]
pub struct Figures {
    peers: Vec<&'static str>,
    columns: Vec<&'static str>,
    rounds: BTreeMap<(usize, usize), Vec<f64>>,
}

/// A figure as it is printed for machines.
#[derive(Debug, Serialize)]
struct Row {
    peer: &'static str,
    column: &'static str,
    median_ns: f64,
    min_ns: f64,
    max_ns: f64,
    ratio_to_first: f64,
}

impl Figures {
    /// No figures yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one round's figure.
    pub fn add(&mut self, peer: &'static str, column: &'static str, nanos: f64) {
        let key = (index(&mut self.peers, peer), index(&mut self.columns, column));
        self.rounds.entry(key).or_default().push(nanos);
    }

    /// Gives a peer its row, which stays empty where no figure is added.
    pub fn name(&mut self, peer: &'static str) {
        index(&mut self.peers, peer);
    }

    fn median(&self, peer: usize, column: usize) -> Option<f64> {
        let mut rounds = self.rounds.get(&(peer, column))?.clone();
        rounds.sort_by(f64::total_cmp);
        Some(rounds[rounds.len() / 2])
    }

    fn rows(&self) -> Vec<Row> {
        let row = |(&(peer, column), rounds): (&(usize, usize), &Vec<f64>)| {
            let median_ns = self.median(peer, column)?;
            Some(Row {
                peer: self.peers[peer],
                column: self.columns[column],
                median_ns,
                min_ns: rounds.iter().copied().fold(f64::INFINITY, f64::min),
                max_ns: rounds.iter().copied().fold(0.0, f64::max),
                ratio_to_first: median_ns / self.median(0, column)?,
            })
        };
        self.rounds.iter().filter_map(row).collect()
    }

    /// Prints the medians, and beside each the ratio to the first peer's.
    ///
    /// # Panics
    /// If the figures cannot be written as JSON.
    pub fn print(&self, options: &Options) {
        if options.json {
            println!(
                "{}",
                serde_json::to_string_pretty(&self.rows()).expect("figures are numbers and names")
            );
            return;
        }
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN);
        table.set_header(
            ["ns, median (ratio to the first)"].into_iter().chain(self.columns.iter().copied()),
        );
        for (peer, name) in self.peers.iter().enumerate() {
            let cell = |column| match (self.median(peer, column), self.median(0, column)) {
                (Some(nanos), Some(first)) => format!("{} ({:.2})", short(nanos), nanos / first),
                (Some(nanos), None) => short(nanos),
                (None, _) => String::new(),
            };
            let cells = (0..self.columns.len()).map(cell);
            table.add_row([(*name).to_owned()].into_iter().chain(cells));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("{table}");
    }
}

/// What is short enough for it to matter has a decimal.
fn short(nanos: f64) -> String {
    if nanos < 100.0 { format!("{nanos:.1}") } else { format!("{nanos:.0}") }
}

fn index(names: &mut Vec<&'static str>, name: &'static str) -> usize {
    names.iter().position(|known| *known == name).unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    })
}

/// The program of the page that has the tables of the `restart` bench: it compiles, and does what it says.
#[cfg(doctest)]
#[doc = include_str!("../../docs/supervision.md")]
pub struct Supervision;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios_are_by_column() {
        let mut figures = Figures::new();
        for (first, second) in [(10.0, 5.0), (30.0, 6.0), (20.0, 100.0)] {
            figures.add("first", "ask", first);
            figures.add("second", "ask", second);
        }
        let rows = figures.rows();
        assert_eq!((rows[0].median_ns, rows[1].median_ns), (20.0, 6.0));
        assert!((rows[1].ratio_to_first - 0.3).abs() < 1e-9);
    }
}
