//! A runtime on one thread whose clock stands still but when everybody waits, for tests. Its memory is
//! real.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use rustkernel_gpu::host::{self, HostOptions, ThreadBudget};
use rustkernel_gpu::memory::{Lease, MemoryKind, MemoryLimits, PressureLevel, PressureThresholds};
use slog::{Drain, Logger, OwnedKVList, Record, o};
use tokio::sync::oneshot;

use crate::allocator::MemoryClient;
use crate::event::{Events, Heard, RuntimeEvent};
use crate::instance::Threads;
use crate::supervisor::{
    Board, DeviceConfig, OnDeviceLoss, Start, SupervisorActor, SupervisorConfig,
};

/// A thousandth of the limit: one page.
pub(crate) const PAGE: u64 = 4096;
const LIMIT: u64 = 1000 * PAGE;

/// Keeps what is said about pressure.
#[derive(Clone, Default)]
pub(crate) struct Lines(pub(crate) Arc<Mutex<Vec<String>>>);

impl Drain for Lines {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), slog::Never> {
        let text = record.msg().to_string();
        if text.starts_with("memory pressure") {
            self.0.lock().unwrap().push(text);
        }
        Ok(())
    }
}

/// The runtime, with what a test holds of its memory.
pub(crate) struct World {
    pub(crate) client: MemoryClient,
    events: Events,
    pub(crate) lines: Lines,
    held: Vec<Lease>,
    _address: Addr<SupervisorActor>,
}

/// With room for two instances.
pub(crate) fn config(lines: &Lines) -> SupervisorConfig {
    let threads = ThreadBudget::new(2);
    let device = host::open(HostOptions {
        name: "test".into(),
        memory_bytes: LIMIT,
        staging_bytes: LIMIT,
        threads: Arc::clone(&threads),
    });
    let limits = MemoryLimits {
        device_bytes: LIMIT,
        staging_bytes: LIMIT,
        pooling: true,
        defrag: true,
        thresholds: PressureThresholds::default(),
    };
    SupervisorConfig {
        devices: vec![DeviceConfig { device, limits, recorder: None }],
        max_kernel_instances: 2,
        worker_threads: 1,
        threads,
        shutdown_timeout: Duration::ZERO,
        health_check_interval: Duration::from_secs(3600),
        spin: Duration::ZERO,
        logger: Logger::root(lines.clone(), o!()),
        groups: Vec::new(),
        on_device_loss: OnDeviceLoss::default(),
        seed: 0,
        spill: None,
        log_guard: None,
        end_guard: None,
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        tokio::time::pause();
        let (board, lines) = (Arc::new(Board::new()), Lines::default());
        let (own, specs) = (Arc::clone(&board), Vec::new());
        let actor = SupervisorActor::new(config(&lines), own, specs, Threads::This);
        let (events, address) = (board.announcer.subscribe(), actor.start());
        let (done, outcome) = oneshot::channel();
        address.send(Start { done }).await.unwrap();
        outcome.await.unwrap().unwrap();
        let client = board.memories().remove(0);
        Self { client, events, lines, held: Vec::new(), _address: address }
    }

    /// Holds that many thousandths of the limit, and lets everybody act for that long.
    pub(crate) async fn hold(&mut self, thousandths: usize, millis: u64) {
        self.held.truncate(thousandths);
        while self.held.len() < thousandths {
            let lease = self.client.lease(MemoryKind::Device, PAGE as usize, None, None);
            self.held.push(lease.await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    /// The transitions told since the last time, with the thousandths committed at each.
    pub(crate) fn transitions(&mut self) -> Vec<(PressureLevel, PressureLevel, u64)> {
        let heard = std::iter::from_fn(|| self.events.try_next());
        let of_pressure = heard.filter_map(|heard| match heard {
            Heard::Event(RuntimeEvent::PressureChanged { from, to, committed, .. }) => {
                Some((from, to, committed / PAGE))
            }
            Heard::Event(_) => None,
            Heard::Missed(count) => panic!("{count} events missed"),
        });
        of_pressure.collect()
    }
}
