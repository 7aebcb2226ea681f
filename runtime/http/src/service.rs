//! A runtime from its start to its end, in a process that others can ask.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use rustkernel_core::config::{HttpConfig, Listen};
use rustkernel_core::kernel::Instant;
use rustkernel_core::runtime::{LifecycleState, Runtime, ShutdownReport, StartError};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use crate::audit::AuditError;
use crate::control::{Configuration, Control, Reloaded};
use crate::security::{Guard, recorded, remember_peer};
use crate::signals::{Ask, Signals};
use crate::socket::Bound;
use crate::tracing::Tracing;
use crate::view::Problem;
use crate::{BindError, Endpoint, InvalidEndpoint, http, routes, systemd};

/// Orders that may wait for whoever runs the service.
const ASKS: usize = 16;
/// Connections to the endpoint at once; further ones wait to be accepted.
const CONNECTIONS: usize = 64;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the endpoint finishes what it answers, in whole seconds, when the runtime has stopped.
const LAST_ANSWERS: u64 = 1;
/// How long the service's own steps may take to be durable in the audit log: a disk that hangs keeps no signal waiting,
/// and no end.
const WRITTEN_DOWN: Duration = Duration::from_secs(5);
/// How long spans that wait are still sent: a collector that hangs keeps no end waiting.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// A runtime in a process of its own: started, asked over its endpoint, drained by a signal.
///
/// | signal | what it does |
/// |---|---|
/// | SIGTERM | drains: new requests are refused, those in flight finish within the shutdown timeout; a second one changes nothing |
/// | SIGINT | the same; a second one cancels what is in flight |
/// | SIGHUP | reads the configuration again |
///
/// Where systemd has given a socket for it, it is told when the service is ready, reloads and stops, and
/// its watchdog that the runtime's control thread answers.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use rustkernel_core::prelude::*;
/// # use rustkernel_http::Service;
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = RuntimeBuilder::new().build()?;
/// let report = Service::new(Arc::new(runtime)).name("images").serve().await?;
/// assert!(report.is_clean());
/// # Ok(())
/// # }
/// ```
pub struct Service {
    runtime: Arc<Runtime>,
    name: String,
    endpoint: Option<Endpoint>,
    http: Option<HttpConfig>,
    metrics: bool,
    configuration: Option<Arc<dyn Configuration>>,
    guard: Arc<Guard>,
    tracing: Option<Arc<Tracing>>,
    notices: Notices,
}

/// Whom it is told what happens.
type Notices = Arc<dyn Fn(&Notice) + Send + Sync>;

/// Something that whoever started a service may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Requests are listened for at that address; they are refused until the kernels have started.
    Listening(SocketAddr),
    /// The kernels have started, and the endpoint is there.
    Serving(Endpoint),
    /// It says that it is not ready, and takes requests for so long before it drains.
    Leaving(Duration),
    /// Requests in flight finish, then it ends.
    Draining,
    /// Requests in flight are cancelled, then it ends.
    Stopping,
    /// The configuration was read again.
    Reloaded(Result<Reloaded, Problem>),
    /// So many spans could not be sent before the end.
    SpansLost(u64),
}

/// Why a service has not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Its name makes no endpoint.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// Its endpoint cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its start cannot be written into the audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A kernel has not started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Where requests are to come in cannot be had.
    #[error("cannot listen at {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// Signals, or the endpoint's threads, are not to be had.
    #[error("the service cannot run: {0}")]
    Io(#[from] io::Error),
}

impl Service {
    /// A service called `rustkernel` of a runtime that was built and not started.
    pub fn new(runtime: Arc<Runtime>) -> Self {
        Self {
            runtime,
            name: "rustkernel".into(),
            endpoint: None,
            http: None,
            metrics: false,
            configuration: None,
            guard: Arc::default(),
            tracing: None,
            notices: Arc::new(|_| ()),
        }
    }

    /// Sets its name, by which it is told from others on this host.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets where its endpoint is. The default is [`Endpoint::of_service`] of its name.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Has requests come in over the network too, by the Open Inference Protocol. By default they do not.
    #[must_use]
    pub fn http(mut self, config: HttpConfig) -> Self {
        self.http = Some(config);
        self
    }

    /// Serves metrics beside them, at `/metrics`. By default it does not.
    #[must_use]
    pub fn metrics(mut self, enabled: bool) -> Self {
        self.metrics = enabled;
        self
    }

