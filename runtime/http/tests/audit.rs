//! The audit log: nothing that was promised is lost, and nothing that was changed goes unseen.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustkernel_http::audit::{
    About, Audit, AuditError, Entry, Event, Fault, Hash, Link, OpenError, Settings, Verified,
    Verifier,
};
use serde_json::Value;
use support::within_a_minute;

fn settings(path: PathBuf) -> Settings {
    Settings { path, max_bytes: 1 << 30, commit_delay: Duration::ZERO, queue: 64 }
}

fn entry(object: impl AsRef<str>) -> Entry {
    let (object, action) = (object.as_ref(), "inference");
    Entry::new(Event::Request, &About { object, action, ..About::default() })
}

/// The log's files, in their order.
fn files(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let all = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let is_full = |path: &PathBuf| {
        let other = path.file_name().unwrap().to_str().unwrap();
        other.strip_prefix(name).is_some_and(|rest| rest.len() == 21)
    };
    let mut full: Vec<PathBuf> = all.filter(is_full).collect();
    full.sort();
    full.push(path.to_owned());
    full
}

fn verify(path: &Path) -> Verified {
    let mut verifier = Verifier::after(Link::START);
    for path in files(path) {
        verifier.read(&path, fs::File::open(&path).unwrap()).unwrap();
    }
    verifier.ends_with(None)
}

fn lines(path: &Path) -> Vec<Value> {
    let text: String = files(path).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_log_goes_on_over_restarts_and_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state/audit.jsonl");
    let settings = Settings { max_bytes: 2000, ..settings(path.clone()) };
    for _ in 0..3 {
        let audit = Audit::open(&settings).unwrap();
        for at in 0..10 {
            let seq = audit.record(entry(format!("kernel {at}"))).await.unwrap();
            assert_eq!(audit.last().seq, seq);
        }
        audit.close().await;
        assert_eq!(audit.record(entry("late")).await, Err(AuditError::Closed));
    }
    let found = verify(&path);
    assert_eq!((found.records, found.count, found.last.seq), (33, 0, 33));
    let files = files(&path);
    assert!(files.len() > 3, "{files:?}");
    for file in &files {
        let found = fs::metadata(file).unwrap();
        assert_eq!(found.mode() & 0o777, 0o600);
        assert!(found.size() <= 2000);
    }
    // A crash between the two steps of a rotation.
    let last = verify(&path).last;
    fs::rename(&path, path.with_added_extension(format!("{:020}", last.seq))).unwrap();
    let audit = Audit::open(&settings).unwrap();
    assert_eq!(audit.last().seq, last.seq + 1);
    audit.close().await;
    assert_eq!(verify(&path).count, 0);
}

#[tokio::test]
async fn a_log_has_one_writer() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path().join("audit.jsonl"));
    let audit = Audit::open(&settings).unwrap();
    assert!(matches!(Audit::open(&settings), Err(OpenError::Taken(_))));
    audit.close().await;
    Audit::open(&settings).unwrap().close().await;
}

#[tokio::test]
async fn an_unfinished_record_is_put_aside_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path().join("audit.jsonl"));
    let audit = Audit::open(&settings).unwrap();
    audit.record(entry("a")).await.unwrap();
    audit.record(entry("b")).await.unwrap();
    audit.close().await;
    let whole = fs::read(&settings.path).unwrap();
    fs::write(&settings.path, &whole[..whole.len() - 20]).unwrap();

    Audit::open(&settings).unwrap().close().await;
    assert_eq!(verify(&settings.path).count, 0);
    let lines = lines(&settings.path);
    let actions: Vec<&str> = lines.iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["audit.opened", "inference", "audit.torn", "audit.opened"]);
    let torn = fs::read_to_string(settings.path.with_added_extension("torn")).unwrap();
    assert!(torn.contains("\"object\":\"b\""), "{torn}");

    // A power loss may leave zeros for all that was written at once, which is more than a line may be.
    let whole = fs::metadata(&settings.path).unwrap().len();
    fs::File::options()
        .write(true)
        .open(&settings.path)
        .unwrap()
        .set_len(whole + (5 << 20))
        .unwrap();
    Audit::open(&settings).unwrap().close().await;
    let verified = verify(&settings.path);
    assert_eq!((verified.count, verified.records), (0, 6), "{verified:?}");

    // What was damaged otherwise is nobody's to go on from.
    let mut altered = fs::read(&settings.path).unwrap();
    let at = altered.len() - 100;
    altered[at] ^= 1;
    fs::write(&settings.path, altered).unwrap();
    assert!(matches!(Audit::open(&settings), Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_and_resumes_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path().join("audit.jsonl"));
    let audit = Audit::open(&settings).unwrap();
    audit.record(entry("before")).await.unwrap();
    let kept = directory.path().join("kept");
    for round in 0..10 {
        fs::rename(&settings.path, &kept).unwrap();
        symlink("/dev/full", &settings.path).unwrap();
        for _ in 0..3 {
            let refused = audit.record(entry("full")).await.unwrap_err();
            let AuditError::Unwritable { reason, .. } = &refused else { panic!("{refused}") };
            assert!(reason.contains("No space left"), "{reason}");
        }
        assert!(!audit.is_writable());
        fs::remove_file(&settings.path).unwrap();
        fs::rename(&kept, &settings.path).unwrap();
        within_a_minute(async {
            while !audit.is_writable() {
                tokio::task::yield_now().await
            }
        })
        .await;
        assert_eq!(audit.record(entry("after")).await.unwrap(), 4 + 2 * round);
    }
    audit.close().await;
    assert_eq!(verify(&settings.path).count, 0);
    let lines = lines(&settings.path);
    let resumed: Vec<&Value> =
        lines.iter().filter(|line| line["action"] == "audit.resumed").collect();
    assert_eq!(resumed.len(), 10);
    assert!(resumed[0]["reason"].as_str().unwrap().starts_with("3 records could not be written"));
    assert!(lines.iter().all(|line| line["object"] != "full"));
}

