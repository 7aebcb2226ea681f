//! The pressure level of a device: it rises at once, and falls by one after a while below its edge.
//!
//! The thresholds have hysteresis, which keeps small noise from moving the level. The dwell keeps large
//! noise from it: bytes that come and go by the half of the memory move the level up once, and not
//! down while they keep coming. A fall does not depend on anybody calling: a timer looks again.

use std::time::Duration;

use actix::prelude::*;
use rustkernel_gpu::memory::{AttentionNeed, DeviceMemory, MemoryKind, PressureLevel};
use slog::{info, warn};

use super::SupervisorActor;
use crate::allocator::{MemoryClient, PressureReport};
use crate::clock::{self, Instant};
use crate::event::RuntimeEvent;

/// How long the bytes have to stay below the edge of a level before it is left.
pub(crate) const DWELL: Duration = Duration::from_millis(50);

/// Why the level is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// The bytes have crossed an edge, perhaps more than once.
    Crossed,
    /// Time has passed.
    Timer,
}

/// What there is to do about a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
enum Verdict {
    Stay,
    Enter(PressureLevel),
    /// It falls then, unless the bytes rise before.
    Wait(Instant),
}

/// Since when a device's bytes have been below the edge of its level.
#[derive(Debug, Default)]
pub(super) struct Dwell {
    below_since: Option<Instant>,
    /// A timer is set that looks again.
    timer: bool,
}

impl Dwell {
    /// `settled` is the level that the bytes make now, coming from `current`.
    fn judge(
        &mut self,
        (current, settled): (PressureLevel, PressureLevel),
        reason: Reason,
        now: Instant,
    ) -> Verdict {
        if settled >= current {
            self.below_since = None;
            return if settled > current { Verdict::Enter(settled) } else { Verdict::Stay };
        }
        if reason == Reason::Crossed {
            self.below_since = None;
        }
        let falls = *self.below_since.get_or_insert(now) + DWELL;
        if now < falls {
            return Verdict::Wait(falls);
        }
        // The next level has a dwell of its own.
        self.below_since = None;
        Verdict::Enter(current.lower())
    }
}

impl SupervisorActor {
    /// Sets the level that a device's bytes make, or the timer that does so later.
    fn look_at_pressure(&mut self, client: &MemoryClient, reason: Reason, ctx: &mut Context<Self>) {
        let (memory, now) = (client.memory(), clock::now());
        let dwell = self.dwells.entry(client.device().id()).or_default();
        let levels = (memory.pressure(), memory.next_pressure());
        match dwell.judge(levels, reason, now) {
            // The limit may have moved, and the band with it.
            Verdict::Stay => memory.watch_pressure(false),
            Verdict::Wait(until) => {
                memory.watch_pressure(true);
                if !std::mem::replace(&mut dwell.timer, true) {
                    let client = client.clone();
                    ctx.run_later(until.saturating_duration_since(now), move |actor, ctx| {
                        actor.dwells.entry(client.device().id()).or_default().timer = false;
                        actor.look_at_pressure(&client, Reason::Timer, ctx);
                    });
                }
            }
            Verdict::Enter(level) => {
                self.enter_pressure(memory, level);
                self.look_at_pressure(client, Reason::Timer, ctx);
            }
        }
    }

    /// The only way a level changes.
    fn enter_pressure(&self, memory: &DeviceMemory, to: PressureLevel) {
        let from = memory.pressure();
        memory.set_pressure(to);
        memory.attention().raise(AttentionNeed::Level);
        let (device, stats) = (memory.device().id(), memory.stats(MemoryKind::Device));
        let (committed, limit) = (stats.committed, stats.attainable);
        let logger = &self.config.logger;
        match to {
            PressureLevel::Normal => info!(logger, "memory pressure is {to}"; "was" => from.name(),
                "device" => %device, "committed" => committed, "limit" => limit),
            _ => warn!(logger, "memory pressure is {to}"; "was" => from.name(),
                "device" => %device, "committed" => committed, "limit" => limit),
        }
        let event = RuntimeEvent::PressureChanged { device, from, to, committed, limit };
        self.board.announcer.tell(event);
    }
}

