//! `rustkernel device map`: what lies where in the memory of a process that serves.
//!
//! For people a picture, as of a dump: each character is a part of the addresses, each row begins with the place of
//! its first, and rows without memory are left out. For programs the answer as it came.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::slice;

use anstyle::{AnsiColor, Style};
use rustkernel_http::view::{Map, MapRange, Maps};
use rustkernel_http::{Client, ClientError};
use serde::Serialize;

use super::runtime::{in_bytes, tell};
use crate::args::MapArgs;
use crate::exit::Failure;
use crate::output::{self, BOLD, Table};

/// The most rows of a picture: then a character is more.
const MOST_ROWS: u64 = 16;
/// What a row has in front, in characters.
const MARGIN: u64 = 14;

/// What a part of the addresses is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Unmapped,
    InUse,
    Partly,
    Kept,
    Free,
}

/// Bytes of a part of the addresses.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    live: u64,
    /// At hand in the magazine of a stream, or still used by one.
    kept: u64,
    free: u64,
}

/// The maps of several devices.
#[derive(Debug, Serialize)]
struct All {
    devices: Vec<Maps>,
}

/// `rustkernel device map`.
pub(super) fn run(MapArgs { device, service }: &MapArgs) -> Result<(), Failure> {
    let columns = columns(output::terminal_width());
    let Some(device) = device else {
        return tell(service, everything, |All { devices }| page(devices, columns));
    };
    let map = async |client: Client| client.map(&device.to_string()).await;
    tell(service, map, |maps| page(slice::from_ref(maps), columns))
}

async fn everything(client: Client) -> Result<All, ClientError> {
    let mut devices = Vec::new();
    for device in client.devices().await?.devices {
        devices.push(client.map(&device.id).await?);
    }
    Ok(All { devices })
}

/// How many characters a row has: a power of two, so that rows begin at round places.
fn columns(width: Option<u16>) -> u64 {
    let room = u64::from(width.unwrap_or(80)).saturating_sub(MARGIN);
    1 << room.clamp(16, 256).ilog2()
}

/// The sums, the pictures, and what their characters are.
fn page(devices: &[Maps], columns: u64) -> String {
    let mut text = sums(devices);
    for maps in devices {
        for (kind, map) in kinds(maps) {
            let title = format!("{}, {kind} memory", maps.id);
            text += &match map {
                Some(map) => picture(&title, map, columns),
                None => format!("\n{BOLD}{title}{BOLD:#}: not one range of addresses\n"),
            };
        }
    }
    text + "\n" + &legend()
}

