//! The guard as a middleware of actix-web.

use std::any::Any;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    AUTHORIZATION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::middleware::Next;
use actix_web::rt::net::UnixStream;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpResponse};
use serde_json::json;

use super::authenticator::Credentials;
use super::denial::{Denial, Refused};
use super::guard::{Admitted, Asked, Guard, user};
use super::request_id::RequestId;
use crate::tracing::trace_id;

/// Admits a request by the [`Guard`] of the application's data, or answers why not. Handlers find the
/// [`Principal`](super::Principal) and the [`RequestId`] among the request's extensions. The answer waits
/// until its outcome is durable, and has the id in `x-request-id`.
///
/// `App::new().app_data(Data::new(guard)).wrap(from_fn(guarded))`
///
/// # Errors
/// Those of the services inside.
pub async fn guarded<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let id = RequestId::new();
    let guard = request.app_data::<Data<Guard>>().cloned();
    let Some(guard) = guard else {
        // (Without a guard nobody is let in.)
        return Ok(request
            .into_response(HttpResponse::InternalServerError().finish())
            .map_into_right_body());
    };
    let admitted = guard.admit(&asked(&request, id, &guard)).await;
    serve(admitted, id, request, next).await
}

/// The user at the other end of a Unix socket.
#[derive(Debug, Clone, Copy)]
struct Peer(u32);

/// Keeps who is at the other end of a connection.
pub(crate) fn remember_peer(connection: &dyn Any, extensions: &mut Extensions) {
    let user = connection.downcast_ref::<UnixStream>().and_then(|stream| stream.peer_cred().ok());
    if let Some(user) = user {
        extensions.insert(Peer(user.uid()));
    }
}

/// The same for the control endpoint: whoever could open it may do everything, and what changes something is
/// written down. Looking always works, also when nothing can be written.
pub(crate) async fn recorded<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let guard = request.app_data::<Data<Guard>>().cloned();
    let guard = guard.filter(|guard| guard.audit().is_some() && !request.method().is_safe());
    let Some(guard) = guard else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    let id = RequestId::new();
    let principal = user(request.conn_data::<Peer>().map(|Peer(uid)| *uid));
    let admitted = guard.admit_principal(principal, &asked(&request, id, &guard)).await;
    serve(admitted, id, request, next).await
}

/// Has a request that was admitted served, and what comes of it written down; or answers why it was not.
async fn serve<B: MessageBody + 'static>(
    admitted: Result<Admitted, Denial>,
    id: RequestId,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let admitted = match admitted {
        Ok(admitted) => admitted,
        Err(denial) => {
            return Ok(request.into_response(answer(&denial, id)).map_into_right_body());
        }
    };
    request.extensions_mut().insert(admitted.principal().clone());
    request.extensions_mut().insert(id);
    let outcome = next.call(request).await;
    let status = match &outcome {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let finished = admitted.finish(status.as_u16()).await;
    let response = outcome?;
    match finished {
        Ok(pending) => {
            // (Whoever has the answer sent keeps it until then.)
            response.request().extensions_mut().insert(pending);
            let mut response = response.map_into_left_body();
            let (name, value) = id_header(id);
            response.headers_mut().insert(name, value);
            Ok(response)
        }
        Err(_) => Ok(response.into_response(unrecorded(id)).map_into_right_body()),
    }
}

/// What somebody is told whose request was worked on, while what came of it cannot be written down. (Nothing invites
/// them to send it again: it is done.)
fn unrecorded(id: RequestId) -> HttpResponse {
    let error = "the request was worked on, and what came of it could not be written into the audit log; \
                 look before you send it again";
    let reason = "outcome_unrecorded";
    let mut answer = HttpResponse::InternalServerError();
    answer.insert_header(id_header(id));
    answer.json(json!({ "error": error, "reason": reason, "request_id": id.to_string() }))
}

fn asked<'r>(request: &'r ServiceRequest, id: RequestId, guard: &Guard) -> Asked<'r> {
    let headers = request.headers();
    Asked {
        id,
        path: request.uri().path(),
        credentials: Credentials::of(headers.get_all(AUTHORIZATION).map(HeaderValue::as_bytes)),
        source: request.peer_addr(),
        // (The audit log alone wants it.)
        trace_id: guard.audit().and_then(|_| trace_id(request)),
    }
}

fn id_header(id: RequestId) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(RequestId::HEADER), id.header())
}

/// What somebody is told who is not served.
fn answer(denial: &Denial, id: RequestId) -> HttpResponse {
    let status = match denial {
        Denial::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Denial::Forbidden { .. } => StatusCode::FORBIDDEN,
        Denial::Nowhere => StatusCode::NOT_FOUND,
        Denial::TooOften { .. } | Denial::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        Denial::Unaudited(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut answer = HttpResponse::build(status);
    match denial {
        Denial::Unauthenticated(Refused::Missing) => {
            answer.insert_header((WWW_AUTHENTICATE, "Bearer realm=\"rustkernel\""));
        }
        Denial::Unauthenticated(_) => {
            let challenge = "Bearer realm=\"rustkernel\", error=\"invalid_token\"";
            answer.insert_header((WWW_AUTHENTICATE, challenge));
        }
        Denial::TooOften { wait, .. } => {
            // (In whole seconds, and never too early.)
            answer.insert_header((RETRY_AFTER, wait.as_secs() + 1));
        }
        Denial::TooMany { .. } | Denial::Unaudited(_) => {
            answer.insert_header((RETRY_AFTER, "1"));
        }
        _ => {}
    }
    // (A path of the server's own files is nobody's business.)
    let error = match denial {
        Denial::Unaudited(_) => {
            "the audit log cannot be written, and nothing is done unrecorded".into()
        }
        other => other.to_string(),
    };
    answer.insert_header(id_header(id));
    answer.json(json!({ "error": error, "reason": denial.kind(), "request_id": id.to_string() }))
}
