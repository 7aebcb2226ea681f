//! TLS: a certificate is used, renewed, and refused where it is no good.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustkernel_core::config::TlsConfig;
use rustkernel_http::security::{Certificates, TlsError};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

/// Writes a certificate for `localhost` and its key, and returns it.
fn certify(directory: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    write(&directory.join("cert.pem"), &cert.pem());
    write(&directory.join("key.pem"), &signing_key.serialize_pem());
    cert.der().clone()
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Whether somebody who trusts that certificate alone gets a connection. (In memory: both ends are here.)
fn connects(certificates: &Arc<Certificates>, trusted: &CertificateDer<'static>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let config = Arc::new(certificates.server_config().unwrap());
    let mut server = ServerConnection::new(config).unwrap();
    for _ in 0..10 {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut there).unwrap();
        }
        server.read_tls(&mut there.as_slice()).unwrap();
        if server.process_new_packets().is_err() {
            return false;
        }
        while server.wants_write() {
            server.write_tls(&mut back).unwrap();
        }
        client.read_tls(&mut back.as_slice()).unwrap();
        if client.process_new_packets().is_err() {
            return false;
        }
        if !client.is_handshaking() && !server.is_handshaking() {
            return true;
        }
    }
    false
}

#[test]
fn a_certificate_is_used_and_renewed_and_a_wrong_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    assert!(Certificates::of(&TlsConfig::default()).unwrap().is_none());
    let old = certify(directory.path());
    let config = TlsConfig { certificate: Some(path("cert.pem")), key: Some(path("key.pem")) };
    let certificates = Certificates::of(&config).unwrap().unwrap();
    assert!(connects(&certificates, &old));

    let key = fs::read_to_string(path("key.pem")).unwrap();
    let new = certify(directory.path());
    let good = fs::read_to_string(path("key.pem")).unwrap();
    let refused = |why: &str| {
        let error = certificates.read_again().err().unwrap().to_string();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains(&good[40..80]), "{error}");
        assert!(connects(&certificates, &old) && !connects(&certificates, &new));
    };
    write(&path("key.pem"), &key);
    refused("key.pem");
    write(&path("key.pem"), "nothing");
    refused("no private key");
    write(&path("key.pem"), &good);
    fs::set_permissions(path("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    refused("others may read");
    write(&path("key.pem"), &good);
    let certificate = fs::read_to_string(path("cert.pem")).unwrap();
    write(&path("cert.pem"), "");
    refused("no certificate");
    fs::remove_file(path("cert.pem")).unwrap();
    let missing = certificates.read_again().err().unwrap();
    assert!(matches!(missing, TlsError::Io { .. }), "{missing}");

    write(&path("cert.pem"), &certificate);
    certificates.put_in_place(certificates.read_again().unwrap());
    assert!(connects(&certificates, &new) && !connects(&certificates, &old));
}
