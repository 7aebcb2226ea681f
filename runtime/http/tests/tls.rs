//! TLS: a certificate is used, renewed, and refused where it is no good.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustkernel_core::config::{HttpConfig, Listen, SecurityConfig, TlsConfig};
use rustkernel_http::security::{Certificates, Guard, TlsError};
use rustkernel_http::{Client, Endpoint, Notice, Service};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection, StreamOwned};
use support::within_a_minute;
use tokio::sync::{Semaphore, mpsc};

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

/// Somebody who trusts that certificate alone.
fn client(trusted: &CertificateDer<'static>) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::new(client), name).unwrap()
}

/// Whether they get a connection. (In memory: both ends are here.)
fn connects(certificates: &Arc<Certificates>, trusted: &CertificateDer<'static>) -> bool {
    let mut client = client(trusted);
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

const PROBE: &[u8] = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// What a service says over TLS, and what it says to one who speaks none.
fn probed(address: SocketAddr, trusted: &CertificateDer<'static>) -> (String, String) {
    let said = |stream: &mut dyn ReadWrite| {
        let mut said = Vec::new();
        stream.write_all(PROBE).unwrap();
        // (Who speaks no TLS is hung up on.)
        stream.read_to_end(&mut said).ok();
        String::from_utf8_lossy(&said).into_owned()
    };
    let connect = || TcpStream::connect(address).unwrap();
    (said(&mut StreamOwned::new(client(trusted), connect())), said(&mut connect()))
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

#[tokio::test]
async fn a_service_with_a_certificate_speaks_tls_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let certificate = certify(directory.path());
    let tls = TlsConfig { certificate: Some(path("cert.pem")), key: Some(path("key.pem")) };
    let guard = Guard::of(&SecurityConfig { tls, ..Default::default() }, "test").unwrap();
    let listen = Listen::On("127.0.0.1:0".parse().unwrap());
    let endpoint = Endpoint::from(path("test.sock"));
    let (tell, mut notices) = mpsc::channel(64);
    let service = Service::new(support::runtime(&Arc::new(Semaphore::new(0))))
        .endpoint(endpoint.clone())
        .http(HttpConfig { listen, ..HttpConfig::default() })
        .guard(guard)
        .notices(move |notice| tell.try_send(notice.clone()).unwrap());
    let served = tokio::spawn(service.serve());
    let Some(Notice::Listening(address)) = within_a_minute(notices.recv()).await else { panic!() };
    within_a_minute(notices.recv()).await.unwrap();
    let probed = tokio::task::spawn_blocking(move || probed(address, &certificate));
    let (over_tls, plain) = within_a_minute(probed).await.unwrap();
    assert!(over_tls.starts_with("HTTP/1.1 200 OK"), "{over_tls}");
    assert!(!plain.contains("HTTP/1.1 200"), "{plain}");
    Client::new(endpoint).drain().await.unwrap();
    within_a_minute(served).await.unwrap().unwrap();
}
