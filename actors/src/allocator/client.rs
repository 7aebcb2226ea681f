//! A device's memory as its users reach it: on the spot where possible, by message where not.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, ArbiterHandle};
use rustkernel_gpu::memory::{
    AttentionNeed, DeviceMemory, Lease, Leased, MemoryKind, MemoryMap, MemoryStats, Need,
    PressureLevel, Reservation, Shortage,
};
use rustkernel_gpu::{Device, DeviceError, DeviceResult, Stream};
use tokio::sync::oneshot;

use super::spill::{self, Spill, SpillInto};
use super::{
    AllocatorActor, AllocatorStats, Grow, GrowInto, Refused, Reserve, Tally, Trim, queue,
    rejection, stopped,
};
use crate::clock::Instant;
use crate::error::Rejection;
use crate::kernel::Priority;

/// A device's memory, with its allocator. Clones are the same memory.
#[derive(Clone)]
pub struct MemoryClient {
    pub(super) memory: Arc<DeviceMemory>,
    pub(super) allocator: Addr<AllocatorActor>,
    pub(super) arbiter: ArbiterHandle,
    pub(super) tally: Arc<Tally>,
    /// Whether the application can be asked to spare memory.
    pub(super) spills: bool,
}

impl MemoryClient {
    /// Ends the allocator's thread. What is leased still comes back, to a pool that then releases it.
    pub(crate) fn stop(&self) {
        self.memory.attention().attend(false);
        self.arbiter.stop();
    }

    /// The thread of the allocator.
    pub(crate) fn arbiter(&self) -> &ArbiterHandle {
        &self.arbiter
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

    /// Leases device memory outside of any kernel, blocking this thread for at most `timeout` at each
    /// of up to three steps: where there is no memory, the application is asked to spare some, once.
    ///
    /// # Errors
    /// If the bytes cannot be committed, the device does not give them, or not in time.
    pub fn lease_blocking(&self, bytes: usize, timeout: Duration) -> DeviceResult<Lease> {
        let first = self.try_lease_blocking(bytes, timeout);
        let wanted = first.as_ref().err().and_then(Self::could_be_spared);
        match wanted {
            Some(wanted) if self.spill_blocking(wanted, timeout) > 0 => {
                self.try_lease_blocking(bytes, timeout)
            }
            _ => first,
        }
    }

    fn try_lease_blocking(&self, bytes: usize, timeout: Duration) -> DeviceResult<Lease> {
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

    /// What lies where in the addresses of that kind; none where they are not one range, as without pooling.
    pub fn map(&self, kind: MemoryKind) -> Option<MemoryMap> {
        self.memory.map(kind)
    }

    /// How full the device is.
    pub fn pressure(&self) -> PressureLevel {
        self.memory.pressure()
    }

    /// What the allocator does where memory is short.
    pub fn allocator_stats(&self) -> AllocatorStats {
        self.tally.read()
    }

    /// Whether a reservation of that priority waits at present, whatever is free.
    pub(crate) fn defers(&self, priority: Priority) -> bool {
        queue::is_deferred(priority, self.memory.pressure())
    }

    /// Whether a request of that priority that has not started is cancelled at present.
    pub(crate) fn cancels(&self, priority: Priority) -> bool {
        priority == Priority::Low && self.memory.pressure() == PressureLevel::Emergency
    }

    /// Reserves what a request declares, waiting for it until the deadline. Those that come are
    /// served by priority and in order; under critical pressure none are.
    pub(crate) async fn reserve(
        &self,
        need: Need,
        priority: Priority,
        deadline: Option<Instant>,
    ) -> Result<Reservation, Refused> {
        let (device, level) = (self.device().id(), self.memory.pressure());
        let deferred = queue::is_deferred(priority, level);
        if deferred || level >= PressureLevel::Critical {
            // What never fits need not wait, and is not to come again.
            self.memory.could_reserve(need).map_err(|never| rejection(never, device))?;
        }
        if level >= PressureLevel::Critical && need != Need::NOTHING {
            return Err(Rejection::UnderPressure { device, level }.into());
        }
        if !self.memory.attention().is_room_wanted() && !deferred {
            match self.memory.try_reserve(need) {
                Ok(reservation) => return Ok(reservation),
                Err(shortage @ Shortage::Never { .. }) => {
                    return Err(rejection(shortage, device).into());
                }
                Err(Shortage::NotNow { .. }) => {}
            }
        }
        let _waits = self.tally.wait();
        self.ask(|reply| Reserve { need, priority, deadline, restart: false, reply }).await
    }

    /// Asks the allocator for a reservation. Dropped before it has an answer, the reservation is given up.
    async fn ask(
        &self,
        reserve: impl FnOnce(queue::Reply) -> Reserve,
    ) -> Result<Reservation, Refused> {
        let mut asked = Asked { memory: &self.memory, answer: None };
        let (reply, answer) = oneshot::channel();
        let answer = asked.answer.insert(answer);
        let stopped = || Rejection::Stopped.into();
        self.allocator.send(reserve(reply)).await.map_err(|_| stopped())?;
        let answered = answer.await;
        asked.answer = None;
        answered.unwrap_or_else(|_| Err(stopped()))
    }

    /// Waits while the level is `Critical`, before a restart asks for memory. Those that wait are let go
    /// by priority and in order.
    pub(crate) async fn calm(&self, priority: Priority) {
        if self.memory.pressure() < PressureLevel::Critical {
            return;
        }
        let need = Need::NOTHING;
        let restart = |reply| Reserve { need, priority, deadline: None, restart: true, reply };
        // (Nothing is what it gets; that an allocator has stopped is told to the next who asks.)
        drop(self.ask(restart).await);
    }

    /// How many bytes the application could spare to cure an error: it is a want of device memory, and
    /// not for ever.
    pub(crate) fn could_be_spared(error: &DeviceError) -> Option<u64> {
        match *error {
            DeviceError::OutOfMemory { kind: MemoryKind::Device, asked, free, limit, .. } => {
                (asked <= limit).then(|| asked.saturating_sub(free).max(1))
            }
            _ => None,
        }
    }

    /// Asks the application to spare memory; how many bytes it has. None from within its hook.
    pub(crate) async fn spill(&self, bytes: u64) -> u64 {
        if !self.spills || spill::inside_hook() {
            return 0;
        }
        self.allocator.send(Spill(bytes)).await.unwrap_or(0)
    }

    fn spill_blocking(&self, bytes: u64, timeout: Duration) -> u64 {
        if !self.spills || spill::inside_hook() {
            return 0;
        }
        let (reply, freed) = crossbeam_channel::bounded(1);
        match self.allocator.try_send(SpillInto { bytes, reply }) {
            Ok(()) => freed.recv_timeout(timeout).unwrap_or(0),
            Err(_) => 0,
        }
    }

    /// Gives all idle memory back to the device.
    pub(crate) async fn trim(&self) -> u64 {
        self.allocator.send(Trim).await.unwrap_or(0)
    }
}

/// A reservation that was asked for.
struct Asked<'a> {
    memory: &'a DeviceMemory,
    answer: Option<oneshot::Receiver<Result<Reservation, Refused>>>,
}

impl Drop for Asked<'_> {
    /// Given up: it may have kept those behind it waiting.
    fn drop(&mut self) {
        if self.answer.take().is_some() {
            self.memory.attention().raise(AttentionNeed::Room);
        }
    }
}

impl fmt::Debug for MemoryClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryClient").field(&self.device().id()).finish()
    }
}
