//! What can be asked over HTTP.

use actix_web::http::StatusCode;
use actix_web::http::header::ALLOW;
use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Resource, ResponseError, Route, guard};
use rustkernel_core::gpu::DeviceId;
use rustkernel_core::memory::MemoryKind;
use rustkernel_core::runtime::{LifecycleState, LoadError, LookupError};
use serde_json::Value;
use std::fmt;

use crate::control::{Control, Reloaded};
use crate::signals::Ask;
use crate::view::{
    Device, Devices, Kernel, Kernels, Lifted, Loaded, Map, Maps, Problem, State, Status, Unloaded,
};

/// A problem with the status that it is answered with.
#[derive(Debug)]
struct Refusal(StatusCode, Problem);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1.error)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.0
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.0).json(&self.1)
    }
}

type Answer<T> = Result<Json<T>, Refusal>;

/// How the service is, for probes. `Data<Control>` has to be there.
pub(crate) fn health(routes: &mut ServiceConfig) {
    routes
        .service(resource("/livez", "GET", get().to(live)))
        .service(resource("/readyz", "GET", get().to(ready)))
        .service(resource("/healthz", "GET", get().to(ready)))
        .service(resource("/startupz", "GET", get().to(started)));
}

/// Every route of the control endpoint. `Data<Control>` has to be there.
pub(crate) fn configure(routes: &mut ServiceConfig) {
    routes
        .configure(health)
        .service(resource("/admin/v1/status", "GET", get().to(status)))
        .service(resource("/admin/v1/kernels", "GET", get().to(kernels)))
        .service(resource("/admin/v1/kernels/{name}", "GET", get().to(kernel)))
        .service(resource("/admin/v1/kernels/{name}/restart", "POST", web::post().to(restart)))
        .service(resource("/admin/v1/kernels/{name}/lift", "POST", web::post().to(lift)))
        .service(resource("/admin/v1/kernels/{name}/unload", "POST", web::post().to(unload)))
        .service(resource("/admin/v1/kernels/{name}/load", "POST", web::post().to(load)))
        .service(resource("/admin/v1/devices", "GET", get().to(devices)))
        .service(resource("/admin/v1/devices/{id}/map", "GET", get().to(map)))
        .service(resource("/admin/v1/config", "GET", get().to(config)))
        .service(resource("/admin/v1/drain", "POST", web::post().to(drain)))
        .service(resource("/admin/v1/stop", "POST", web::post().to(stop)))
        .service(resource("/admin/v1/reload", "POST", web::post().to(reload)))
        .default_service(web::to(nowhere));
}

/// The route of a `GET`. Where there is one there is `HEAD`: the server leaves the body out.
pub(crate) fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A path that takes one method.
pub(crate) fn resource(path: &str, method: &'static str, route: Route) -> Resource {
    #[cfg(test)]
    SERVED.with_borrow_mut(|served| served.push((method.to_owned(), path.to_owned())));
    let allowed = if method == "GET" { "GET, HEAD" } else { method };
    let other = move || async move {
        let problem = Problem::new(format!("this path takes {method} alone"));
        HttpResponse::MethodNotAllowed().insert_header((ALLOW, allowed)).json(problem)
    };
    web::resource(path.to_owned()).route(route).default_service(web::to(other))
}

#[cfg(test)]
thread_local! {
    /// Methods and paths that were made a resource of.
    static SERVED: std::cell::RefCell<Vec<(String, String)>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// What this thread has made resources of since it was asked the last time.
#[cfg(test)]
pub(crate) fn noted() -> Vec<(String, String)> {
    SERVED.take()
}

async fn nowhere() -> HttpResponse {
    let problem = Problem::new("there is nothing at this path");
    HttpResponse::NotFound().json(problem.hint("GET /admin/v1/status tells how the service is"))
}

async fn live(control: Data<Control>) -> Json<State> {
    Json(State::of(control.runtime.state()))
}

/// Whether a probe is to say more, whatever else it says, and however often.
fn is_verbose(request: &HttpRequest) -> bool {
    let mut said = request.query_string().split('&').map(|one| one.split('=').next());
    said.any(|key| key == Some("verbose"))
}

async fn ready(control: Data<Control>, request: HttpRequest) -> HttpResponse {
    let readiness = control.readiness();
    let status = match readiness.is_ready() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut answer = HttpResponse::build(status);
    if is_verbose(&request) {
        return answer.content_type("text/plain; charset=utf-8").body(readiness.to_string());
    }
    if readiness.is_ready() {
        return answer.json(State::of(control.runtime.state()));
    }
    let reasons: Vec<String> = readiness.reasons().collect();
    answer.json(Problem { problems: reasons, ..Problem::new("no requests are taken") })
}

/// Whether the start is over, however what was started is now.
async fn started(control: Data<Control>) -> Answer<State> {
    match control.runtime.state() {
        LifecycleState::Starting => {
            let problem = Problem::new("the runtime is starting");
            Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, problem))
        }
        state => Ok(Json(State::of(state))),
    }
}