    /// Gives it a configuration to show and to read again.
    #[must_use]
    pub fn configuration(mut self, configuration: Arc<dyn Configuration>) -> Self {
        self.configuration = Some(configuration);
        self
    }

    /// Has requests admitted, and written down, by a guard. By default everybody is, and nothing is. What is
    /// done over the control endpoint is written down as well, as done by the user who opened it.
    #[must_use]
    pub fn guard(mut self, guard: impl Into<Arc<Guard>>) -> Self {
        self.guard = guard.into();
        self
    }

    /// Has requests that come in over the network be traced. By default they are not.
    #[must_use]
    pub fn tracing(mut self, tracing: Option<Tracing>) -> Self {
        self.tracing = tracing.map(Arc::new);
        self
    }

    /// Has `tell` called with what happens, where it keeps signals waiting as long as it takes.
    #[must_use]
    pub fn notices(mut self, tell: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        self.notices = Arc::new(tell);
        self
    }

    /// Starts the runtime and serves until it has stopped: because it was asked to, or for a reason that
    /// the report has. Needs a tokio runtime with its clock and its driver of sockets. The process's
    /// signals are its own from then on.
    ///
    /// # Errors
    /// [`ServeError`] if the endpoint cannot be had, or a kernel does not start.
    pub async fn serve(self) -> Result<ShutdownReport, ServeError> {
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => Endpoint::of_service(&self.name)?,
        };
        let signals = Signals::listen()?;
        let bound = Bound::new(&endpoint)?;
        let listener = self.http.as_ref().map(bind).transpose()?.flatten();
        self.guard.lifecycle("service.starting", &self.name).await?;
        let (asks, asked) = mpsc::channel(ASKS);
        let http = self.http.unwrap_or_default();
        let control = Data::new(Control {
            name: self.name,
            runtime: self.runtime,
            configuration: self.configuration,
            guard: Arc::clone(&self.guard),
            tracing: self.tracing.clone(),
            drain_delay: http.drain_delay,
            leaves: OnceLock::new(),
            reloading: Arc::default(),
            asks,
        });
        let mut servers = Servers::default();
        servers.add(listen(&control, &bound)?);
        if let Some(listener) = listener {
            (self.notices)(&Notice::Listening(listener.local_addr()?));
            servers.add(http::server(&control, &http, self.metrics, listener)?);
        }
        let (notices, reloads) = (self.notices, JoinSet::new());
        let mut running = Running { control, signals, asked, reloads, again: false, notices };
        let served = running.run(&endpoint).await;
        let ended = servers.end().await;
        drop(bound);
        if let Some(tracing) = self.tracing {
            running.send_last(tracing).await;
        }
        tokio::time::timeout(WRITTEN_DOWN, self.guard.close(&served)).await.ok();
        let report = served?;
        ended?;
        Ok(report)
    }
}

