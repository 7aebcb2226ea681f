//! What callers say of who they are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rustkernel_core::config::{JwtAlgorithm, JwtConfig, SecurityConfig};
use rustkernel_http::security::{Authenticator, Credentials};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The one API key that is good.
const KEY: &str =
    "rk_0123456789ab_0000000000000000000000000000000000000000000000000000000000000000";
/// What is kept of it.
const KEY_HASH: &str = "ad225d510d9f9d4bba83845b919bf807e872f30a78e23841fdf5b2a3bd7b5149";
/// What tokens are signed by.
const SECRET: &[u8; 32] = b"what nobody knows but this file.";
const ISSUER: &str = "issuer";
const AUDIENCE: &str = "rustkernel";

static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
    let folder = TempDir::new().expect("a folder");
    let write = |name: &str, content: Value| {
        let path = folder.path().join(name);
        fs::write(&path, content.to_string()).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its owner's alone");
        Some(path)
    };
    let key = json!({
        "id": &KEY[3..15], "name": "", "roles": ["executor"], "kernels": ["g*"],
        "created": "2026-01-01T00:00:00Z", "sha256": KEY_HASH,
    });
    let signer = json!({ "kty": "oct", "alg": "HS256", "k": base64(SECRET) });
    let config = SecurityConfig {
        keys_file: write("keys.json", json!({ "keys": [key] })),
        jwt: JwtConfig {
            keys_file: write("jwks.json", json!({ "keys": [signer] })),
            algorithms: vec![JwtAlgorithm::HS256],
            issuer: Some(ISSUER.into()),
            audience: Some(AUDIENCE.into()),
            ..JwtConfig::default()
        },
        ..SecurityConfig::default()
    };
    Authenticator::of(&config).expect("its files are sound")
});

/// After a first byte that is even, the value of a header; else a token's header and claims, a line each,
/// which the right key signs.
pub fn credentials(bytes: &[u8]) {
    match bytes.split_first() {
        Some((kind, header)) if kind % 2 == 0 => as_it_comes(header),
        Some((_, parts)) => signed(parts),
        None => {}
    }
}

/// A header is taken only if it bears the key, or a token that the right key has signed.
fn as_it_comes(header: &[u8]) {
    let Ok(principal) = AUTHENTICATOR.principal(Credentials::Header(header)) else { return };
    let token = str::from_utf8(&header["bearer ".len()..]).expect("keys and tokens are ASCII");
    match principal.name().strip_prefix("key:") {
        Some(id) => assert_eq!((id, token), (&KEY[3..15], KEY)),
        None => {
            let (message, signature) = token.rsplit_once('.').expect("it has parts");
            assert_eq!(sign(message), signature);
        }
    }
}

/// A token that is signed is taken only if its claims are what they have to be.
fn signed(parts: &[u8]) {
    let at = parts.iter().position(|byte| *byte == b'\n').unwrap_or(parts.len());
    let (header, claims) = (&parts[..at], parts.get(at + 1..).unwrap_or_default());
    let message = format!("{}.{}", base64(header), base64(claims));
    let bearer = format!("Bearer {message}.{}", sign(&message));
    let taken = AUTHENTICATOR.principal(Credentials::Header(bearer.as_bytes()));
    let Ok(principal) = taken else { return };
    let header: Value = serde_json::from_slice(header).expect("the header is JSON");
    assert_eq!(header["alg"], "HS256");
    let claims: Value = serde_json::from_slice(claims).expect("the claims are JSON");
    assert_eq!(format!("jwt:{}", claims["sub"].as_str().expect("a text")), principal.name());
    let is_or_has = |claim: &str, wanted: &str| {
        claims[claim] == wanted
            || claims[claim].as_array().is_some_and(|all| all.contains(&json!(wanted)))
    };
    assert!(is_or_has("iss", ISSUER) && is_or_has("aud", AUDIENCE), "{claims}");
    let now = jsonwebtoken::get_current_timestamp() as f64;
    let (begins, ends) = (claims["nbf"].as_f64(), claims["exp"].as_f64());
    assert!(begins.expect("a time") < now + 40.0 && ends.expect("a time") > now - 40.0, "{claims}");
}

fn sign(message: &str) -> String {
    let key = EncodingKey::from_secret(SECRET);
    crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("signed")
}

/// In base64url without padding.
fn base64(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
