//! Keys and tokens: which are taken, and that no forged one is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

mod identities;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use identities::{Files, Signer, base64, base64_of, bearer, claims, write};
use jsonwebtoken::{Algorithm, EncodingKey, crypto, get_current_timestamp};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use rand::RngExt;
use rustkernel_core::config::{JwtAlgorithm, SecurityConfig};
use rustkernel_http::security::keys::{KeysError, KeysFile, NewKey};
use rustkernel_http::security::{
    Asked, Authenticator, Credentials, Denial, Guard, Pattern, Permission, Refused, RequestId,
    Role, SecurityError,
};
use serde_json::{Value, json};

#[test]
fn keys_are_made_kept_as_hashes_and_revoked() {
    let files = Files::new(&[]);
    let (id, key) = files.key(&[Role::Executor], "g*");
    let (other, _) = files.key(&[Role::Viewer], "*");
    let text = fs::read_to_string(files.keys()).unwrap();
    let secret = key.rsplit('_').next().unwrap();
    assert!(text.contains(&id) && !text.contains(secret), "{text}");
    assert_eq!(fs::metadata(files.keys()).unwrap().mode() & 0o777, 0o600);

    // (Whoever else may read it, may still.)
    fs::set_permissions(files.keys(), fs::Permissions::from_mode(0o640)).unwrap();
    files.key(&[], "*");
    assert_eq!(fs::metadata(files.keys()).unwrap().mode() & 0o777, 0o640);

    let config = SecurityConfig { jwt: Default::default(), ..files.config() };
    let authenticator = Authenticator::of(&config).unwrap();
    let principal = bearer(&authenticator, &key).unwrap();
    assert_eq!((principal.name(), principal.roles()), (&*format!("key:{id}"), vec!["executor"]));
    assert!(principal.may(Permission::Inference, Some("gemm")));
    assert!(!principal.may(Permission::Inference, Some("softmax")));
    assert!(!principal.may(Permission::Drain, None));
    assert_eq!(bearer(&authenticator, &Signer::new(1).token()), Err(Refused::NoTokens));

    KeysFile::revoke(&files.keys(), &id).unwrap();
    assert!(bearer(&authenticator, &key).is_ok(), "it holds until it is read again");
    authenticator.put_in_place(authenticator.read_again().unwrap());
    assert_eq!(bearer(&authenticator, &key), Err(Refused::RevokedKey));
    assert!(matches!(KeysFile::revoke(&files.keys(), "nobody"), Err(KeysError::Unknown { .. })));
    let ids: Vec<String> =
        KeysFile::read(&files.keys()).unwrap().keys().map(|key| key.id.clone()).collect();
    assert!(ids.contains(&id) && ids.contains(&other) && ids.len() == 3);
}

#[test]
fn keys_are_made_and_revoked_in_the_file_that_a_link_leads_to() {
    let files = Files::new(&[]);
    let (id, _) = files.key(&[], "*");
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("keys.json");
    symlink(files.keys(), &link).unwrap();
    KeysFile::revoke(&link, &id).unwrap();
    let new = NewKey { name: "n".into(), roles: vec![], kernels: vec![], lifetime: None };
    KeysFile::create(&link, new.clone()).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), files.keys());
    let keys = KeysFile::read(&files.keys()).unwrap();
    assert_eq!(keys.keys().count(), 2);
    assert!(keys.keys().any(|key| key.id == id && key.revoked.is_some()));

    fs::remove_file(files.keys()).unwrap();
    assert!(matches!(KeysFile::create(&link, new), Err(KeysError::Io { .. })), "it leads nowhere");
}

#[test]
fn a_key_whose_time_is_over_is_refused() {
    let files = Files::new(&[&Signer::new(1)]);
    let key = |lifetime| {
        let new = NewKey {
            name: "short".into(),
            roles: vec![Role::Admin],
            kernels: vec![Pattern::any()],
            lifetime: Some(lifetime),
        };
        KeysFile::create(&files.keys(), new).unwrap().0.reveal().to_owned()
    };
    let (over, good) = (key(Duration::ZERO), key(Duration::from_secs(600)));
    let authenticator = Authenticator::of(&files.config()).unwrap();
    assert_eq!(bearer(&authenticator, &over), Err(Refused::ExpiredKey));
    bearer(&authenticator, &good).unwrap();
}

