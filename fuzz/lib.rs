//! What holds whatever bytes come.
#![forbid(unsafe_code)]

mod config;
mod credentials;
mod infer;

pub use config::{environment, file};
pub use credentials::credentials;
pub use infer::infer;
