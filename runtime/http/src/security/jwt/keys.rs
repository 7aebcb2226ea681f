//! The keys that tokens are signed by: a JWK set, or public keys in PEM.

use std::io;
use std::path::{Path, PathBuf};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Header};
use serde::Deserialize;

use super::super::trusted;

/// Most keys of a file: each may have to be tried.
const MOST: usize = 16;
/// Fewest bytes of a shared secret.
const SHORTEST_SECRET: usize = 32;

/// Why keys of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// The file cannot be read.
    #[error("the keys of tokens, {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It has no keys, or a key is of no use.
    #[error("the keys of tokens, {path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A key that signs tokens.
#[derive(Debug)]
pub(super) struct SigningKey {
    pub(super) key: DecodingKey,
    id: Option<String>,
    algorithms: Vec<Algorithm>,
}

impl SigningKey {
    /// Whether a token of that header may be of this key. A key without an id may have signed any.
    pub(super) fn may_have_signed(&self, header: &Header, only: bool) -> bool {
        let named = match (&self.id, &header.kid) {
            (Some(own), Some(named)) => own == named,
            (Some(_), None) => only,
            (None, _) => true,
        };
        named && self.algorithms.contains(&header.alg)
    }
}

/// The keys of a file that may sign by one of the algorithms.
///
/// # Errors
/// [`JwtError`].
pub(super) fn read(path: &Path, taken: &[Algorithm]) -> Result<Vec<SigningKey>, JwtError> {
    let io = |error| JwtError::Io { path: path.to_owned(), error };
    let bytes = trusted::read(path).map_err(io)?;
    let keys = match str::from_utf8(&bytes) {
        Ok(text) if text.contains("-----BEGIN ") => of_pem(text, taken),
        _ => of_set(&bytes, taken),
    };
    let invalid = |reason: String| JwtError::Invalid { path: path.to_owned(), reason };
    let keys = keys.map_err(invalid)?;
    if keys.iter().any(|key| key.key.family() == AlgorithmFamily::Hmac) {
        // Whoever can read a shared secret can make tokens.
        trusted::read_secret(path).map_err(io)?;
    }
    match keys.len() {
        0 => Err(invalid("no key signs by one of `security.jwt.algorithms`".into())),
        1..=MOST => Ok(keys),
        count => Err(invalid(format!("{count} keys are more than {MOST}"))),
    }
}

/// A set, each key as it stands: one that nobody knows is passed over.
#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

fn of_set(bytes: &[u8], taken: &[Algorithm]) -> Result<Vec<SigningKey>, String> {
    let set: Set = serde_json::from_slice(bytes).map_err(|_| "it is no JWK set, and no PEM")?;
    let known = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let encrypts = |key: &Jwk| {
        matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption))
            || matches!(key.algorithm, AlgorithmParameters::Other(_))
    };
    let signs = known.filter(|key| !encrypts(key));
    let keys = signs.map(|key| of_jwk(&key, taken));
    let keys: Result<Vec<_>, String> = keys.collect();
    Ok(keys?.into_iter().flatten().collect())
}

/// A key of a set, if it signs by one of the algorithms.
fn of_jwk(jwk: &Jwk, taken: &[Algorithm]) -> Result<Option<SigningKey>, String> {
    let id = jwk.common.key_id.clone();
    let wrong = |why: &str| format!("the key `{}` {why}", id.as_deref().unwrap_or("without an id"));
    let key = DecodingKey::from_jwk(jwk).map_err(|_| wrong("is malformed"))?;
    check_length(&key).map_err(wrong)?;
    let own = jwk.common.key_algorithm.map(|own| own.to_string());
    let fits = |algorithm: &&Algorithm| {
        let named = own.as_ref().is_none_or(|own| *own == format!("{algorithm:?}"));
        named && key.family() == algorithm.family() && is_of_curve(jwk, **algorithm)
    };
    let algorithms: Vec<Algorithm> = taken.iter().filter(fits).copied().collect();
    Ok((!algorithms.is_empty()).then_some(SigningKey { key, id, algorithms }))
}

/// ECDSA by a curve is by one hash.
fn is_of_curve(jwk: &Jwk, algorithm: Algorithm) -> bool {
    match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(key) => match algorithm {
            Algorithm::ES256 => key.curve == EllipticCurve::P256,
            _ => key.curve == EllipticCurve::P384,
        },
        AlgorithmParameters::OctetKeyPair(key) => key.curve == EllipticCurve::Ed25519,
        _ => true,
    }
}

fn check_length(key: &DecodingKey) -> Result<(), &'static str> {
    let length = key.try_get_as_bytes().map(<[u8]>::len).unwrap_or_default();
    match key.family() {
        AlgorithmFamily::Hmac if length < SHORTEST_SECRET => {
            Err("is a secret of less than 32 bytes, which can be guessed")
        }
        // (The library takes the first 32 bytes, and would panic if there were fewer.)
        AlgorithmFamily::Ed if length != 32 => Err("is no public key of Ed25519"),
        _ => Ok(()),
    }
}

fn of_pem(text: &str, taken: &[Algorithm]) -> Result<Vec<SigningKey>, String> {
    let blocks = text.split("-----BEGIN ").skip(1).map(|rest| format!("-----BEGIN {rest}"));
    let keys = blocks.enumerate().map(|(at, block)| {
        let key = of_block(block.as_bytes());
        let key =
            key.ok_or_else(|| format!("block {} is no public key of RSA, EC or Ed25519", at + 1))?;
        check_length(&key).map_err(|why| format!("the key of block {} {why}", at + 1))?;
        let fits = |algorithm: &&Algorithm| algorithm.family() == key.family();
        let algorithms: Vec<Algorithm> = taken.iter().filter(fits).copied().collect();
        Ok(SigningKey { key, id: None, algorithms })
    });
    let keys: Result<Vec<SigningKey>, String> = keys.collect();
    Ok(keys?.into_iter().filter(|key| !key.algorithms.is_empty()).collect())
}

fn of_block(block: &[u8]) -> Option<DecodingKey> {
    let key = DecodingKey::from_rsa_pem(block).or_else(|_| DecodingKey::from_ec_pem(block));
    key.or_else(|_| DecodingKey::from_ed_pem(block)).ok()
}
