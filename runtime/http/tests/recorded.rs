//! What is done over the control endpoint, and to the service, is written down.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

mod identities;
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use identities::{Files, Signer, bearer};
use rustkernel_http::audit::{Audit, Settings};
use rustkernel_http::security::keys::KeysFile;
use rustkernel_http::security::{Asked, Credentials, Denial, Guard, Refused, RequestId, Role};
use rustkernel_http::{Client, ClientError, Configuration, Endpoint, Notice, Reloaded, Service};
use serde_json::{Value, json};
use support::within_a_minute;
use tokio::sync::{Semaphore, mpsc};

/// A configuration that can be told to be wrong.
struct Told(Mutex<Result<(), String>>);

impl Configuration for Told {
    fn show(&self) -> Value {
        json!({})
    }

    fn reload(&self) -> Result<Reloaded, Vec<String>> {
        let told = self.0.lock().unwrap().clone();
        told.map(|()| Reloaded::default()).map_err(|problem| vec![problem])
    }
}

#[tokio::test]
async fn orders_and_the_service_itself_are_written_down_and_keys_are_read_again() {
    let files = Files::new(&[&Signer::new(1)]);
    let (id, key) = files.key(&[Role::Admin], "*");
    let guard = Guard::of(&files.config(), "test").unwrap();
    let told = Arc::new(Told(Mutex::new(Ok(()))));
    let endpoint = Endpoint::from(files.directory.path().join("test.sock"));
    let (tell, mut notices) = mpsc::channel(64);
    let service = Service::new(support::runtime(&Arc::new(Semaphore::new(0))))
        .endpoint(endpoint.clone())
        .configuration(Arc::clone(&told) as Arc<dyn Configuration>)
        .guard(guard)
        .notices(move |notice| tell.try_send(notice.clone()).unwrap());
    let served = tokio::spawn(service.serve());
    assert!(matches!(within_a_minute(notices.recv()).await, Some(Notice::Serving(_))));
    let client = Client::new(endpoint);

    client.status().await.unwrap();
    client.restart("waits").await.unwrap();
    client.restart("nobody").await.unwrap_err();
    // Keys and configuration are read again together, or not at all.
    KeysFile::revoke(&files.keys(), &id).unwrap();
    *told.0.lock().unwrap() = Err("wrong".into());
    client.reload().await.unwrap_err();
    *told.0.lock().unwrap() = Ok(());
    client.reload().await.unwrap();
    let keys = fs::read(files.keys()).unwrap();
    identities::write(&files.keys(), "{");
    let ClientError::Refused { problem, .. } = client.reload().await.unwrap_err() else { panic!() };
    assert!(problem.problems[0].contains("malformed"), "{problem:?}");
    identities::write(&files.keys(), keys);

    // What cannot be written down is not done; looking goes on.
    let kept = files.directory.path().join("kept");
    fs::rename(files.audit(), &kept).unwrap();
    symlink("/dev/full", files.audit()).unwrap();
    let ClientError::Refused { status, problem } = client.drain().await.unwrap_err() else {
        panic!()
    };
    assert_eq!((status, problem.error.contains("audit log")), (503, true), "{problem:?}");
    assert_eq!(client.status().await.unwrap().state, "running");
    fs::remove_file(files.audit()).unwrap();
    fs::rename(&kept, files.audit()).unwrap();
    client.drain().await.unwrap();
    within_a_minute(served).await.unwrap().unwrap();

    let lines = files.audited();
    let uid = fs::metadata(files.audit()).unwrap().uid();
    let told: Vec<String> = lines
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
            let actor = text("actor").replace(&uid.to_string(), "UID");
            format!("{actor} {} {} {}", text("event"), text("action"), text("outcome"))
        })
        .collect();
    let expected = [
        "system audit audit.opened -",
        "system lifecycle service.starting -",
        "system lifecycle service.started -",
        "unix:UID request restart -",
        "unix:UID outcome restart ok",
        "unix:UID request restart -",
        "unix:UID outcome restart refused",
        "unix:UID request reload -",
        "unix:UID outcome reload refused",
        "unix:UID request reload -",
        "unix:UID outcome reload ok",
        "unix:UID request reload -",
        "unix:UID outcome reload refused",
        "system audit audit.resumed -",
        "unix:UID request drain -",
    ];
    assert_eq!(told[..expected.len()], expected);
    // (Which of these comes first is nobody's promise.)
    for last in ["unix:UID outcome drain ok", "system lifecycle service.draining -"] {
        assert!(told[expected.len()..].contains(&last.to_owned()), "{told:?}");
    }
    assert_eq!(told.last().unwrap(), "system lifecycle service.ended -");
    assert_eq!(lines[4]["id"], lines[3]["id"]);
    let authenticator = rustkernel_http::security::Authenticator::of(&files.config()).unwrap();
    assert_eq!(bearer(&authenticator, &key), Err(Refused::RevokedKey));
}

