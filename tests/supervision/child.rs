//! The kernel that these tests supervise: it does as it is asked, and keeps a diary.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustkernel_core::kernel::{Instant, KernelStats};
use rustkernel_core::prelude::*;
use rustkernel_tests::{builder, within_a_minute};
use tokio::sync::Notify;

/// What a request makes the kernel do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Do {
    /// Says how many requests this state has served, this one included.
    Count,
    Panic,
    /// Ends it with an error that it calls fatal.
    Fail,
    /// Asks for its end.
    Exit,
    /// Panics as long as there are panics left.
    PanicIfAny,
    /// Holds its thread for so long, in milliseconds.
    Block(u64),
    /// Waits for so long, in milliseconds.
    Wait(u64),
    /// Waits until it is let go.
    Hold,
    /// Says so, waits until it is let go, and panics.
    HoldAndPanic,
}

/// What survives of the kernels of one test.
#[derive(Debug, Default)]
pub struct World {
    diary: Mutex<Vec<String>>,
    /// Panics that are left.
    pub panics: AtomicUsize,
    /// Openings that are to fail.
    pub open_failures: AtomicUsize,
    /// Health checks that are to fail.
    pub check_failures: AtomicUsize,
    /// How long the next to close takes for it, in milliseconds.
    pub closing: AtomicU64,
    /// Lets one go that is held.
    pub let_go: Notify,
}

impl World {
    pub fn write(&self, line: String) {
        self.diary.lock().unwrap().push(line);
    }

    /// What was written since the last time.
    pub fn read(&self) -> Vec<String> {
        std::mem::take(&mut *self.diary.lock().unwrap())
    }
}

pub fn take(budget: &AtomicUsize) -> bool {
    budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

pub struct Child {
    name: String,
    count: u64,
    world: Arc<World>,
}

impl Kernel for Child {
    type Request = Do;
    type Response = u64;

    async fn open(&mut self, _: &mut KernelContext) -> KernelResult {
        if take(&self.world.open_failures) {
            return Err(KernelError::failed("not now"));
        }
        self.world.write(format!("+{}", self.name));
        Ok(())
    }

    async fn execute(&mut self, request: Do, cx: &mut KernelContext) -> KernelResult<u64> {
        self.count += 1;
        match request {
            Do::Panic => panic!("as asked"),
            Do::PanicIfAny if take(&self.world.panics) => panic!("one less"),
            Do::Count | Do::PanicIfAny => {}
            Do::Fail => return Err(KernelError::fatal("as asked")),
            Do::Exit => cx.exit(),
            Do::Block(millis) => block_for(millis),
            Do::Hold => self.world.let_go.notified().await,
            Do::HoldAndPanic => {
                self.world.write(format!("{} holds", self.name));
                self.world.let_go.notified().await;
                panic!("as asked");
            }
            Do::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
        Ok(self.count)
    }

    async fn check(&mut self, _: &mut KernelContext) -> KernelResult {
        if take(&self.world.check_failures) { Err(KernelError::failed("unwell")) } else { Ok(()) }
    }

    async fn close(&mut self, _: &mut KernelContext) {
        let millis = self.world.closing.swap(0, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        self.world.write(format!("-{}", self.name));
    }
}

#[allow(clippy::disallowed_methods, reason = "a kernel that does what none should")]
pub fn block_for(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

pub fn spec(name: &str, world: &Arc<World>) -> KernelSpec<Child> {
    let (own, world) = (name.to_owned(), Arc::clone(world));
    KernelSpec::new(name, move || Child { name: own.clone(), count: 0, world: Arc::clone(&world) })
}

/// A runtime with one such kernel, `child`.
pub async fn running(
    of: impl FnOnce(KernelSpec<Child>) -> KernelSpec<Child>,
) -> (Runtime, KernelRef<Child>, Arc<World>) {
    let world = Arc::<World>::default();
    let runtime = builder().with_kernel(of(spec("child", &world))).build().unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.kernel("child").unwrap();
    (runtime, kernel, world)
}

pub async fn call(kernel: &KernelRef<Child>, request: Do) -> Result<u64, CallError<Do>> {
    within_a_minute(kernel.call(request)).await
}

pub async fn count(kernel: &KernelRef<Child>) -> u64 {
    call(kernel, Do::Count).await.unwrap()
}

pub async fn stop(runtime: Runtime) {
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    assert!(report.is_clean() && report.ledger.is_balanced(), "{report:?}");
}

pub fn what_happened(stats: &KernelStats) -> Vec<&str> {
    stats.history.iter().map(|entry| entry.what.as_str()).collect()
}

pub fn now() -> Instant {
    Instant::now()
}
