//! One run, from a seed to what broke.

use std::sync::{Arc, Once};
use std::time::Duration;

use actix::System;
use futures_util::future::join_all;
use rustkernel_actors::kernel::{AnySpec, KernelRef};
use rustkernel_actors::supervisor::{
    DeviceConfig, LifecycleState, OnDeviceLoss, ShutdownReport, SupervisorConfig,
};
use rustkernel_actors::{Group, MemoryClient, Supervisor};
use rustkernel_gpu::DeviceId;
use rustkernel_gpu::host::{self, HostOptions, ThreadBudget};
use rustkernel_gpu::memory::{MemoryLimits, PressureThresholds};
use rustkernel_gpu::simulated::SimulatedDevice;
use slog::{Discard, Logger, o};
use tokio::task::JoinHandle;

use super::fault::{Fault, Faults};
use super::kernel::{Hoarder, Simulated};
use super::plan::{DEVICE, GROUP, KernelPlan, PAGE, Plan, millis};
use super::stage::{self, Stage};
use super::{caller, check, device, operator, sweep, witness};

/// How much longer than its timeout a shutdown may take.
pub(super) const SHUTDOWN_SLACK: Duration = Duration::from_millis(500);
/// No run is longer, on its own clock: what is not over by then is stuck.
const HORIZON: Duration = Duration::from_secs(600);

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The seed that made it.
    pub seed: u64,
    /// Calls that were made.
    pub requests: u64,
    /// What happened, as a number: the same for the same seed.
    pub trace: u64,
    /// The invariants that did not hold, each with the time on the run's clock.
    pub violations: Vec<String>,
    /// The faults that have fired.
    pub fired: Faults,
}

/// Runs what a seed makes, with about so many requests.
///
/// # Panics
/// If the operating system gives no runtime.
pub fn run(seed: u64, requests: u32) -> Outcome {
    keep_panics();
    let (plan, random) = Plan::draw(seed, requests);
    let system = System::with_tokio_rt(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().expect("a runtime")
    });
    system.block_on(async {
        stage::enter(Stage::new(&plan, random));
        if tokio::time::timeout(HORIZON, play(&plan)).await.is_err() {
            stage::with(|stage| {
                let open = stage.book.open_calls();
                stage.broken(&format!("stuck: {open} requests have no answer"));
            });
        }
        stage::with(Stage::end);
    });
    // What is left of a runtime that is stuck goes before the stage does.
    drop(system);
    let stage = stage::leave().expect("invariant: entered above");
    Outcome {
        seed,
        requests: stage.book.calls() as u64,
        trace: stage.trace.value(),
        violations: stage.violations,
        fired: stage.fired,
    }
}

/// A panic outside of kernel code breaks the run, and is told with it.
fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !stage::panicked(&info.to_string()) {
                before(info);
            }
        }));
    });
}

fn config(plan: &Plan, device: Option<&SimulatedDevice>) -> SupervisorConfig {
    let (bytes, threads) = (plan.pages * PAGE, ThreadBudget::new(64));
    let host = host::open(HostOptions {
        name: "simulated".into(),
        memory_bytes: bytes,
        staging_bytes: PAGE,
        threads: Arc::clone(&threads),
    });
    let limits = MemoryLimits {
        device_bytes: bytes,
        staging_bytes: PAGE,
        pooling: true,
        defrag: true,
        thresholds: PressureThresholds::default(),
    };
    let devices = [host].into_iter().chain(device.map(|device| device.device().clone()));
    let faults = plan.faults;
    let often = if faults.has(Fault::DeviceLost) { 40 } else { 100 };
    SupervisorConfig {
        devices: devices.map(|device| DeviceConfig { device, limits, recorder: None }).collect(),
        max_kernel_instances: 64,
        worker_threads: 2,
        threads,
        shutdown_timeout: plan.shutdown_timeout,
        health_check_interval: millis(if faults.has(Fault::Unhealthy) { 10 } else { often }),
        spin: Duration::ZERO,
        groups: vec![Group::new(GROUP, plan.strategy)],
        on_device_loss: match faults.has(Fault::StopsWithDevice) {
            true => OnDeviceLoss::Exit,
            false => OnDeviceLoss::Recover,
        },
        seed: 1,
        spill: None,
        logger: Logger::root(Discard, o!()),
        log_guard: None,
        end_guard: None,
    }
}

/// What a run has in its hands.
pub(super) struct Cast {
    pub(super) supervisor: Option<Supervisor>,
    /// Of the host, and of the device if there is one.
    pub(super) memories: Vec<MemoryClient>,
    pub(super) device: Option<SimulatedDevice>,
    callers: Vec<JoinHandle<()>>,
    /// Who uses the device beside the runtime.
    other: Option<JoinHandle<()>>,
}

/// From the start to the last check.
async fn play(plan: &Plan) {
    let mut specs: Vec<Box<dyn AnySpec>> = Vec::new();
    for kernel in &plan.kernels[..plan.at_start()] {
        specs.push(Box::new(kernel.spec()));
    }
    if plan.faults.has(Fault::LittleMemory) {
        stage::fired(Fault::LittleMemory);
    }
    if plan.faults.has(Fault::Sweep) {
        specs.push(Box::new(Hoarder::spec()));
    }
    let device = plan.has_device.then(|| device::open(plan.pages * PAGE));
    let supervisor = Supervisor::on_this_thread(config(plan, device.as_ref()), specs);
    let supervisor = supervisor.expect("invariant: a plan makes sense");
    tokio::task::spawn_local(witness::hear(supervisor.events()));
    let (memories, callers) = (Vec::new(), Vec::new());
    let mut cast = Cast { supervisor: Some(supervisor), memories, device, callers, other: None };
    let report = if cast.start(plan).await {
        tokio::task::spawn_local(witness::look());
        cast.serve(plan).await
    } else {
        None
    };
    settle().await;
    check::at_the_end(&cast, report.as_ref());
}

