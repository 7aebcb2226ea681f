//! Devices for tests that run beside each other: each claims one that no other has.

use std::collections::BTreeSet;

use parking_lot::{Condvar, Mutex};

use super::ledger::{Ledger, ledger};
use super::{faults, gates, kernels};
use crate::device;

static CLAIMED: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());
static RETURNED: Condvar = Condvar::new();

/// A device that is one test's own, until it is dropped.
#[derive(Debug)]
#[must_use = "the device is given back when this is dropped"]
pub struct Claim {
    /// The device's ordinal.
    pub ordinal: usize,
}

/// Claims a device that nobody else has claimed; waits for one if there is none.
///
/// The device is as new: its context is not active, its ledger empty. When the claim is dropped,
/// all that the test left on the device goes (its context, and the faults, gates and kernels that
/// were of that device only), so the next test finds it as new too.
///
/// # Panics
/// If there are no devices.
pub fn claim() -> Claim {
    let devices = device::all().len();
    assert!(devices > 0, "there are no devices to claim");
    let mut claimed = CLAIMED.lock();
    loop {
        if let Some(ordinal) = (0..devices).find(|ordinal| !claimed.contains(ordinal)) {
            claimed.insert(ordinal);
            return Claim { ordinal };
        }
        RETURNED.wait(&mut claimed);
    }
}

impl Claim {
    /// The device's books.
    pub fn ledger(&self) -> Ledger {
        ledger(self.ordinal)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        faults::clear_faults_on(self.ordinal);
        gates::clear_on(self.ordinal);
        kernels::clear_on(self.ordinal);
        if let Some(device) = device::find(self.ordinal) {
            device.abandon();
        }
        CLAIMED.lock().remove(&self.ordinal);
        RETURNED.notify_one();
    }
}
