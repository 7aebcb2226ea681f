//! The section `security`: who may call, what is written down about it, and how the wire is guarded.
//!
//! No value here is a secret: keys and secrets are in files, and this names the files.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::Finding;
use super::values::{duration_schema, size};
use crate::runtime::RuntimePreset;

/// Who may do what, and what is written down about it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SecurityConfig {
    /// Let callers do only what their role allows; who is not known may do nothing.
    pub rbac_enabled: bool,
    /// Write each request and each denial into an audit log.
    pub audit_logging: bool,
    /// Serve in production although nobody has to say who they are.
    pub allow_unauthenticated: bool,
    /// Serve in production although nothing is written into an audit log.
    pub allow_unaudited: bool,
    /// Listen without TLS where others than this machine's own programs can connect.
    pub allow_plaintext: bool,
    /// The file of API keys, which `rustkernel key create` makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-default" = "`rustkernel/keys.json` where configurations are: `$CONFIGURATION_DIRECTORY`, `$XDG_CONFIG_HOME`, `/etc` for root, `~/.config`"))]
    pub keys_file: Option<PathBuf>,
    /// Tokens (JWT) of an identity provider.
    pub jwt: JwtConfig,
    /// The audit log.
    pub audit: AuditConfig,
    /// TLS.
    pub tls: TlsConfig,
    /// What one caller may ask at most.
    pub caller: CallerConfig,
}

/// Tokens (JWT) of an identity provider. They are taken where a file of keys is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JwtConfig {
    /// The file of the keys that tokens are signed by: a JWK set, or public keys in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_file: Option<PathBuf>,
    /// The algorithms that are taken. What a token says of its algorithm only chooses among them.
    pub algorithms: Vec<JwtAlgorithm>,
    /// Who has to have issued a token (`iss`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// For whom a token has to be (`aud`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// How far the clocks of issuer and service may be apart, an hour at most.
    #[serde(with = "humantime_serde")]
    #[schemars(schema_with = "duration_schema")]
    pub leeway: Duration,
    /// The claim that names the bearer's roles: a name, or a list of them. Names of no role are passed over.
    pub role_claim: String,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            keys_file: None,
            algorithms: Vec::new(),
            issuer: None,
            audience: None,
            leeway: Duration::from_secs(30),
            role_claim: "role".into(),
        }
    }
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// The file that is written. Full ones lie beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-default" = "`rustkernel/NAME.audit.jsonl` (of the service's name) where states are kept: `$STATE_DIRECTORY`, `$XDG_STATE_HOME`, `/var/lib` for root, `~/.local/state`"))]
    pub path: Option<PathBuf>,
    /// How long a file may get before the next one is begun.
    #[serde(with = "size")]
    #[schemars(schema_with = "size::schema")]
    pub max_bytes: u64,
    /// How long a record may wait for others that are made durable with it. Those that come while the disk
    /// is busy share the next write anyway.
    #[serde(with = "humantime_serde")]
    #[schemars(schema_with = "duration_schema")]
    pub commit_delay: Duration,
    /// How many records may wait to be written; requests beyond are refused.
    #[schemars(range(min = 1, max = AuditConfig::MOST_WAITING))]
    pub queue: usize,
}

impl AuditConfig {
    /// The most that `queue` may be: room for all of them is there from the start.
    pub const MOST_WAITING: usize = 1 << 20;
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { path: None, max_bytes: 256 << 20, commit_delay: Duration::ZERO, queue: 4096 }
    }
}

/// TLS. There is some where a certificate and its key are named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The file of the certificate and of those that vouch for it, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The file of the certificate's private key, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// What one caller may ask at most. A caller is who the credentials name; without any, an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CallerConfig {
    /// Requests a second; 0 is no limit.
    #[schemars(extend("x-live" = true))]
    pub requests_per_second: u32,
    /// Requests at once after a while without any; 0 is as many as `requests_per_second`.
    #[schemars(extend("x-live" = true))]
    pub burst: u32,
    /// Requests that are open at a time; 0 is no limit.
    #[schemars(extend("x-live" = true))]
    pub concurrent: u32,
}

/// How a token is signed, by its name in RFC 7518 and RFC 8037.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "their names are the registry's")]
pub enum JwtAlgorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// The longest difference of clocks that is allowed for.
const MOST_LEEWAY: Duration = Duration::from_secs(3600);

impl SecurityConfig {
    /// The values of a preset.
    pub fn preset(preset: RuntimePreset) -> Self {
        let guarded = preset != RuntimePreset::Development;
        Self { rbac_enabled: guarded, audit_logging: guarded, ..Self::default() }
    }

    /// What is wrong with it; `exposed` is every environment but development.
    pub(super) fn problems(&self, exposed: bool) -> Vec<Finding> {
        let found = [
            (exposed && !self.rbac_enabled && !self.allow_unauthenticated).then_some((
                "rbac_enabled",
                "in production nobody may call without saying who they are; set it to true, or \
                 `security.allow_unauthenticated = true` if that is what you want",
            )),
            (exposed && !self.audit_logging && !self.allow_unaudited).then_some((
                "audit_logging",
                "in production what callers do is written down; set it to true, or \
                 `security.allow_unaudited = true` if that is what you want",
            )),
        ];
        let found =
            found.into_iter().flatten().chain(self.jwt.problems()).chain(self.tls.problem());
        let found = found.chain(self.caller.problem());
        found.map(|(name, reason)| (format!("security.{name}"), reason.to_owned())).collect()
    }
}

impl JwtConfig {
    fn problems(&self) -> Vec<(&'static str, &'static str)> {
        const ALL: &str = "tokens are taken where `keys_file`, `algorithms`, `issuer` and `audience` \
                           of `security.jwt` are all said; some are not";
        let said = [
            ("jwt.keys_file", self.keys_file.is_some()),
            ("jwt.algorithms", !self.algorithms.is_empty()),
            ("jwt.issuer", self.issuer.is_some()),
            ("jwt.audience", self.audience.is_some()),
        ];
        let first = said.iter().find(|(_, said)| *said).map(|(name, _)| *name);
        let all = said.iter().all(|(_, said)| *said);
        let partly = first.filter(|_| !all).map(|name| (name, ALL));
        let apart =
            (self.leeway > MOST_LEEWAY).then_some(("jwt.leeway", "it is more than an hour"));
        partly.into_iter().chain(apart).collect()
    }
}

impl CallerConfig {
    fn problem(&self) -> Option<(&'static str, &'static str)> {
        (self.burst > 0 && self.requests_per_second == 0)
            .then_some(("caller.burst", "it needs `security.caller.requests_per_second` as well"))
    }
}

impl TlsConfig {
    /// Whether there is TLS.
    pub fn is_on(&self) -> bool {
        self.certificate.is_some() && self.key.is_some()
    }

    fn problem(&self) -> Option<(&'static str, &'static str)> {
        match (&self.certificate, &self.key) {
            (Some(_), None) => Some(("tls.certificate", "it needs `security.tls.key` as well")),
            (None, Some(_)) => Some(("tls.key", "it needs `security.tls.certificate` as well")),
            _ => None,
        }
    }
}
