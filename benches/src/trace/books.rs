//! What is live while a trace is read: the checks that both formats share.

use std::collections::HashMap;

use super::error::Reason;
use super::{Step, Trace};

/// Sums of sizes stay far from overflow, also after whoever replays has rounded them up.
const MOST_LIVE: u64 = 1 << 56;

struct Block {
    index: u32,
    bytes: u64,
    live: bool,
}

/// The steps so far, and what they leave live.
#[derive(Default)]
pub(super) struct Books {
    steps: Vec<Step>,
    blocks: HashMap<u64, Block>,
    streams: HashMap<u32, u32>,
    live: u64,
    peak: u64,
}

impl Books {
    pub(super) fn allocate(&mut self, mut step: Step, id: u64) -> Result<(), Reason> {
        if self.blocks.contains_key(&id) {
            return Err(Reason::UsedTwice(id));
        }
        step.id = u32::try_from(self.blocks.len()).map_err(|_| Reason::TooMany)?;
        let live = self.live.checked_add(step.bytes).filter(|live| *live <= MOST_LIVE);
        self.live = live.ok_or(Reason::TooMuchLive)?;
        self.peak = self.peak.max(self.live);
        self.blocks.insert(id, Block { index: step.id, bytes: step.bytes, live: true });
        self.push(step)
    }

    pub(super) fn free(&mut self, mut step: Step, id: u64) -> Result<(), Reason> {
        let block = self.blocks.get_mut(&id).filter(|block| block.live);
        let block = block.ok_or(Reason::NotLive(id))?;
        if block.bytes != step.bytes {
            let (allocated, freed) = (block.bytes, step.bytes);
            return Err(Reason::BytesDiffer { id, allocated, freed });
        }
        block.live = false;
        step.id = block.index;
        self.live -= step.bytes;
        self.push(step)
    }

    fn push(&mut self, mut step: Step) -> Result<(), Reason> {
        if let Some(last) = self.steps.last().filter(|last| last.t_us > step.t_us) {
            return Err(Reason::TimeGoesBack { from: last.t_us, to: step.t_us });
        }
        let next = u32::try_from(self.streams.len()).map_err(|_| Reason::TooMany)?;
        step.stream = *self.streams.entry(step.stream).or_insert(next);
        self.steps.push(step);
        Ok(())
    }

    /// The trace, if it has any rows. `page` makes its page of its peak.
    pub(super) fn close(self, name: &str, page: impl Fn(u64) -> u64) -> Result<Trace, Reason> {
        if self.steps.is_empty() {
            return Err(Reason::Empty);
        }
        Ok(Trace {
            name: name.to_owned(),
            steps: self.steps,
            ids: self.blocks.len(),
            streams: self.streams.len(),
            peak_live: self.peak,
            page: page(self.peak),
        })
    }
}
