//! The kernels of a run: real ones, whose code does what each request tells it to.

use std::future::pending;
use std::time::Duration;

use rustkernel_actors::kernel::{
    DeviceChoice, Devices, Kernel, KernelContext, KernelSpec, Placement,
};
use rustkernel_actors::{KernelError, KernelResult};
use rustkernel_gpu::{Buffer, DeviceError, DeviceId, DeviceKind};

use super::account::End;
use super::book::Ended;
use super::fault::Fault;
use super::plan::{GROUP, KernelPlan, PAGE, millis};
use super::stage;

/// What every planned panic says.
pub(crate) const PLANNED: &str = "as planned";

/// What a request has its kernel do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Answer,
    /// For milliseconds.
    Wait(u16),
    Go(Fault),
}

/// A request. Its end is noted, wherever it comes.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) number: u32,
    pub(crate) deed: Deed,
    /// Of memory, declared or not.
    pub(crate) pages: u32,
}

/// To be tried again with.
impl Clone for Job {
    fn clone(&self) -> Self {
        stage::with(|stage| stage.book.entry(self.number).copies += 1);
        Self { ..*self }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        stage::with(|stage| stage.book.entry(self.number).copies -= 1);
    }
}

/// A request's time in its kernel's code, which a panic ends too.
struct Attempt(u32);

impl Drop for Attempt {
    fn drop(&mut self) {
        stage::with(|stage| stage.attempt_ended(self.0));
    }
}

/// A kernel's state.
pub(crate) struct Simulated {
    plan: KernelPlan,
    kept: Option<Buffer<u8>>,
    /// Which instance it is, once it opens.
    instance: Option<usize>,
    /// How it ends, should it end now.
    end: End,
}

impl KernelPlan {
    /// How it is run.
    pub(crate) fn spec(self) -> KernelSpec<Simulated> {
        let mut spec = KernelSpec::new(self.name(), move || Simulated::new(self))
            .instances(self.instances)
            .queue(self.queue)
            .restart(self.restart.policy())
            .device(self.device)
            .placement(Placement::Shared);
        if self.is_grouped {
            spec = spec.group(GROUP);
        }
        if let Some(retry) = self.restart.retry() {
            spec = spec.retry(retry);
        }
        spec = match self.deadline {
            Some(deadline) => spec.deadline(deadline),
            None => spec.no_deadline(),
        };
        if self.declares > 0 {
            spec = spec.memory(|job: &Job| {
                if job.deed == Deed::Go(Fault::PanicInNeed) {
                    stage::fired(Fault::PanicInNeed);
                    panic!("{PLANNED}");
                }
                u64::from(job.pages) * PAGE
            });
        }
        spec
    }

    pub(crate) fn name(&self) -> String {
        format!("kernel {}", self.index)
    }
}

impl Simulated {
    fn new(plan: KernelPlan) -> Self {
        Self { plan, kept: None, instance: None, end: End::Told }
    }

    async fn perform(&mut self, job: &Job, cx: &mut KernelContext) -> KernelResult {
        let pages = job.pages as usize;
        let mut buffer = match self.plan.declares {
            0 => None,
            _ => Some(stage::promised(cx.alloc::<u8>(pages * PAGE as usize).await)?),
        };
        if let Some(buffer) = &mut buffer {
            work(buffer, cx).await?;
        }
        match job.deed {
            Deed::Answer => {}
            Deed::Wait(time) => tokio::time::sleep(millis(time.into())).await,
            Deed::Go(fault) => self.go_wrong(fault, cx).await?,
        }
        drop(buffer);
        Ok(())
    }

    async fn go_wrong(&mut self, fault: Fault, cx: &mut KernelContext) -> KernelResult {
        stage::fired(fault);
        match fault {
            Fault::Panic => self.panic(),
            Fault::PanicLater => {
                let _held = cx.alloc::<u8>(PAGE as usize).await;
                tokio::time::sleep(millis(1)).await;
                self.panic();
            }
            Fault::Fails => return Err(KernelError::failed(PLANNED)),
            Fault::Fatal => {
                self.end = End::Fault;
                return Err(KernelError::fatal(PLANNED));
            }
            Fault::Exits => {
                self.end = End::Exit;
                cx.exit();
            }
            Fault::Hangs => pending().await,
            Fault::Slow => {
                let time = stage::draw(1..500);
                tokio::time::sleep(millis(time)).await;
            }
            Fault::Greedy | Fault::TooLittle => {
                let pages = stage::draw(100..600);
                let held = cx.alloc::<u8>(pages as usize * PAGE as usize).await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
                drop(held);
            }
            _ => {}
        }
        Ok(())
    }