/// The endpoint's server, on threads of its own: it answers whatever the kernels do.
fn listen(control: &Data<Control>, bound: &Bound) -> io::Result<Server> {
    let control = control.clone();
    let app = move || {
        App::new()
            .app_data(control.clone())
            .app_data(Data::from(Arc::clone(&control.guard)))
            .configure(routes::configure)
            .wrap(from_fn(recorded))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .on_connect(remember_peer)
        .max_connections(CONNECTIONS)
        .client_request_timeout(PATIENCE)
        .shutdown_timeout(LAST_ANSWERS)
        .disable_signals();
    Ok(server.listen_uds(bound.listener()?)?.run())
}

/// A socket for requests, if there is to be one.
fn bind(config: &HttpConfig) -> Result<Option<TcpListener>, ServeError> {
    let Listen::On(address) = config.listen else { return Ok(None) };
    let listener = http::bind(address).map_err(|error| ServeError::Listen { address, error })?;
    Ok(Some(listener))
}

/// The servers that run.
#[derive(Default)]
struct Servers(Vec<(ServerHandle, JoinHandle<io::Result<()>>)>);

impl Servers {
    fn add(&mut self, server: Server) {
        self.0.push((server.handle(), tokio::spawn(server)));
    }

    /// Lets each finish its last answers, the endpoint last.
    async fn end(self) -> io::Result<()> {
        for (handle, server) in self.0.into_iter().rev() {
            handle.stop(true).await;
            server.await.map_err(io::Error::other)??;
        }
        Ok(())
    }
}

/// A service that runs.
struct Running {
    control: Data<Control>,
    signals: Signals,
    asked: mpsc::Receiver<Ask>,
    /// The reload that is under way, which keeps nothing else waiting.
    reloads: JoinSet<Result<Reloaded, Problem>>,
    /// Whether another was asked for meanwhile.
    again: bool,
    notices: Notices,
}

impl Running {
    async fn run(&mut self, endpoint: &Endpoint) -> Result<ShutdownReport, ServeError> {
        let runtime = Arc::clone(&self.control.runtime);
        let mut start = std::pin::pin!(runtime.start());
        loop {
            tokio::select! {
                started = &mut start => break started?,
                ask = next(&mut self.signals, &mut self.asked) => self.act(ask).await,
                Some(reloaded) = self.reloads.join_next() => self.reloaded(reloaded),
            }
        }
        written_down(&self.control, "service.started").await;
        systemd::ready(&self.control.name, runtime.stats().kernels.len());
        (self.notices)(&Notice::Serving(endpoint.clone()));
        let watchdog = systemd::watchdog(&runtime);
        let mut stopped = std::pin::pin!(runtime.stopped());
        let report = loop {
            tokio::select! {
                report = &mut stopped => break report,
                ask = next(&mut self.signals, &mut self.asked) => self.act(ask).await,
                Some(reloaded) = self.reloads.join_next() => self.reloaded(reloaded),
            }
        };
        watchdog.inspect(|watchdog| watchdog.abort());
        Ok(report)
    }

    /// Sends the spans that wait.
    async fn send_last(&self, tracing: Arc<Tracing>) {
        let sent = tokio::task::spawn_blocking(move || tracing.close(LAST_SPANS)).await;
        if let Ok(lost @ 1..) = sent {
            (self.notices)(&Notice::SpansLost(lost));
        }
    }

    async fn act(&mut self, ask: Ask) {
        match ask {
            Ask::Drain => {
                let delay = self.control.drain_delay;
                self.shut_down(delay, None);
                (self.notices)(&if delay.is_zero() {
                    Notice::Draining
                } else {
                    Notice::Leaving(delay)
                });
                written_down(&self.control, "service.draining").await;
            }
            Ask::Stop => {
                self.shut_down(Duration::ZERO, Some(Duration::ZERO));
                (self.notices)(&Notice::Stopping);
                written_down(&self.control, "service.stopping").await;
            }
            Ask::Reload => self.reload(),
        }
    }

    /// Has the configuration read again, beside everything else: a file may hang.
    fn reload(&mut self) {
        if !self.reloads.is_empty() {
            self.again = true;
            return;
        }
        let control = self.control.clone();
        self.reloads.spawn(async move {
            written_down(&control, "service.reloading").await;
            control.reload().await
        });
    }

    /// Tells what came of that.
    fn reloaded(&mut self, reloaded: Result<Result<Reloaded, Problem>, JoinError>) {
        if let Ok(reloaded) = reloaded {
            (self.notices)(&Notice::Reloaded(reloaded));
        }
        if std::mem::take(&mut self.again) {
            self.reload();
        }
    }

    /// Has the runtime drain, after a delay, within a time if one is given. Its end is heard of by whoever
    /// waits for it.
    fn shut_down(&self, delay: Duration, within: Option<Duration>) {
        let (runtime, notices) = (Arc::clone(&self.control.runtime), Arc::clone(&self.notices));
        let is_first = self.control.leaves.set(Instant::now() + delay).is_ok();
        systemd::stopping(delay + within.unwrap_or(runtime.config().shutdown_timeout));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            if is_first && !delay.is_zero() && runtime.state() == LifecycleState::Running {
                notices(&Notice::Draining);
            }
            match within {
                Some(timeout) => runtime.shutdown_within(timeout).await,
                None => runtime.shutdown().await,
            }
        });
    }
}

/// Tells the audit log. What is told by a signal, or happens by itself, is done even if it cannot be,
/// and what ends the service has begun before it is.
async fn written_down(control: &Control, what: &'static str) {
    let written = control.guard.lifecycle(what, &control.name);
    tokio::time::timeout(WRITTEN_DOWN, written).await.ok();
}

/// What somebody asks for next, by a signal or over the endpoint.
async fn next(signals: &mut Signals, asked: &mut mpsc::Receiver<Ask>) -> Ask {
    tokio::select! {
        ask = signals.next() => ask,
        Some(ask) = asked.recv() => ask,
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}