#[test]
fn a_key_that_outlives_the_year_9999_is_not_made() {
    const YEAR: u64 = 31_557_600;
    let files = Files::new(&[]);
    let key = |years: u64| {
        let lifetime = Some(Duration::from_secs(years * YEAR));
        let new = NewKey { name: "long".into(), roles: vec![], kernels: vec![], lifetime };
        KeysFile::create(&files.keys(), new)
    };
    key(1000).unwrap();
    for years in [9000, 500_000_000_000] {
        assert!(matches!(key(years), Err(KeysError::TooLong)), "{years}");
    }
    assert_eq!(KeysFile::read(&files.keys()).unwrap().keys().count(), 1);
}

#[test]
fn keys_made_at_once_are_all_there() {
    let files = Arc::new(Files::new(&[]));
    let makers = (0..8).map(|_| {
        let files = Arc::clone(&files);
        std::thread::spawn(move || (0..5).map(|_| files.key(&[], "*").0).collect::<Vec<_>>())
    });
    let made: Vec<String> =
        makers.collect::<Vec<_>>().into_iter().flat_map(|maker| maker.join().unwrap()).collect();
    let kept = KeysFile::read(&files.keys()).unwrap();
    assert_eq!(kept.keys().count(), 40);
    assert!(made.iter().all(|id| kept.keys().any(|key| key.id == *id)));
}

