//! A kernel that fails in every way it can, and its supervisor.
//!
//! ```text
//! cargo run --release -p rustkernel-examples --example 05_supervised_restart
//! ```
//!
//! What to see: a printer jams. One jam fails one request, and those queued behind it are printed. With a
//! retry not even that one fails. Jams that do not end are restarted less and less eagerly, then the
//! printer is quarantined: requests come back at once instead of waiting. After a while it is tried with one
//! page, and serves again.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustkernel_core::kernel::Condition;
use rustkernel_core::observability::{LogConfig, LogFormat, LogLevel};
use rustkernel_core::prelude::*;

/// Prints pages, and counts how many since it was last switched on.
struct Printer {
    printed: u64,
    /// How often it is still going to jam.
    jams: Arc<AtomicU32>,
}

#[derive(Clone, Copy)]
enum Page {
    Fine,
    /// Jams while there are jams left.
    Creased,
}

impl Kernel for Printer {
    type Request = Page;
    type Response = u64;

    async fn execute(&mut self, page: Page, _: &mut KernelContext) -> KernelResult<u64> {
        let one_less = |left: u32| left.checked_sub(1);
        let jam = || self.jams.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
        assert!(matches!(page, Page::Fine) || !jam(), "paper jam");
        self.printed += 1;
        Ok(self.printed)
    }
}

fn printer(name: &str, jams: &Arc<AtomicU32>) -> KernelSpec<Printer> {
    let jams = Arc::clone(jams);
    let policy = RestartPolicy::permanent()
        .limit(3, Duration::from_secs(10))
        .backoff(Backoff::exponential(Duration::from_millis(50), Duration::from_secs(1)))
        .quarantine(Duration::from_millis(300));
    KernelSpec::new(name, move || Printer { printed: 0, jams: Arc::clone(&jams) }).restart(policy)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let jams = Arc::new(AtomicU32::new(0));
    let runtime = RuntimeBuilder::new()
        .with_log(LogConfig { level: LogLevel::Off, format: LogFormat::Auto })
        .with_kernel(printer("printer", &jams))
        .with_kernel(printer("retries", &jams).retry(RetryPolicy::default()))
        .build()?;
    runtime.start().await?;
    let printer = runtime.kernel::<Printer>("printer")?;
    queued_requests_survive(&printer, &jams).await?;
    a_retry(&runtime.kernel::<Printer>("retries")?, &jams).await?;
    quarantine(&printer, &jams).await;
    trial(&printer, &jams).await?;
    println!("\nwhat its supervisor noted:");
    for entry in printer.stats().history {
        println!("  {}", entry.what);
    }
    assert!(runtime.shutdown().await?.is_clean());
    Ok(())
}

/// Ten pages are queued and the third jams: one fails, and the others are printed.
async fn queued_requests_survive(
    printer: &KernelRef<Printer>,
    jams: &AtomicU32,
) -> Result<(), Box<dyn Error>> {
    println!("Ten pages in the queue, the third is creased:");
    jams.store(1, Ordering::SeqCst);
    let print = |n| {
        let (printer, page) = (printer.clone(), if n == 3 { Page::Creased } else { Page::Fine });
        tokio::spawn(async move { (n, printer.call(page).await) })
    };
    let mut printed = 0;
    for page in (1..=10).map(print).collect::<Vec<_>>() {
        match page.await? {
            (_, Ok(_)) => printed += 1,
            (n, Err(error)) => println!("  page {n}: {error}"),
        }
    }
    // (The jam is answered before the printer is on again: one more page waits for that.)
    printer.call(Page::Fine).await?;
    println!("  the other {printed} are printed; the printer was switched off and on once");
    assert_eq!((printed, printer.stats().restarts), (9, 1));
    Ok(())
}

/// A page may be printed twice without harm: then even the one that jammed is printed.
async fn a_retry(printer: &KernelRef<Printer>, jams: &AtomicU32) -> Result<(), Box<dyn Error>> {
    jams.store(1, Ordering::SeqCst);
    printer.call(Page::Creased).await?;
    let stats = printer.stats();
    println!(
        "\nA creased page with a retry is printed: {} panic, {} retry",
        stats.panics, stats.retried
    );
    assert_eq!((stats.panics, stats.retried, stats.ledger.failed), (1, 1, 0));
    Ok(())
}

/// It jams for good: each restart waits longer, until it is quarantined.
async fn quarantine(printer: &KernelRef<Printer>, jams: &AtomicU32) {
    println!("\nNow each page jams:");
    jams.store(u32::MAX, Ordering::SeqCst);
    let rejection = loop {
        let start = tokio::time::Instant::now();
        match printer.call(Page::Creased).await {
            Err(CallError::Rejected { rejection, .. }) => break rejection,
            Err(error) => println!("  after {:>3} ms: {error}", start.elapsed().as_millis()),
            Ok(_) => unreachable!("it jams"),
        }
    };
    println!("  and then, at once: {rejection}");
    assert!(rejection.is_retryable(), "later");
    let stats = printer.stats();
    assert_eq!((stats.condition, stats.restarts), (Condition::Quarantined, 3));
}

/// Somebody removes the paper. The quarantine ends with one page that is printed.
async fn trial(printer: &KernelRef<Printer>, jams: &AtomicU32) -> Result<(), Box<dyn Error>> {
    jams.store(0, Ordering::SeqCst);
    while printer.stats().condition == Condition::Quarantined {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("\nAfter its quarantine: {:?}", printer.stats().condition);
    assert_eq!(printer.stats().condition, Condition::OnTrial);
    let printed = printer.call(Page::Creased).await?;
    assert_eq!(printed, 1, "by fresh state");
    // (Its page is answered a moment before it is well again.)
    while printer.stats().condition == Condition::OnTrial {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("It has printed a page: {:?}", printer.stats().condition);
    assert_eq!(printer.stats().condition, Condition::Serving);
    Ok(())
}
