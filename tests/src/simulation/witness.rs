//! The witness: hears every event, and looks at queues now and then.

use std::collections::BTreeMap;
use std::time::Duration;

use rustkernel_actors::supervisor::LifecycleState;
use rustkernel_actors::{Events, Heard, RuntimeEvent};
use rustkernel_gpu::DeviceId;
use rustkernel_gpu::memory::PressureLevel;

use super::account::Account;
use super::fault::Fault;
use super::kernel::PLANNED;
use super::plan::GROUP;
use super::stage::{self, Stage};

/// How often queues are looked at.
const LOOK: Duration = Duration::from_millis(23);

/// How long a pressure level stays before it falls, in milliseconds.
const DWELL: u64 = 50;

/// Where the lifecycle can go, as the specification has it.
const LIFECYCLE: [(LifecycleState, LifecycleState); 4] = [
    (LifecycleState::Starting, LifecycleState::Running),
    (LifecycleState::Running, LifecycleState::Draining),
    (LifecycleState::Draining, LifecycleState::Stopped),
    (LifecycleState::Starting, LifecycleState::Stopped),
];

/// What is known of a device's pressure level.
#[derive(Default)]
struct Pressure {
    level: PressureLevel,
    /// When it was entered, in milliseconds.
    since: u64,
}

/// Hears events until the runtime is gone.
pub(crate) async fn hear(mut events: Events) {
    let mut pressure = BTreeMap::new();
    while let Some(heard) = events.next().await {
        stage::with(|stage| match heard {
            Heard::Event(event) => stage.heard(&event, &mut pressure),
            Heard::Missed(count) => stage.broken(&format!("the witness missed {count} events")),
        });
    }
}

/// Looks at queues until the runtime has stopped.
pub(crate) async fn look() {
    while stage::with(Stage::look_at_queues) == Some(true) {
        tokio::time::sleep(LOOK).await;
    }
}

impl Stage {
    fn heard(&mut self, event: &RuntimeEvent, pressure: &mut BTreeMap<DeviceId, Pressure>) {
        let now = self.now();
        self.trace.add(&[6, now]);
        match event {
            // (It has the wall clock's time in it.)
            RuntimeEvent::DeadLetter(letter) => self.trace.add(&[letter.request]),
            _ => self.trace.add_text(&format!("{event:?}")),
        }
        match event {
            RuntimeEvent::StateChanged { from, to } => self.moved(*from, *to),
            RuntimeEvent::PressureChanged { device, from, to, .. } => {
                self.pressed((*from, *to), now, pressure.entry(*device).or_default());
            }
            RuntimeEvent::DeviceLost { .. } => self.told_lost(),
            RuntimeEvent::DeviceOut { .. } => self.device_out = true,
            RuntimeEvent::KernelPanicked { report, kernel, .. } if report.message != PLANNED => {
                self.broken(&format!("{kernel} panicked on its own: {report}"));
            }
            RuntimeEvent::KernelQuarantined { kernel, .. } => {
                let exceeded = self.account(kernel, |account| account.exceeded == Some(now));
                self.check(exceeded, || {
                    format!("{kernel} is quarantined, and had no more ends than it may")
                });
            }
            RuntimeEvent::KernelOnTrial { kernel } => {
                let was_quarantined = self.account(kernel, Account::tried);
                self.check(was_quarantined, || {
                    format!("{kernel} is on trial, and was not quarantined")
                });
            }
            RuntimeEvent::KernelRecovered { kernel } => {
                self.account(kernel, |account| {
                    account.recovered();
                    true
                });
            }
            RuntimeEvent::GroupRestarted { group, .. } if group == GROUP => {
                self.fired = self.fired.with(Fault::Groups);
            }
            _ => {}
        }
    }

    /// A loss is told only where there was one.
    fn told_lost(&mut self) {
        let was_lost = self.losses > 0 && !self.device_out;
        self.check(was_lost, || "a device is told lost that was not".to_owned());
    }

    /// What is asked of a kernel's account; true of one that has none.
    fn account(&mut self, name: &str, ask: impl FnOnce(&mut Account) -> bool) -> bool {
        let mut seen = self.kernels.iter_mut();
        let found = seen.find(|seen| seen.plan.name() == name);
        found.is_none_or(|seen| ask(&mut seen.account))
    }

    fn moved(&mut self, from: LifecycleState, to: LifecycleState) {
        let is_legal = self.lifecycle == from && LIFECYCLE.contains(&(from, to));
        if !is_legal {
            let was = self.lifecycle;
            self.broken(&format!("the lifecycle went from {from} to {to} and was {was}"));
        }
        self.lifecycle = to;
        if to == LifecycleState::Stopped {
            self.check_drain();
        }
        if to == LifecycleState::Draining {
            self.draining_since = Some(self.now());
            for seen in &mut self.kernels {
                let ledger = seen.kernel.as_ref().map(|kernel| kernel.stats().ledger);
                seen.last_before_drain = ledger.map(|ledger| ledger.submitted);
            }
        }
    }

    /// Whoever made it drain, it has stopped in time.
    fn check_drain(&mut self) {
        let (now, within) = (self.now(), self.drains_within);
        let in_time = self.draining_since.is_none_or(|since| now <= since + within);
        self.check(in_time, || format!("it drained for longer than {within} ms"));
    }

    /// A level rises at once, and falls by one after its dwell.
    fn pressed(
        &mut self,
        (from, to): (PressureLevel, PressureLevel),
        now: u64,
        was: &mut Pressure,
    ) {
        let falls = from.lower() == to && now >= was.since + DWELL;
        if was.level != from || !(to > from || falls) {
            let (level, since) = (was.level, was.since);
            self.broken(&format!(
                "memory pressure went from {from} to {to} and was {level} since {since} ms"
            ));
        }
        *was = Pressure { level: to, since: now };
    }

    /// False once the runtime has stopped.
    fn look_at_queues(&mut self) -> bool {
        let readings = self.kernels.iter().filter_map(|seen| {
            let stats = seen.kernel.as_ref()?.stats();
            Some((seen.plan.index, stats.open, seen.plan.queue as u64))
        });
        let over: Vec<_> = readings.filter(|(_, open, bound)| open > bound).collect();
        for (index, open, bound) in over {
            self.broken(&format!("kernel {index} has {open} open requests, its bound is {bound}"));
        }
        self.lifecycle != LifecycleState::Stopped
    }
}
