//! `rustkernel audit verify`: what was altered, lost or reordered in an audit log.

use std::fs::File;
use std::io;
use std::path::Path;

use rustkernel_http::audit::{Link, Verified, Verifier};
use serde_json::json;

use crate::args::{OutputFormat, VerifyArgs};
use crate::exit::{Exit, Failure};
use crate::output;

/// Most flaws that are printed.
const PRINTED: usize = 20;

pub(crate) fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let verifier = args.after.map_or_else(|| Verifier::after(Link::START), Verifier::after_hash);
    let mut verifier = verifier.has_to_contain(args.contains);
    for path in &args.files {
        let read = File::open(path).and_then(|file| verifier.read(path, file));
        read.map_err(|error| unreadable(path, &error))?;
    }
    let found = verifier.ends_with(args.last);
    let format = args.format.output_format;
    if format != OutputFormat::Table {
        output::print_value(format, &value(&found))?;
    } else if found.count == 0 {
        output::print(format_args!(
            "{} records, none altered, lost or reordered\nlast record: {}, hash {}\n",
            found.records, found.last.seq, found.last.hash
        ))?;
    }
    if found.count == 0 { Ok(()) } else { Err(failure(&found)) }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::NoInput, format!("{}: {error}", path.display()))
}

fn value(found: &Verified) -> serde_json::Value {
    let flaws = found.flaws.iter().map(
        |flaw| json!({ "file": flaw.path.display().to_string(), "line": flaw.line, "reason": flaw.fault.to_string() }),
    );
    json!({
        "records": found.records,
        "last": { "seq": found.last.seq, "hash": found.last.hash.to_string() },
        "flaw_count": found.count,
        "flaws": flaws.collect::<Vec<_>>(),
    })
}

fn failure(found: &Verified) -> Failure {
    let things = if found.count == 1 { "a flaw" } else { &format!("{} flaws", found.count) };
    let mut message = format!("the log has {things}");
    for flaw in found.flaws.iter().take(PRINTED) {
        message += &format!("\n  {flaw}");
    }
    if found.count > PRINTED as u64 {
        message += "\n  …";
    }
    Failure::new(Exit::Data, message)
}
