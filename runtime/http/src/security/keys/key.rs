//! One key.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::super::denial::Refused;
use super::super::principal::{Pattern, Principal};
use super::super::roles::Role;
use super::file::{KeysError, times};
use crate::clock;

/// What every key begins with.
const PREFIX: &str = "rk_";
/// The last second of the year 9999, the last that can be written: seconds since 1970.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);
/// Hexadecimal digits of an id, and of a secret.
const ID: usize = 12;
const SECRET: usize = 64;

/// A key in full. It is shown once, never written, and wiped from memory when it is dropped.
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no random bytes.
    fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; (ID + SECRET) / 2]);
        getrandom::fill(bytes.as_mut())?;
        // (With room for all of it, so that no shorter copy is left behind.)
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + ID + 1 + SECRET));
        text.push_str(PREFIX);
        for (at, byte) in bytes.iter().enumerate() {
            if at == ID / 2 {
                text.push('_');
            }
            text.extend(
                [byte >> 4, byte & 15]
                    .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])),
            );
        }
        Ok(Self(text))
    }

    /// The text, to be shown to whoever asked for it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// The id in a text that looks like a key.
pub(in super::super) fn id_of(text: &[u8]) -> Option<&str> {
    let rest = text.strip_prefix(PREFIX.as_bytes())?;
    let is_key = rest.len() == ID + 1 + SECRET && rest[ID] == b'_';
    is_key.then(|| str::from_utf8(&rest[..ID]).ok()).flatten()
}

/// Whether a text means to be a key.
pub(in super::super) fn is_meant(text: &[u8]) -> bool {
    text.starts_with(PREFIX.as_bytes())
}

fn hash(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// What is to be said of a key that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What it is for, in words.
    pub name: String,
    /// What its bearer may do.
    pub roles: Vec<Role>,
    /// To which kernels.
    pub kernels: Vec<Pattern>,
    /// How long it is good, if not for ever.
    pub lifetime: Option<Duration>,
}

fn end(now: SystemTime, lifetime: Duration) -> Result<SystemTime, KeysError> {
    let end = now.checked_add(lifetime).ok_or(KeysError::TooLong)?;
    if end <= UNIX_EPOCH + LAST_SECOND { Ok(end) } else { Err(KeysError::TooLong) }
}

/// Whether a key is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// It is.
    Good,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Good => "good",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        })
    }
}

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// Its id, which is a part of the key.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What its bearer may do.
    #[serde(with = "super::file::texts")]
    pub roles: Vec<Role>,
    /// To which kernels.
    #[serde(with = "super::file::texts")]
    pub kernels: Vec<Pattern>,
    /// When it was made.
    #[serde(with = "times::required")]
    pub created: SystemTime,
    /// When its time is over.
    #[serde(default, with = "times", skip_serializing_if = "Option::is_none")]
    pub expires: Option<SystemTime>,
    /// When it was revoked.
    #[serde(default, with = "times", skip_serializing_if = "Option::is_none")]
    pub revoked: Option<SystemTime>,
    /// The SHA-256 of the key.
    #[serde(with = "super::file::hex")]
    pub(super) sha256: [u8; 32],
}

impl KeyRecord {
    /// Makes a key, and what is kept of it.
    ///
    /// # Errors
    /// If it would be good for too long, or the system has no random bytes.
    pub(super) fn make(new: NewKey, now: SystemTime) -> Result<(ApiKey, Self), KeysError> {
        let expires = new.lifetime.map(|lifetime| end(now, lifetime)).transpose()?;
        let key = ApiKey::generate().map_err(KeysError::Random)?;
        let text = key.0.as_bytes();
        let record = Self {
            id: id_of(text).expect("invariant: it was just made as a key").to_owned(),
            name: new.name,
            roles: new.roles,
            kernels: new.kernels,
            created: now,
            expires,
            revoked: None,
            sha256: hash(text),
        };
        Ok((key, record))
    }

    /// Whether it is good now.
    pub fn state(&self) -> KeyState {
        match (self.revoked, self.expires) {
            (Some(_), _) => KeyState::Revoked,
            (None, Some(expires)) if expires <= clock::wall() => KeyState::Expired,
            (None, _) => KeyState::Good,
        }
    }

    /// Who bears the key.
    pub(super) fn bearer(&self) -> Principal {
        Principal::new(format!("key:{}", self.id), self.roles.clone(), self.kernels.clone())
    }

    /// Whether the text is this key, and it is good.
    pub(super) fn check(&self, text: &[u8]) -> Result<(), Refused> {
        if !bool::from(hash(text).ct_eq(&self.sha256)) {
            return Err(Refused::UnknownKey);
        }
        match self.state() {
            KeyState::Good => Ok(()),
            KeyState::Expired => Err(Refused::ExpiredKey),
            KeyState::Revoked => Err(Refused::RevokedKey),
        }
    }
}
