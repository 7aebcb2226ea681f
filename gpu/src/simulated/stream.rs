//! Streams of a simulated device: what is submitted is somebody's to end.

use std::sync::Arc;

use super::device::Hub;
use super::driver::Handle;
use crate::device::Epoch;
use crate::error::DeviceResult;
use crate::stream::{Direction, Operation, StreamBackend};
use crate::timeline::{Completion, Position, Timeline};

pub(super) struct SimulatedStream {
    hub: Arc<Hub>,
    handle: Handle,
    epoch: Epoch,
    timeline: Arc<Timeline>,
}

impl SimulatedStream {
    pub(super) fn open(hub: &Arc<Hub>) -> DeviceResult<Self> {
        let (epoch, mut handle) = (hub.epochs.epoch(), 0);
        let create = || hub.driver.make(1, 0, &mut handle);
        hub.epochs.call(epoch, "cuStreamCreate", create)?;
        let timeline = hub.epochs.new_timeline(epoch);
        Ok(Self { hub: Arc::clone(hub), handle, epoch, timeline })
    }

    fn submit_with(&self, name: &'static str, uses: &[Handle]) -> DeviceResult {
        let call = || self.hub.driver.call(name, uses);
        self.hub.epochs.call(self.epoch, name, call)?;
        let position = self.timeline.issue();
        let (hub, timeline) = (Arc::clone(&self.hub), Arc::clone(&self.timeline));
        self.hub.driver.player.run(Work { hub, timeline, position, epoch: self.epoch });
        Ok(())
    }
}

impl StreamBackend for SimulatedStream {
    fn timeline(&self) -> &Arc<Timeline> {
        &self.timeline
    }

    fn submit(&mut self, operation: Operation) -> DeviceResult {
        match operation {
            Operation::Copy { from, to, direction: Direction::OnDevice, .. } => {
                self.submit_with("copy", &[self.handle, from, to])
            }
            Operation::Fill { to, .. } => self.submit_with("fill", &[self.handle, to]),
            _ => self.hub.unsupported("do more than fill and copy its own memory"),
        }
    }

    fn completion(&mut self) -> DeviceResult<Completion> {
        let position = self.timeline.issued();
        if !self.timeline.has_reached(position) {
            let record = || self.hub.driver.call("record", &[self.handle]);
            self.hub.epochs.call(self.epoch, "cuEventRecord", record)?;
        }
        Ok(Completion::new(Arc::clone(&self.timeline), position))
    }
}

impl Drop for SimulatedStream {
    fn drop(&mut self) {
        let destroy = || self.hub.driver.destroy(self.handle);
        self.hub.epochs.call_in_drop(self.epoch, "cuStreamDestroy", destroy);
    }
}

/// A piece of work that a stream was given. Dropped, it never ends.
#[must_use = "it ends only if somebody ends it"]
pub struct Work {
    hub: Arc<Hub>,
    timeline: Arc<Timeline>,
    position: Position,
    epoch: Epoch,
}

impl Work {
    /// It is done, and so is what its stream was given before. (Not where its context has ended.)
    pub fn end(self) {
        let asked =
            self.hub.epochs.call(self.epoch, "cuEventQuery", || self.hub.driver.call("query", &[]));
        if asked.is_ok() {
            self.timeline.complete(self.position);
        }
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").field("position", &self.position).finish_non_exhaustive()
    }
}
