//! What it costs to know who calls, and to have it written down before it is done: `cargo bench -p
//! rustkernel-benches --bench guard`.
//!
//! The log is in cargo's folder for temporary files, on the disk that the build is on. The first row is what that
//! disk can do: one thread that writes a line of the same length and waits for it (`fdatasync`), and again.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark that cannot be set up has failed"
)]
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock itself")]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use comfy_table::{Table, presets};
use rustkernel_core::config::{AuditConfig, SecurityConfig};
use rustkernel_http::security::keys::{KeysFile, NewKey};
use rustkernel_http::security::{Asked, Credentials, Guard, Pattern, RequestId, Role};

/// How long each row is measured.
const ROW: Duration = Duration::from_secs(3);
/// Bytes of a record, about.
const LINE: usize = 480;

fn main() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["", "each", "per second"]);
    let mut row = |name: &str, rate: f64| {
        let each = Duration::from_secs_f64(1.0 / rate);
        table.add_row([name.to_owned(), format!("{each:.1?}"), format!("{rate:.0}")]);
    };
    row("write and fdatasync, one thread", plain(&directory.path().join("plain")));
    let executor =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let executor = executor.unwrap();
    let key = key(directory.path());
    for audit_logging in [false, true] {
        let what = if audit_logging { "admitted, recorded, finished" } else { "admitted" };
        for outstanding in [1, 16, 64] {
            let place = directory.path().join(format!("{outstanding}.jsonl"));
            let guard = guard(directory.path(), &place, audit_logging);
            let rate = executor.block_on(requests(&guard, &key, outstanding));
            row(&format!("{what}, {outstanding} outstanding"), rate);
        }
    }
    println!("{table}");
}

/// Lines that are durable, a second.
fn plain(path: &Path) -> f64 {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    let line = [b'x'; LINE];
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < ROW {
        file.write_all(&line).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

fn key(directory: &Path) -> String {
    let new = NewKey {
        name: "bench".into(),
        roles: vec![Role::Executor],
        kernels: vec![Pattern::any()],
        lifetime: None,
    };
    let (key, _) = KeysFile::create(&directory.join("keys.json"), new).unwrap();
    format!("Bearer {}", key.reveal())
}

fn guard(directory: &Path, place: &Path, audit_logging: bool) -> Arc<Guard> {
    let config = SecurityConfig {
        rbac_enabled: true,
        audit_logging,
        keys_file: Some(directory.join("keys.json")),
        audit: AuditConfig { path: Some(place.to_owned()), ..AuditConfig::default() },
        ..SecurityConfig::default()
    };
    Arc::new(Guard::of(&config, "bench").unwrap())
}

/// Requests that are admitted and finished, a second, with so many at once.
async fn requests(guard: &Arc<Guard>, key: &str, outstanding: usize) -> f64 {
    let begun = Instant::now();
    let callers = (0..outstanding).map(|_| {
        let (guard, key) = (Arc::clone(guard), key.to_owned());
        tokio::spawn(async move {
            let mut count = 0_u32;
            while begun.elapsed() < ROW {
                let asked = Asked {
                    id: RequestId::new(),
                    path: "/v2/models/saxpy/infer",
                    credentials: Credentials::Header(key.as_bytes()),
                    source: Some(([127, 0, 0, 1], 40000).into()),
                    trace_id: None,
                };
                guard.admit(&asked).await.unwrap().finish(200).await.unwrap();
                count += 1;
            }
            count
        })
    });
    let mut total = 0;
    for caller in callers.collect::<Vec<_>>() {
        total += caller.await.unwrap();
    }
    f64::from(total) / begun.elapsed().as_secs_f64()
}
