//! Whether requests are taken, and if not why, part by part.

use std::fmt;

use rustkernel_core::kernel::Condition;
use rustkernel_core::memory::PressureLevel;
use rustkernel_core::runtime::{LifecycleState, RuntimeStats};

use crate::audit::Audit;

/// A reading of every part that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Readiness {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    /// What is wrong with it, if something is.
    trouble: Option<String>,
    /// Whether requests can be taken all the same.
    bearable: bool,
}

impl Readiness {
    /// `leaving`: it is about to be drained.
    pub(crate) fn of(stats: &RuntimeStats, leaving: bool) -> Self {
        let mut parts = vec![of_lifecycle(stats.state, leaving)];
        // Some kernels that refuse are the trouble of those who call them; if all do, it is everybody's.
        let some = stats.kernels.is_empty() || stats.kernels.iter().any(|k| !k.condition.refuses());
        parts.extend(stats.kernels.iter().map(|kernel| {
            Part {
                name: format!("kernel {}", kernel.name),
                trouble: (kernel.condition.refuses() && kernel.condition != Condition::Unloaded)
                    .then(|| format!("it is {}", crate::view::condition(kernel.condition))),
                bearable: some,
            }
        }));
        let usable = stats.devices.iter().filter(|device| device.lost.is_none()).count();
        parts.extend(stats.devices.iter().map(|device| {
            let full = device.pressure >= PressureLevel::Critical;
            let full = full.then(|| format!("under {} memory pressure", device.pressure));
            Part {
                name: format!("device {}", device.info.id),
                bearable: device.lost.is_some() && usable > 0,
                trouble: device.lost.clone().or(full),
            }
        }));
        Self { parts }
    }

    /// The same with the audit log, if one is kept: nothing is done that it cannot tell.
    #[must_use]
    pub(crate) fn with_audit(mut self, audit: Option<&Audit>) -> Self {
        self.parts.extend(audit.map(|audit| Part {
            name: "audit log".into(),
            trouble: (!audit.is_writable()).then(|| "it cannot be written".into()),
            bearable: false,
        }));
        self
    }

    /// Whether requests are taken.
    pub(crate) fn is_ready(&self) -> bool {
        self.reasons().next().is_none()
    }

    /// Why they are not.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = String> {
        let unbearable = self.parts.iter().filter(|part| !part.bearable);
        unbearable.filter_map(|part| Some(format!("{}: {}", part.name, part.trouble.as_ref()?)))
    }
}

fn of_lifecycle(state: LifecycleState, leaving: bool) -> Part {
    let trouble = match state {
        LifecycleState::Running if leaving => Some("it is about to be drained".into()),
        LifecycleState::Running => None,
        state => Some(format!("it is {state}")),
    };
    Part { name: "runtime".into(), trouble, bearable: false }
}

/// A line for each part, as the servers of Kubernetes write them.
impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Part { name, trouble, bearable } in &self.parts {
            match trouble {
                None => writeln!(f, "[+]{name} ok")?,
                Some(trouble) if *bearable => writeln!(f, "[!]{name} degraded: {trouble}")?,
                Some(trouble) => writeln!(f, "[-]{name} failed: {trouble}")?,
            }
        }
        f.write_str(if self.is_ready() { "ready\n" } else { "not ready\n" })
    }
}