async fn status(control: Data<Control>) -> Json<Status> {
    Json(Status::of(&control))
}

async fn kernels(control: Data<Control>) -> Json<Kernels> {
    let stats = control.runtime.stats();
    Json(Kernels { kernels: stats.kernels.iter().map(Kernel::of).collect() })
}

async fn kernel(control: Data<Control>, name: Path<String>) -> Answer<Kernel> {
    let kernels = control.runtime.stats().kernels;
    match kernels.iter().find(|kernel| kernel.name == *name) {
        Some(stats) => Ok(Json(Kernel::with_history(stats))),
        None => Err(no_kernel(&format!("there is no kernel `{name}`"))),
    }
}

fn no_kernel(error: &str) -> Refusal {
    let problem = Problem::new(error).hint("GET /admin/v1/kernels lists the kernels");
    Refusal(StatusCode::NOT_FOUND, problem)
}

async fn devices(control: Data<Control>) -> Json<Devices> {
    let stats = control.runtime.stats();
    Json(Devices { devices: stats.devices.iter().map(Device::of).collect() })
}

async fn map(control: Data<Control>, id: Path<String>) -> Answer<Maps> {
    let id = id.into_inner();
    let device = id.parse::<DeviceId>().ok();
    let of = |kind| control.runtime.memory_map(device?, kind).ok();
    match of(MemoryKind::Device).zip(of(MemoryKind::Staging)) {
        Some((device, staging)) => {
            Ok(Json(Maps { id, device: device.map(Map::from), staging: staging.map(Map::from) }))
        }
        None => {
            let problem = Problem::new(format!("the process does not use the device {id}"));
            let problem = problem.hint("GET /admin/v1/devices lists those that it uses");
            Err(Refusal(StatusCode::NOT_FOUND, problem))
        }
    }
}

async fn config(control: Data<Control>) -> Answer<Value> {
    match &control.configuration {
        Some(configuration) => Ok(Json(configuration.show())),
        None => Err(Refusal(
            StatusCode::NOT_FOUND,
            Problem::new("there is no configuration to show: the service was started without one"),
        )),
    }
}

async fn drain(control: Data<Control>) -> Result<HttpResponse, Refusal> {
    ask(&control, Ask::Drain)
}

async fn stop(control: Data<Control>) -> Result<HttpResponse, Refusal> {
    ask(&control, Ask::Stop)
}

fn ask(control: &Control, ask: Ask) -> Result<HttpResponse, Refusal> {
    if control.ask(ask) {
        return Ok(accepted(control));
    }
    let problem = Problem::new("too many orders wait to be followed; try again");
    Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, problem))
}

/// What was asked for has begun, or soon will.
fn accepted(control: &Control) -> HttpResponse {
    HttpResponse::Accepted().json(State::of(control.runtime.state()))
}

async fn reload(control: Data<Control>) -> Answer<Reloaded> {
    let status = match control.configuration {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::CONFLICT,
    };
    control.reload().await.map(Json).map_err(|problem| Refusal(status, problem))
}

async fn restart(control: Data<Control>, name: Path<String>) -> Result<HttpResponse, Refusal> {
    running(&control)?;
    control.runtime.restart_kernel(&name).await.map_err(|error| lookup(&error))?;
    Ok(accepted(&control))
}

async fn lift(control: Data<Control>, name: Path<String>) -> Answer<Lifted> {
    running(&control)?;
    let lifted = control.runtime.lift_quarantine(&name).await.map_err(|error| lookup(&error))?;
    Ok(Json(Lifted { lifted }))
}

async fn unload(control: Data<Control>, name: Path<String>) -> Answer<Unloaded> {
    running(&control)?;
    let replaced = control.runtime.unload_kernel(&name).await.map_err(|error| lookup(&error))?;
    Ok(Json(Unloaded { replaced }))
}

async fn load(control: Data<Control>, name: Path<String>) -> Answer<Loaded> {
    running(&control)?;
    let running = control.runtime.load_kernel(&name).await.map_err(|error| match error {
        LoadError::Lookup(error) => lookup(&error),
        other => Refusal(StatusCode::SERVICE_UNAVAILABLE, Problem::new(other.to_string())),
    })?;
    Ok(Json(Loaded { running }))
}

fn lookup(error: &LookupError) -> Refusal {
    no_kernel(&error.to_string())
}

fn running(control: &Control) -> Result<(), Refusal> {
    match control.runtime.state() {
        LifecycleState::Running => Ok(()),
        state => {
            Err(Refusal(StatusCode::CONFLICT, Problem::new(format!("the runtime is {state}"))))
        }
    }
}
