//! The span around a request, as a middleware of actix-web.

use std::rc::Rc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage};

use super::Tracing;
use super::request::{End, Shared, Traced};
use crate::inference::Fault;
use crate::security::{Need, Permission};

/// Where callers are told the span of their request, by the draft of the
/// [header](https://w3c.github.io/trace-context/#trace-context-http-response-headers-format).
const RESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// Traces a request, if it is to be.
pub(crate) async fn traced<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let Some(mut open) = open(&request) else { return next.call(request).await };
    request.extensions_mut().insert(Rc::clone(&open.traced));
    let mut outcome = next.call(request).await;
    if let Ok(response) = &mut outcome {
        let value = HeaderValue::from_str(&open.traced.response());
        let value = value.expect("invariant: digits and dashes");
        response.headers_mut().insert(RESPONSE, value);
    }
    open.end(&end(&outcome));
    outcome
}

/// Begins the span of a request. Those that look how the service is make none.
fn open(request: &ServiceRequest) -> Option<Open> {
    let tracing = request.app_data::<Data<Tracing>>()?;
    let need = Need::of(request.path()).map(|need| need.permission);
    if matches!(need, Some(Permission::Health | Permission::Metrics)) {
        return None;
    }
    let belongs = tracing.decide(request.headers())?;
    let traced = Rc::new(Traced::new(belongs, request));
    Some(Open { tracing: tracing.clone(), traced, over: false })
}

/// The span of a request that is not over. Dropped like that, its client has gone.
struct Open {
    tracing: Data<Tracing>,
    traced: Shared,
    over: bool,
}

impl Open {
    fn end(&mut self, end: &End<'_>) {
        self.over = true;
        self.tracing.exporter.send(self.traced.spans(end));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.over {
            self.end(&End { status: None, reason: None });
        }
    }
}

fn end<B>(outcome: &Result<ServiceResponse<B>, Error>) -> End<'_> {
    match outcome {
        Ok(response) => End {
            status: Some(response.status().as_u16()),
            reason: response.response().error().and_then(reason),
        },
        Err(error) => End {
            status: Some(error.as_response_error().status_code().as_u16()),
            reason: reason(error),
        },
    }
}

fn reason(error: &Error) -> Option<&'static str> {
    Some(error.as_error::<Fault>()?.reason.name())
}