    fn panic(&mut self) -> ! {
        self.end = End::Fault;
        panic!("{PLANNED}");
    }

    async fn open_or_fail(&mut self, cx: &mut KernelContext) -> KernelResult {
        let restarted = stage::note_open(self.plan.index, cx.instance());
        tokio::time::sleep(millis(1)).await;
        if self.plan.is_broken {
            stage::fired(Fault::StartFails);
            return Err(KernelError::failed(PLANNED));
        }
        if restarted && stage::fires(Fault::PanicInOpen, 2) {
            self.panic();
        }
        if restarted && stage::fires(Fault::OpenFails, 2) {
            self.end = End::Fault;
            return Err(KernelError::failed(PLANNED));
        }
        if self.plan.keeps > 0 {
            self.kept = Some(cx.alloc((u64::from(self.plan.keeps) * PAGE) as usize).await?);
        }
        Ok(())
    }
}

/// Has the device work with it, where that is no thread.
async fn work(buffer: &mut Buffer<u8>, cx: &mut KernelContext) -> KernelResult {
    if cx.device().kind() == DeviceKind::Cuda {
        cx.stream().fill(buffer, 0)?;
        cx.stream().completion()?.await?;
    }
    Ok(())
}

impl Kernel for Simulated {
    type Request = Job;
    type Response = u32;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        self.instance = Some(cx.instance());
        self.open_or_fail(cx).await
    }

    async fn execute(&mut self, job: Job, cx: &mut KernelContext) -> KernelResult<u32> {
        let on_device = cx.device().kind() == DeviceKind::Cuda;
        stage::with(|stage| stage.started(self.plan.index, &job, cx.request_id(), on_device));
        let _attempt = Attempt(job.number);
        let done = self.perform(&job, cx).await;
        let ended = if done.is_ok() { Ended::Completed } else { Ended::Failed };
        stage::with(|stage| stage.finished(job.number, ended));
        done.map(|()| job.number)
    }

    async fn check(&mut self, _: &mut KernelContext) -> KernelResult {
        if stage::fires(Fault::Unhealthy, 1) {
            self.end = End::Fault;
            return Err(KernelError::failed(PLANNED));
        }
        Ok(())
    }

    async fn close(&mut self, _: &mut KernelContext) {
        if stage::fires(Fault::SlowClose, 1) {
            let time = stage::draw(1..60);
            tokio::time::sleep(millis(time)).await;
        }
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        if std::thread::panicking() {
            stage::with(|stage| stage.broken("kernel state is dropped while the thread unwinds"));
            return;
        }
        if let Some(instance) = self.instance {
            stage::note_end(self.plan.index, instance, self.end);
        }
        assert!(!stage::fires(Fault::PanicInDrop, 2), "{PLANNED}");
    }
}

/// A kernel that fills the memory to exactly so many pages.
#[derive(Default)]
pub(crate) struct Hoarder {
    held: Option<Buffer<u8>>,
}

impl Hoarder {
    pub(crate) const NAME: &str = "hoarder";

    pub(crate) fn spec() -> KernelSpec<Self> {
        KernelSpec::new(Self::NAME, Self::default).device(DeviceChoice::On(DeviceId::Host))
    }
}

impl Kernel for Hoarder {
    type Request = u64;
    type Response = ();

    async fn execute(&mut self, pages: u64, cx: &mut KernelContext) -> KernelResult {
        self.held = None;
        if pages > 0 {
            self.held = Some(cx.alloc((pages * PAGE) as usize).await?);
        }
        Ok(())
    }
}

/// Whether an error is a want of memory.
pub(crate) fn is_out_of_memory(error: &KernelError) -> bool {
    matches!(error, KernelError::Device(DeviceError::OutOfMemory { .. }))
}
