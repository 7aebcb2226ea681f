//! The commands about keys and audit logs.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::StyledStr;
use clap::{Args, Subcommand};
use rustkernel_http::audit::Hash;
use rustkernel_http::security::{Pattern, Role};

use super::{FormatArgs, duration, section};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key, and show it: this once
    #[command(after_help = key_examples())]
    Create(CreateArgs),
    /// List the keys, without their secrets
    #[command(after_help = key_examples())]
    List(ListArgs),
    /// Revoke a key
    #[command(after_help = key_examples())]
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What its bearer may do: viewer, executor, operator or admin; several may be given
    #[arg(long = "role", value_name = "ROLE", required = true)]
    pub(crate) roles: Vec<Role>,
    /// To which kernels: a name, or a pattern with `*` and `?`; several may be given
    #[arg(long = "kernel", value_name = "PATTERN", default_value = "*")]
    pub(crate) kernels: Vec<Pattern>,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) name: String,
    /// How long it is good, as in `90d`; without it, until it is revoked
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) expires: Option<Duration>,
    #[command(flatten)]
    pub(crate) file: KeysArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) file: KeysArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The key's id: the twelve digits after `rk_`
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) file: KeysArgs,
}

/// Where keys are.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    /// The file of keys, as `security.keys_file` names it; without it, where a service looks if that
    /// names none
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Find what was altered, lost or reordered
    #[command(after_help = audit_examples())]
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The files of the log, the oldest first
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The hash of the record before the first file, if it is not the log's first
    #[arg(long, value_name = "HASH")]
    pub(crate) after: Option<Hash>,
    /// The hash that a record has to have: the last one, as it was noted elsewhere, of a log that has
    /// grown since
    #[arg(long, value_name = "HASH")]
    pub(crate) contains: Option<Hash>,
    /// The hash that the last record has to have, of a log that is closed
    #[arg(long, value_name = "HASH")]
    pub(crate) last: Option<Hash>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

pub(super) fn key_examples() -> StyledStr {
    section(
        "Examples",
        "  rustkernel key create --role executor --kernel 'gaussian_*' --name \"the image service\"
  rustkernel key create --role viewer --expires 90d --file keys.json
  rustkernel key list
  rustkernel key revoke 0123456789ab",
    )
}

pub(super) fn audit_examples() -> StyledStr {
    section(
        "Examples",
        "  rustkernel audit verify main.audit.jsonl
  rustkernel audit verify main.audit.jsonl.0* main.audit.jsonl   # with those that are full",
    )
}
