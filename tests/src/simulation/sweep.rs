//! The memory filled to each threshold exactly, before the load.

use rustkernel_actors::kernel::KernelRef;
use rustkernel_gpu::memory::PressureLevel;

use super::kernel::Hoarder;
use super::plan::millis;
use super::run::Cast;
use super::stage;

/// Calls of a sweep.
pub(super) const CALLS: u64 = 7;

/// How long the level has to follow the memory, and to fall to the lowest again.
const RISE: u64 = 2;
const FALL: u64 = 250;

/// The specification's table, by thousandths of the limit.
fn expected(pages: u64, limit: u64) -> PressureLevel {
    match pages * 1000 {
        over if over > 950 * limit => PressureLevel::Emergency,
        at if at >= 850 * limit => PressureLevel::Critical,
        at if at >= 700 * limit => PressureLevel::Warning,
        _ => PressureLevel::Normal,
    }
}

/// Fills a memory of so many pages to a page below each threshold, and to it; then gives all back.
pub(super) async fn sweep(cast: &Cast, limit: u64) {
    let (Ok(hoarder), Some(memory)) =
        (cast.supervisor().kernel::<Hoarder>(Hoarder::NAME), cast.memories.first())
    else {
        return;
    };
    let thresholds = [700 * limit / 1000, 850 * limit / 1000, 950 * limit / 1000 + 1];
    for pages in thresholds.into_iter().flat_map(|pages| [pages - 1, pages]) {
        hold(&hoarder, pages, RISE).await;
        let (level, expected) = (memory.pressure(), expected(pages, limit));
        stage::with(|stage| {
            if level != expected {
                stage.broken(&format!(
                    "memory pressure is {level} at {pages} of {limit} pages, not {expected}"
                ));
            }
        });
    }
    hold(&hoarder, 0, FALL).await;
    if memory.pressure() != PressureLevel::Normal {
        stage::with(|stage| stage.broken("memory pressure has not fallen"));
    }
}

async fn hold(hoarder: &KernelRef<Hoarder>, pages: u64, then: u64) {
    if let Err(error) = hoarder.call(pages).await {
        stage::with(|stage| stage.broken(&format!("{pages} pages were refused: {error}")));
    }
    tokio::time::sleep(millis(then)).await;
}
