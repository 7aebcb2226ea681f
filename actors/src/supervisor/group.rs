//! What the end of one kernel means for others: groups, quarantine, the end of the runtime.

use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt;
use slog::{error, warn};

use super::drain::ordered;
use super::lifecycle::LifecycleState;
use super::{Child, StopReason, SupervisorActor};
use crate::event::RuntimeEvent;
use crate::kernel::{Hold, KernelReport, Order};
use crate::restart::{Cause, Circuit, Strategy, Verdict};

/// A group that is being restarted.
#[derive(Debug, Default)]
pub(super) struct GroupRestart {
    /// Others of its kernels have ended meanwhile, so it is restarted once more: because of the first of
    /// them, since those that are restarted with one are among those restarted with any before it.
    again: Option<String>,
}

/// Stops kernels in the reverse order of their start and starts them again in that order.
async fn restart(
    group: Vec<Child>,
    children: Vec<(Child, Duration)>,
    cause: Cause,
    wait: Duration,
) {
    for (child, within) in children.iter().rev() {
        let (within, cause) = (*within, cause.clone());
        ordered(child, Order::Suspend { hold: Hold::Group, within, cause }).await;
    }
    tokio::time::sleep(wait).await;
    // Those who were turned away with a member that is quarantined wait for that one's trial.
    let quarantined = group.iter().any(|member| member.kernel.circuit() == Circuit::Open);
    for (child, _) in &children {
        if !quarantined {
            ordered(child, Order::Resume { hold: Hold::Sibling }).await;
        }
        ordered(child, Order::Resume { hold: Hold::Group }).await;
    }
}

impl SupervisorActor {
    /// The kernels that are restarted with that one, itself included, in the order of their start.
    fn restarted_with(&self, kernel: &str) -> Vec<Child> {
        let own = |child: &&Child| child.name == kernel;
        let Some(child) = self.children.iter().find(own) else { return Vec::new() };
        let siblings = self.children.iter().filter(|other| other.group == child.group);
        match Strategy::of(&self.config.groups, child.group.as_deref()) {
            Strategy::OneForOne => vec![child.clone()],
            Strategy::OneForAll => siblings.cloned().collect(),
            Strategy::RestForOne => {
                siblings.skip_while(|other| other.name != kernel).cloned().collect()
            }
        }
    }

    pub(super) fn restart_group(
        &mut self,
        kernel: String,
        cause: Cause,
        wait: Duration,
        ctx: &mut Context<Self>,
    ) {
        let together = self.restarted_with(&kernel);
        let Some(first) = together.first() else { return };
        let group = first.group.clone().unwrap_or_else(|| kernel.clone());
        let order = |name: &String| self.children.iter().position(|child| child.name == *name);
        if let Some(under_way) = self.group_restarts.get_mut(&group) {
            let ended = under_way.again.take().into_iter().chain([kernel]);
            under_way.again = ended.min_by_key(order);
            return;
        }
        self.group_restarts.insert(group.clone(), GroupRestart::default());
        warn!(self.config.logger, "restarting a group"; "group" => &group, "because of" => &kernel, "cause" => %cause);
        let names: Vec<String> = together.iter().map(|child| child.name.clone()).collect();
        let timeout = self.config.shutdown_timeout;
        let within = |child: Child| {
            let within = child.shutdown_timeout.unwrap_or(timeout);
            (child, within)
        };
        let children = together.into_iter().map(within).collect();
        let members = self.children.iter().filter(|child| child.group.as_ref() == Some(&group));
        let members = members.cloned().collect();
        let restarted =
            restart(members, children, Cause::Group(kernel.clone()), wait).into_actor(self);
        ctx.spawn(restarted.map(move |(), actor, ctx| {
            let event =
                RuntimeEvent::GroupRestarted { group: group.clone(), kernel, restarted: names };
            actor.board.announcer.tell(event);
            let again = actor.group_restarts.remove(&group).and_then(|restart| restart.again);
            if let Some(kernel) = again {
                actor.restart_group(kernel, cause, Duration::ZERO, ctx);
            }
        }));
    }

    /// The kernels that depend on one that is quarantined refuse requests with it.
    fn turn_away_siblings(&self, kernel: &str, ctx: &mut Context<Self>) {
        for child in self.restarted_with(kernel).into_iter().filter(|child| child.name != kernel) {
            let cause = Cause::Group(kernel.to_owned());
            let ordered = async move { ordered(&child, Order::TurnAway { cause }).await };
            ctx.spawn(ordered.map(|_| ()).into_actor(self));
        }
    }

    /// Drains and stops, for a reason of its own.
    pub(super) fn escalate(&mut self, reason: StopReason, ctx: &mut Context<Self>) {
        error!(self.config.logger, "the runtime stops: {reason}");
        self.reason = self.reason.take().or(Some(reason));
        self.shut_down(None, ctx);
    }
}

impl Handler<KernelReport> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, report: KernelReport, ctx: &mut Self::Context) {
        if self.state() == LifecycleState::Stopped {
            return;
        }
        let KernelReport { kernel, cause, verdict } = report;
        match (verdict, cause) {
            (Verdict::Restart(_), Cause::DeviceLost(device)) => self.device_lost(device, ctx),
            (Verdict::Restart(wait), cause) => self.restart_group(kernel, cause, wait, ctx),
            (Verdict::Quarantine(_), _) => self.turn_away_siblings(&kernel, ctx),
            (Verdict::StopRuntime, cause) => {
                self.escalate(StopReason::KernelFailed { kernel, cause }, ctx);
            }
            (Verdict::Leave | Verdict::Follow, _) => {}
        }
    }
}
