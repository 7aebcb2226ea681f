//! The pool against a naive model: random leases, drops, trims and reservations, on real memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rustkernel_gpu::DeviceError;
use rustkernel_gpu::host::{HostOptions, ThreadBudget, open};
use rustkernel_gpu::memory::{
    DeviceMemory, Grown, Lease, Leased, MemoryKind, MemoryLimits, Need, PressureThresholds,
    Reservation,
};

const LIMIT: u64 = 4 << 20;

#[derive(Debug, Clone)]
enum Step {
    Lease { bytes: usize, reserved: bool },
    Drop { which: usize },
    Trim,
    Reserve { bytes: u64 },
    EndReservation,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let sizes = prop_oneof![
        3 => 0usize..5000,
        3 => 5000usize..600_000,
        1 => prop_oneof![Just(LIMIT as usize), Just(LIMIT as usize + 1), Just(usize::MAX)],
    ];
    let step = prop_oneof![
        6 => (sizes, any::<bool>()).prop_map(|(bytes, reserved)| Step::Lease { bytes, reserved }),
        5 => (0usize..64).prop_map(|which| Step::Drop { which }),
        1 => Just(Step::Trim),
        1 => (1u64..2 << 20).prop_map(|bytes| Step::Reserve { bytes }),
        1 => Just(Step::EndReservation),
    ];
    prop::collection::vec(step, 1..200)
}

/// The memory of a host device with that limit.
fn memory(limit: u64, pooling: bool) -> Arc<DeviceMemory> {
    let device = open(HostOptions {
        name: "model".into(),
        memory_bytes: limit,
        staging_bytes: limit,
        threads: ThreadBudget::new(1),
    });
    let limits = MemoryLimits {
        device_bytes: limit,
        staging_bytes: limit,
        pooling,
        defrag: true,
        thresholds: PressureThresholds::default(),
    };
    DeviceMemory::new(device, &limits)
}

fn lease(
    memory: &DeviceMemory,
    bytes: usize,
    reservation: Option<&Reservation>,
) -> Result<Lease, DeviceError> {
    match memory.lease(MemoryKind::Device, bytes, None, reservation)? {
        Leased::Ready(lease) => Ok(lease),
        Leased::NeedsGrowth(growth) => match growth.run()? {
            Grown::Ready(lease) => Ok(lease),
            Grown::Short(growth) => Err(growth.give_up()),
            Grown::Wait(..) => panic!("nothing is busy without a stream"),
        },
    }
}

/// What is leased, with a byte written all over each block.
struct World {
    memory: Arc<DeviceMemory>,
    held: Vec<(Lease, u8)>,
    reservation: Option<Reservation>,
    stamp: u8,
}

impl World {
    fn new(pooling: bool) -> Self {
        Self { memory: memory(LIMIT, pooling), held: Vec::new(), reservation: None, stamp: 0 }
    }