impl Handler<PressureReport> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, report: PressureReport, ctx: &mut Self::Context) {
        let of_device = |client: &&MemoryClient| client.device().id() == report.device;
        if let Some(client) = self.clients().iter().find(of_device).cloned() {
            self.look_at_pressure(&client, Reason::Crossed, ctx);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustkernel_gpu::memory::PressureLevel::{Critical, Emergency, Normal, Warning};

    use super::*;
    use crate::supervisor::world::World;

    /// The specification's table, in thousandths; a level is left fifty below where it is entered.
    fn expected(before: PressureLevel, committed: usize) -> PressureLevel {
        let up = match committed {
            951.. => Emergency,
            850.. => Critical,
            700.. => Warning,
            _ => Normal,
        };
        let down = match committed {
            900.. => Emergency,
            800.. => Critical,
            650.. => Warning,
            _ => Normal,
        };
        before.clamp(up, down)
    }

    #[test]
    fn a_sweep_with_jitter_is_the_table_and_one_event_for_each_crossing() {
        System::new().block_on(async {
            let mut world = World::start().await;
            let mut level = Normal;
            let mut crossings = Vec::new();
            for base in (0..=1000).chain((0..1000).rev()) {
                let jitter = if base % 50 <= 1 || base % 50 == 49 { 3 } else { 0 };
                for _ in 0..jitter {
                    world.hold((base + 1).min(1000), 5).await;
                    level = level.max(expected(level, (base + 1).min(1000)));
                    world.hold(base.saturating_sub(1), 5).await;
                }
                world.hold(base, 60).await;
                let now = expected(level, base);
                assert_eq!(world.client.pressure(), now, "at {base}, coming from {level}");
                level = now;
                crossings.extend(world.transitions());
            }
            // (Jitter reaches the edges upwards one step before the sweep does.)
            let up = [(Normal, Warning, 700), (Warning, Critical, 850), (Critical, Emergency, 951)];
            let down =
                [(Emergency, Critical, 899), (Critical, Warning, 799), (Warning, Normal, 649)];
            assert_eq!(crossings, [up, down].concat());
            assert_eq!(world.client.memory().pressure_entered(), [1, 2, 2, 1]);
            let lines = world.lines.0.lock().unwrap().clone();
            let told = crossings.iter().map(|(_, to, _)| format!("memory pressure is {to}"));
            assert_eq!(lines, told.collect::<Vec<_>>());
        });
    }

    #[test]
    fn a_level_falls_by_the_timer_alone_and_one_at_a_time() {
        System::new().block_on(async {
            let mut world = World::start().await;
            world.hold(1000, 1).await;
            assert_eq!(world.client.pressure(), Emergency);
            world.hold(0, 0).await;
            let dropped = clock::now();
            for level in [Critical, Warning, Normal] {
                while world.client.pressure() != level {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let dwells = 3 - level as u32;
                let took = dropped.elapsed();
                assert!(took >= dwells * DWELL && took < dwells * DWELL + DWELL / 5, "{took:?}");
            }
        });
    }

    #[test]
    fn noise_of_three_percent_at_a_threshold_is_no_stream_of_transitions() {
        for threshold in [700, 850, 950] {
            System::new().block_on(async {
                let mut world = World::start().await;
                world.hold(threshold - 30, 1).await;
                world.transitions();
                let mut random = 12345usize;
                for _ in 0..2000 {
                    random = random.wrapping_mul(1_103_515_245).wrapping_add(12345) % (1 << 31);
                    world.hold((threshold - 30 + random / 64 % 61).min(1000), 1).await;
                }
                let transitions = world.transitions();
                assert_eq!(transitions.len(), 1, "{threshold}: {transitions:?}");
            });
        }
    }

    #[test]
    fn noise_across_the_hysteresis_moves_the_level_down_only_after_a_dwell() {
        System::new().block_on(async {
            let mut world = World::start().await;
            let mut random = 54321usize;
            let (mut rose, mut falls) = (clock::now(), 0);
            for _ in 0..500 {
                random = random.wrapping_mul(1_103_515_245).wrapping_add(12345) % (1 << 31);
                // Between 60 and 75 %, for 1 to 64 ms.
                let (thousandths, millis) = (600 + random / 64 % 151, 1 + random / 4096 % 64);
                for _ in 0..millis {
                    world.hold(thousandths, 1).await;
                    for (from, to, _) in world.transitions() {
                        if to > from {
                            rose = clock::now();
                        } else {
                            falls += 1;
                            assert!(rose.elapsed() + Duration::from_millis(1) >= DWELL);
                        }
                    }
                }
            }
            assert!(falls > 10, "the noise crosses both edges: {falls}");
        });
    }

    #[test]
    fn bytes_that_come_back_within_the_dwell_keep_the_level() {
        System::new().block_on(async {
            let mut world = World::start().await;
            world.hold(700, 1).await;
            // Below the edge most of the time, and never for a whole dwell.
            for _ in 0..100 {
                world.hold(600, 45).await;
                world.hold(660, 1).await;
            }
            assert_eq!(world.transitions(), [(Normal, Warning, 700)]);
            world.hold(600, 60).await;
            assert_eq!(world.transitions(), [(Warning, Normal, 600)]);
        });
    }
}
