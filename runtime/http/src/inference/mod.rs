//! Kernels behind the Open Inference Protocol, version 2, over REST, with the binary tensor extension.
//!
//! The [protocol](https://github.com/kserve/open-inference-protocol) calls a kernel a model. Its tensors are the
//! kernel's, a request's parameters are the kernel's parameters, and an answer's single values are the
//! answer's parameters.
//!
//! | part | role |
//! |---|---|
//! | `routes` | what can be asked |
//! | `repository` | kernels listed, loaded and unloaded |
//! | `models` | kernels as they are found by name, and what is counted of each |
//! | `body`, `packing` | bytes as they come, within a size and a time; those of large tensors straight into them; unpacked |
//! | `held` | how many bytes of bodies there are at once |
//! | `headers` | what is read of headers |
//! | `request` | a body as a kernel's fields, and what is said of the call |
//! | `response` | a kernel's fields as a body |
//! | `object`, `scalar` | what may stand in JSON, and nothing else |
//! | `tensor` | tensors in JSON and in bytes |
//! | `describe` | a kernel's metadata and configuration |
//! | `statistics` | what was counted, as clients of Triton expect it |
//! | `fault` | what goes wrong, and its status |

mod body;
mod describe;
mod fault;
mod headers;
mod held;
mod models;
mod object;
mod packing;
mod repository;
mod request;
mod response;
mod routes;
mod scalar;
mod statistics;
mod tensor;

use actix_web::http::header::HeaderName;

pub(crate) use body::BodyLimits;
pub(crate) use describe::{Config, Metadata, ServerMetadata};
pub(crate) use fault::{Fault, Reason};
pub(crate) use held::Room;
pub(crate) use models::Models;
pub(crate) use repository::Indexed;
pub(crate) use request::{begin, read};
pub(crate) use routes::{calls, configure};
pub(crate) use statistics::{Parts, Statistics};

/// Where, in a body with binary tensors, its JSON ends.
static HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// How long, in milliseconds, a request may take.
static TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");
