//! Kernels that take long, or hang: delays, and gates that a test opens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::point::Malformed;
use crate::device::context::Context;
use crate::stream::progress::{Latch, Progress};

/// What launches of a kernel meet before they run.
#[derive(Clone)]
struct Obstacle {
    kernel: String,
    device: Option<usize>,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Delay(Duration),
    Gate(Arc<Inside>),
}

struct Inside {
    latch: Latch,
    arrived: AtomicUsize,
    arrival: Progress,
}

static OBSTACLES: Mutex<Vec<Obstacle>> = Mutex::new(Vec::new());

/// Makes every launch of `kernel` from now on take so much longer, on all devices; no time at all
/// takes the delay away again. A reset of the context cuts it short.
pub fn delay(kernel: &str, time: Duration) {
    let mut obstacles = OBSTACLES.lock();
    obstacles.retain(|known| known.kernel != kernel || !matches!(known.kind, Kind::Delay(_)));
    if !time.is_zero() {
        obstacles.push(Obstacle { kernel: kernel.into(), device: None, kind: Kind::Delay(time) });
    }
}

/// Makes launches of `kernel` hang from now on, on one device or on all, until the gate is opened.
/// A reset of the context ends those that hang.
pub fn hold(kernel: &str, device: Option<usize>) -> Gate {
    let inside = Arc::new(Inside {
        latch: Latch::default(),
        arrived: AtomicUsize::new(0),
        arrival: Progress::default(),
    });
    let kind = Kind::Gate(Arc::clone(&inside));
    OBSTACLES.lock().push(Obstacle { kernel: kernel.into(), device, kind });
    Gate { inside }
}

/// A gate before a kernel; dropping it opens it.
#[must_use = "dropping a gate opens it"]
pub struct Gate {
    inside: Arc<Inside>,
}

impl Gate {
    /// Lets the launches that hang go on, and those to come pass.
    pub fn open(&self) {
        OBSTACLES.lock().retain(
            |known| !matches!(&known.kind, Kind::Gate(gate) if Arc::ptr_eq(gate, &self.inside)),
        );
        self.inside.latch.open();
    }

    /// How many launches have come to the gate.
    pub fn arrived(&self) -> usize {
        self.inside.arrived.load(Ordering::Acquire)
    }

    /// Waits until so many launches have come to the gate.
    pub fn wait_for(&self, launches: usize) {
        self.inside.arrival.wait_until(|| self.arrived() >= launches);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

/// `launch KERNEL=MILLISECONDS`, or `=forever`.
pub(crate) fn from_text(text: &str) -> Result<(), Malformed> {
    let malformed = || Malformed("expected `launch KERNEL=MILLISECONDS` or `=forever`".into());
    let (kernel, time) = text.rsplit_once('=').ok_or_else(malformed)?;
    let kernel = kernel.trim().strip_prefix("launch ").ok_or_else(malformed)?.trim();
    let time = match time.trim() {
        "forever" => Duration::MAX,
        number => Duration::from_millis(number.parse().map_err(|_| malformed())?),
    };
    delay(kernel, time);
    Ok(())
}

/// Meets what stands before `kernel`. Returns early if the context is destroyed.
pub(crate) fn meet(kernel: &str, context: &Context) {
    let ordinal = context.device.ordinal;
    let stands = |known: &&Obstacle| {
        known.kernel == kernel && known.device.is_none_or(|device| device == ordinal)
    };
    let obstacles: Vec<Obstacle> = OBSTACLES.lock().iter().filter(stands).cloned().collect();
    for obstacle in obstacles {
        match obstacle.kind {
            Kind::Delay(time) => context.progress.wait_for(time, || context.is_destroyed()),
            Kind::Gate(gate) => {
                gate.arrived.fetch_add(1, Ordering::AcqRel);
                gate.arrival.ring();
                gate.latch.wait(&context.progress, || context.is_destroyed());
            }
        }
    }
}

/// Takes away what stands before kernels of one device only.
pub(crate) fn clear_on(ordinal: usize) {
    let mut obstacles = OBSTACLES.lock();
    let (own, others): (Vec<_>, Vec<_>) =
        obstacles.drain(..).partition(|known| known.device == Some(ordinal));
    *obstacles = others;
    drop(obstacles);
    for obstacle in own {
        if let Kind::Gate(gate) = obstacle.kind {
            gate.latch.open();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_understood_or_refused() {
        from_text("launch slow=1").unwrap();
        from_text("launch slow = forever").unwrap();
        delay("slow", Duration::ZERO);
        assert!(!OBSTACLES.lock().iter().any(|known| known.kernel == "slow"));
        for text in ["slow=1", "launch slow", "launch slow=soon"] {
            assert!(from_text(text).is_err(), "{text}");
        }
    }
}
