//! A service that is reached over TCP, and a client of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustkernel_core::config::{HttpConfig, Listen};
use rustkernel_core::kernel::{Backoff, RestartPolicy};
use rustkernel_core::observability::{LogConfig, LogFormat, LogLevel};
use rustkernel_core::prelude::*;
use rustkernel_core::runtime::ShutdownReport;
use rustkernel_http::{Client, Endpoint, Notice, ServeError, Service};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::within_a_minute;

/// Gives back what it is given once there is a permit; panics if it is given a number below zero.
struct Held(Arc<Semaphore>);

#[derive(KernelMessage)]
struct HeldRequest {
    #[kernel(shape = "n")]
    input: Tensor<f32>,
}

#[derive(KernelMessage)]
struct HeldResponse {
    #[kernel(shape = "n")]
    output: Tensor<f32>,
}

impl Kernel for Held {
    type Request = HeldRequest;
    type Response = HeldResponse;

    async fn execute(
        &mut self,
        HeldRequest { input }: HeldRequest,
        _: &mut KernelContext,
    ) -> KernelResult<HeldResponse> {
        assert!(input.as_slice().iter().all(|x| *x >= 0.0), "below zero");
        self.0.acquire().await.map_err(KernelError::failed)?.forget();
        Ok(HeldResponse { output: input })
    }
}

/// A service over TCP that runs: the built-in kernels, and `held`, with a queue of two.
pub(crate) struct Serving {
    pub(crate) control: Client,
    pub(crate) runtime: Arc<Runtime>,
    /// Lets requests of `held` go.
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) address: SocketAddr,
    /// Spans that could not be sent at the end.
    pub(crate) spans_lost: Arc<AtomicU64>,
    served: JoinHandle<Result<ShutdownReport, ServeError>>,
    agent: ureq::Agent,
    _directory: TempDir,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The status and the reason of a refusal.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["reason"].as_str().expect("it has a reason").to_owned())
    }
}

/// At a free port of this machine.
pub(crate) fn config() -> HttpConfig {
    let listen = Listen::On(SocketAddr::from(([127, 0, 0, 1], 0)));
    HttpConfig { listen, workers: 2, ..HttpConfig::default() }
}

fn runtime(gate: &Arc<Semaphore>) -> Arc<Runtime> {
    let gate = Arc::clone(gate);
    let held = KernelSpec::new("held", move || Held(Arc::clone(&gate)))
        .queue(2)
        .restart(
            RestartPolicy::permanent().limit(2, Duration::from_secs(60)).backoff(Backoff::none()),
        )
        .publish();
    let mut runtime = RuntimeBuilder::new()
        .with_gpu_enabled(false)
        .with_log(LogConfig { level: LogLevel::Off, format: LogFormat::Json })
        .with_shutdown_timeout(Duration::from_secs(10))
        .with_kernel(held);
    for kernel in rustkernel_kernels::all() {
        runtime = runtime.with_any_kernel(kernel);
    }
    Arc::new(runtime.build().unwrap())
}

impl Serving {
    pub(crate) async fn start(config: HttpConfig) -> Self {
        Self::start_as(config, |service| service).await
    }

    /// The same, as `change` has the service.
    pub(crate) async fn start_as(
        config: HttpConfig,
        change: impl FnOnce(Service) -> Service,
    ) -> Self {
        let (gate, directory) = (Arc::new(Semaphore::new(0)), tempfile::tempdir().unwrap());
        let runtime = runtime(&gate);
        let endpoint = Endpoint::from(directory.path().join("test.sock"));
        let (tell, mut notices) = mpsc::channel(64);
        let spans_lost = Arc::<AtomicU64>::default();
        let lost = Arc::clone(&spans_lost);
        let service = Service::new(Arc::clone(&runtime))
            .name("test")
            .endpoint(endpoint.clone())
            .http(config)
            .metrics(true)
            .notices(move |notice| {
                if let Notice::SpansLost(count) = notice {
                    lost.store(*count, Ordering::Relaxed);
                }
                tell.try_send(notice.clone()).ok();
            });
        let served = tokio::spawn(change(service).serve());
        let Some(Notice::Listening(address)) = within_a_minute(notices.recv()).await else {
            panic!("it listens first");
        };
        assert_eq!(within_a_minute(notices.recv()).await, Some(Notice::Serving(endpoint.clone())));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        let control = Client::new(endpoint);
        let _directory = directory;
        Self { control, runtime, gate, address, spans_lost, served, agent, _directory }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_as(path, "*/*").await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        let request = self.agent.get(format!("http://{}{path}", self.address));
        let request = request.header("accept", accept);
        read(tokio::task::spawn_blocking(move || request.call())).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        let request = self.agent.head(format!("http://{}{path}", self.address));
        let request = request.header("accept", "*/*");
        read(tokio::task::spawn_blocking(move || request.call())).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let mut request = self.agent.post(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.as_ref().to_vec();
        read(tokio::task::spawn_blocking(move || request.send(body))).await
    }

    pub(crate) async fn infer(&self, kernel: &str, body: &Value) -> Answer {
        self.post(&format!("/v2/models/{kernel}/infer"), &[], body.to_string()).await
    }

    /// A request of `held` that waits to be let go.
    pub(crate) async fn hold(&self) -> JoinHandle<Answer> {
        self.hold_with(&held(&[1.0])).await
    }

    /// The same with that request.
    pub(crate) async fn hold_with(&self, request: &Value) -> JoinHandle<Answer> {
        let body = request.to_string();
        let before = self.runtime.stats().ledger.submitted;
        let (agent, address) = (self.agent.clone(), self.address);
        let call = tokio::spawn(async move {
            let request = agent.post(format!("http://{address}/v2/models/held/infer"));
            read(tokio::task::spawn_blocking(move || request.send(body))).await
        });
        within_a_minute(async {
            while self.runtime.stats().ledger.submitted == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        call
    }

    /// How it ended.
    pub(crate) async fn end(self) -> ShutdownReport {
        within_a_minute(self.served).await.unwrap().unwrap()
    }
}

/// A request of `held`.
pub(crate) fn held(numbers: &[f32]) -> Value {
    json!({ "inputs": [
        { "name": "input", "datatype": "FP32", "shape": [numbers.len()], "data": numbers },
    ]})
}

async fn read(called: JoinHandle<Result<ureq::http::Response<ureq::Body>, ureq::Error>>) -> Answer {
    let mut answer = within_a_minute(called).await.unwrap().unwrap();
    let read = move || {
        let body = answer.body_mut().read_to_vec().unwrap();
        Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body }
    };
    within_a_minute(tokio::task::spawn_blocking(read)).await.unwrap()
}
