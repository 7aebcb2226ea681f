//! Panics of kernel code: caught, kept off the terminal, and told with their place.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::pin::pin;
use std::sync::{Arc, Once};
use std::task::{Context, Poll};

#[cfg(panic = "abort")]
compile_error!("a supervisor cannot outlive a panic that aborts: build with panic = \"unwind\"");

/// What a panic said, and where.
#[derive(Clone)]
pub struct PanicReport {
    /// Its message.
    pub message: String,
    /// File, line and column, where known.
    pub location: Option<String>,
    /// How it came about, if `RUST_BACKTRACE` asks for it. It is not logged: writing it takes long.
    pub backtrace: Option<Arc<Backtrace>>,
}

/// Whether message and place are the same.
impl PartialEq for PanicReport {
    fn eq(&self, other: &Self) -> bool {
        (&self.message, &self.location) == (&other.message, &other.location)
    }
}

impl Eq for PanicReport {}

/// Without the backtrace, which is long.
impl fmt::Debug for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, location, .. } = self;
        f.debug_struct("PanicReport")
            .field("message", message)
            .field("location", location)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Some(location) => write!(f, "{} at {location}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

thread_local! {
    /// How deep this thread is in kernel code.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// The last panic in kernel code of this thread.
    static LAST: RefCell<Option<PanicReport>> = const { RefCell::new(None) };
}

/// Whether this thread is running a kernel's code.
pub(crate) fn inside_kernel() -> bool {
    DEPTH.get() > 0
}

/// Keeps panics of kernel code from the default hook, which would print each of them: they are told
/// to the caller, in the log and as events. Panics elsewhere go to the hook that was there before.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if inside_kernel() {
                LAST.set(Some(report(info)));
            } else {
                before(info);
            }
        }));
    });
}

fn report(info: &PanicHookInfo<'_>) -> PanicReport {
    PanicReport {
        message: text(info.payload()),
        location: info.location().map(ToString::to_string),
        backtrace: backtrace(),
    }
}

fn backtrace() -> Option<Arc<Backtrace>> {
    let backtrace = Backtrace::capture();
    (backtrace.status() == BacktraceStatus::Captured).then(|| Arc::new(backtrace))
}

fn text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    payload
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| "(a panic without a text)".to_owned())
}

/// Runs kernel code; a panic in it is an error here.
pub(crate) fn guard<R>(code: impl FnOnce() -> R) -> Result<R, PanicReport> {
    let depth = DEPTH.replace(DEPTH.get() + 1);
    let result = panic::catch_unwind(AssertUnwindSafe(code));
    DEPTH.set(depth);
    result.map_err(|payload| {
        let hooked = LAST.take();
        match payload.downcast::<PanicReport>() {
            // It comes from another thread, where it was caught before.
            Ok(report) => *report,
            Err(payload) => {
                let report = hooked.unwrap_or_else(|| PanicReport {
                    message: text(&*payload),
                    location: None,
                    backtrace: None,
                });
                drop_quietly(payload);
                report
            }
        }
    })
}

/// Continues in this thread a panic that was caught in another.
pub(crate) fn resume(report: PanicReport) -> ! {
    panic::resume_unwind(Box::new(report))
}

/// Drops something of a kernel's; a panic in its `drop` is an error here.
pub(crate) fn guard_drop<T>(value: T) -> Result<(), PanicReport> {
    guard(move || drop(value))
}

/// A panic's payload may panic when dropped; what that one carries is leaked rather than tried.
fn drop_quietly(payload: Box<dyn Any + Send>) {
    if let Err(second) = panic::catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        std::mem::forget(second);
    }
}

/// How a future of kernel code ended.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Ended<T> {
    /// With its output.
    Done(T),
    /// It panicked, while running or while being dropped.
    Panicked(PanicReport),
    /// It was given up while it waited, and dropped.
    GivenUp,
}

/// Runs a future of kernel code. Each time it has to wait, `given_up` says whether anybody still
/// wants it; if not it is dropped.
pub(crate) async fn run_guarded<F: Future>(
    future: F,
    mut given_up: impl FnMut(&mut Context<'_>) -> bool,
) -> Ended<F::Output> {
    let mut place = pin!(Some(future));
    poll_fn(move |cx| {
        // One guard for the poll and for the drop at its end.
        let polled = guard(|| {
            let future = place.as_mut().as_pin_mut().expect("invariant: not polled after its end");
            let ended = match future.poll(cx) {
                Poll::Ready(output) => Ended::Done(output),
                Poll::Pending if given_up(cx) => Ended::GivenUp,
                Poll::Pending => return None,
            };
            place.set(None);
            Some(ended)
        });
        match polled {
            Ok(None) => Poll::Pending,
            Ok(Some(ended)) => Poll::Ready(ended),
            Err(report) => {
                // What the panic left of the future; a second panic in it is not told.
                guard(|| place.set(None)).ok();
                Poll::Ready(Ended::Panicked(report))
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::future::pending;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[test]
    fn a_panic_is_told_with_its_message_and_place() {
        install_hook();
        let report = guard(|| panic!("no {}", 7)).unwrap_err();
        assert_eq!(report.message, "no 7");
        assert!(report.location.unwrap().contains("panic.rs"));
        assert!(!inside_kernel(), "the depth is restored");
        assert_eq!(guard(|| guard(inside_kernel)), Ok(Ok(true)));
    }

    #[test]
    fn a_panic_from_another_thread_keeps_its_place() {
        install_hook();
        let first = std::thread::spawn(|| guard(|| panic!("there")).unwrap_err()).join().unwrap();
        assert_eq!(guard(|| resume(first.clone())).unwrap_err(), first);
    }

    #[test]
    fn payloads_and_values_that_panic_when_dropped_do_no_harm() {
        install_hook();
        let report = guard(|| panic::panic_any(Bomb)).unwrap_err();
        assert_eq!(report.message, "(a panic without a text)");
        assert_eq!(guard_drop(Bomb).unwrap_err().message, "dropped");
    }

    #[test]
    fn a_future_ends_in_one_of_three_ways() {
        install_hook();
        let never = |_: &mut Context<'_>| false;
        let now = |future| FutureExt::now_or_never(future).expect("it does not wait");
        assert_eq!(now(run_guarded(async { 3 }, never)), Ended::Done(3));
        let bomb = Bomb;
        let given_up = run_guarded(pending::<()>(), |_| true).now_or_never().unwrap();
        assert_eq!(given_up, Ended::GivenUp);
        let with_bomb = async move {
            let _bomb = &bomb;
            pending::<()>().await;
        };
        let ended = run_guarded(with_bomb, |_| true).now_or_never().unwrap();
        assert!(matches!(ended, Ended::Panicked(report) if report.message == "dropped"));
        let ended = run_guarded(async { panic!("in the middle") }, never).now_or_never().unwrap();
        assert!(
            matches!(ended, Ended::<()>::Panicked(report) if report.message == "in the middle")
        );
    }
}
