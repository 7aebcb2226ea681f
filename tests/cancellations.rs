//! Callers that give up at any moment, while their requests have memory and work in flight: no memory is
//! handed on early, and none is lost.
//!
//! Memory that went to another request while a stream still worked on it would change that one's numbers:
//! each request has its own, and every answer is checked.
//!
//! `CANCELLATIONS=10000 cargo test -p rustkernel-tests --test cancellations` for more of them on each device.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustkernel_core::memory::MemoryConfig;
use rustkernel_core::prelude::*;
use rustkernel_gpu::{Buffer, Function, LaunchConfig, arguments};
use rustkernel_tests::rig::conformance_module;
use rustkernel_tests::{builder, eventually, fake, within_a_minute};
use tokio::sync::Notify;

const MIB: u64 = 1 << 20;
const CALLERS: u64 = 6;
/// Elements that are computed; further ones are only copied.
const COMPUTED: usize = 256;

/// Doubles the first numbers: uploads, computes and downloads, and waits in between.
struct Double {
    saxpy: Option<Function>,
    spin: Option<Function>,
    /// Requests that were given up while they held memory.
    given_up: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Request {
    numbers: Vec<f32>,
    /// For how many rounds the stream is held up before it comes to the request, and before it computes.
    rounds: [u32; 2],
    /// After which steps the kernel waits for its stream.
    waits: [bool; 2],
    /// Told once the kernel has memory for it.
    begun: Arc<Notify>,
}

/// Counts, unless it is told that the request came to its end.
struct GivenUp<'a> {
    count: &'a AtomicU64,
    finished: bool,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        self.count.fetch_add(u64::from(!self.finished), Ordering::Relaxed);
    }
}

impl Request {
    fn random(random: &mut ChaCha8Rng, first: u32) -> Self {
        let len = if random.random_ratio(1, 8) { 1 << 16 } else { random.random_range(1..2000) };
        let rounds = |random: &mut ChaCha8Rng| match random.random() {
            true => random.random_range(0..100_000),
            false => 0,
        };
        Self {
            numbers: (0..len).map(|n| (first + n) as f32).collect(),
            rounds: [rounds(random), rounds(random)],
            waits: random.random(),
            begun: Arc::default(),
        }
    }

    fn computed(&self) -> usize {
        self.numbers.len().min(COMPUTED)
    }

    fn bytes(&self) -> u64 {
        size_of_val(self.numbers.as_slice()) as u64
    }

    fn check(&self, answer: &[f32]) {
        let (computed, copied) = self.numbers.split_at(self.computed());
        let right = computed.iter().map(|number| 2.0 * number).chain(copied.iter().copied());
        assert!(right.eq(answer.iter().copied()), "of {}, {:?}", self.numbers[0], answer);
    }
}

impl Kernel for Double {
    type Request = Request;
    type Response = Vec<f32>;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        let module = cx.load(&conformance_module())?;
        (self.saxpy, self.spin) = (Some(module.function("saxpy")?), Some(module.function("spin")?));
        Ok(())
    }

    async fn execute(
        &mut self,
        request: Request,
        cx: &mut KernelContext,
    ) -> KernelResult<Vec<f32>> {
        let mut spun = cx.alloc::<u32>(1).await?;
        let mut given_up = GivenUp { count: &self.given_up, finished: false };
        request.begun.notify_one();
        self.hold_up(request.rounds[0], &mut spun, cx)?;
        let x = cx.upload(&request.numbers).await?;
        let mut y = cx.upload(&request.numbers).await?;
        if request.waits[0] {
            cx.stream().completion()?.await?;
        }
        self.hold_up(request.rounds[1], &mut spun, cx)?;
        let saxpy = self.saxpy.as_ref().expect("it is open");
        let (config, n) = (LaunchConfig::new(2, 128), request.computed() as u32);
        cx.stream().launch(saxpy, config, arguments![1.0f32, &x, &mut y, n])?;
        drop(x);
        if request.waits[1] {
            cx.stream().completion()?.await?;
        }
        let answer = cx.download(&y).await?;
        given_up.finished = true;
        Ok(answer)
    }
}

impl Double {
    /// Gives the stream something to do that takes a moment.
    fn hold_up(&self, rounds: u32, spun: &mut Buffer<u32>, cx: &mut KernelContext) -> KernelResult {
        if rounds > 0 {
            let spin = self.spin.as_ref().expect("it is open");
            cx.stream().launch(spin, LaunchConfig::new(1, 1), arguments![rounds, spun])?;
        }
        Ok(())
    }
}

/// How a call ended.
#[derive(Debug, Default)]
struct Endings {
    answered: u64,
    dropped: u64,
    late: u64,
}

/// Calls until enough requests were given up in flight.
struct Caller {
    random: ChaCha8Rng,
    double: KernelRef<Double>,
    given_up: Arc<AtomicU64>,
    endings: Endings,
}

impl Caller {
    async fn call_until(mut self, enough: u64) -> Endings {
        let mut calls = 0;
        while self.given_up.load(Ordering::Relaxed) < enough {
            self.call().await;
            calls += 1;
            assert!(calls < 100 + 4 * enough, "too few are given up in flight: {:?}", self.endings);
        }
        self.endings
    }

