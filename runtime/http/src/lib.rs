//! A RustKernel runtime as a service: a process that others can ask, drain and reload.
//!
//! ```text
//!  clients of the Open Inference Protocol      rustkernel runtime status, …        signals, systemd
//!        │ HTTP over TCP                             │ HTTP on a Unix socket           │
//!        ▼                                           ▼                                 ▼
//!  security, audit ──► inference ── calls ──► Runtime ◄── reads ── routes        Service::serve
//!                                                ▲                   └── asks to drain ──► │
//!                                                └───────────── starts, drains ────────────┘
//! ```
//!
//! | part | role |
//! |---|---|
//! | [`Service`] | a runtime from its start to its end: signals, orders, systemd |
//! | [`Endpoint`] | where the control endpoint is |
//! | `socket` | listening there, alone |
//! | `http`, `inference` | listening on a network; kernels by the Open Inference Protocol (docs/service.md) |
//! | `standing` | closing connections that are not used |
//! | `health`, `metrics` | whether requests are taken; what is counted |
//! | `openapi` | what is served, described for machines |
//! | `routes`, [`view`] | what can be asked over the endpoint, and the JSON that answers it |
//! | [`Client`] | who asks |
//! | [`security`] | who calls, and what they may do |
//! | [`audit`] | what they asked for, and what came of it, written down |
//! | [`tracing`] | how long each step took, sent to a collector |
//!
//! | request | answer |
//! |---|---|
//! | `GET /livez` | 200 while the process can answer |
//! | `GET /readyz` | 200 while requests are taken, else 503 |
//! | `GET /admin/v1/status` | [`Status`](view::Status) |
//! | `GET /admin/v1/kernels` | [`Kernels`](view::Kernels), without their history |
//! | `GET /admin/v1/kernels/{name}` | [`Kernel`](view::Kernel) |
//! | `GET /admin/v1/devices` | [`Devices`](view::Devices) |
//! | `GET /admin/v1/devices/{id}/map` | [`Maps`](view::Maps) |
//! | `GET /admin/v1/config` | what [`Configuration::show`] says |
//! | `POST /admin/v1/drain` | 202, [`State`](view::State): requests in flight finish, then the process ends |
//! | `POST /admin/v1/stop` | 202, [`State`](view::State): requests in flight are cancelled, then the process ends |
//! | `POST /admin/v1/reload` | [`Reloaded`] |
//! | `POST /admin/v1/kernels/{name}/restart` | 202, [`State`](view::State) |
//! | `POST /admin/v1/kernels/{name}/lift` | [`Lifted`](view::Lifted) |
//! | `POST /admin/v1/kernels/{name}/unload` | [`Unloaded`](view::Unloaded), when its open requests have finished and its state is dropped |
//! | `POST /admin/v1/kernels/{name}/load` | [`Loaded`](view::Loaded), when its instances are up |
//!
//! What goes wrong is answered by a [`Problem`](view::Problem).
#![cfg(unix)]
#![forbid(unsafe_code)]

pub mod audit;
mod client;
mod clock;
mod control;
mod endpoint;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod http;
mod inference;
mod metrics;
mod openapi;
mod places;
mod routes;
pub mod security;
mod service;
mod signals;
mod socket;
mod standing;
mod systemd;
pub mod tracing;
pub mod view;

pub use client::{Client, ClientError, FindError};
pub use control::{Configuration, Reloaded};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use service::{Notice, ServeError, Service};
pub use socket::BindError;
