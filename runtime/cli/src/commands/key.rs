//! `rustkernel key …`: the API keys that callers of a service need.

use std::path::PathBuf;
use std::time::SystemTime;

use rustkernel_http::security::keys::{self, KeyRecord, KeysError, KeysFile, NewKey};
use serde_json::{Value, json};

use crate::args::{CreateArgs, KeysArgs, ListArgs, OutputFormat, RevokeArgs};
use crate::exit::{Exit, Failure};
use crate::output::{self, Table};

pub(crate) fn create(args: CreateArgs) -> Result<(), Failure> {
    let path = path(&args.file)?;
    let CreateArgs { roles, kernels, name, expires, .. } = args;
    let new = NewKey { name, roles, kernels, lifetime: expires };
    let (key, record) = KeysFile::create(&path, new).map_err(|error| failure(&error))?;
    let format = args.format.output_format;
    if format != OutputFormat::Table {
        let mut value = described(&record);
        value["key"] = key.reveal().into();
        value["file"] = path.to_string_lossy().into();
        return output::print_value(format, &value);
    }
    output::print(format_args!("{}\n", key.reveal()))?;
    output::note(format_args!(
        "this key is shown once; {} keeps its hash. Send it as `Authorization: Bearer rk_…`.\n\
         A service that runs takes it after `rustkernel runtime reload`; `rustkernel key revoke {}` ends it.",
        path.display(),
        record.id
    ));
    Ok(())
}

pub(crate) fn list(args: &ListArgs) -> Result<(), Failure> {
    let keys = KeysFile::read(&path(&args.file)?).map_err(|error| unreadable(&error))?;
    let format = args.format.output_format;
    if format != OutputFormat::Table {
        return output::print_value(format, &keys.keys().map(described).collect::<Vec<_>>());
    }
    let mut table = Table::new(&["id", "state", "roles", "kernels", "created", "expires", "name"]);
    for key in keys.keys() {
        let expires = key.expires.map_or_else(|| "–".into(), time);
        let (roles, kernels) = (texts(&key.roles).join(","), texts(&key.kernels).join(","));
        let (id, name) = (key.id.clone(), key.name.clone());
        table.row([id, key.state().to_string(), roles, kernels, time(key.created), expires, name]);
    }
    output::print(table)
}

pub(crate) fn revoke(args: &RevokeArgs) -> Result<(), Failure> {
    let path = path(&args.file)?;
    KeysFile::revoke(&path, &args.id).map_err(|error| failure(&error))?;
    output::print(format_args!(
        "revoked; a service that runs refuses it after `rustkernel runtime reload`\n"
    ))
}

fn path(args: &KeysArgs) -> Result<PathBuf, Failure> {
    match &args.file {
        Some(path) => Ok(path.clone()),
        None => keys::default_path().map_err(|error| failure(&error)),
    }
}

fn described(key: &KeyRecord) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "state": key.state().to_string(),
        "roles": texts(&key.roles),
        "kernels": texts(&key.kernels),
        "created": time(key.created),
        "expires": key.expires.map(time),
        "revoked": key.revoked.map(time),
    })
}

fn texts(values: &[impl ToString]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Of a file that is to be read alone.
fn unreadable(error: &KeysError) -> Failure {
    match error {
        KeysError::Io { .. } => Failure::new(Exit::NoInput, error.to_string()),
        _ => failure(error),
    }
}

fn failure(error: &KeysError) -> Failure {
    let exit = match error {
        KeysError::Missing(_) => Exit::NoInput,
        KeysError::Malformed { .. } => Exit::Data,
        KeysError::Unknown { .. } | KeysError::TooLong => Exit::Usage,
        KeysError::Io { .. } => Exit::CannotCreate,
        _ => Exit::Unavailable,
    };
    Failure::new(exit, error.to_string())
}
