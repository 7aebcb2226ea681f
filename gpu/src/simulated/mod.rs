//! A device without hardware, for simulations: it can be lost and brought back, and nothing of it is left to
//! threads or to time.
//!
//! Real are its epochs and the gate before its driver (as a CUDA device has them), and all that stands on a
//! device: pools and arena, leases, streams with their checks, timelines. Simulated is the driver: contexts, what
//! was made in them, and the error that breaks one. It knows to which context each handle belongs, and writes
//! down what is used after its context has ended.
//!
//! No data is moved, and nothing is computed: memory is a number of bytes, and work of a stream is handed to whoever
//! opened the device, who ends it when its time has come. Events, modules, launches and staging memory there are none.
//!
//! | part | role |
//! |---|---|
//! | `driver` | contexts and handles |
//! | `device`, `space`, `stream` | the interface of this crate over them |

mod device;
mod driver;
mod space;
mod stream;

use std::fmt;
use std::sync::Arc;

use crate::device::{Device, DeviceId};
use driver::Driver;

pub use stream::Work;

/// Who plays the device.
pub trait Player: Send + Sync + 'static {
    /// A stream was given this to do.
    fn run(&self, work: Work);
    /// The context breaks, in this moment. (The driver waits for the return.)
    fn broken(&self);
}

/// A simulated device, as who plays it has it.
#[derive(Clone)]
pub struct SimulatedDevice {
    device: Device,
    driver: Arc<Driver>,
}

impl SimulatedDevice {
    /// A device of so many bytes, called a CUDA device: no other kind can be lost.
    pub fn new(ordinal: u32, memory_bytes: u64, player: impl Player) -> Self {
        let driver = Arc::new(Driver::new(memory_bytes, Box::new(player)));
        let device = device::open(DeviceId::Cuda(ordinal), &driver);
        Self { device, driver }
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The driver's call after `calls` others breaks the context, with that sticky code.
    pub fn break_after(&self, calls: u64, code: u32) {
        self.driver.break_after(calls, code);
    }

    /// The next so many resets fail.
    pub fn fail_resets(&self, count: u32) {
        self.driver.fail_resets(count);
    }

    /// Calls with handles of a context that has ended.
    pub fn stale(&self) -> Vec<&'static str> {
        self.driver.stale()
    }

    /// How many handles there are in the present context, and how many bytes.
    pub fn live(&self) -> (usize, u64) {
        self.driver.live()
    }
}

impl fmt::Debug for SimulatedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedDevice").field("device", &self.device).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DeviceError;
    use crate::memory::{DeviceMemory, Leased, MemoryKind, MemoryLimits, PressureThresholds};

    struct Nobody;

    impl Player for Nobody {
        fn run(&self, work: Work) {
            work.end();
        }

        fn broken(&self) {}
    }

    #[test]
    fn a_device_lost_once_more_when_its_memory_is_opened_again_is_said_to_be_lost() {
        let simulated = SimulatedDevice::new(0, 1 << 20, Nobody);
        let limits = MemoryLimits {
            device_bytes: 1 << 20,
            staging_bytes: 0,
            pooling: true,
            defrag: true,
            thresholds: PressureThresholds::default(),
        };
        let memory = DeviceMemory::new(simulated.device().clone(), &limits);
        let take = || match memory.lease(MemoryKind::Device, 4096, None, None)? {
            Leased::Ready(_) => Ok(()),
            Leased::NeedsGrowth(growth) => growth.run().map(drop),
        };
        take().unwrap();
        let mut served = 0;
        for calls in 0..9 {
            simulated.break_after(0, 719);
            assert!(simulated.device().memory_info().is_err());
            simulated.device().recover().unwrap();
            simulated.break_after(calls, 719);
            match take() {
                Ok(()) => served += 1,
                Err(error) => assert!(matches!(error, DeviceError::Lost { .. }), "{error}"),
            }
        }
        assert!((1..9).contains(&served), "{served}");
    }
}
