//! A kernel's ends and restarts as its own code sees them, and what they allow: how often it may be opened
//! again, when it may be quarantined, and when it has ended for good.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustkernel_actors::RestartType;

use super::policy::RestartPlan;

/// How an instance's state ends, as its own code knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum End {
    /// It was told to, or there was no memory for it: that does not count.
    #[default]
    Told,
    /// By a fault: a panic, a fatal error, an `open` or a health check that failed.
    Fault,
    /// It asked for it.
    Exit,
}

/// An end, by its number in the kernel, and at that millisecond.
#[derive(Debug, Clone, Copy)]
struct Ended {
    number: u64,
    at: u64,
    end: End,
}

/// The ends of one kernel's instances.
#[derive(Debug, Default)]
pub(crate) struct Account {
    number: u64,
    /// The last end of each instance that is not open.
    last: BTreeMap<usize, Ended>,
    /// Instances that have ended and are not to be restarted.
    gone: BTreeSet<usize>,
    /// When ends that count came, since it was quarantined last.
    counted: VecDeque<u64>,
    /// When those came that a restart has followed.
    restarted: VecDeque<u64>,
    /// Those up to this number are forgotten.
    forgotten: u64,
    /// It is tried after a quarantine, and has not proved itself.
    on_trial: bool,
    /// It has served a request since; or an instance of before has.
    was_on_trial: bool,
    /// It has exceeded its limit, and was not tried since; or may have, as far as milliseconds tell.
    quarantined: bool,
    /// It has for sure.
    surely: bool,
    /// When it was opened in a quarantine, and what is wrong with that unless the quarantine is over: that is
    /// heard in the same millisecond.
    early: Option<(u64, String)>,
    /// Instances that have a state now.
    open: BTreeSet<usize>,
    /// When it has exceeded its limit last.
    pub(crate) exceeded: Option<u64>,
    /// When it has done so for sure, as far as milliseconds tell.
    pub(crate) surely_exceeded: Option<u64>,
}

impl Account {
    /// The state of an instance is dropped.
    pub(crate) fn ended(&mut self, plan: &RestartPlan, instance: usize, end: End, at: u64) {
        self.number += 1;
        self.open.remove(&instance);
        self.last.insert(instance, Ended { number: self.number, at, end });
        let leaves = match plan.restarts {
            RestartType::Permanent => false,
            RestartType::Transient => end == End::Exit,
            RestartType::Temporary => end != End::Told,
        };
        if leaves {
            self.gone.insert(instance);
        } else if end != End::Told {
            self.counted.push_back(at);
            let exceeds = self.exceeds(plan, at) || self.on_trial;
            self.quarantined |= exceeds;
            if self.on_trial || self.surely_exceeds(plan, at) {
                self.surely = true;
                self.surely_exceeded = Some(at);
            }
            if exceeds || self.was_on_trial {
                self.exceeded = Some(at);
            }
        }
    }

    /// (A millisecond is added for times that are not whole ones, and taken off below.)
    fn exceeds(&mut self, plan: &RestartPlan, now: u64) -> bool {
        let Some((limit, window)) = plan.limit else { return false };
        self.counted.retain(|at| at + window + 1 >= now);
        self.counted.len() > limit as usize
    }

    fn surely_exceeds(&self, plan: &RestartPlan, now: u64) -> bool {
        let Some((limit, window)) = plan.limit else { return false };
        let within = self.counted.iter().filter(|at| **at + window > now + 1);
        within.count() > limit as usize
    }

    /// An instance opens again. What is wrong with that.
    pub(crate) fn opened(
        &mut self,
        plan: &RestartPlan,
        instance: usize,
        now: u64,
    ) -> Result<(), String> {
        if self.gone.contains(&instance) {
            return Err(format!("instance {instance} had left, and was opened again"));
        }
        self.open.insert(instance);
        if let Some((at, wrong)) = self.early.clone().filter(|(at, _)| *at < now) {
            return Err(format!("{wrong}, at {at} ms"));
        }
        if self.surely && self.exceeded.is_some_and(|at| at < now) {
            self.early = Some((now, "an instance was opened in its quarantine".to_owned()));
            return Ok(());
        }
        let Some(last) = self.last.remove(&instance) else { return Ok(()) };
        let Some((limit, window)) = plan.limit else { return Ok(()) };
        if last.end == End::Told || last.number <= self.forgotten {
            return Ok(());
        }
        self.restarted.retain(|at| at + window > last.at);
        self.restarted.push_back(last.at);
        let count = self.restarted.len();
        if count <= limit as usize {
            return Ok(());
        }
        let wrong = format!("{count} restarts within {window} ms, the limit is {limit}");
        if self.surely {
            self.early = Some((now, wrong));
            return Ok(());
        }
        Err(wrong)
    }

    /// It is tried after a quarantine, which is legal only in one.
    pub(crate) fn tried(&mut self) -> bool {
        self.forgotten = self.number;
        self.counted.clear();
        self.restarted.clear();
        (self.on_trial, self.surely, self.early) = (true, false, None);
        std::mem::take(&mut self.quarantined) | std::mem::take(&mut self.was_on_trial)
    }

    /// An instance has served a request.
    pub(crate) fn served(&mut self) {
        self.was_on_trial |= std::mem::take(&mut self.on_trial);
    }

    /// It has served a request after a quarantine.
    pub(crate) fn recovered(&mut self) {
        (self.on_trial, self.was_on_trial) = (false, false);
    }

    /// Whether any instance has a state now.
    pub(crate) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether every instance has left for good.
    pub(crate) fn all_gone(&self, instances: usize) -> bool {
        self.gone.len() == instances
    }
}