/// A configuration whose first reading takes until it is let go on.
struct Slow {
    begun: mpsc::Sender<()>,
    go_on: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

impl Configuration for Slow {
    fn show(&self) -> Value {
        json!({})
    }

    fn reload(&self) -> Result<Reloaded, Vec<String>> {
        let first = self.go_on.lock().unwrap().take();
        if let Some(go_on) = first {
            self.begun.try_send(()).unwrap();
            go_on.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        Ok(Reloaded::default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_is_late_does_not_bring_a_revoked_key_back() {
    let files = Files::new(&[&Signer::new(1)]);
    let (id, key) = files.key(&[Role::Admin], "*");
    let guard = Arc::new(Guard::of(&files.config(), "test").unwrap());
    let (begun, mut first_has_begun) = mpsc::channel(1);
    let (go, go_on) = std::sync::mpsc::sync_channel(1);
    let slow = Slow { begun, go_on: Mutex::new(Some(go_on)) };
    let endpoint = Endpoint::from(files.directory.path().join("test.sock"));
    let (tell, mut notices) = mpsc::channel(64);
    let service = Service::new(support::runtime(&Arc::new(Semaphore::new(0))))
        .endpoint(endpoint.clone())
        .configuration(Arc::new(slow))
        .guard(Arc::clone(&guard))
        .notices(move |notice| tell.try_send(notice.clone()).unwrap());
    let served = tokio::spawn(service.serve());
    assert!(matches!(within_a_minute(notices.recv()).await, Some(Notice::Serving(_))));
    let reload = || {
        let client = Client::new(endpoint.clone());
        tokio::spawn(async move { client.reload().await })
    };

    let first = reload();
    within_a_minute(first_has_begun.recv()).await.unwrap();
    KeysFile::revoke(&files.keys(), &id).unwrap();
    let mut second = reload();
    // (Were they not one after the other, it would be over well within that.)
    let overtakes = tokio::time::timeout(Duration::from_secs(1), &mut second).await.is_ok();
    go.send(()).unwrap();
    within_a_minute(first).await.unwrap().unwrap();
    if !overtakes {
        within_a_minute(second).await.unwrap().unwrap();
    }
    let header = format!("Bearer {key}");
    let asked = Asked {
        id: RequestId::new(),
        path: "/v2",
        credentials: Credentials::Header(header.as_bytes()),
        source: None,
        trace_id: None,
    };
    let denied = guard.admit(&asked).await.unwrap_err();
    assert_eq!(denied, Denial::Unauthenticated(Refused::RevokedKey));
    Client::new(endpoint).drain().await.unwrap();
    within_a_minute(served).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_its_time_does_not_keep_a_drain_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    // (Each record waits that long for others.)
    let commit_delay = Duration::from_secs(2);
    let settings = Settings { path: path.clone(), max_bytes: 1 << 20, commit_delay, queue: 64 };
    let guard = Guard::new(None, Some(Audit::open(&settings).unwrap()));
    let endpoint = Endpoint::from(directory.path().join("test.sock"));
    let runtime = support::runtime(&Arc::new(Semaphore::new(0)));
    let (tell, mut notices) = mpsc::channel(64);
    let service = Service::new(Arc::clone(&runtime))
        .endpoint(endpoint.clone())
        .guard(guard)
        .notices(move |notice| tell.try_send(notice.clone()).unwrap());
    let served = tokio::spawn(service.serve());
    assert!(matches!(within_a_minute(notices.recv()).await, Some(Notice::Serving(_))));
    let drain = tokio::spawn(async move { Client::new(endpoint).drain().await });
    within_a_minute(runtime.stopped()).await;
    let log = fs::read_to_string(&path).unwrap();
    assert!(log.contains("service.started") && !log.contains("service.draining"), "{log}");
    within_a_minute(served).await.unwrap().unwrap();
    let log = fs::read_to_string(&path).unwrap();
    assert!(log.contains("service.draining") && log.contains("service.ended"), "{log}");
    drop(drain);
}
