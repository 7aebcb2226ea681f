//! Keys and audit logs by command, and that no secret is told where it should not be.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

mod support;

use std::os::unix::fs::MetadataExt;

use serde_json::Value;
use support::Folder;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_file_that_cannot_be_read_is_no_input() {
    let folder = Folder::new();
    let listed = folder.run(&["key", "list", "--file", "/"]);
    assert_eq!(listed.code, 66, "{}", listed.stderr);
}

#[test]
fn names_of_files_may_be_any_bytes() {
    let folder = Folder::new();
    let told = folder.shell(
        "bad=$'bad\\xff'
         echo '[http]' > $bad.toml && echo no > $bad.jsonl
         $RUSTKERNEL config validate --output-format json $bad.toml
         RUSTKERNEL_CONFIG=$bad.toml $RUSTKERNEL config show --output-format json | head -c 1
         $RUSTKERNEL audit verify --output-format json $bad.jsonl 2> /dev/null
         echo $?",
    );
    assert!(told.stdout.contains("\"valid\": true"), "{} {}", told.stdout, told.stderr);
    assert!(told.stdout.contains("[{") && told.stdout.ends_with("65\n"), "{}", told.stdout);
    assert_eq!(told.stderr, "");
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let folder = Folder::new();
    let made = folder.run(&["key", "create", "--role", "executor", "--file", "state/keys.json"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let key = made.stdout.trim();
    assert!(key.starts_with("rk_") && key.len() == 80, "{key}");
    let (id, secret) = (&key[3..15], &key[16..]);
    assert!(made.stderr.contains("shown once") && !made.stderr.contains(secret));
    assert_eq!(std::fs::metadata(folder.path("state/keys.json")).unwrap().mode() & 0o777, 0o600);

    let more = [
        "key",
        "create",
        "--role",
        "viewer",
        "--role",
        "operator",
        "--kernel",
        "g*",
        "--expires",
        "90d",
        "--name",
        "ci",
        "--file",
        "state/keys.json",
        "--output-format",
        "json",
    ];
    let more = json(&folder.run(&more).stdout);
    assert_eq!((&more["roles"][1], &more["kernels"][0]), (&"operator".into(), &"g*".into()));
    assert_eq!(more["key"].as_str().unwrap()[3..15], *more["id"].as_str().unwrap());

    let file = ["--file", "state/keys.json"];
    let run = |arguments: &[&str]| folder.run(&[arguments, &file].concat());
    assert_eq!(run(&["key", "revoke", id]).code, 0);
    let unknown = run(&["key", "revoke", "nobody"]);
    assert_eq!(unknown.code, 64, "{}", unknown.stderr);
    let table = run(&["key", "list"]).stdout;
    assert!(table.lines().any(|row| row.starts_with(id) && row.contains("revoked")), "{table}");
    assert!(table.contains("viewer,operator") && table.contains("good"), "{table}");
    assert!(!table.contains(secret));
    let listed = json(&run(&["key", "list", "--output-format", "json"]).stdout);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(!String::from_utf8(folder.read("state/keys.json")).unwrap().contains(secret));

    let long = run(&["key", "create", "--role", "viewer", "--expires", "9000y"]);
    assert_eq!(long.code, 64, "{}", long.stderr);
    assert!(long.stderr.contains("the year 9999"), "{}", long.stderr);

    let missing = folder.run(&["key", "list", "--file", "none.json"]);
    assert_eq!(missing.code, 66);
    assert!(missing.stderr.contains("`rustkernel key create"), "{}", missing.stderr);
}

#[test]
fn a_log_is_verified_and_what_is_wrong_is_told_with_its_place() {
    let folder = Folder::new();
    // (Made by the library; the one record that a log begins with has a time, so its hash is not fixed.)
    let settings = rustkernel_http::audit::Settings {
        path: folder.path("audit.jsonl"),
        max_bytes: 1 << 20,
        commit_delay: std::time::Duration::ZERO,
        queue: 16,
    };
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let last = executor.block_on(async {
        use rustkernel_http::audit::{Audit, Entry, Event};
        let audit = Audit::open(&settings).unwrap();
        for _ in 0..4 {
            audit.record(Entry::of_system(Event::Lifecycle, "test", "")).await.unwrap();
        }
        audit.close().await;
        audit.last().hash.to_string()
    });
    let good = folder.run(&["audit", "verify", "audit.jsonl", "--last", &last]);
    assert_eq!(good.code, 0, "{}", good.stderr);
    let expected =
        format!("5 records, none altered, lost or reordered\nlast record: 5, hash {last}\n");
    assert_eq!(good.stdout, expected);

    assert_eq!(folder.run(&["audit", "verify", "audit.jsonl", "--contains", &last]).code, 0);

    let log = String::from_utf8(folder.read("audit.jsonl")).unwrap();
    folder.write("altered.jsonl", log.replacen("test", "tost", 2).as_bytes());
    let altered = folder.run(&["audit", "verify", "altered.jsonl"]);
    assert_eq!(altered.code, 65);
    assert_eq!(
        altered.stderr,
        "error: the log has 2 flaws\n  altered.jsonl:2: this record was altered\n  altered.jsonl:3: this record was altered\n"
    );
    let report = folder.run(&["audit", "verify", "altered.jsonl", "--output-format", "json"]);
    assert_eq!((report.code, &json(&report.stdout)["flaws"][0]["line"]), (65, &2.into()));

    let cut: String = log.split_inclusive('\n').take(3).collect();
    folder.write("cut.jsonl", cut.as_bytes());
    assert_eq!(folder.run(&["audit", "verify", "cut.jsonl"]).code, 0, "nothing shows it");
    let cut = folder.run(&["audit", "verify", "cut.jsonl", "--last", &last]);
    assert!(cut.stderr.contains("does not end with the record"), "{}", cut.stderr);
    let cut = folder.run(&["audit", "verify", "cut.jsonl", "--contains", &last]);
    assert_eq!(cut.code, 65);
    assert!(cut.stderr.contains("has no record of the hash"), "{}", cut.stderr);
    assert_eq!(folder.run(&["audit", "verify", "none.jsonl"]).code, 66);
}
