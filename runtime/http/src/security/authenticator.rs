//! From credentials to a principal.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustkernel_core::config::{JwtConfig, SecurityConfig};

use super::denial::Refused;
use super::jwt::{JwtError, Verifier};
use super::keys::{self, KeysError, KeysFile};
use super::principal::Principal;

/// The name of the scheme, in any letters (RFC 9110, 11.1).
const SCHEME: &[u8] = b"bearer ";

/// Why nobody can be told from anybody.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecurityError {
    /// The file of keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The keys of tokens.
    #[error(transparent)]
    Jwt(#[from] JwtError),
}

/// What a request says of its sender.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credentials<'r> {
    /// Nothing.
    None,
    /// The value of its header `Authorization`.
    Header(&'r [u8]),
    /// Several such headers.
    Several,
}

impl<'r> Credentials<'r> {
    /// Those of a request, by the values of its headers `Authorization`.
    pub fn of(mut headers: impl Iterator<Item = &'r [u8]>) -> Self {
        match (headers.next(), headers.next()) {
            (None, _) => Self::None,
            (Some(header), None) => Self::Header(header),
            (Some(_), Some(_)) => Self::Several,
        }
    }
}

/// Tells who somebody is. Its files are read once, and again when it is [told to](Self::read_again).
#[derive(Debug)]
pub struct Authenticator {
    keys_file: PathBuf,
    is_keys_file_named: bool,
    jwt: JwtConfig,
    known: RwLock<Arc<Known>>,
}

/// Whom it knows.
#[derive(Debug)]
struct Known {
    keys: Option<KeysFile>,
    tokens: Option<Verifier>,
}

/// What was read again, and does not hold yet.
#[derive(Debug)]
#[must_use = "it holds when it is put in place"]
pub struct Fresh(Arc<Known>);

impl Authenticator {
    /// Reads the files that a configuration names.
    ///
    /// # Errors
    /// [`SecurityError`] if one cannot be used. The file of keys may be missing if tokens are taken, and the
    /// configuration names none.
    pub fn of(config: &SecurityConfig) -> Result<Self, SecurityError> {
        let keys_file = match &config.keys_file {
            Some(path) => path.clone(),
            None => keys::default_path()?,
        };
        let mut new = Self {
            keys_file,
            is_keys_file_named: config.keys_file.is_some(),
            jwt: config.jwt.clone(),
            known: RwLock::new(Arc::new(Known { keys: None, tokens: None })),
        };
        let Fresh(known) = new.read_again()?;
        new.known = RwLock::new(known);
        Ok(new)
    }

    /// Reads its files again. Nothing holds before it is put [in place](Self::put_in_place).
    ///
    /// # Errors
    /// [`SecurityError`] if one cannot be used.
    pub fn read_again(&self) -> Result<Fresh, SecurityError> {
        let tokens = Verifier::of(&self.jwt)?;
        let keys = match KeysFile::read(&self.keys_file) {
            Err(KeysError::Missing(_)) if tokens.is_some() && !self.is_keys_file_named => None,
            keys => Some(keys?),
        };
        Ok(Fresh(Arc::new(Known { keys, tokens })))
    }

    /// Has what was read hold, for every request from now on.
    pub fn put_in_place(&self, Fresh(known): Fresh) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Who somebody is.
    ///
    /// # Errors
    /// [`Refused`] if nobody knows.
    pub fn principal(&self, credentials: Credentials<'_>) -> Result<Principal, Refused> {
        let header = match credentials {
            Credentials::None => return Err(Refused::Missing),
            Credentials::Several => return Err(Refused::Several),
            Credentials::Header(header) => header,
        };
        let (scheme, token) = header.split_at_checked(SCHEME.len()).ok_or(Refused::Malformed)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(Refused::Malformed);
        }
        let known = Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner));
        if keys::is_meant(token) {
            known.keys.as_ref().ok_or(Refused::UnknownKey)?.principal(token)
        } else {
            known.tokens.as_ref().ok_or(Refused::NoTokens)?.principal(token)
        }
    }
}