#[test]
fn files_that_are_missing_malformed_or_anybodys_are_refused_and_change_nothing() {
    let (files, signer) = (Files::new(&[&Signer::new(1)]), Signer::new(1));
    let missing = Authenticator::of(&files.config()).unwrap_err();
    assert!(missing.to_string().contains("`rustkernel key create"), "{missing}");
    let (_, key) = files.key(&[Role::Admin], "*");
    let authenticator = Authenticator::of(&files.config()).unwrap();
    let good = fs::read(files.keys()).unwrap();
    let holds = || {
        bearer(&authenticator, &key).unwrap();
        bearer(&authenticator, &signer.token()).unwrap();
    };
    let refused = |why: &str| {
        let error = authenticator.read_again().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        holds();
    };
    for wrong in ["", "{", "[]", "{\"keys\":[{}]}", "{\"keys\":[], \"more\": 1}"] {
        write(&files.keys(), wrong);
        refused("malformed");
    }
    let twice: Value = serde_json::from_slice(&good).unwrap();
    write(&files.keys(), json!({ "keys": [twice["keys"][0], twice["keys"][0]] }).to_string());
    refused("two keys have the id");
    write(&files.keys(), &good);
    fs::set_permissions(files.keys(), fs::Permissions::from_mode(0o620)).unwrap();
    refused("others may write it");
    write(&files.keys(), &good);

    let mut short = signer.jwk();
    short["x"] = json!("AAAA");
    let secret = json!({ "kty": "oct", "k": "c2hvcnQ", "alg": "EdDSA" });
    for (tokens, why) in [
        ("".to_owned(), "no JWK set"),
        (json!({ "keys": [] }).to_string(), "no key signs"),
        (json!({ "keys": [short] }).to_string(), "no public key of Ed25519"),
        (json!({ "keys": [secret] }).to_string(), "can be guessed"),
        (json!({ "keys": vec![signer.jwk(); 17] }).to_string(), "more than 16"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".into(), "block 1"),
    ] {
        write(&files.tokens(), tokens);
        refused(why);
    }
    files.trust(&[&signer]);
    authenticator.put_in_place(authenticator.read_again().unwrap());
    holds();
}

#[test]
fn a_secret_that_signs_tokens_may_be_read_by_its_owner_alone() {
    let files = Files::new(&[]);
    files.key(&[], "*");
    let secret = json!({ "kty": "oct", "k": base64_of(&[7; 32]), "alg": "HS256" });
    write(&files.tokens(), json!({ "keys": [secret] }).to_string());
    let mut config = files.config();
    config.jwt.algorithms = vec![JwtAlgorithm::HS256];
    Authenticator::of(&config).unwrap();
    fs::set_permissions(files.tokens(), fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Authenticator::of(&config).unwrap_err().to_string();
    assert!(refused.contains("others may read"), "{refused}");
}

#[test]
fn tokens_say_who_their_bearer_is() {
    let signer = Signer::new(1);
    let files = Files::new(&[&signer]);
    let config = SecurityConfig { keys_file: None, ..files.config() };
    // (No keys but tokens' need be there, if nobody named a file.)
    let authenticator = Authenticator::of(&config).unwrap();
    let principal = bearer(&authenticator, &signer.token()).unwrap();
    assert_eq!((principal.name(), principal.roles()), ("jwt:ada", vec!["executor"]));
    assert!(principal.may(Permission::Inference, Some("anything")));

    let mut said = claims();
    said["role"] = json!(["viewer", "root", "operator", 3]);
    said["kernels"] = json!(["g*", "saxpy"]);
    said["aud"] = json!(["others", identities::AUDIENCE]);
    let principal = bearer(&authenticator, &signer.sign(&signer.header(), &said)).unwrap();
    assert_eq!(principal.roles(), ["viewer", "operator"]);
    assert!(principal.may(Permission::Restart, Some("gemm")));
    assert!(!principal.may(Permission::Restart, Some("softmax")));
    said["kernels"] = json!("g*");
    let wrong = bearer(&authenticator, &signer.sign(&signer.header(), &said));
    assert_eq!(wrong, Err(Refused::Claims));
    // Without a role one is known, and may do nothing.
    said.as_object_mut().unwrap().retain(|name, _| name != "role" && name != "kernels");
    let principal = bearer(&authenticator, &signer.sign(&signer.header(), &said)).unwrap();
    assert!(Permission::all().all(|permission| !principal.may(permission, None)));
}

#[test]
fn signing_keys_are_rotated() {
    let (old, new) = (Signer::new(1), Signer::new(2));
    let files = Files::new(&[&old]);
    files.key(&[], "*");
    let authenticator = Authenticator::of(&files.config()).unwrap();
    let takes = |signer: &Signer| bearer(&authenticator, &signer.token()).is_ok();
    assert_eq!((takes(&old), takes(&new)), (true, false));
    for (signers, expected) in [(&[&old, &new][..], (true, true)), (&[&new], (false, true))] {
        files.trust(signers);
        authenticator.put_in_place(authenticator.read_again().unwrap());
        assert_eq!((takes(&old), takes(&new)), expected);
    }
    // A token that names no key is the only one's, and nobody's if there are several.
    let unnamed = new.sign(&json!({ "alg": "EdDSA" }), &claims());
    bearer(&authenticator, &unnamed).unwrap();
    files.trust(&[&old, &new]);
    authenticator.put_in_place(authenticator.read_again().unwrap());
    assert_eq!(bearer(&authenticator, &unnamed), Err(Refused::UnknownSigner));
}

#[test]
fn public_keys_of_rsa_in_pem_are_taken_by_the_algorithms_that_are_named() {
    let files = Files::new(&[]);
    files.key(&[], "*");
    write(&files.tokens(), include_str!("data/rsa.pub.pem"));
    let token = include_str!("data/rsa.jwt").trim();
    let mut config = files.config();
    for (algorithm, taken) in [(JwtAlgorithm::RS256, true), (JwtAlgorithm::PS256, false)] {
        config.jwt.algorithms = vec![algorithm];
        let principal = bearer(&Authenticator::of(&config).unwrap(), token);
        assert_eq!(principal.is_ok(), taken, "{principal:?}");
    }
    config.jwt.algorithms = vec![JwtAlgorithm::EdDSA];
    let error = Authenticator::of(&config).unwrap_err();
    assert!(matches!(error, SecurityError::Jwt(_)), "{error}");
}

#[test]
fn no_flipped_bit_of_a_key_or_token_is_taken() {
    let signer = Signer::new(1);
    let files = Files::new(&[&signer]);
    let (_, key) = files.key(&[Role::Admin], "*");
    let authenticator = Authenticator::of(&files.config()).unwrap();
    for good in [key, signer.token()] {
        bearer(&authenticator, &good).unwrap();
        let header = format!("Bearer {good}").into_bytes();
        let begin = header.len() - good.len();
        for at in begin..header.len() {
            for bit in 0..8 {
                let mut header = header.clone();
                header[at] ^= 1 << bit;
                let outcome = authenticator.principal(Credentials::Header(&header));
                assert!(outcome.is_err(), "bit {bit} of byte {at}: {outcome:?}");
            }
        }
    }
}

/// What the tests of random texts have in common.
static KNOWN: LazyLock<(Files, Authenticator, [String; 2])> = LazyLock::new(|| {
    let signer = Signer::new(1);
    let files = Files::new(&[&signer]);
    let (_, key) = files.key(&[Role::Admin], "*");
    let authenticator = Authenticator::of(&files.config()).unwrap();
    (files, authenticator, [key, signer.token()])
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_changed_text_is_taken_or_makes_it_panic(
        which in 0..2_usize,
        at in any::<prop::sample::Index>(),
        out in 0..4_usize,
        new in prop::collection::vec(any::<u8>(), 0..4),
        parts in prop::collection::vec(0..6_usize, 0..8),
    ) {
        let (_, authenticator, good) = &*KNOWN;
        let good = format!("Bearer {}", good[which]).into_bytes();
        let mut changed = good.clone();
        let from = at.index(changed.len());
        let to = (from + out).min(changed.len());
        changed.splice(from..to, new);
        // (The scheme's letters may be large or small.)
        if !changed.eq_ignore_ascii_case(&good) {
            prop_assert!(authenticator.principal(Credentials::Header(&changed)).is_err());
        }
        let pieces = [".", "e30", "eyJhbGciOiJFZERTQSJ9", "rk_", "\u{0}", "AAAA"];
        let text: String = parts.into_iter().map(|part| pieces[part]).collect();
        prop_assert!(bearer(authenticator, &text).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_changed_file_of_keys_makes_it_panic(
        at in any::<prop::sample::Index>(),
        out in 0..40_usize,
        new in "[a-zA-Z0-9\"{}:,\\[\\]-]{0,4}",
    ) {
        let files = Files::new(&[&Signer::new(1)]);
        files.key(&[Role::Admin], "*");
        for path in [files.keys(), files.tokens()] {
            let mut bytes = fs::read(&path).unwrap();
            let from = at.index(bytes.len());
            let to = (from + out).min(bytes.len());
            bytes.splice(from..to, new.bytes());
            write(&path, bytes);
        }
        // What is read in spite of it can be asked.
        if let Ok(authenticator) = Authenticator::of(&files.config()) {
            bearer(&authenticator, &Signer::new(1).token()).ok();
        }
    }
}

/// Who forges, and what they know: everything but a secret key.
struct Forger {
    signer: Signer,
    key: String,
    revoked: String,
    random: TestRng,
}

/// A class of forgeries: its name, and how one is made.
type Class = (&'static str, fn(&mut Forger) -> Vec<String>);

impl Forger {
    fn number(&mut self, below: u64) -> u64 {
        self.random.random_range(0..below)
    }

    /// A token, signed properly, with one thing changed in its claims.
    fn claiming(&self, change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut claims = claims();
        change(&mut claims);
        vec![format!("Bearer {}", self.signer.sign(&self.signer.header(), &claims))]
    }

    /// A token with another header, signed by whom it was before.
    fn headed(&self, change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut header = self.signer.header();
        change(&mut header);
        vec![format!("Bearer {}", self.signer.sign(&header, &claims()))]
    }

    /// The three parts of a token.
    fn parts(&self) -> [String; 3] {
        let token = self.signer.token();
        let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        parts.try_into().unwrap()
    }
}

const CLASSES: [Class; 19] = [
    ("alg none", |forger| {
        let name = ["none", "None", "NONE", "nOnE", ""][forger.number(5) as usize];
        let message = format!("{}.{}", base64(&json!({ "alg": name })), base64(&claims()));
        vec![format!("Bearer {message}.")]
    }),
    ("another's key", |forger| {
        let other =
            Signer { kid: forger.signer.kid.clone(), ..Signer::new(2 + forger.number(250) as u8) };
        vec![format!("Bearer {}", other.token())]
    }),
    ("the public key as a secret", |forger| {
        let jwk = forger.signer.jwk();
        let public = [jwk["x"].as_str().unwrap().to_owned(), jwk.to_string()];
        let secret = EncodingKey::from_secret(public[forger.number(2) as usize].as_bytes());
        let header = json!({ "alg": "HS256", "kid": forger.signer.kid });
        let message = format!("{}.{}", base64(&header), base64(&claims()));
        let signature = crypto::sign(message.as_bytes(), &secret, Algorithm::HS256).unwrap();
        vec![format!("Bearer {message}.{signature}")]
    }),
    ("another algorithm's name", |forger| {
        let names = ["RS256", "ES256", "PS512", "HS512", "ES512", "EdDSA2", "eddsa"];
        let name = names[forger.number(7) as usize];
        forger.headed(|header| header["alg"] = json!(name))
    }),
    ("expired", |forger| {
        let ago = 31 + forger.number(1 << 30);
        forger.claiming(|claims| claims["exp"] = json!(get_current_timestamp() - ago))
    }),
    ("not valid yet", |forger| {
        let ahead = 60 + forger.number(1 << 40);
        forger.claiming(|claims| claims["nbf"] = json!(get_current_timestamp() + ahead))
    }),
    ("of another issuer", |forger| {
        let number = forger.number(1 << 30);
        let others = [
            json!(format!("{}/", identities::ISSUER)),
            json!(number),
            json!([]),
            json!(null),
            json!(number.to_string()),
        ];
        let other = others[number as usize % 5].clone();
        forger.claiming(|claims| claims["iss"] = other)
    }),
    ("for others", |forger| {
        let number = forger.number(1 << 30);
        let others =
            [json!("rustkernels"), json!([number.to_string()]), json!([]), json!({}), json!("")];
        let other = others[number as usize % 5].clone();
        forger.claiming(|claims| claims["aud"] = other)
    }),
    ("without a claim", |forger| {
        let name = ["exp", "nbf", "iss", "aud", "sub"][forger.number(5) as usize];
        let is_empty = forger.number(2) == 0;
        forger.claiming(|claims| match is_empty {
            true if name == "sub" => claims[name] = json!(""),
            _ => drop(claims.as_object_mut().unwrap().remove(name)),
        })
    }),
    ("a claim of another type", |forger| {
        let name = ["exp", "nbf"][forger.number(2) as usize];
        let values = [json!("4102444800x"), json!({}), json!([1]), json!(true), json!(-1)];
        let value = values[forger.number(5) as usize].clone();
        forger.claiming(|claims| claims[name] = value)
    }),
    ("a signature that is cut or empty", |forger| {
        let [header, claims, signature] = forger.parts();
        let length = forger.number(signature.len() as u64) as usize;
        vec![format!("Bearer {header}.{claims}.{}", &signature[..length])]
    }),
    ("a signature of random bytes", |forger| {
        let [header, claims, _] = forger.parts();
        let bytes: [u8; 64] = forger.random.random();
        vec![format!("Bearer {header}.{claims}.{}", base64_of(&bytes))]
    }),
    ("more or fewer parts", |forger| {
        let [header, claims, signature] = forger.parts();
        let tokens = [
            format!("{header}.{claims}.{signature}.{}", forger.number(99)),
            format!("{header}.{claims}"),
            format!("{header}..{signature}"),
            format!(".{header}.{claims}.{signature}"),
            format!("{header}.{claims}.{signature}."),
            "..".into(),
        ];
        vec![format!("Bearer {}", tokens[forger.number(6) as usize])]
    }),
    ("other claims under a good signature", |forger| {
        let [header, _, signature] = forger.parts();
        let mut claims = claims();
        claims["role"] = json!("admin");
        claims["jti"] = json!(forger.number(1 << 40));
        vec![format!("Bearer {header}.{}.{signature}", base64(&claims))]
    }),
    ("a key's name that is a path or a query", |forger| {
        let number = forger.number(1 << 20);
        let names = [
            format!("../../dev/null?{number}"),
            format!("/proc/self/environ{number}"),
            format!("' OR 1={number} --"),
            format!("key-{number}x"),
            "\0".into(),
        ];
        let name = &names[number as usize % 5];
        forger.headed(|header| header["kid"] = json!(name))
    }),
    ("a header that brings its own key, or must be understood", |forger| {
        let attacker = Signer { kid: forger.signer.kid.clone(), ..Signer::new(77) };
        let mut header = attacker.header();
        if forger.number(2) == 0 {
            header["jwk"] = attacker.jwk();
            header["jku"] = json!(format!("https://{}.example", forger.number(99)));
            return vec![format!("Bearer {}", attacker.sign(&header, &claims()))];
        }
        header["crit"] = json!(["b64"]);
        vec![format!("Bearer {}", forger.signer.sign(&header, &claims()))]
    }),
    ("a key that was revoked, or has another's secret", |forger| {
        let (id, secret) = (forger.key[..15].to_owned(), forger.revoked[16..].to_owned());
        let keys = [
            forger.revoked.clone(),
            format!("{id}_{secret}"),
            forger.key.to_uppercase(),
            format!("{}0", forger.key),
            forger.key[..79].to_owned(),
            format!("rk_{:012x}_{secret}", forger.number(1 << 40)),
        ];
        vec![format!("Bearer {}", keys[forger.number(6) as usize])]
    }),
    ("several headers, another scheme, or none", |forger| {
        let good = if forger.number(2) == 0 { forger.key.clone() } else { forger.signer.token() };
        match forger.number(7) {
            0 => vec![format!("Bearer {good}"), format!("Bearer {good}")],
            1 => vec![format!("Basic {good}")],
            2 => vec![good],
            3 => vec![format!("Bearer  {good}")],
            4 => vec![format!("Bearer {good} ")],
            5 => vec![format!("Bearer\t{good}")],
            _ => vec![],
        }
    }),
    ("a megabyte", |forger| {
        let sign = ["A", ".", "a.", "\u{0}", "rk_"][forger.number(5) as usize];
        vec![format!("Bearer {}", sign.repeat((1 << 20) / sign.len()))]
    }),
];

/// 1,000 of each class, through the guard, which writes each down once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_forged_credentials_are_taken_and_each_denial_is_written_down_once() {
    const EACH: usize = 1000;
    let signer = Signer::new(1);
    let files = Files::new(&[&signer]);
    let (_, key) = files.key(&[Role::Admin], "*");
    let (id, revoked) = files.key(&[Role::Admin], "*");
    KeysFile::revoke(&files.keys(), &id).unwrap();
    let guard = Arc::new(Guard::of(&files.config(), "test").unwrap());
    let seed = [7; 32];
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut forger = Forger { signer, key, revoked, random };
    for (class, forge) in CLASSES {
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..EACH {
            let (headers, guard) = (forge(&mut forger), Arc::clone(&guard));
            asked.spawn(async move {
                let credentials = Credentials::of(headers.iter().map(String::as_bytes));
                let admitted = guard.admit(&ask(credentials)).await;
                (headers.clone(), admitted.map(|admitted| admitted.principal().clone()))
            });
        }
        while let Some(outcome) = asked.join_next().await {
            let (headers, outcome) = outcome.unwrap();
            assert!(
                matches!(outcome, Err(Denial::Unauthenticated(_))),
                "{class}: {headers:?} {outcome:?}"
            );
        }
    }
    // The same guard takes what is not forged.
    for good in [&forger.key, &forger.signer.token()] {
        let header = format!("Bearer {good}");
        guard
            .admit(&ask(Credentials::Header(header.as_bytes())))
            .await
            .unwrap()
            .finish(200)
            .await
            .unwrap();
    }
    guard.audit().unwrap().close().await;
    let audited = files.audited();
    let denied: Vec<&Value> = audited.iter().filter(|line| line["event"] == "denied").collect();
    assert_eq!(denied.len(), CLASSES.len() * EACH);
    let ids: std::collections::HashSet<&str> =
        denied.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), denied.len());
    let text = fs::read_to_string(files.audit()).unwrap();
    assert!(!text.contains(&forger.key[16..]) && !text.contains(&forger.revoked[16..]));
}

fn ask(credentials: Credentials<'_>) -> Asked<'_> {
    Asked {
        id: RequestId::new(),
        path: "/v2/models/gemm/infer",
        credentials,
        source: Some(([127, 0, 0, 1], 1).into()),
        trace_id: None,
    }
}

#[test]
fn no_secret_is_ever_shown() {
    let signer = Signer::new(1);
    let files = Files::new(&[&signer]);
    let (_, key) = files.key(&[Role::Admin], "*");
    let canary = "c4na7y-of-a-shared-secret-that-is-long-enough";
    let secret =
        json!({ "kty": "oct", "alg": "HS256", "kid": "s", "k": base64_of(canary.as_bytes()) });
    write(&files.tokens(), json!({ "keys": [secret] }).to_string());
    let mut config = files.config();
    config.jwt.algorithms = vec![JwtAlgorithm::HS256];
    let new = NewKey { name: "n".into(), roles: vec![], kernels: vec![], lifetime: None };
    let (made, record) = KeysFile::create(&files.keys(), new).unwrap();
    let authenticator = Authenticator::of(&config).unwrap();
    let token = signer.token();
    let mut shown = format!("{made:?} {record:?} {config:?} {authenticator:?}");
    for refused in [&format!("{key}x"), &token, &key.replace("rk_", "rk_0")] {
        let error = bearer(&authenticator, refused).unwrap_err();
        shown += &format!("{error} {error:?} {}", Denial::Unauthenticated(error));
    }
    // A malformed file is told without what it holds.
    write(&files.tokens(), format!("{{\"keys\": \"{canary}\"}}"));
    write(&files.keys(), format!("{{\"keys\": [{{\"id\": 3, \"sha256\": \"{canary}\"}}]}}"));
    shown +=
        &format!("{:?} {}", KeysFile::read(&files.keys()), authenticator.read_again().unwrap_err());
    for secret in [&key[16..], &made.reveal()[16..], canary, &base64_of(canary.as_bytes()), &token]
    {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}