#[tokio::test]
async fn a_log_that_was_moved_away_goes_on_in_a_new_file() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path().join("audit.jsonl"));
    let audit = Audit::open(&settings).unwrap();
    let moved = directory.path().join("moved");
    fs::rename(&settings.path, &moved).unwrap();
    audit.record(entry("a")).await.unwrap();
    // Somebody else's file is not written to.
    let ours = directory.path().join("ours");
    fs::rename(&settings.path, &ours).unwrap();
    fs::copy(&moved, &settings.path).unwrap();
    audit.record(entry("b")).await.unwrap_err();
    fs::rename(&ours, &settings.path).unwrap();
    audit.record(entry("c")).await.unwrap();
    audit.close().await;
    let mut verifier = Verifier::after(Link::START);
    for path in [&moved, &settings.path] {
        verifier.read(path, fs::File::open(path).unwrap()).unwrap();
    }
    let found = verifier.ends_with(Some(audit.last().hash));
    assert_eq!((found.count, found.flaws), (0, Vec::new()));
}

#[tokio::test]
async fn as_many_wait_as_may_and_all_are_written_or_counted() {
    let directory = tempfile::tempdir().unwrap();
    let delay = Duration::from_millis(200);
    let path = directory.path().join("audit.jsonl");
    let settings = Settings { queue: 8, commit_delay: delay, ..settings(path.clone()) };
    let audit = Audit::open(&settings).unwrap();
    let sent: Vec<bool> = (0..2000).map(|_| audit.note(entry("x")).is_ok()).collect();
    let sent = sent.iter().filter(|sent| **sent).count();
    assert!((8..2000).contains(&sent), "{sent}");
    audit.close().await;
    let text = fs::read_to_string(&path).unwrap();
    let counts = text.lines().filter_map(|line| {
        let before = line.split_once(" records could not be written")?.0;
        Some(before.rsplit_once('"')?.1.parse::<usize>().unwrap())
    });
    let counts: Vec<usize> = counts.collect();
    assert_eq!(counts.iter().sum::<usize>(), 2000 - sent, "{text}");
    assert_eq!(verify(&path).records, (1 + sent + counts.len()) as u64);
}

