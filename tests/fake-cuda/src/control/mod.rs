//! What tests steer and read: configuration, faults, delays, kernels in Rust, the ledger.

pub(crate) mod claim;
pub(crate) mod config;
pub(crate) mod faults;
pub(crate) mod gates;
pub(crate) mod kernels;
pub(crate) mod ledger;
pub(crate) mod log;
mod point;

pub use claim::{Claim, claim};
pub use config::{Config, configure, occupy};
pub use faults::{Fault, clear_faults, clear_faults_on, inject};
pub use gates::{Gate, delay, hold};
pub use kernels::{Launch, register, register_on, unregister};
pub use ledger::{Ledger, ledger, ledgers};
pub use point::{Malformed, Point};