fn kinds(maps: &Maps) -> [(&'static str, Option<&Map>); 2] {
    [("device", maps.device.as_ref()), ("staging", maps.staging.as_ref())]
}

fn sums(devices: &[Maps]) -> String {
    let mut table = Table::new(&[
        "device",
        "memory",
        "mapped",
        "in use",
        "magazines",
        "waiting",
        "free",
        "ranges",
    ]);
    for maps in devices {
        for (kind, map) in kinds(maps) {
            let Some(map) = map else { continue };
            let bytes = [map.mapped, map.live, map.parked, map.quarantined, map.free];
            let ranges = map.ranges.len() as u64 + map.left_out;
            let row = [maps.id.clone(), kind.to_owned()];
            table.row(row.into_iter().chain(bytes.map(in_bytes)).chain([ranges.to_string()]));
        }
    }
    table.to_string()
}

fn picture(title: &str, map: &Map, columns: u64) -> String {
    let cell = cell_bytes(map, columns);
    let mut text = format!("\n{BOLD}{title}{BOLD:#}");
    match map.ranges.is_empty() {
        true => text += ": nothing is mapped",
        false => write!(text, ": a character is {}", in_bytes(cell)).expect(TEXT),
    }
    if let Some(border) = map.border {
        write!(text, "; small blocks lie before {border:x}").expect(TEXT);
    }
    text += "\n";
    let cells = cells(map, cell);
    let mut next = 0;
    while let Some((index, _)) = cells.range(next..).next() {
        let row = index / columns;
        text += &line(&cells, row * columns, columns, cell);
        next = (row + 1) * columns;
    }
    text + &notes(map)
}

/// What is not in the picture.
fn notes(map: &Map) -> String {
    let mut text = String::new();
    if map.left_out > 0 {
        let end = map.ranges.last().map_or(0, MapRange::end);
        writeln!(text, "({} ranges from {end:x} on are not shown)", map.left_out).expect(TEXT);
    }
    if map.lost > 0 {
        let lost = in_bytes(map.lost);
        writeln!(text, "({lost} in use of addresses that were lost with the device)").expect(TEXT);
    }
    text
}

const TEXT: &str = "invariant: text takes what is written to it";

/// What a character is: a page, or as many more as it takes to fit.
fn cell_bytes(map: &Map, columns: u64) -> u64 {
    let mut cell = map.page.max(1);
    while rows(map, cell.saturating_mul(columns)) > MOST_ROWS {
        cell *= 2;
    }
    cell
}

/// How many rows of so many bytes have memory.
fn rows(map: &Map, bytes: u64) -> u64 {
    let (mut rows, mut next) = (0, 0);
    for range in map.ranges.iter().filter(|range| range.bytes > 0) {
        let last = (range.end() - 1) / bytes;
        let first = (range.start / bytes).max(next);
        rows += (last + 1).saturating_sub(first);
        next = next.max(last + 1);
    }
    rows
}

/// Those parts of the addresses that have memory, by their numbers.
fn cells(map: &Map, cell: u64) -> BTreeMap<u64, Cell> {
    let mut cells = BTreeMap::<u64, Cell>::new();
    for range in &map.ranges {
        let (mut start, end) = (range.start, range.end());
        while start < end {
            let index = start / cell;
            let bytes = end.min((index + 1).saturating_mul(cell)) - start;
            let Cell { live, kept, free } = cells.entry(index).or_default();
            *match range.state.as_str() {
                "live" => live,
                "free" => free,
                _ => kept,
            } += bytes;
            start += bytes;
        }
    }
    cells
}

/// A row, from the part with that number on.
fn line(cells: &BTreeMap<u64, Cell>, first: u64, columns: u64, cell: u64) -> String {
    let mark = |index| cells.get(&index).map_or(Mark::Unmapped, Cell::mark);
    let last = cells.range(first..first + columns).next_back().map_or(first, |(index, _)| *index);
    let marks: Vec<Mark> = (first..=last).map(mark).collect();
    let mut text = format!("{:012x}  ", first * cell);
    for run in marks.chunk_by(|a, b| a == b) {
        let (character, style) = run[0].look();
        let run: String = run.iter().map(|_| character).collect();
        write!(text, "{style}{run}{style:#}").expect(TEXT);
    }
    text + "\n"
}

fn legend() -> String {
    let marks = [
        (Mark::InUse, "in use"),
        (Mark::Partly, "partly"),
        (Mark::Kept, "kept by a stream"),
        (Mark::Free, "free"),
    ];
    let about = |(mark, about): (Mark, &str)| {
        let (character, style) = mark.look();
        format!("{style}{character}{style:#} {about}")
    };
    format!("{}; blank: without memory\n", marks.map(about).join("  "))
}

impl Cell {
    fn mark(&self) -> Mark {
        match (self.live, self.kept, self.free) {
            (0, 0, 0) => Mark::Unmapped,
            (_, 0, 0) => Mark::InUse,
            (0, 0, _) => Mark::Free,
            (0, _, _) => Mark::Kept,
            _ => Mark::Partly,
        }
    }
}

impl Mark {
    fn look(self) -> (char, Style) {
        match self {
            Self::Unmapped => (' ', Style::new()),
            Self::InUse => ('#', AnsiColor::Blue.on_default().bold()),
            Self::Partly => ('+', AnsiColor::Yellow.on_default()),
            Self::Kept => ('~', AnsiColor::Cyan.on_default()),
            Self::Free => ('.', AnsiColor::Green.on_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 2 << 20;

    fn range(start: u64, bytes: u64, state: &str) -> MapRange {
        MapRange { start, bytes, state: state.into() }
    }

    fn map(ranges: Vec<MapRange>) -> Map {
        Map { span: PAGE << 20, page: PAGE, ranges, ..Map::default() }
    }

    /// Without its styles.
    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_page_is_a_character_and_rows_without_memory_are_left_out() {
        let map = map(vec![
            range(0, 3 * PAGE, "live"),
            range(3 * PAGE, PAGE / 2, "live"),
            range(3 * PAGE + PAGE / 2, PAGE / 2, "free"),
            range(4 * PAGE, 512, "parked"),
            range(4 * PAGE + 512, 2 * PAGE - 512, "free"),
            range(7 * PAGE, PAGE, "quarantined"),
            range(300 * PAGE, 2 * PAGE, "free"),
        ]);
        let text = plain(&picture("cuda:0, device memory", &map, 64));
        let expected = "
cuda:0, device memory: a character is 2.00 MiB
000000000000  ###+~. ~
000020000000  ";
        assert_eq!(text, format!("{expected}{}..\n", " ".repeat(300 % 64)));
    }

    #[test]
    fn what_does_not_fit_has_more_in_a_character() {
        // (A device of 80 GiB, all of it mapped.)
        let all =
            map(vec![range(0, 40_000 * PAGE, "live"), range(40_000 * PAGE, 960 * PAGE, "free")]);
        assert_eq!(cell_bytes(&all, 64), 64 * PAGE);
        let text = plain(&picture("", &all, 64));
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(rows.len(), 10);
        assert!(rows.iter().all(|row| row.len() == 78), "{text}");
        assert!(rows[9].ends_with(&format!("#{}", ".".repeat(15))), "{text}");
        // One page at each end of the addresses: two rows.
        let ends = map(vec![range(0, PAGE, "live"), range((PAGE << 20) - PAGE, PAGE, "free")]);
        assert_eq!(cell_bytes(&ends, 64), PAGE);
        assert_eq!(plain(&picture("", &ends, 64)).lines().skip(2).count(), 2);
    }

    #[test]
    fn what_is_not_shown_is_said() {
        let map = Map {
            left_out: 7,
            lost: 1024,
            border: Some(0x4000),
            ..map(vec![range(0, PAGE, "live")])
        };
        let text = plain(&picture("x", &map, 64));
        assert!(text.contains("before 4000"), "{text}");
        assert!(text.contains("(7 ranges from 200000 on are not shown)"), "{text}");
        assert!(text.contains("(1.00 KiB in use of addresses that were lost"), "{text}");
        let text = plain(&picture("x", &Map::default(), 64));
        assert_eq!(text, "\nx: nothing is mapped\n");
        let maps = Maps { id: "cuda:0".into(), device: Some(Map::default()), staging: None };
        let text = plain(&page(&[maps], 64));
        assert!(text.contains("cuda:0, staging memory: not one range of addresses"), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("cuda:0  device"), "{text}");
    }

    #[test]
    fn rows_are_as_long_as_the_terminal_lets_them() {
        let widths = [None, Some(0), Some(77), Some(78), Some(142), Some(u16::MAX)];
        assert_eq!(widths.map(columns), [64, 16, 32, 64, 128, 256]);
    }
}