/// What a child of these tests does: writes records, and prints the number of each that is durable.
#[tokio::test]
#[ignore = "a part of other tests"]
async fn child_writes() {
    let path = PathBuf::from(std::env::var_os("AUDIT_PATH").unwrap());
    let audit = Audit::open(&Settings { max_bytes: 100_000, ..settings(path) }).unwrap();
    let writers = (0..8).map(|_| {
        let audit = audit.clone();
        tokio::spawn(async move {
            while let Ok(seq) = audit.record(entry("x".repeat(200))).await {
                println!("durable {seq}");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    println!("refused");
    // Whoever has limited the size of files gives more room again.
    let room = Rlimit { current: None, maximum: None };
    setrlimit(Resource::Fsize, room).unwrap();
    within_a_minute(async {
        while !audit.is_writable() {
            tokio::task::yield_now().await
        }
    })
    .await;
    println!("durable {}", audit.record(entry("again")).await.unwrap());
    audit.close().await;
    println!("closed");
}

fn child(path: &Path, before: &str) -> Child {
    let me = std::env::current_exe().unwrap();
    let run = format!("{before} exec \"$0\" --exact child_writes --ignored --nocapture");
    let mut command = Command::new("sh");
    command.arg("-c").arg(run).arg(me).env("AUDIT_PATH", path);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn durable(line: &str) -> Option<u64> {
    line.strip_prefix("durable ")?.parse().ok()
}

#[test]
fn what_was_durable_is_there_after_sigkill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let (mut last, mut seed) = (0, 1_u64);
    for _ in 0..20 {
        let mut child = child(&path, "");
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let after = 1 + (seed >> 33) % 300;
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut said = said.lines().map_while(Result::ok).filter_map(|line| durable(&line));
        last = said.by_ref().take(after as usize).max().unwrap().max(last);
        child.kill().unwrap();
        last = said.max().unwrap_or(last).max(last);
        child.wait().unwrap();
    }
    // (The next one that opens it puts aside what is unfinished.)
    let audit = Audit::open(&settings(path.clone())).unwrap();
    let found = verify(&path);
    assert_eq!((found.count, &found.flaws), (0, &Vec::new()));
    assert_eq!(found.records, found.last.seq);
    assert_eq!(found.last, audit.last());
    assert!(found.last.seq > last, "{} is durable, the log ends with {}", last, found.last.seq);
}

#[test]
fn a_full_disk_leaves_no_half_of_a_record() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    // (Blocks of 512 bytes; the shell's own unit of it.)
    let child = child(&path, "trap '' XFSZ; ulimit -S -f 60;");
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("refused\n") && text.contains("closed\n"), "{text}");
    let last = text.lines().filter_map(durable).max().unwrap();
    let found = verify(&path);
    assert_eq!((found.count, found.last.seq), (0, last));
    let lines = lines(&path);
    let resumed = lines.iter().find(|line| line["action"] == "audit.resumed").unwrap();
    assert!(resumed["reason"].as_str().unwrap().contains("File too large"), "{resumed}");
}

/// What a child does that has a disk of its own, of 256 KiB: fills it, makes room, and goes on.
#[tokio::test]
#[ignore = "a part of another test"]
async fn child_fills_its_disk() {
    let disk = PathBuf::from(std::env::var_os("AUDIT_DISK").unwrap());
    let (path, ballast) = (disk.join("audit.jsonl"), disk.join("ballast"));
    fs::write(&ballast, vec![0; 64 << 10]).unwrap();
    let audit = Audit::open(&settings(path.clone())).unwrap();
    let mut last = 0;
    let refused = loop {
        match audit.record(entry("x".repeat(200))).await {
            Ok(seq) => last = seq,
            Err(refused) => break refused,
        }
    };
    assert!(refused.to_string().contains("No space left"), "{refused}");
    assert!(!audit.is_writable());
    audit.record(entry("still full")).await.unwrap_err();
    // (The filesystem took a part of what was refused; it is taken back.)
    assert_eq!((verify(&path).count, verify(&path).last.seq), (0, last));
    fs::remove_file(&ballast).unwrap();
    within_a_minute(async {
        while !audit.is_writable() {
            tokio::task::yield_now().await
        }
    })
    .await;
    assert_eq!(audit.record(entry("again")).await.unwrap(), last + 2);
    audit.close().await;
    assert_eq!((verify(&path).count, verify(&path).last.seq), (0, last + 2));
    println!("whole");
}

#[test]
fn a_filesystem_that_is_full_leaves_no_half_of_a_record() {
    // (As root of namespaces of its own, which not every system lets everybody be.)
    let alone = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c"]);
        command
    };
    let disk = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=256k tmpfs \"$AUDIT_DISK\"";
    let tried = alone().arg(mount).env("AUDIT_DISK", disk.path()).output();
    if !tried.as_ref().is_ok_and(|tried| tried.status.success()) {
        return println!("not tested: no filesystem can be mounted here: {tried:?}");
    }
    let run = format!("{mount} && exec \"$0\" --exact child_fills_its_disk --ignored --nocapture");
    let me = std::env::current_exe().unwrap();
    let output = alone().arg(run).arg(me).env("AUDIT_DISK", disk.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("whole\n"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// A change of a log.
#[derive(Debug, Clone)]
enum Change {
    Byte(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Cut(usize),
    RemoveLine(usize),
    SwapLines(usize, usize),
    RepeatLine(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<usize>;
    prop_oneof![
        (at(), 1..=255_u8).prop_map(|(at, bits)| Change::Byte(at, bits)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        at().prop_map(Change::Remove),
        at().prop_map(Change::Cut),
        at().prop_map(Change::RemoveLine),
        (at(), at()).prop_map(|(a, b)| Change::SwapLines(a, b)),
        (at(), at()).prop_map(|(a, b)| Change::RepeatLine(a, b)),
    ]
}

fn changed(log: &[u8], change: &Change) -> Vec<u8> {
    let mut bytes = log.to_vec();
    let mut lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
    let (size, count) = (bytes.len(), lines.len());
    match *change {
        Change::Byte(at, bits) => bytes[at % size] ^= bits,
        Change::Insert(at, byte) => bytes.insert(at % (size + 1), byte),
        Change::Remove(at) => drop(bytes.remove(at % size)),
        Change::Cut(at) => bytes.truncate(at % size),
        Change::RemoveLine(at) => {
            lines.remove(at % count);
            bytes = lines.concat();
        }
        Change::SwapLines(a, b) => {
            lines.swap(a % count, b % count);
            bytes = lines.concat();
        }
        Change::RepeatLine(a, b) => {
            lines.insert(b % (count + 1), lines[a % count]);
            bytes = lines.concat();
        }
    }
    bytes
}

fn verify_bytes(bytes: &[u8], last: Hash) -> Verified {
    let mut verifier = Verifier::after(Link::START);
    verifier.read(Path::new("log"), bytes).unwrap();
    verifier.ends_with(Some(last))
}

fn a_log() -> (Vec<u8>, Hash) {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path().join("audit.jsonl"));
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let last = executor.block_on(async {
        let audit = Audit::open(&settings).unwrap();
        for at in 0..12 {
            audit.record(entry(format!("object \"{at}\"\n"))).await.unwrap();
        }
        audit.close().await;
        audit.last()
    });
    (fs::read(&settings.path).unwrap(), last.hash)
}

#[test]
fn every_changed_bit_of_a_log_is_found_where_it_is() {
    let (log, last) = a_log();
    assert_eq!(verify_bytes(&log, last).count, 0);
    let mut line = 1;
    for at in 0..log.len() {
        for bit in 0..8 {
            let found = verify_bytes(&changed(&log, &Change::Byte(at, 1 << bit)), last);
            let first = found.flaws.first().map(|flaw| flaw.line);
            assert_eq!(first, Some(line), "bit {bit} of byte {at}: {found:?}");
        }
        line += u64::from(log[at] == b'\n');
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_change_of_a_log_is_found(change in change()) {
        static LOG: std::sync::LazyLock<(Vec<u8>, Hash)> = std::sync::LazyLock::new(a_log);
        let (log, last) = &*LOG;
        let bytes = changed(log, &change);
        let found = verify_bytes(&bytes, *last);
        prop_assert_eq!(found.count > 0, bytes != *log, "{:?}: {:?}", change, found);
    }
}

#[test]
fn a_log_that_grew_still_contains_what_was_its_last_record() {
    let (log, last) = a_log();
    let line = |at: usize| log.split_inclusive(|byte| *byte == b'\n').take(at).flatten().count();
    let verify = |bytes: &[u8], hash| {
        let mut verifier = Verifier::after(Link::START).has_to_contain(Some(hash));
        verifier.read(Path::new("log"), bytes).unwrap();
        verifier.ends_with(None)
    };
    let noted = verify_bytes(&log[..line(5)], last).last.hash;
    assert_eq!(verify(&log, noted).count, 0);
    assert_eq!(verify(&log[..line(5)], noted).count, 0);
    let cut = verify(&log[..line(4)], noted);
    assert_eq!((cut.count, cut.flaws[0].fault), (1, Fault::Missing { hash: noted }));
    assert_eq!(
        cut.flaws[0].to_string(),
        format!("log:4: the log has no record of the hash {noted}")
    );
}

#[test]
fn a_flaw_says_what_and_where() {
    let (log, last) = a_log();
    let first = |change| verify_bytes(&changed(&log, &change), last).flaws.remove(0);
    let lost = first(Change::RemoveLine(4));
    assert_eq!((lost.line, lost.fault), (5, Fault::Number { expected: 5, found: 6 }));
    assert_eq!(lost.to_string(), "log:5: record 6 follows; records 5 to 5 are lost");
    assert_eq!(first(Change::RemoveLine(12)).fault, Fault::Last { expected: last });
    assert_eq!(first(Change::RemoveLine(0)).fault, Fault::Number { expected: 1, found: 2 });
    assert_eq!(first(Change::Cut(log.len() - 1)).fault, Fault::Unfinished);
    let long = verify_bytes(&[b"x".repeat(300_000), log.clone()].concat(), last);
    assert_eq!(
        (long.flaws[0].fault, long.count),
        (Fault::Malformed, 2),
        "the first line is gone with it"
    );
    // A part of a log is verified after what came before it.
    let half = log.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut before = Verifier::after(Link::START);
    before.read(Path::new("a"), &log[..half]).unwrap();
    let before = before.ends_with(None).last;
    let mut after = Verifier::after_hash(before.hash);
    after.read(Path::new("b"), &log[half..]).unwrap();
    assert_eq!(after.ends_with(Some(last)).count, 0);
}
