//! What can be asked over the Open Inference Protocol.

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::web::{self, Bytes, Data, Path, ReqData, ServiceConfig};
use actix_web::{Error, HttpRequest, HttpResponse};
use rustkernel_core::kernel::{CallOptions, Instant};
use serde::Deserialize;

use super::body::{self, BodyLimits};
use super::describe::{Config, Metadata, ServerMetadata};
use super::headers::number;
use super::models::{Model, Models};
use super::repository;
use super::request::{self, Begun, Inference};
use super::response::{self, Body};
use super::statistics::{Parts, Statistics};
use super::{Fault, HEADER_LENGTH, Reason, TIMEOUT};
use crate::control::Control;
use crate::metrics::Pending;
use crate::routes::{get, resource};
use crate::security::Principal;
use crate::tracing;

/// What is collected of a body is read from here on, and an answer written, on a thread where that keeps nobody waiting.
pub(super) const LARGE: usize = 256 << 10;

/// A kernel's path, and with its version.
const MODEL: [&str; 2] = ["/v2/models/{name}", "/v2/models/{name}/versions/{version}"];

/// The part of a path that names a kernel.
#[derive(Deserialize)]
struct Named {
    name: String,
    version: Option<String>,
}

impl Named {
    /// What the path of a call names, unless something in it is escaped.
    fn in_call(path: &str) -> Option<Self> {
        let model = path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?;
        let (name, version) = match model.split_once("/versions/") {
            Some((name, version)) => (name, Some(version)),
            None => (model, None),
        };
        let plain = |part: &str| !part.is_empty() && !part.contains(['/', '%']);
        let is_plain = plain(name) && version.is_none_or(plain);
        is_plain.then(|| Self { name: name.into(), version: version.map(Into::into) })
    }
}

/// Answers calls before a route is looked for: to find the one of a path costs regular expressions, as much time as
/// everything else that is done with a request's head. Those in whose paths something is escaped find theirs.
pub(crate) async fn calls(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    let named = match *request.method() {
        Method::POST => Named::in_call(request.path()),
        _ => None,
    };
    let data = (request.app_data::<Data<Models>>(), request.app_data::<Data<BodyLimits>>());
    let (Some(named), (Some(models), Some(limits))) = (named, data) else {
        return next.call(request).await;
    };
    let (models, limits) = (models.clone(), limits.clone());
    let (http, mut payload) = request.into_parts();
    let answered = infer_of(&http, &mut payload, &models, &limits, &named).await;
    Ok(ServiceResponse::new(http, answered.unwrap_or_else(HttpResponse::from_error)))
}

/// Every route of the protocol.
pub(crate) fn configure(routes: &mut ServiceConfig) {
    for model in MODEL {
        routes.service(resource(&format!("{model}/infer"), "POST", web::post().to(infer)));
    }
    routes
        .service(resource("/v2", "GET", get().to(server)))
        .service(resource("/v2/health/live", "GET", get().to(live)))
        .service(resource("/v2/health/ready", "GET", get().to(ready)))
        .service(resource("/v2/models/stats", "GET", get().to(all_statistics)))
        .configure(repository::configure);
    for model in MODEL {
        let path = |end: &str| format!("{model}{end}");
        routes
            .service(resource(&path(""), "GET", get().to(metadata)))
            .service(resource(&path("/ready"), "GET", get().to(model_ready)))
            .service(resource(&path("/config"), "GET", get().to(config)))
            .service(resource(&path("/stats"), "GET", get().to(statistics)));
    }
}

async fn server(control: Data<Control>) -> HttpResponse {
    HttpResponse::Ok().json(ServerMetadata::new(&control.name))
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().finish()
}

async fn ready(control: Data<Control>) -> HttpResponse {
    if control.readiness().is_ready() {
        HttpResponse::Ok().finish()
    } else {
        HttpResponse::ServiceUnavailable().finish()
    }
}

async fn metadata(models: Data<Models>, path: Path<Named>) -> Result<HttpResponse, Fault> {
    let model = find(&models, &path)?;
    Ok(HttpResponse::Ok().json(Metadata::from(model.signature())))
}

async fn config(models: Data<Models>, path: Path<Named>) -> Result<HttpResponse, Fault> {
    let model = find(&models, &path)?;
    Ok(HttpResponse::Ok().json(Config::from(model.signature())))
}

