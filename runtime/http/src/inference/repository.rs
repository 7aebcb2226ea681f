//! Kernels as a repository, as clients of Triton see them: listed, loaded, unloaded.

use std::sync::Arc;

use actix_web::web::{self, Bytes, Data, Json, Path, Payload, ReqData, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use rustkernel_core::runtime::LifecycleState;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body::{self, BodyLimits};
use super::models::{Model, Models};
use super::object::Object;
use super::request::Parameters;
use super::routes::{LARGE, elsewhere};
use super::scalar::Scalar;
use super::{Fault, Reason};
use crate::control::Control;
use crate::routes::resource;
use crate::security::Principal;

/// Its routes.
pub(super) fn configure(routes: &mut ServiceConfig) {
    routes
        .service(resource("/v2/repository/index", "POST", web::post().to(index)))
        .service(resource("/v2/repository/models/{name}/load", "POST", web::post().to(load)))
        .service(resource("/v2/repository/models/{name}/unload", "POST", web::post().to(unload)));
}

/// A kernel in the index.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Indexed {
    name: String,
    version: String,
    state: &'static str,
    reason: String,
}

/// What the index may be asked for.
#[derive(Default, Deserialize)]
struct Asked {
    ready: Option<Scalar>,
}

impl Asked {
    /// Whether those alone are wanted that are ready.
    fn ready_alone(&self) -> Result<bool, Fault> {
        match self.ready {
            None => Ok(false),
            Some(Scalar(Value::Bool(ready))) => Ok(ready),
            Some(_) => Err(Fault::invalid("`ready` has to be true or false")),
        }
    }
}

async fn index(
    (http, payload): (HttpRequest, Payload),
    control: Data<Control>,
    models: Data<Models>,
    limits: Data<BodyLimits>,
    asks: Option<ReqData<Principal>>,
) -> Result<Json<Vec<Indexed>>, Fault> {
    let asked: Asked = said(&http, payload, &limits).await?;
    let ready_alone = asked.ready_alone()?;
    let running = control.runtime.state() == LifecycleState::Running;
    let indexed = |model: &Arc<Model>| {
        let stats = model.kernel.stats();
        let refuses = stats.condition.refuses();
        let why = stats.history.last().map(|entry| entry.what.clone()).unwrap_or_default();
        let is_ready = running && !refuses;
        (is_ready || !ready_alone).then(|| Indexed {
            name: stats.name,
            version: model.signature().version.clone(),
            state: if is_ready { "READY" } else { "UNAVAILABLE" },
            reason: if refuses { why } else { String::new() },
        })
    };
    Ok(Json(models.seen_by(asks.as_deref()).iter().filter_map(indexed).collect()))
}

/// What is said of loading or unloading.
#[derive(Default, Deserialize)]
struct Order {
    parameters: Option<Parameters>,
}

impl Order {
    /// Refuses what would be passed over: kernels are in the program, and have no other configuration or files.
    fn check(self, taken: &[&str]) -> Result<(), Fault> {
        let Parameters(said) = self.parameters.unwrap_or_default();
        for (name, value) in said {
            let wrong = match value {
                _ if !taken.contains(&name.as_str()) => "is not one that this server has",
                Value::Bool(_) | Value::Null => continue,
                _ => "has to be true or false",
            };
            return Err(Fault::invalid(format!("the parameter `{name}` {wrong}")));
        }
        Ok(())
    }
}

/// One that is unloaded serves again, one that is quarantined is tried again; the answer comes when its instances are up.
async fn load(
    (http, payload): (HttpRequest, Payload),
    control: Data<Control>,
    models: Data<Models>,
    limits: Data<BodyLimits>,
    name: Path<String>,
) -> Result<HttpResponse, Fault> {
    let model = models.find(&name, None)?;
    said::<Order>(&http, payload, &limits).await?.check(&[])?;
    models.admit()?;
    if model.kernel.condition().refuses() {
        let up = control.runtime.load_kernel(&name).await;
        up.map_err(|error| Fault::of_load(&error))?;
    }
    model.serves().map(|()| HttpResponse::Ok().finish())
}

/// Its requests finish, and it drops its state; the answer comes when that is done.
async fn unload(
    (http, payload): (HttpRequest, Payload),
    control: Data<Control>,
    models: Data<Models>,
    limits: Data<BodyLimits>,
    name: Path<String>,
) -> Result<HttpResponse, Fault> {
    models.find(&name, None)?;
    // (No kernel depends on another.)
    said::<Order>(&http, payload, &limits).await?.check(&["unload_dependents"])?;
    models.admit()?;
    let replaced = control.runtime.unload_kernel(&name).await;
    replaced.map_err(|error| Fault::new(Reason::NotFound, error.to_string()))?;
    Ok(HttpResponse::Ok().finish())
}

/// What a body says, if there is one.
async fn said<T: DeserializeOwned + Default + Send + 'static>(
    http: &HttpRequest,
    payload: Payload,
    limits: &BodyLimits,
) -> Result<T, Fault> {
    let (body, _held) = body::whole(http, &mut payload.into_inner(), limits).await?;
    if body.len() < LARGE { read(&body) } else { elsewhere(move || read(&body)).await }
}

fn read<T: DeserializeOwned + Default>(body: &Bytes) -> Result<T, Fault> {
    if body.is_empty() {
        return Ok(T::default());
    }
    let said = serde_json::from_slice(body).map(|Object(said)| said);
    said.map_err(|error| Fault::invalid(format!("the body is not a request: {error}")))
}
