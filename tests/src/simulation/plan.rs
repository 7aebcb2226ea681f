//! What a seed makes: the runtime, its kernels, its callers, and when it ends.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustkernel_actors::Strategy;
use rustkernel_actors::kernel::DeviceChoice;
use rustkernel_gpu::DeviceId;

use super::fault::{Fault, Faults};
use super::policy::RestartPlan;

/// The group that kernels may be of.
pub(crate) const GROUP: &str = "group";

/// A page of memory, in bytes.
pub(crate) const PAGE: u64 = 4096;

/// The device that can be lost.
pub(crate) const DEVICE: DeviceId = DeviceId::Cuda(0);

/// A simulated run before it begins.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) faults: Faults,
    /// The first ones start with the runtime; one is added later if that fault is on.
    pub(crate) kernels: Vec<KernelPlan>,
    pub(crate) callers: Vec<CallerPlan>,
    /// Memory of the device; a multiple of a thousand pages, so that each threshold is a whole number.
    pub(crate) pages: u64,
    pub(crate) shutdown_timeout: Duration,
    /// When the shutdown comes; `None` is after the load.
    pub(crate) shutdown: Option<Duration>,
    /// Which kernels of the group are restarted together.
    pub(crate) strategy: Strategy,
    /// There is a device beside the host, which can be lost.
    pub(crate) has_device: bool,
    /// When a kernel is added, if one is.
    pub(crate) added: Option<Duration>,
}

/// A kernel of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KernelPlan {
    pub(crate) index: usize,
    pub(crate) instances: usize,
    pub(crate) queue: usize,
    pub(crate) deadline: Option<Duration>,
    /// Pages that each of its requests declares at most, and takes; 0 is no declaration.
    pub(crate) declares: u32,
    /// Pages that its state keeps.
    pub(crate) keeps: u32,
    /// How many of 256 requests wait for a moment.
    pub(crate) waits: u32,
    /// It does not start.
    pub(crate) is_broken: bool,
    pub(crate) restart: RestartPlan,
    /// It is of the group.
    pub(crate) is_grouped: bool,
    /// Where it runs.
    pub(crate) device: DeviceChoice,
}

/// A caller of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallerPlan {
    pub(crate) kernel: usize,
    pub(crate) requests: u32,
    /// How many of 256 requests come after a pause.
    pub(crate) pauses: u32,
    /// It does not wait for room.
    pub(crate) is_impatient: bool,
    /// When nobody calls anything; then all go on at once.
    pub(crate) lull: Option<Lull>,
}

/// A time without calls, from and to so many milliseconds on the run's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lull {
    from: u64,
    to: u64,
}

impl Plan {
    /// What that seed makes, with about so many requests, and the random numbers for the run.
    pub(crate) fn draw(seed: u64, requests: u32) -> (Self, ChaCha8Rng) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let faults = Faults::draw(&mut random);
        let has_device = faults.has(Fault::DeviceLost) || random.random_ratio(1, 8);
        let count = random.random_range(1..=5);
        let mut kernels: Vec<KernelPlan> =
            (0..count).map(|index| KernelPlan::draw(index, faults, &mut random)).collect();
        if has_device {
            kernels.iter_mut().for_each(|kernel| kernel.place(&mut random));
        }
        if faults.has(Fault::StartFails) && random.random_ratio(1, 8) {
            let broken = random.random_range(0..count);
            kernels[broken].is_broken = true;
        }
        let callers = random.random_range(4..=48_u32);
        let share = (requests / callers).max(1);
        // (Drawn apart: the same seed makes the same run but for its lull.)
        let lull = Lull::draw(&mut ChaCha8Rng::seed_from_u64(!seed));
        let caller = |_| CallerPlan { lull, ..CallerPlan::draw(share, faults, count, &mut random) };
        let callers = (0..callers).map(caller);
        let plan = Self {
            faults,
            callers: callers.collect(),
            pages: 1000 * if faults.has(Fault::LittleMemory) { 1 } else { 4 },
            shutdown_timeout: millis(*choose(&[0, 20, 200, 2000], &mut random)),
            shutdown: shutdown(faults, &mut random),
            has_device,
            strategy: *choose(&[Strategy::OneForAll, Strategy::RestForOne], &mut random),
            added: (faults.has(Fault::KernelAdded) && count > 1)
                .then(|| millis(random.random_range(0..30))),
            kernels,
        };
        (plan, random)
    }

    /// How many kernels start with the runtime.
    pub(crate) fn at_start(&self) -> usize {
        self.kernels.len() - usize::from(self.added.is_some())
    }
}

fn shutdown(faults: Faults, random: &mut ChaCha8Rng) -> Option<Duration> {
    let amid = faults.has(Fault::ShutdownInLoad) || faults.has(Fault::ShutdownAtOnce);
    amid.then(|| millis(random.random_range(0..60)))
}

impl KernelPlan {
    fn draw(index: usize, faults: Faults, random: &mut ChaCha8Rng) -> Self {
        let deadline = *choose(&[0, 5, 20, 100, 1000, 5000], random);
        let declares = random.random_ratio(1, 2);
        let keeps = !faults.has(Fault::Sweep) && random.random_ratio(1, 4);
        Self {
            index,
            instances: random.random_range(1..=4),
            queue: *choose(&[1, 3, 8, 64], random),
            deadline: (deadline > 0).then(|| millis(deadline)),
            declares: if declares { random.random_range(1..=64) } else { 0 },
            keeps: if keeps { random.random_range(1..=16) } else { 0 },
            waits: random.random_range(0..=32),
            is_broken: false,
            restart: RestartPlan::draw(faults, random),
            is_grouped: faults.has(Fault::Groups) && random.random_ratio(2, 3),
            device: DeviceChoice::On(DeviceId::Host),
        }
    }

    fn place(&mut self, random: &mut ChaCha8Rng) {
        let [host, device] = [DeviceId::Host, DEVICE].map(DeviceChoice::On);
        self.device = *choose(&[host, device, DeviceChoice::Auto], random);
    }

    /// Whether it runs on the device that can be lost, as long as that is there.
    pub(crate) fn is_on_device(&self) -> bool {
        self.device != DeviceChoice::On(DeviceId::Host)
    }
}

impl CallerPlan {
    fn draw(requests: u32, faults: Faults, kernels: usize, random: &mut ChaCha8Rng) -> Self {
        Self {
            kernel: random.random_range(0..kernels),
            requests,
            pauses: random.random_range(0..=32),
            is_impatient: faults.has(Fault::Impatient) && random.random(),
            lull: None,
        }
    }
}

impl Lull {
    /// One run in eight has a lull, longer than it takes until nobody looks for deadlines any more.
    fn draw(random: &mut ChaCha8Rng) -> Option<Self> {
        let (from, time) = (random.random_range(5..60), random.random_range(1500..8000));
        random.random_ratio(1, 8).then_some(Self { from, to: from + time })
    }

    /// How much of it is left.
    pub(crate) fn left(self, now: u64) -> Option<Duration> {
        (self.from..self.to).contains(&now).then(|| millis(self.to - now))
    }
}

pub(crate) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn choose<'a, T>(of: &'a [T], random: &mut ChaCha8Rng) -> &'a T {
    &of[random.random_range(0..of.len())]
}
