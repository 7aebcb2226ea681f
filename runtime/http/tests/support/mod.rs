//! A service in the test's own process, with a kernel that waits until it is let go.

#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

pub(crate) mod tcp;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustkernel_core::kernel::CallError;
use rustkernel_core::observability::{LogConfig, LogFormat, LogLevel};
use rustkernel_core::prelude::*;
use rustkernel_core::runtime::ShutdownReport;
use rustkernel_http::{Client, Configuration, Endpoint, Notice, ServeError, Service};
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Waits for a permit; panics once there will be none.
pub(crate) struct Waits(Arc<Semaphore>);

impl Kernel for Waits {
    type Request = ();
    type Response = ();

    async fn execute(&mut self, (): (), _: &mut KernelContext) -> KernelResult {
        self.0.acquire().await.expect("the gate is open").forget();
        Ok(())
    }
}

/// A service that runs, and who may ask it.
pub(crate) struct Running {
    pub(crate) client: Client,
    pub(crate) runtime: Arc<Runtime>,
    /// Lets requests go.
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) notices: mpsc::Receiver<Notice>,
    pub(crate) served: JoinHandle<Result<ShutdownReport, ServeError>>,
    _directory: TempDir,
}

pub(crate) fn runtime(gate: &Arc<Semaphore>) -> Arc<Runtime> {
    let gate = Arc::clone(gate);
    let runtime = RuntimeBuilder::new()
        .with_gpu_enabled(false)
        .with_log(LogConfig { level: LogLevel::Off, format: LogFormat::Json })
        .with_shutdown_timeout(Duration::from_secs(30))
        .with_kernel(KernelSpec::new("waits", move || Waits(Arc::clone(&gate))));
    Arc::new(runtime.build().unwrap())
}

impl Running {
    pub(crate) async fn start(configuration: Option<Arc<dyn Configuration>>) -> Self {
        let (gate, directory) = (Arc::new(Semaphore::new(0)), tempfile::tempdir().unwrap());
        let runtime = runtime(&gate);
        let endpoint = Endpoint::from(directory.path().join("test.sock"));
        let (tell, mut notices) = mpsc::channel(64);
        let mut service = Service::new(Arc::clone(&runtime))
            .name("test")
            .endpoint(endpoint.clone())
            .notices(move |notice| tell.try_send(notice.clone()).unwrap());
        if let Some(configuration) = configuration {
            service = service.configuration(configuration);
        }
        let served = tokio::spawn(service.serve());
        let first = within_a_minute(notices.recv()).await;
        assert_eq!(first, Some(Notice::Serving(endpoint.clone())));
        let client = Client::new(endpoint);
        Self { client, runtime, gate, notices, served, _directory: directory }
    }

    /// A request that is in flight.
    pub(crate) async fn call(&self) -> JoinHandle<Result<(), CallError<()>>> {
        let waits = self.runtime.kernel::<Waits>("waits").unwrap();
        let call = tokio::spawn(async move { waits.call(()).await });
        within_a_minute(async {
            while self.runtime.stats().ledger.open() == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        call
    }

    pub(crate) async fn notice(&mut self) -> Option<Notice> {
        within_a_minute(self.notices.recv()).await
    }

    /// How it ended.
    pub(crate) async fn end(self) -> ShutdownReport {
        let report = within_a_minute(self.served).await.unwrap().unwrap();
        assert!(!self.client.endpoint().path().exists(), "the socket is gone");
        report
    }

    /// The status and body that plain HTTP gets.
    pub(crate) async fn raw(&self, request: &str) -> (u16, serde_json::Value) {
        let answer = self.said(request).await;
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    /// All that plain HTTP gets.
    pub(crate) async fn said(&self, request: &str) -> String {
        let path = self.client.endpoint().path().to_owned();
        let request = format!("{request} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answer = tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        within_a_minute(answer).await.unwrap()
    }
}

pub(crate) async fn within_a_minute<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("within a minute")
}
