//! The fault points: what can go wrong in a simulated run.
//!
//! Each is switched on with a probability of one in four per seed, so that most seeds have several at
//! once, and a fault is also met without those that hide it. One that is on fires with a small probability
//! of its own, at the place that its name says. A further fault is a row here, and its place in `kernel`,
//! `caller`, `plan` or `run`.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A fault point.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// Every fault point.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

faults! {
    // ---- of a request
    /// It panics at once.
    Panic,
    /// It panics after a wait.
    PanicLater,
    /// Its memory declaration panics.
    PanicInNeed,
    /// It fails; its kernel goes on.
    Fails,
    /// It fails, and its kernel has to be restarted.
    Fatal,
    /// It waits for ever: until its deadline, or until it is cancelled.
    Hangs,
    /// It waits for up to half a second.
    Slow,
    /// It takes a large part of the memory, undeclared.
    Greedy,
    /// It takes more memory than it has declared.
    TooLittle,
    /// It succeeds, and its kernel asks for its end.
    Exits,

    // ---- of an instance
    /// `open` panics at a restart.
    PanicInOpen,
    /// `open` fails at a restart.
    OpenFails,
    /// The kernel's state panics when it is dropped.
    PanicInDrop,
    /// `close` takes up to 60 ms.
    SlowClose,
    /// Its health check fails.
    Unhealthy,
    /// It has a restart policy with limits.
    Policies,
    /// Its requests are tried again.
    Retries,

    // ---- of a caller
    /// It goes away without the answer.
    GivesUp,
    /// Its requests are of high and of low priority.
    Priorities,
    /// It does not wait for room.
    Impatient,

    // ---- of the runtime
    /// There is little memory.
    LittleMemory,
    /// Before the load the memory is filled to each threshold exactly.
    Sweep,
    /// A kernel is added while running.
    KernelAdded,
    /// A kernel does not start.
    StartFails,
    /// Somebody restarts kernels, and lifts their quarantines.
    ByHand,
    /// Kernels are of one group, and are restarted together.
    Groups,
    /// It stops when a kernel has exceeded its limit.
    StopsRuntime,
    /// A call of the driver breaks the device's context, again and again.
    DeviceLost,
    /// A device that was lost does not come back at once, or at all.
    ResetFails,
    /// It stops when a device is lost.
    StopsWithDevice,
    /// The shutdown comes while the kernels start.
    ShutdownInStart,
    /// The shutdown comes amid the load.
    ShutdownInLoad,
    /// As that, and waits for nothing.
    ShutdownAtOnce,
}

/// Those that can happen to a request.
pub(crate) const OF_REQUESTS: &[Fault] = &[
    Fault::Panic,
    Fault::PanicLater,
    Fault::PanicInNeed,
    Fault::Fails,
    Fault::Fatal,
    Fault::Hangs,
    Fault::Slow,
    Fault::Greedy,
    Fault::TooLittle,
    Fault::Exits,
];

/// A set of fault points: those that are on in a run, or those that have fired.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults(u64);

impl Faults {
    /// Each is on with a probability of one in four.
    pub(crate) fn draw(random: &mut ChaCha8Rng) -> Self {
        let on = Fault::ALL.iter().filter(|_| random.random_ratio(1, 4));
        on.fold(Self::default(), |on, fault| on.with(*fault))
    }

    /// All of them.
    pub fn all() -> Self {
        Fault::ALL.iter().fold(Self::default(), |all, fault| all.with(*fault))
    }

    /// With that one too.
    #[must_use]
    pub fn with(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault as u64)
    }

    /// With those of another set too.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether that one is in it.
    pub fn has(self, fault: Fault) -> bool {
        self.0 & 1 << fault as u64 != 0
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(Fault::ALL.iter().filter(|fault| self.has(**fault))).finish()
    }
}