/// Lets everybody hear what was said last.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

impl Cast {
    pub(super) fn supervisor(&self) -> &Supervisor {
        self.supervisor.as_ref().expect("invariant: it is there until the shutdown")
    }

    /// Whether the runtime runs.
    async fn start(&mut self, plan: &Plan) -> bool {
        let supervisor = self.supervisor();
        let interrupted = plan.faults.has(Fault::ShutdownInStart) && stage::draw(0..8) == 0;
        let broken = plan.kernels[..plan.at_start()].iter().any(|kernel| kernel.is_broken);
        let started = if interrupted {
            stage::fired(Fault::ShutdownInStart);
            let late = async {
                tokio::time::sleep(millis(stage::draw(0..4))).await;
                supervisor.shutdown().await
            };
            tokio::join!(supervisor.start(), late).0
        } else {
            supervisor.start().await
        };
        let memories = [DeviceId::Host, DEVICE].into_iter();
        self.memories = memories.filter_map(|device| supervisor.memory(device).ok()).collect();
        // (One that is interrupted may end either way.)
        if started.is_ok() == broken && !(interrupted && started.is_err()) {
            stage::with(|stage| stage.broken(&format!("the start ended as {started:?}")));
        }
        started.is_ok() && !interrupted
    }

    /// The load, and the shutdown after it or amid it.
    async fn serve(&mut self, plan: &Plan) -> Option<ShutdownReport> {
        plan.kernels[..plan.at_start()].iter().for_each(|kernel| drop(self.know(kernel)));
        if plan.faults.has(Fault::Sweep) {
            stage::fired(Fault::Sweep);
            sweep::sweep(self, plan.pages).await;
        }
        for kernel in &plan.kernels[..plan.at_start()] {
            self.begin_calls(plan, kernel);
        }
        if let (Some(after), Some(kernel)) = (plan.added, plan.kernels.last()) {
            tokio::time::sleep(after).await;
            // (Under memory pressure it is refused.)
            if self.supervisor().add_kernel(Box::new(kernel.spec())).await.is_ok() {
                stage::fired(Fault::KernelAdded);
                self.begin_calls(plan, kernel);
            }
        }
        if let Some(device) = &self.device {
            self.other = Some(tokio::task::spawn_local(device::keep(device.clone())));
        }
        self.load(plan).await;
        let report = self.shut_down(plan).await;
        self.await_callers().await;
        report
    }

    /// Until it is time to shut down.
    async fn load(&mut self, plan: &Plan) {
        let callers = join_all(&mut self.callers);
        let over = async {
            match plan.shutdown {
                Some(after) => {
                    stage::fired(Fault::ShutdownInLoad);
                    tokio::time::sleep(after).await;
                }
                None => drop(callers.await),
            }
        };
        let supervisor =
            self.supervisor.as_ref().expect("invariant: it is there until the shutdown");
        tokio::select! {
            biased;
            () = over => {}
            () = operator::operate(supervisor, &plan.kernels), if plan.faults.has(Fault::ByHand) => {}
            () = device::lose(self.device.as_ref()), if plan.faults.has(Fault::DeviceLost) => {}
        }
    }

    fn begin_calls(&mut self, plan: &Plan, to: &KernelPlan) {
        let kernel = self.know(to);
        for caller in plan.callers.iter().filter(|caller| caller.kernel == to.index) {
            let calls = caller::call_all(*caller, *to, kernel.clone());
            self.callers.push(tokio::task::spawn_local(calls));
        }
    }

    /// The kernel's reference, which the stage has from now on.
    fn know(&self, kernel: &KernelPlan) -> KernelRef<Simulated> {
        let found = self.supervisor().kernel(&kernel.name());
        let found = found.expect("invariant: the kernel has started");
        stage::with(|stage| stage.kernels[kernel.index].kernel = Some(found.clone()));
        found
    }

    /// Those that are not over yet.
    async fn await_callers(&mut self) {
        let all = self.callers.drain(..).chain(self.other.take());
        let left = all.filter(|caller| !caller.is_finished());
        join_all(left).await;
    }

    /// Shuts down, or drops the runtime; it has to be over in time either way.
    async fn shut_down(&mut self, plan: &Plan) -> Option<ShutdownReport> {
        let begin = rustkernel_actors::clock::now();
        stage::with(Stage::asked_to_stop);
        let at_once = plan.faults.has(Fault::ShutdownAtOnce);
        let (timeout, report) = if at_once {
            stage::fired(Fault::ShutdownAtOnce);
            drop(self.supervisor.take());
            while stage::with(|stage| stage.lifecycle) != Some(LifecycleState::Stopped) {
                tokio::time::sleep(millis(1)).await;
            }
            // (One that stops by itself already is waited for.)
            let stops = stage::with(|stage| stage.has_failed()).unwrap_or(false);
            (if stops { plan.shutdown_timeout } else { Duration::ZERO }, None)
        } else {
            (plan.shutdown_timeout, self.supervisor().shutdown().await)
        };
        let took = begin.elapsed();
        if took > timeout + SHUTDOWN_SLACK {
            stage::with(|stage| {
                stage.broken(&format!("the shutdown took {took:?}, its timeout was {timeout:?}"));
            });
        }
        report
    }
}
