//! The server that callers reach: over TCP, on threads of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, Service as _, ServiceResponse};
use actix_web::http::KeepAlive;
use actix_web::http::header::{Accept, CONNECTION, Header as _, HeaderValue};
use actix_web::middleware::{Condition, from_fn};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, ResponseError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustkernel_core::config::HttpConfig;

use crate::control::Control;
use crate::inference::{self, BodyLimits, Fault, Models, Reason, Room};
use crate::metrics::{Format, Metrics};
use crate::openapi::{self, About, Document};
use crate::routes::{self, get, resource};
use crate::security::guarded;
use crate::standing::{Patience, Served};
use crate::tracing::traced;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// What else the process may open.
const OTHER_FILES: u64 = 512;
/// How long answers that are ready are still sent, in whole seconds, when the runtime has stopped.
const LAST_ANSWERS: u64 = 2;

/// What the routes of the server share.
#[derive(Clone)]
struct Shared {
    control: Data<Control>,
    models: Data<Models>,
    metrics: Option<Data<Metrics>>,
    limits: Data<BodyLimits>,
    document: Data<Document>,
}

/// A socket that listens.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The server at that socket.
pub(crate) fn server(
    control: &Data<Control>,
    config: &HttpConfig,
    metrics_enabled: bool,
    listener: TcpListener,
) -> io::Result<Server> {
    let metrics = Arc::new(Metrics::new());
    let models = Models::new(Arc::clone(&control.runtime), Arc::clone(&metrics));
    let shared = Shared {
        control: control.clone(),
        models: Data::new(models),
        metrics: metrics_enabled.then(|| Data::from(metrics)),
        limits: Data::new(BodyLimits {
            bytes: usize::try_from(config.max_body_bytes).unwrap_or(usize::MAX),
            room: Room::new(config.max_held_bytes),
            patience: config.body_timeout,
            answer: config.max_answer_bytes,
        }),
        document: Data::new(Document::new(About {
            name: &control.name,
            metrics: metrics_enabled,
            secured: control.guard.asks_who(),
        })),
    };
    let workers = config.workers.clamp(1, HttpConfig::MOST_WORKERS);
    let is_traced = control.tracing.is_some();
    let app = move || {
        let shared = shared.clone();
        let control = shared.control.clone();
        App::new()
            .app_data(Data::from(Arc::clone(&control.guard)))
            .configure(|routes| configure(routes, &shared))
            .wrap(from_fn(inference::calls))
            .wrap(from_fn(guarded))
            .wrap_fn(move |request, service| {
                let (control, served) = (control.clone(), Served::begin(&request));
                let answered = service.call(request);
                async move {
                    answered.await.map(|answer| served.answer(farewell(answer, &control)))
                }
            })
            .wrap(Condition::new(is_traced, from_fn(traced)))
    };
    make_room(config.max_connections);
    let patience = Patience::of(config);
    let server = HttpServer::new(app)
        .on_connect(move |connection, extensions| patience.watch(connection, extensions))
        .workers(workers)
        .max_connections(config.max_connections.div_ceil(workers))
        .backlog(BACKLOG)
        .keep_alive(KeepAlive::Timeout(config.keep_alive))
        .client_request_timeout(config.header_timeout)
        .client_disconnect_timeout(Duration::from_secs(1))
        // A client that closes its side has gone: its request is given up.
        .h1_allow_half_closed(false)
        .shutdown_timeout(LAST_ANSWERS)
        .disable_signals();
    let server = match control.guard.certificates() {
        Some(certificates) => {
            let tls = certificates.server_config().map_err(io::Error::other)?;
            server.listen_rustls_0_23(listener, tls)?
        }
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

/// Has the process have as many descriptors as so many connections take, two each, as far as it may.
fn make_room(connections: usize) {
    let wanted = connections as u64 * 2 + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let current = Some(maximum.map_or(wanted, |most| most.min(wanted)));
        // (With fewer, connections wait to be accepted.)
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).ok();
    }
}

fn configure(routes: &mut ServiceConfig, shared: &Shared) {
    routes
        .app_data(shared.control.clone())
        .app_data(shared.models.clone())
        .app_data(shared.limits.clone())
        .configure(routes::health)
        .configure(inference::configure);
    routes.app_data(shared.document.clone());
    if let Some(metrics) = &shared.metrics {
        routes.app_data(metrics.clone());
    }
    own(routes, shared.metrics.is_some());
    if let Some(tracing) = &shared.control.tracing {
        routes.app_data(Data::from(Arc::clone(tracing)));
    }
    routes.default_service(web::to(nowhere));
}

/// What belongs to neither the protocol nor the health.
pub(crate) fn own(routes: &mut ServiceConfig, metrics: bool) {
    routes.service(resource("/openapi.json", "GET", get().to(openapi::served)));
    if metrics {
        routes.service(resource("/metrics", "GET", get().to(metrics_text)));
    }
}

async fn nowhere() -> HttpResponse {
    let error = "there is nothing at this path; POST /v2/repository/index lists the kernels";
    Fault::new(Reason::NotFound, error).error_response()
}

async fn metrics_text(
    control: Data<Control>,
    metrics: Data<Metrics>,
    request: HttpRequest,
) -> HttpResponse {
    let format = Accept::parse(&request).map_or(Format::Text, |accept| Format::of(&accept));
    HttpResponse::Ok().content_type(format.content_type()).body(metrics.text(&control, format))
}

/// Connections are closed behind each answer once the end is near: nobody is to send a further request
/// into a connection that goes away.
fn farewell<B>(mut answer: ServiceResponse<B>, control: &Control) -> ServiceResponse<B> {
    if control.is_leaving() {
        let head = answer.response_mut().head_mut();
        head.set_connection_type(actix_web::http::ConnectionType::Close);
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}
