//! Tokens of an identity provider (JWT, RFC 7519).
//!
//! The configuration says which algorithms are taken, and the file which keys sign by them; a token only
//! chooses among those. Nothing that a token points to (`jku`, `x5u`, `jwk`) is looked at.

mod keys;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use rustkernel_core::config::{JwtAlgorithm, JwtConfig};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::denial::Refused;
use super::principal::{Pattern, Principal};
use super::roles::Role;
pub use keys::JwtError;
use keys::SigningKey;

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 8 * 1024;
/// The claim that lists patterns of kernels. A token without it is for all of them.
const KERNELS_CLAIM: &str = "kernels";

/// What tokens have to be.
#[derive(Debug)]
pub(super) struct Verifier {
    keys: Vec<SigningKey>,
    /// For each algorithm that is taken.
    rules: Vec<(Algorithm, Validation)>,
    role_claim: String,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Verifier {
    /// Reads the keys that a configuration names, if it names some.
    ///
    /// # Errors
    /// [`JwtError`] if they cannot be read, or are none.
    pub(super) fn of(config: &JwtConfig) -> Result<Option<Self>, JwtError> {
        let Some(path) = &config.keys_file else { return Ok(None) };
        let algorithms: Vec<Algorithm> =
            config.algorithms.iter().map(|name| algorithm(*name)).collect();
        let keys = keys::read(path, &algorithms)?;
        let rules = algorithms.into_iter().map(|algorithm| (algorithm, rules(algorithm, config)));
        Ok(Some(Self { keys, rules: rules.collect(), role_claim: config.role_claim.clone() }))
    }

    /// Who bears a token.
    pub(super) fn principal(&self, token: &[u8]) -> Result<Principal, Refused> {
        if token.len() > LONGEST {
            return Err(Refused::Malformed);
        }
        let header = decode_header(token).map_err(|error| refused(error.kind()))?;
        // What has to be understood (RFC 7515, 4.1.11) is not.
        if header.crit.is_some() {
            return Err(Refused::Claims);
        }
        let rules = self.rules.iter().find(|(algorithm, _)| *algorithm == header.alg);
        let (_, rules) = rules.ok_or(Refused::Algorithm)?;
        let claims = self.claims(token, &header, rules)?;
        if claims.sub.is_empty() {
            return Err(Refused::Claims); // (The log is to name somebody.)
        }
        Ok(Principal::new(format!("jwt:{}", claims.sub), self.roles(&claims), kernels(&claims)?))
    }

    /// The claims, by the first key that has signed them.
    fn claims(&self, token: &[u8], header: &Header, rules: &Validation) -> Result<Claims, Refused> {
        let only = self.keys.len() == 1;
        let mut outcome = Err(Refused::UnknownSigner);
        for key in self.keys.iter().filter(|key| key.may_have_signed(header, only)) {
            match decode::<Claims>(token, &key.key, rules) {
                Ok(token) => return Ok(token.claims),
                Err(error) => outcome = Err(refused(error.kind())),
            }
            if outcome.as_ref().err() != Some(&Refused::Signature) {
                break; // It is that key's; something else is wrong.
            }
        }
        outcome
    }

    fn roles(&self, claims: &Claims) -> Vec<Role> {
        let names = match claims.others.get(&self.role_claim) {
            Some(Value::Array(names)) => names.as_slice(),
            Some(name) => std::slice::from_ref(name),
            None => &[],
        };
        names.iter().filter_map(|name| name.as_str()?.parse().ok()).collect()
    }
}

fn kernels(claims: &Claims) -> Result<Vec<Pattern>, Refused> {
    let Some(listed) = claims.others.get(KERNELS_CLAIM) else { return Ok(vec![Pattern::any()]) };
    let listed = listed.as_array().ok_or(Refused::Claims)?;
    let patterns = listed.iter().map(|pattern| pattern.as_str()?.parse().ok());
    patterns.collect::<Option<_>>().ok_or(Refused::Claims)
}

fn rules(algorithm: Algorithm, config: &JwtConfig) -> Validation {
    let mut rules = Validation::new(algorithm);
    rules.leeway = config.leeway.as_secs();
    rules.validate_nbf = true;
    rules.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    rules.set_issuer(&config.issuer.iter().collect::<Vec<_>>());
    rules.set_audience(&config.audience.iter().collect::<Vec<_>>());
    rules
}

fn refused(error: &ErrorKind) -> Refused {
    match error {
        ErrorKind::InvalidSignature | ErrorKind::InvalidEcdsaKey => Refused::Signature,
        ErrorKind::ExpiredSignature => Refused::ExpiredToken,
        ErrorKind::ImmatureSignature => Refused::EarlyToken,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => Refused::Algorithm,
        ErrorKind::InvalidToken
        | ErrorKind::Base64(_)
        | ErrorKind::Json(_)
        | ErrorKind::Utf8(_) => Refused::Malformed,
        _ => Refused::Claims,
    }
}

fn algorithm(name: JwtAlgorithm) -> Algorithm {
    match name {
        JwtAlgorithm::HS256 => Algorithm::HS256,
        JwtAlgorithm::HS384 => Algorithm::HS384,
        JwtAlgorithm::HS512 => Algorithm::HS512,
        JwtAlgorithm::RS256 => Algorithm::RS256,
        JwtAlgorithm::RS384 => Algorithm::RS384,
        JwtAlgorithm::RS512 => Algorithm::RS512,
        JwtAlgorithm::PS256 => Algorithm::PS256,
        JwtAlgorithm::PS384 => Algorithm::PS384,
        JwtAlgorithm::PS512 => Algorithm::PS512,
        JwtAlgorithm::ES256 => Algorithm::ES256,
        JwtAlgorithm::ES384 => Algorithm::ES384,
        JwtAlgorithm::EdDSA => Algorithm::EdDSA,
    }
}
