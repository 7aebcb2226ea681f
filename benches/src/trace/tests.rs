//! What is read and what is refused.

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const GOOD: &str = "t_us,op,id,bytes,stream\n\
    0.0,a,7,100,3\n\
    1.5,a,9,50,0\n\
    1.5,f,7,100,3\n\
    2.0,a,8,0,3\n\
    9.0,f,9,50,0\n";

const BUFFERS: &str = "id,lower,upper,size\n5,10,20,3000\n6,0,10,1000\n7,10,15,500\n";

fn parse(text: &str) -> Result<Trace, TraceError> {
    Trace::parse("some.csv", text.as_bytes())
}

/// The line and reason of a refusal.
fn refusal(text: &str) -> (u64, String) {
    let error = parse(text).unwrap_err();
    assert!(error.to_string().starts_with(&format!("some.csv:{}: ", error.line)));
    (error.line, error.reason.to_string())
}

/// The refusal of the good trace with one more row.
fn row(row: &str) -> (u64, String) {
    refusal(&format!("{GOOD}{row}\n"))
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn file(bytes: &[u8], name: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn remarks_are_passed_over_and_counted_as_lines() {
    let [before, after] = [parse(GOOD).unwrap(), parse(&format!("# a\n{GOOD}# b\n\n")).unwrap()];
    assert_eq!(before, after);
    let unknown = row("# 12 are missing\n9.0,x,1,1,1");
    assert_eq!(unknown, (8, "unknown operation `x`: `a` allocates, `f` frees".into()));
}

#[test]
fn ids_and_streams_become_dense() {
    let trace = parse(GOOD).unwrap();
    assert_eq!((trace.ids, trace.streams, trace.peak_live, trace.page), (3, 2, 150, PAGE));
    let steps: Vec<_> = trace.steps.iter().map(|step| (step.op, step.id, step.stream)).collect();
    let (a, f) = (Op::Allocate, Op::Free);
    assert_eq!(steps, [(a, 0, 0), (a, 1, 1), (f, 0, 0), (a, 2, 0), (f, 1, 1)]);
    let left: Vec<_> = trace.leftovers().iter().map(|step| (step.id, step.t_us)).collect();
    assert_eq!(left, [(2, 9.0)]);
}

#[test]
fn buffers_become_allocations_and_frees_with_frees_first() {
    let trace = parse(BUFFERS).unwrap();
    let steps: Vec<_> = trace.steps.iter().map(|step| (step.t_us, step.op, step.bytes)).collect();
    let (a, f) = (Op::Allocate, Op::Free);
    let wanted = [(0.0, a, 1000), (10.0, f, 1000), (10.0, a, 3000), (10.0, a, 500)];
    assert_eq!(steps[..4], wanted);
    assert_eq!(steps[4..], [(15.0, f, 500), (20.0, f, 3000)]);
    // 3,500 / 512 is 6.8: the next lower power of two.
    assert_eq!((trace.peak_live, trace.page), (3500, 4));
}

#[test]
fn line_ends_of_other_systems_and_blank_lines_change_nothing() {
    let good = parse(GOOD).unwrap();
    assert_eq!(parse(&GOOD.replace('\n', "\r\n")).unwrap(), good);
    assert_eq!(parse(GOOD.trim_end()).unwrap(), good);
    assert_eq!(parse(&format!("{GOOD}\n\n")).unwrap(), good);
    assert_eq!(refusal(&format!("{GOOD}\n\n10,x,1,5,0\n")).0, 9);
}

#[test]
fn packed_files_are_unpacked_also_in_several_members() {
    let (first, second) = GOOD.split_at(40);
    let both = [packed(first), packed(second)].concat();
    for bytes in [packed(GOOD), both] {
        let (_folder, path) = file(&bytes, "good.csv.gz");
        assert_eq!(Trace::read(&path).unwrap().steps, parse(GOOD).unwrap().steps);
    }
    let (_folder, path) = file(GOOD.as_bytes(), "good.csv");
    assert_eq!(Trace::read(&path).unwrap().steps, parse(GOOD).unwrap().steps);
}

#[test]
fn packed_files_cut_short_are_refused_at_every_length() {
    let long: String = (0..2000).map(|id| format!("{id},a,{id},{},0\n", id * 7919 % 977)).collect();
    let whole = packed(&format!("t_us,op,id,bytes,stream\n{long}"));
    for length in (0..whole.len()).step_by(97).chain(whole.len() - 9..whole.len()) {
        let (_folder, path) = file(&whole[..length], "cut.csv.gz");
        let error = Trace::read(&path).unwrap_err();
        assert!(matches!(error.reason, Reason::CutShort), "{length}: {error}");
    }
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x55;
    let (_folder, path) = file(&damaged, "damaged.csv.gz");
    Trace::read(&path).unwrap_err();
    let (_folder, path) = file(GOOD.as_bytes(), "not_packed.csv.gz");
    let error = Trace::read(&path).unwrap_err();
    assert!(matches!(error.reason, Reason::Unreadable(_)), "{error}");
}

#[test]
fn files_that_are_not_there_are_refused() {
    let error = Trace::read(std::path::Path::new("nowhere.csv")).unwrap_err();
    assert!(error.to_string().starts_with("nowhere.csv:1: cannot be read: "), "{error}");
}

#[test]
fn files_without_rows_or_with_another_header_are_refused() {
    assert_eq!(refusal(""), (1, "the trace is empty".to_owned()));
    assert_eq!(refusal("t_us,op,id,bytes,stream\n"), (1, "the trace is empty".to_owned()));
    assert_eq!(refusal("id,lower,upper,size\n"), (1, "the trace is empty".to_owned()));
    let (line, reason) = refusal("0.0,a,0,5,0\n");
    assert_eq!(line, 1);
    assert!(reason.ends_with("not `0.0,a,0,5,0`"), "{reason}");
}

#[test]
fn rows_that_are_wrong_are_refused_with_line_and_reason() {
    for (text, reason) in [
        ("10,x,1,5,0", "unknown operation `x`: `a` allocates, `f` frees"),
        ("10,a,7,5,0", "id 7 is used twice"),
        ("10,f,7,100,3", "id 7 is freed but not live"),
        ("10,f,1,100,3", "id 1 is freed but not live"),
        ("10,f,8,1,3", "id 8 was allocated with 0 bytes and is freed with 1"),
        ("8.5,a,1,5,0", "time goes back from 9 to 8.5"),
        ("nan,a,1,5,0", "t_us is not a number: `nan`"),
        ("10,a,one,5,0", "id is not a number: `one`"),
        ("10,a,1,-5,0", "bytes is not a number: `-5`"),
        ("10,a,1,99999999999999999999,0", "bytes is not a number: `99999999999999999999`"),
        ("10,a,1,5,", "stream is not a number: ``"),
        ("10,a,1,5", "4 fields instead of 5"),
        ("10,a,1,5,0,", "6 fields instead of 5"),
        ("10,a,1,72057594037927937,0", "more than 2^56 bytes are live"),
        ("10,a,1,18446744073709551615,0", "more than 2^56 bytes are live"),
    ] {
        assert_eq!(row(text), (7, reason.to_owned()), "{text}");
        let other_ends = format!("{GOOD}{text}\n").replace('\n', "\r\n");
        assert_eq!(refusal(&other_ends), (7, reason.to_owned()), "{text}");
    }
}

#[test]
fn buffers_that_are_wrong_are_refused_with_line_and_reason() {
    for (text, reason) in [
        ("5,0,1,1\n", "id 5 is used twice"),
        ("8,4,4,1\n", "a buffer's life from 4 to 4 has no length"),
        ("8,4,x,1\n", "upper is not a number: `x`"),
        ("8,4,5\n", "3 fields instead of 4"),
        ("8,4,5,1", "the last line does not end: the file may be cut short"),
    ] {
        let buffers = format!("{BUFFERS}{text}");
        assert_eq!(refusal(&buffers), (5, reason.to_owned()), "{text}");
    }
}

#[test]
fn endless_lines_are_refused() {
    let reason = "the line is longer than any row of a trace".to_owned();
    assert_eq!(row(&"1".repeat(5000)), (7, reason.clone()));
    let endless = std::io::Read::chain(GOOD.as_bytes(), std::io::repeat(b'0'));
    let error = Trace::parse("endless.csv", endless).unwrap_err();
    assert_eq!((error.line, error.reason.to_string()), (7, reason));
}

#[test]
fn what_an_error_shows_is_short_and_printable() {
    let (_, reason) = row(&format!("10,\u{1b}[2J{},1,5,0", "y".repeat(500)));
    assert!(reason.len() < 200 && !reason.contains('\u{1b}'), "{reason}");
}

/// A way to damage a file.
fn damage() -> impl Strategy<Value = (prop::sample::Index, u8, u8)> {
    (any::<prop::sample::Index>(), 0..4_u8, any::<u8>())
}

fn damaged(mut bytes: Vec<u8>, damages: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    for (place, how, byte) in damages {
        let place = place.index(bytes.len() + 1);
        match how {
            0 => bytes.truncate(place),
            1 => bytes.insert(place, *byte),
            2 => bytes.insert(place, b"0123456789,af\n\r.\""[*byte as usize % 17]),
            _ if place < bytes.len() => bytes[place] = *byte,
            _ => {}
        }
    }
    bytes
}

proptest! {
    #[test]
    fn damaged_files_never_panic(damages in prop::collection::vec(damage(), 1..6)) {
        for good in [GOOD, BUFFERS] {
            let text = damaged(good.as_bytes().to_vec(), &damages);
            if let Ok(trace) = Trace::parse("damaged.csv", &text[..]) {
                prop_assert!(trace.ids <= trace.steps.len() && trace.streams > 0);
            }
            let zip = damaged(packed(good), &damages);
            Trace::parse("damaged.csv.gz", flate2::read::MultiGzDecoder::new(&zip[..])).ok();
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        Trace::parse("any.csv", &bytes[..]).ok();
        Trace::parse("any.csv", &[GOOD.as_bytes(), &bytes[..]].concat()[..]).ok();
        Trace::parse("any.csv", &[BUFFERS.as_bytes(), &bytes[..]].concat()[..]).ok();
    }
}
