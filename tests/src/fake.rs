//! The fake CUDA driver in process: each test has a device of its own.

use std::sync::Once;

use fake_cuda::{Config, Ledger};

use crate::rig::Rig;

/// The fake driver's place, as messages give it.
pub const NAME: &str = "fake";

/// More than any test binary has tests that ask for one.
const DEVICES: usize = 512;

/// Installs the fake driver, before anything else has chosen one.
///
/// # Panics
/// If a driver was chosen before.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let config = Config { devices: DEVICES, memory_bytes: 256 << 20, ..Config::default() };
        assert!(fake_cuda::configure(&config), "the fake driver has made its devices already");
        assert!(
            rustkernel_driver::install(NAME, fake_cuda::lookup),
            "another driver was chosen before"
        );
    });
}

/// A device that no other test has, nor will have: the runtime keeps a device's context for good.
pub fn claim() -> u32 {
    install();
    let claim = fake_cuda::claim();
    let ordinal = u32::try_from(claim.ordinal).expect("there are few devices");
    std::mem::forget(claim);
    ordinal
}

/// What the driver says is live on a device.
pub fn ledger(ordinal: u32) -> Ledger {
    fake_cuda::ledger(ordinal as usize)
}

/// A rig over a fake device.
///
/// # Panics
/// If the device cannot be opened.
pub fn rig() -> Rig {
    Rig::new(rustkernel_gpu::cuda::open(claim()).expect("a fake device opens"))
}
