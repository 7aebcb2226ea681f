//! Telling systemd how the service is, where it has given a socket for that.

use std::sync::Arc;
use std::time::Duration;

use rustkernel_core::runtime::Runtime;
use sd_notify::NotifyState;
use tokio::task::JoinHandle;

/// It takes requests.
pub(crate) fn ready(name: &str, kernels: usize) {
    let status = format!("{name}: {kernels} kernels");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// It is about to end, within `timeout` and what ending takes.
pub(crate) fn stopping(timeout: Duration) {
    let most = timeout.saturating_add(Duration::from_secs(5)).as_micros();
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("draining"),
        NotifyState::ExtendTimeoutUsec(most),
    ]);
}

/// It reads its configuration again. [`reloaded`] has to follow.
pub(crate) fn reloading() {
    // (systemd wants the time with it; without a clock it goes without.)
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// It has, or could not.
pub(crate) fn reloaded() {
    tell(&[NotifyState::Ready]);
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
                tell(&[NotifyState::Watchdog]);
            }
        }
    }))
}

/// (Without systemd there is nobody to tell, and one that does not listen is no reason to end.)
fn tell(states: &[NotifyState<'_>]) {
    sd_notify::notify(states).ok();
}
