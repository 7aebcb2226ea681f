//! Keys and tokens to call with, real and forged.

#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto, get_current_timestamp};
use rustkernel_core::config::{JwtAlgorithm, JwtConfig, SecurityConfig};
use rustkernel_http::security::keys::{KeysFile, NewKey};
use rustkernel_http::security::{Authenticator, Pattern, Principal, Refused, Role};
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "rustkernel";

/// Who signs tokens: an Ed25519 key made of a seed.
pub(crate) struct Signer {
    pub(crate) key: EncodingKey,
    pub(crate) kid: String,
}

impl Signer {
    pub(crate) fn new(seed: u8) -> Self {
        // (PKCS #8, RFC 8410: a header and the seed.)
        const HEADER: [u8; 16] =
            [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        let der = [HEADER.as_slice(), &[seed; 32]].concat();
        Self { key: EncodingKey::from_ed_der(&der), kid: format!("key-{seed}") }
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::EdDSA).unwrap();
        jwk.common.key_id = Some(self.kid.clone());
        serde_json::to_value(jwk).unwrap()
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": self.kid })
    }

    /// A token of these parts.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header), base64(claims));
        let signature = crypto::sign(message.as_bytes(), &self.key, Algorithm::EdDSA).unwrap();
        format!("{message}.{signature}")
    }

    /// A token that is taken.
    pub(crate) fn token(&self) -> String {
        self.sign(&self.header(), &claims())
    }
}

/// Claims of a token that is taken.
pub(crate) fn claims() -> Value {
    let now = get_current_timestamp();
    json!({
        "sub": "ada", "iss": ISSUER, "aud": AUDIENCE, "nbf": now - 60, "exp": now + 600,
        "role": "executor",
    })
}

/// As JSON, in base64url without padding.
pub(crate) fn base64(value: &Value) -> String {
    base64_of(value.to_string().as_bytes())
}

pub(crate) fn base64_of(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A file of API keys and one of tokens' keys.
pub(crate) struct Files {
    pub(crate) directory: tempfile::TempDir,
}

impl Files {
    pub(crate) fn new(signers: &[&Signer]) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.trust(signers);
        files
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.directory.path().join("keys.json")
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.directory.path().join("jwks.json")
    }

    pub(crate) fn trust(&self, signers: &[&Signer]) {
        let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
        write(&self.tokens(), json!({ "keys": keys }).to_string());
    }

    /// A new key, its id and its text.
    pub(crate) fn key(&self, roles: &[Role], kernels: &str) -> (String, String) {
        let new = NewKey {
            name: "test".into(),
            roles: roles.to_vec(),
            kernels: vec![kernels.parse::<Pattern>().unwrap()],
            lifetime: None,
        };
        let (key, record) = KeysFile::create(&self.keys(), new).unwrap();
        (record.id, key.reveal().to_owned())
    }

    pub(crate) fn config(&self) -> SecurityConfig {
        SecurityConfig {
            rbac_enabled: true,
            audit_logging: true,
            keys_file: Some(self.keys()),
            jwt: JwtConfig {
                keys_file: Some(self.tokens()),
                algorithms: vec![JwtAlgorithm::EdDSA],
                issuer: Some(ISSUER.into()),
                audience: Some(AUDIENCE.into()),
                ..JwtConfig::default()
            },
            audit: rustkernel_core::config::AuditConfig {
                path: Some(self.audit()),
                ..Default::default()
            },
            ..SecurityConfig::default()
        }
    }

    pub(crate) fn audit(&self) -> PathBuf {
        self.directory.path().join("audit.jsonl")
    }

    /// What the audit log says.
    pub(crate) fn audited(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.audit()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Who bears a key or token.
pub(crate) fn bearer(authenticator: &Authenticator, token: &str) -> Result<Principal, Refused> {
    use rustkernel_http::security::Credentials;
    authenticator.principal(Credentials::Header(format!("Bearer {token}").as_bytes()))
}
