//! Telling systemd how the service is, where it has given a socket for that.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use rustkernel_core::runtime::Runtime;
use sd_notify::{NotifyState, notify};
use tokio::task::JoinHandle;

/// It takes requests.
pub(crate) fn ready(name: &str, kernels: usize) {
    let status = format!("{name}: {kernels} kernels");
    tell(move || notify(&[NotifyState::Ready, NotifyState::Status(&status)]));
}

/// It is about to end, within `timeout` and what ending takes.
pub(crate) fn stopping(timeout: Duration) {
    let most = timeout.saturating_add(Duration::from_secs(5)).as_micros();
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    let status = NotifyState::Status("draining");
    tell(move || notify(&[NotifyState::Stopping, status, NotifyState::ExtendTimeoutUsec(most)]));
}

/// It reads its configuration again. [`reloaded`] has to follow.
pub(crate) fn reloading() {
    // (systemd wants the time with it; without a clock it goes without.)
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(move || notify(&[NotifyState::Reloading, now])),
        Err(_) => tell(|| notify(&[NotifyState::Reloading])),
    }
}

/// It has, or could not.
pub(crate) fn reloaded() {
    tell(|| notify(&[NotifyState::Ready]));
}

/// Tells the watchdog, if there is one, that the service is alive: only while the runtime's control thread
/// answers.
pub(crate) fn watchdog(runtime: &Arc<Runtime>) -> Option<JoinHandle<()>> {
    let interval = sd_notify::watchdog_enabled()?;
    let runtime = Arc::clone(runtime);
    Some(tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval / 2);
        loop {
            ticks.tick().await;
            if runtime.responds(interval / 4).await {
                tell(|| notify(&[NotifyState::Watchdog]));
            }
        }
    }))
}

/// Something that is told.
type Telling = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// What waits to be told; more than that is not.
const WAITING: usize = 16;

/// The thread that tells, where there is somebody to tell: to do so is to wait for them.
static TELLER: LazyLock<Option<SyncSender<Telling>>> = LazyLock::new(|| {
    std::env::var_os("NOTIFY_SOCKET")?;
    let (teller, told) = sync_channel::<Telling>(WAITING);
    let tell = move || told.into_iter().for_each(|telling| drop(telling()));
    thread::Builder::new().name("rk-systemd".into()).spawn(tell).ok()?;
    Some(teller)
});

/// (Who does not listen is no reason to end, or to wait.)
fn tell(telling: impl FnOnce() -> io::Result<()> + Send + 'static) {
    TELLER.as_ref().map(|teller| teller.try_send(Box::new(telling)));
}