async fn model_ready(
    control: Data<Control>,
    models: Data<Models>,
    path: Path<Named>,
) -> Result<HttpResponse, Fault> {
    let model = find(&models, &path)?;
    models.admit()?;
    if control.is_leaving() {
        let error = format!("`{}` is about to be drained", path.name);
        return Err(Fault::new(Reason::Draining, error));
    }
    model.serves().map(|()| HttpResponse::Ok().finish())
}

async fn statistics(models: Data<Models>, path: Path<Named>) -> Result<HttpResponse, Fault> {
    let model = find(&models, &path)?;
    Ok(HttpResponse::Ok().json(Statistics::of([&*model])))
}

async fn all_statistics(models: Data<Models>, asks: Option<ReqData<Principal>>) -> HttpResponse {
    let all = models.seen_by(asks.as_deref());
    HttpResponse::Ok().json(Statistics::of(all.iter().map(|model| &**model)))
}

fn find(models: &Models, path: &Named) -> Result<Arc<Model>, Fault> {
    models.find(&path.name, path.version.as_deref())
}

async fn infer(
    http: HttpRequest,
    payload: web::Payload,
    models: Data<Models>,
    limits: Data<BodyLimits>,
    path: Path<Named>,
) -> Result<HttpResponse, Fault> {
    infer_of(&http, &mut payload.into_inner(), &models, &limits, &path).await
}

async fn infer_of(
    http: &HttpRequest,
    payload: &mut Payload,
    models: &Models,
    limits: &BodyLimits,
    named: &Named,
) -> Result<HttpResponse, Fault> {
    models.admit()?;
    let model = find(models, named)?;
    let pending = model.metrics.begin();
    let answered = answer(http, payload, &model, limits, pending.since()).await;
    finish(&model, pending, answered)
}

/// Counts a request, whatever has come of it.
fn finish(
    model: &Model,
    pending: Pending<'_>,
    answered: Result<(Body, Parts), Fault>,
) -> Result<HttpResponse, Fault> {
    match answered {
        Ok((body, parts)) => {
            let total = pending.succeeded(parts);
            model.counts.succeeded(total, parts);
            Ok(body.into_response())
        }
        Err(fault) => {
            let total = pending.failed(fault.reason);
            model.counts.failed(total);
            Err(fault)
        }
    }
}

async fn answer(
    http: &HttpRequest,
    payload: &mut Payload,
    model: &Arc<Model>,
    limits: &BodyLimits,
    since: Instant,
) -> Result<(Body, Parts), Fault> {
    let header = number(http.headers(), &HEADER_LENGTH)?;
    let patience: Option<u64> = number(http.headers(), &TIMEOUT)?;
    let begin = async |body, length| begin(model, header, body, length).await;
    // (What the body takes is held until the answer is written.)
    let (Inference { id, fields, outputs, timeout, priority }, _held) =
        body::read(http, payload, limits, header, begin).await?;
    let asked = Instant::now();
    let timing = tracing::calling(http, since, asked);
    let options = CallOptions {
        timeout: patience.map(Duration::from_millis).or(timeout),
        priority,
        no_waiting: true,
        timing: Some(Arc::clone(&timing)),
        gather: true,
    };
    let answered = model.kernel.call(fields, options).await;
    let began = timing.began().unwrap_or(asked);
    let ended = timing.ended().unwrap_or(began);
    let fields = answered.map_err(Fault::from)?;
    let writing = Instant::now();
    let size: u64 = fields.tensors.values().map(|tensor| tensor.bytes()).sum();
    let write = {
        let (model, most) = (Arc::clone(model), limits.answer);
        move || response::write(model.signature(), id.as_deref(), &outputs, &fields, most)
    };
    let body = if size < LARGE as u64 { write()? } else { elsewhere(write).await? };
    tracing::wrote(http, writing);
    let parts = Parts {
        input: asked.saturating_duration_since(since),
        queue: began.saturating_duration_since(asked),
        compute: ended.saturating_duration_since(began),
        output: writing.elapsed(),
    };
    Ok((body, parts))
}

/// Reads the front of a body of so many bytes.
async fn begin(
    model: &Arc<Model>,
    header: Option<usize>,
    body: Bytes,
    length: usize,
) -> Result<Begun, Fault> {
    if body.len() < LARGE {
        return request::begin(model.signature(), header, &body, length);
    }
    let model = Arc::clone(model);
    elsewhere(move || request::begin(model.signature(), header, &body, length)).await
}

/// Does something long where that keeps nobody waiting.
pub(super) async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let done = web::block(work).await;
    done.unwrap_or_else(|error| Err(Fault::new(Reason::Failed, error.to_string())))
}