    fn lease(&mut self, bytes: usize, reserved: bool) -> Result<(), DeviceError> {
        let reservation = self.reservation.as_ref().filter(|_| reserved);
        let mut lease = lease(&self.memory, bytes, reservation)?;
        assert!(lease.bytes() >= bytes && lease.address() % 4096 == 0);
        self.stamp = self.stamp.wrapping_add(1);
        lease.host_bytes_mut().unwrap().fill(self.stamp);
        self.held.push((lease, self.stamp));
        Ok(())
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Lease { bytes, reserved } => self.try_lease(bytes, reserved),
            Step::Drop { which } if !self.held.is_empty() => {
                self.held.swap_remove(which % self.held.len());
            }
            Step::Drop { .. } => {}
            Step::Trim => {
                self.memory.trim();
                assert_eq!(self.memory.stats(MemoryKind::Device).cached, 0);
            }
            Step::Reserve { bytes } => {
                self.reservation = None;
                self.reservation = self.memory.try_reserve(Need::device(bytes)).ok();
            }
            Step::EndReservation => self.reservation = None,
        }
    }

    /// A lease is refused exactly when the books say that it has to be.
    fn try_lease(&mut self, bytes: usize, reserved: bool) {
        let before = self.memory.stats(MemoryKind::Device);
        let class = self.memory.pool(MemoryKind::Device).block_bytes(bytes);
        let class = class.ok().map(|class| class as u64);
        let from_reservation = reserved && self.reservation.is_some();
        match self.lease(bytes, reserved) {
            Ok(()) => assert!(before.live + class.unwrap() <= LIMIT),
            Err(DeviceError::OutOfMemory { free, .. }) => {
                assert!(
                    !from_reservation || class.is_none_or(|class| class > LIMIT),
                    "promised bytes are there"
                );
                assert!(class.is_none_or(|class| class > free), "{class:?} of {free}");
            }
            Err(DeviceError::DeclaredTooLittle { left, .. }) => {
                assert!(from_reservation && class.unwrap() > left);
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn check(&self) {
        let stats = self.memory.stats(MemoryKind::Device);
        let live: u64 = self.held.iter().map(|(lease, _)| lease.bytes() as u64).sum();
        assert_eq!(stats.live, live);
        assert_eq!(stats.mapped, stats.live + stats.cached);
        assert!(
            stats.live <= stats.committed && stats.committed <= LIMIT && stats.mapped <= LIMIT,
            "{stats:?}"
        );
        let mut blocks = BTreeMap::new();
        for (lease, stamp) in &self.held {
            assert!(
                lease.host_bytes().unwrap().iter().all(|byte| byte == stamp),
                "nobody else wrote here"
            );
            blocks.insert(lease.address(), lease.bytes() as u64);
        }
        let ends = blocks.iter().map(|(address, bytes)| address + bytes);
        assert!(
            ends.zip(blocks.keys().skip(1)).all(|(end, next)| end <= *next),
            "no two blocks overlap"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_pool_behaves_as_its_model(steps in steps(), pooling: bool) {
        let mut world = World::new(pooling);
        for step in &steps {
            world.step(step);
            world.check();
        }
        world.held.clear();
        world.reservation = None;
        world.memory.trim();
        let stats = world.memory.stats(MemoryKind::Device);
        prop_assert_eq!((stats.live, stats.committed, stats.mapped), (0, 0, 0));
    }
}

#[test]
fn a_reservation_refused_half_way_gives_everything_back() {
    let world = World::new(true);
    let need = |device, staging| Need { device, staging };
    let all = world.memory.try_reserve(need(0, LIMIT / 2)).unwrap();
    assert!(world.memory.try_reserve(need(LIMIT / 2, LIMIT / 2)).is_err(), "staging is short");
    assert_eq!(
        world.memory.stats(MemoryKind::Device).committed,
        0,
        "and device memory is not kept for it"
    );
    drop(all);
    assert_eq!(world.memory.stats(MemoryKind::Staging).committed, 0);
}

/// The resident size of this process, in bytes, where the system says.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let resident: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(resident * 4096)
}

/// Half of what was filled is enough to see: other tests come and go meanwhile.
#[test]
fn memory_that_is_trimmed_leaves_the_process() {
    const BLOCK: u64 = 64 << 20;
    const ALL: u64 = 8 * BLOCK;
    let memory = memory(ALL, true);
    let Some(before) = resident() else { return };
    let mut held: Vec<Lease> =
        (0..8).map(|_| lease(&memory, BLOCK as usize, None).unwrap()).collect();
    for lease in &mut held {
        lease.host_bytes_mut().unwrap().fill(1);
    }
    let full = resident().unwrap();
    assert!(full > before + ALL / 2, "{before} bytes became {full}");
    drop(held);
    assert_eq!(memory.stats(MemoryKind::Device).cached, ALL, "kept for the next lease");
    assert_eq!(memory.trim(), ALL);
    let after = resident().unwrap();
    assert!(after < full - ALL / 2, "{full} bytes became {after}");
    assert_eq!(memory.stats(MemoryKind::Device).mapped, 0);
}
