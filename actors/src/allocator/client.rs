//! A device's memory as its users reach it: on the spot where possible, by message where not.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, ArbiterHandle};
use rustkernel_gpu::memory::{
    DeviceMemory, Lease, Leased, MemoryKind, MemoryStats, Need, PressureLevel, Reservation,
    Shortage,
};
use rustkernel_gpu::{Device, DeviceError, DeviceResult, Stream};

use super::{AllocatorActor, Grow, GrowInto, Reserve, Trim, rejection, stopped};
use crate::clock::Instant;
use crate::error::Rejection;

/// A device's memory, with its allocator. Clones are the same memory.
#[derive(Clone)]
pub struct MemoryClient {
    memory: Arc<DeviceMemory>,
    allocator: Addr<AllocatorActor>,
    arbiter: ArbiterHandle,
}

impl MemoryClient {
    pub(crate) fn new(
        memory: Arc<DeviceMemory>,
        allocator: Addr<AllocatorActor>,
        arbiter: ArbiterHandle,
    ) -> Self {
        Self { memory, allocator, arbiter }
    }

    /// Ends the allocator's thread. What is leased still comes back, to a pool that then releases it.
    pub(crate) fn stop(&self) {
        self.memory.attention().attend(false);
        self.arbiter.stop();
    }

    pub(crate) fn memory(&self) -> &Arc<DeviceMemory> {
        &self.memory
    }

    /// The device that it is memory of.
    pub fn device(&self) -> &Device {
        self.memory.device()
    }

    /// Leases a block; see [`DeviceMemory::lease`]. The pool is asked at once, not when awaited.
    pub(crate) fn lease(
        &self,
        kind: MemoryKind,
        bytes: usize,
        stream: Option<&Stream>,
        reservation: Option<&Reservation>,
    ) -> impl Future<Output = DeviceResult<Lease>> + Send + use<> {
        let device = self.device().id();
        let leased =
            self.memory.lease(kind, bytes, stream, reservation).map(|leased| match leased {
                Leased::Ready(lease) => Ok(lease),
                Leased::NeedsGrowth(growth) => Err((growth, self.allocator.clone())),
            });
        async move {
            match leased? {
                Ok(lease) => Ok(lease),
                Err((growth, allocator)) => {
                    let grown = allocator.send(Grow(growth)).await;
                    grown.unwrap_or_else(|_| Err(stopped(device)))
                }
            }
        }
    }

    /// Leases device memory outside of any kernel, blocking this thread for at most `timeout`.
    ///
    /// # Errors
    /// If the bytes cannot be committed, the device does not give them, or not in time.
    pub fn lease_blocking(&self, bytes: usize, timeout: Duration) -> DeviceResult<Lease> {
        let growth = match self.memory.lease(MemoryKind::Device, bytes, None, None)? {
            Leased::Ready(lease) => return Ok(lease),
            Leased::NeedsGrowth(growth) => growth,
        };
        let device = self.device().id();
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.allocator.try_send(GrowInto { growth, reply }).map_err(|_| stopped(device))?;
        answer.recv_timeout(timeout).map_err(|_| DeviceError::TimedOut { device, timeout })?
    }

    /// A snapshot of that kind of memory.
    pub fn stats(&self, kind: MemoryKind) -> MemoryStats {
        self.memory.stats(kind)
    }

    /// How full the device is.
    pub fn pressure(&self) -> PressureLevel {
        self.memory.pressure()
    }

    /// Reserves what a request declares, waiting for it until the deadline. Those that come are
    /// served in order; under critical pressure none are.
    pub(crate) async fn reserve(
        &self,
        need: Need,
        deadline: Option<Instant>,
    ) -> Result<Reservation, Rejection> {
        let (device, level) = (self.device().id(), self.memory.pressure());
        if !self.memory.attention().is_room_wanted() && level < PressureLevel::Critical {
            match self.memory.try_reserve(need) {
                Ok(reservation) => return Ok(reservation),
                Err(shortage @ Shortage::Never { .. }) => return Err(rejection(shortage, device)),
                Err(Shortage::NotNow { .. }) => {}
            }
        }
        if level >= PressureLevel::Critical {
            return Err(Rejection::UnderPressure { device, level });
        }
        self.allocator.send(Reserve { need, deadline }).await.unwrap_or(Err(Rejection::Stopped))
    }

    /// Gives all idle memory back to the device.
    pub(crate) async fn trim(&self) -> u64 {
        self.allocator.send(Trim).await.unwrap_or(0)
    }
}

impl fmt::Debug for MemoryClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryClient").field(&self.device().id()).finish()
    }
}