    /// A call that is waited for, is dropped after so many turns, or has too short a deadline, maybe.
    async fn call(&mut self) {
        let first = self.random.random_range(0..1 << 22);
        let request = Request::random(&mut self.random, first);
        let asked = request.clone();
        let double = self.double.clone();
        let answer = match self.random.random_range(0..6) {
            0 => double.call(request).await,
            1 => {
                let patience = Duration::from_micros(self.random.random_range(0..8000));
                double.call_within(request, patience).await
            }
            _ => {
                let begun = self.random.random::<bool>().then(|| Arc::clone(&request.begun));
                let turns = 1 << self.random.random_range(0..10);
                tokio::select! {
                    biased;
                    answer = double.call(request) => answer,
                    () = pass(begun, turns) => return self.endings.dropped += 1,
                }
            }
        };
        match answer {
            Ok(answer) => {
                asked.check(&answer);
                self.endings.answered += 1;
            }
            Err(
                CallError::Cancelled(Cancellation::DeadlineExceeded { .. })
                | CallError::Rejected { rejection: Rejection::Expired { .. }, .. },
            ) => self.endings.late += 1,
            Err(other) => panic!("{other}"),
        }
    }
}

/// So many turns of the caller's executor, after something has begun.
async fn pass(begun: Option<Arc<Notify>>, turns: u32) {
    if let Some(begun) = begun {
        begun.notified().await;
    }
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

fn cancellations() -> u64 {
    let asked = std::env::var("CANCELLATIONS").ok();
    asked.map_or(700, |asked| asked.parse().unwrap())
}

/// A runtime with a kernel on `device`, called until enough was given up; then all is back.
async fn run(device: DeviceId, memory: MemoryConfig, placement: Placement, seed: u64) {
    let given_up = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&given_up);
    let kernel = move || Double { saxpy: None, spin: None, given_up: Arc::clone(&count) };
    let spec = KernelSpec::new("double", kernel)
        .instances(3)
        .placement(placement)
        .device(DeviceChoice::On(device))
        .memory(|request: &Request| 2 * request.bytes() + 4);
    let gpu = device != DeviceId::Host;
    let builder = builder().with_gpu_enabled(gpu).with_devices([device]).with_memory(memory);
    let runtime = builder.with_kernel(spec).build().unwrap();
    runtime.start().await.unwrap();
    let double = runtime.kernel::<Double>("double").unwrap();
    let callers = (0..CALLERS).map(|caller| {
        let random = ChaCha8Rng::seed_from_u64(CALLERS * seed + caller);
        let (double, given_up) = (double.clone(), Arc::clone(&given_up));
        let caller = Caller { random, double, given_up, endings: Endings::default() };
        tokio::spawn(caller.call_until(cancellations()))
    });
    let endings = join_all(callers).await.into_iter().map(Result::unwrap);
    let endings = endings.fold(Endings::default(), |sum, endings| Endings {
        answered: sum.answered + endings.answered,
        dropped: sum.dropped + endings.dropped,
        late: sum.late + endings.late,
    });
    assert!(endings.answered > 0 && endings.dropped > 0 && endings.late > 0, "{endings:?}");
    eventually("the books balance", || double.stats().ledger.is_balanced()).await;
    let ledger = double.stats().ledger;
    let calls = endings.answered + endings.dropped + endings.late;
    assert!(ledger.submitted <= calls && ledger.completed >= endings.answered, "{ledger:?}");
    assert_eq!((ledger.failed, double.stats().restarts), (0, 0), "{ledger:?}");
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    assert!(report.is_clean() && report.ledger.is_balanced(), "{report:?}");
    let stats = runtime.stats();
    for memory in [&stats.devices[0].device, &stats.devices[0].staging] {
        assert_eq!((memory.live, memory.committed, memory.mapped), (0, 0, 0));
        assert!(memory.leases > 0 && memory.unkept == 0, "{memory:?}");
    }
}

async fn run_on_cuda(memory: MemoryConfig, seed: u64) -> fake_cuda::Ledger {
    let ordinal = fake::claim();
    run(DeviceId::Cuda(ordinal), memory, Placement::Dedicated, seed).await;
    let ledger = fake::ledger(ordinal);
    assert_eq!((ledger.device_bytes, ledger.physical_handles), (0, 0), "{ledger:?}");
    assert_eq!((ledger.pinned_bytes, ledger.registered_bytes), (0, 0), "{ledger:?}");
    assert_eq!(ledger.streams, 0, "{ledger:?}");
    ledger
}

fn memory(device: u64, staging: u64) -> MemoryConfig {
    MemoryConfig {
        max_gpu_memory: device * MIB,
        max_staging_memory: staging * MIB,
        ..MemoryConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_host() {
    run(DeviceId::Host, memory(64, 16), Placement::Shared, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_cuda_in_pages() {
    let ledger = run_on_cuda(memory(192, 192), 2).await;
    assert!(ledger.calls_of("cuMemMap") > 0 && ledger.calls_of("cuMemHostRegister_v2") > 0);
    assert_eq!(ledger.calls_of("cuMemAlloc_v2"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_cuda_in_blocks() {
    let ledger = run_on_cuda(memory(32, 16), 3).await;
    assert!(ledger.calls_of("cuMemAlloc_v2") > 0 && ledger.calls_of("cuMemHostRegister_v2") > 0);
    assert_eq!(ledger.calls_of("cuMemMap"), 0);
}
