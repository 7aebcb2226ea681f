//! What is different on a terminal: colours, progress, the width of tables. Each program here has a
//! pseudo-terminal of its own.
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use support::rustkernel;

const ESCAPE: char = '\x1b';

/// Both ends of a pseudo-terminal of that width.
fn terminal(columns: u16) -> (File, OwnedFd) {
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    let size = Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&near, size).unwrap();
    let name = ptsname(&near, Vec::new()).unwrap();
    let far = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    (near.into(), far)
}

/// Runs the program on a terminal, and returns all that it wrote there.
fn written(columns: u16, command: &mut Command) -> String {
    let (mut near, far) = terminal(columns);
    command.env("TERM", "xterm-256color").env_remove("COLUMNS");
    command.stdout(far.try_clone().unwrap()).stderr(far);
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        // (It ends with an error, when nobody has the far end any more.)
        near.read_to_end(&mut bytes).ok();
        String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
    });
    command.spawn().unwrap().wait().unwrap();
    // The far end that the command would hand to another run.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    reader.join().unwrap()
}

fn run(columns: u16, arguments: &[&str]) -> String {
    written(columns, rustkernel().args(arguments))
}

/// Without what colours it.
fn plain(text: &str) -> String {
    let mut parts = text.split(ESCAPE);
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').unwrap().1)
}

fn widest(text: &str) -> usize {
    plain(text).lines().map(|line| line.chars().count()).max().unwrap()
}

#[test]
fn a_terminal_has_colours_unless_it_is_not_to() {
    let commands: [&[&str]; 3] = [&["kernel", "list"], &["call", "nothing"], &["call", "--help"]];
    for command in commands {
        let coloured = run(80, command);
        assert!(coloured.contains("\x1b[1m"), "{coloured}");
        let without = written(80, rustkernel().args(command).env("NO_COLOR", "1"));
        assert_eq!(without, plain(&coloured));
        assert!(!without.contains(ESCAPE), "{without}");
        let empty = written(80, rustkernel().args(command).env("NO_COLOR", ""));
        assert_eq!(empty, coloured, "only what is not empty says no");
        let dumb = Command::new(env!("CARGO_BIN_EXE_rustkernel")).args(command).output().unwrap();
        assert!(!dumb.stdout.contains(&(ESCAPE as u8)) && !dumb.stderr.contains(&(ESCAPE as u8)));
    }
    assert!(run(80, &["call", "nothing"]).contains("\x1b[1m\x1b[31merror:"), "and it is red");
}

#[test]
fn tables_and_help_fit_the_terminal() {
    for columns in [60, 80, 100] {
        for command in [&["kernel", "list"][..], &["config", "show"], &["call", "--help"]] {
            let text = run(columns, command);
            assert!(widest(&text) <= columns.into(), "{command:?} on {columns}: {text}");
        }
    }
    let rows = |text: &str| plain(text).lines().count();
    let list = ["kernel", "list"];
    let piped = rustkernel().args(list).output().unwrap();
    let piped = String::from_utf8(piped.stdout).unwrap();
    assert_eq!(
        plain(&run(400, &list)),
        piped,
        "where there is room, a row is a line, as in a pipe"
    );
    assert!(rows(&run(60, &list)) > rows(&piped));
    assert!(widest(&run(400, &["call", "--help"])) <= 100, "nobody reads longer lines");
}

/// Longer than what is worth a progress bar, by what it is told to measure.
const BENCH: [&str; 5] = ["bench", "--device", "host", "--time", "120ms"];

#[test]
fn progress_is_shown_on_a_terminal_and_wiped_away() {
    let text = run(80, &BENCH);
    assert!(text.contains("/8 host: "), "{text:?}");
    assert!(text.contains('░'), "{text:?}");
    let (_, after) = text.rsplit_once("/8 host: ").unwrap();
    assert!(after.contains("\x1b[2K"), "the bar's line is cleared: {after:?}");
    assert!(after.contains("MEDIAN"), "and then the table comes: {after:?}");
}

#[test]
fn progress_is_not_shown_to_whoever_does_not_watch() {
    let quiet = run(80, &[&BENCH[..], &["--quiet"]].concat());
    assert!(!quiet.contains("/8 host"), "{quiet:?}");
    let output = rustkernel().args(BENCH).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("/8 host") && !stderr.contains(ESCAPE), "{stderr:?}");
}
