//! Why somebody is not served.

use std::time::Duration;

use super::roles::Permission;
use crate::audit::AuditError;

/// Why credentials are not taken. The audit log has it; the caller is told no more than that they are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// There are none.
    #[error("no credentials")]
    Missing,
    /// There are several.
    #[error("several credentials")]
    Several,
    /// They are neither a key nor a token.
    #[error("credentials that are neither a key nor a token")]
    Malformed,
    /// No key has that id, or it is not that key.
    #[error("unknown key")]
    UnknownKey,
    /// The key was revoked.
    #[error("revoked key")]
    RevokedKey,
    /// The key's time is over.
    #[error("expired key")]
    ExpiredKey,
    /// No tokens are taken.
    #[error("a token, where none are taken")]
    NoTokens,
    /// The token is signed by an algorithm that is not taken.
    #[error("token of an algorithm that is not taken")]
    Algorithm,
    /// No key that is known has signed the token.
    #[error("token of an unknown key")]
    UnknownSigner,
    /// The signature is another's.
    #[error("token with a wrong signature")]
    Signature,
    /// The token's time is over.
    #[error("expired token")]
    ExpiredToken,
    /// The token's time has not come.
    #[error("token that is not valid yet")]
    EarlyToken,
    /// The token is for others, of others, or lacks a claim.
    #[error("token with wrong or missing claims")]
    Claims,
}

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// 401: nobody knows who it is.
    #[error("the credentials are missing or not valid")]
    Unauthenticated(Refused),
    /// 403: they may not do that.
    #[error("this needs the permission `{permission}`{}", of(.kernel.as_deref()))]
    Forbidden {
        /// What they would need.
        permission: Permission,
        /// For which kernel.
        kernel: Option<String>,
    },
    /// 404: there is no such path.
    #[error("there is nothing at this path")]
    Nowhere,
    /// 429: their requests of late are more than one caller may ask.
    #[error("one caller may ask {most} requests a second, and these are more")]
    TooOften {
        /// Requests a second.
        most: u32,
        /// When there is room for one.
        wait: Duration,
    },
    /// 429: their open requests are as many as one caller may have.
    #[error("one caller may have {most} requests open at once, and so many are")]
    TooMany {
        /// Requests.
        most: u32,
    },
    /// 503: it could not be written down.
    #[error(transparent)]
    Unaudited(#[from] AuditError),
}

fn of(kernel: Option<&str>) -> String {
    kernel.map(|kernel| format!(" for the kernel `{kernel}`")).unwrap_or_default()
}

impl Denial {
    /// What all of them are called.
    pub(super) const KINDS: [&str; 6] = [
        "unauthenticated",
        "forbidden",
        "not_found",
        "rate_limited",
        "too_many_open",
        "audit_unavailable",
    ];

    /// What it is called in the audit log and in answers.
    pub fn kind(&self) -> &'static str {
        Self::KINDS[self.number()]
    }

    /// Its place among them.
    pub(super) fn number(&self) -> usize {
        match self {
            Self::Unauthenticated(_) => 0,
            Self::Forbidden { .. } => 1,
            Self::Nowhere => 2,
            Self::TooOften { .. } => 3,
            Self::TooMany { .. } => 4,
            Self::Unaudited(_) => 5,
        }
    }

    /// Why, as the audit log has it.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Unauthenticated(refused) => refused.to_string(),
            other => other.to_string(),
        }
    }
}
