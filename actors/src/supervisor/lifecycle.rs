//! The lifecycle: four states, one total transition function.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

/// Where a runtime is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum LifecycleState {
    /// Built, or initialising its kernels and resources. Takes no requests.
    Starting = 0,
    /// Takes requests.
    Running = 1,
    /// Finishes what is in flight and refuses what is new.
    Draining = 2,
    /// All resources are released.
    Stopped = 3,
}

impl LifecycleState {
    /// Every state, in their order.
    pub const ALL: [Self; 4] = [Self::Starting, Self::Running, Self::Draining, Self::Stopped];

    /// The state's name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for LifecycleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What happens to a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LifecycleEvent {
    /// Somebody asks it to start.
    StartRequested,
    /// All kernels have started.
    StartSucceeded,
    /// A kernel has not.
    StartFailed,
    /// Somebody asks it to shut down.
    ShutdownRequested,
    /// The drain's time is over and requests are still open: they are cancelled.
    DrainTimedOut,
    /// No request is open and everything is released.
    DrainCompleted,
}

impl LifecycleEvent {
    /// Every event.
    pub const ALL: [Self; 6] = [
        Self::StartRequested,
        Self::StartSucceeded,
        Self::StartFailed,
        Self::ShutdownRequested,
        Self::DrainTimedOut,
        Self::DrainCompleted,
    ];
}

/// What the supervisor now has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Start the kernels. The state stays `Starting` until they have.
    Start,
    /// Enter `Running`: let requests in.
    Run,
    /// Enter `Draining`: refuse new requests, let those in flight finish.
    Drain,
    /// Stay in `Draining`: cancel what is left.
    Cancel,
    /// Enter `Stopped`.
    Stop,
    /// The shutdown asked for is under way or over: wait for it, or for the start to end first.
    Join,
}

/// An event that has no place in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen while {state}")]
pub struct IllegalTransition {
    /// The state.
    pub state: LifecycleState,
    /// The event.
    pub event: LifecycleEvent,
}

/// The one transition function, total over states and events.
///
/// # Errors
/// [`IllegalTransition`] for every pair that is not on the specification's diagram.
pub fn transition(state: LifecycleState, event: LifecycleEvent) -> Result<Step, IllegalTransition> {
    use LifecycleEvent as Event;
    use LifecycleState as State;
    match (state, event) {
        (State::Starting, Event::StartRequested) => Ok(Step::Start),
        (State::Starting, Event::StartSucceeded) => Ok(Step::Run),
        (State::Starting, Event::StartFailed) => Ok(Step::Stop),
        // Nothing runs yet. (A start under way is told to end first.)
        (State::Starting, Event::ShutdownRequested) => Ok(Step::Stop),
        (State::Running, Event::ShutdownRequested) => Ok(Step::Drain),
        (State::Draining, Event::ShutdownRequested) => Ok(Step::Join),
        (State::Draining, Event::DrainTimedOut) => Ok(Step::Cancel),
        (State::Draining, Event::DrainCompleted) => Ok(Step::Stop),
        (State::Stopped, Event::ShutdownRequested) => Ok(Step::Join),
        (State::Starting, Event::DrainTimedOut | Event::DrainCompleted)
        | (State::Running, Event::StartRequested | Event::StartSucceeded | Event::StartFailed)
        | (State::Running, Event::DrainTimedOut | Event::DrainCompleted)
        | (State::Draining, Event::StartRequested | Event::StartSucceeded | Event::StartFailed)
        | (State::Stopped, Event::StartRequested | Event::StartSucceeded | Event::StartFailed)
        | (State::Stopped, Event::DrainTimedOut | Event::DrainCompleted) => {
            Err(IllegalTransition { state, event })
        }
    }
}

/// The state for everybody to read. Written by the supervisor alone.
#[derive(Debug)]
pub(crate) struct LifecycleCell(AtomicU8);

impl LifecycleCell {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(LifecycleState::Starting as u8))
    }

    pub(crate) fn get(&self) -> LifecycleState {
        LifecycleState::ALL[usize::from(self.0.load(Ordering::Acquire))]
    }

    pub(crate) fn set(&self, state: LifecycleState) {
        self.0.store(state as u8, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::LifecycleEvent::*;
    use super::LifecycleState::*;
    use super::*;

    /// Every cell of (state × event), written out.
    #[test]
    fn every_cell_of_the_table_is_as_specified() {
        let legal = |state, event| match (state, event) {
            (Starting, StartRequested) => Some(Step::Start),
            (Starting, StartSucceeded) => Some(Step::Run),
            (Starting, StartFailed | ShutdownRequested) => Some(Step::Stop),
            (Running, ShutdownRequested) => Some(Step::Drain),
            (Draining, ShutdownRequested) => Some(Step::Join),
            (Draining, DrainTimedOut) => Some(Step::Cancel),
            (Draining, DrainCompleted) => Some(Step::Stop),
            (Stopped, ShutdownRequested) => Some(Step::Join),
            _ => None,
        };
        let mut cells = 0;
        for state in LifecycleState::ALL {
            for event in LifecycleEvent::ALL {
                let expected = legal(state, event).ok_or(IllegalTransition { state, event });
                assert_eq!(transition(state, event), expected, "{state} × {event:?}");
                cells += 1;
            }
        }
        assert_eq!(cells, 24);
    }

    #[test]
    fn nothing_leaves_stopped_and_states_only_go_forward() {
        let target = |state, step| match step {
            Step::Start | Step::Cancel | Step::Join => state,
            Step::Run => Running,
            Step::Drain => Draining,
            Step::Stop => Stopped,
        };
        for state in LifecycleState::ALL {
            for event in LifecycleEvent::ALL {
                if let Ok(step) = transition(state, event) {
                    assert!(target(state, step) >= state);
                }
            }
        }
    }

    #[test]
    fn the_cell_holds_every_state() {
        let cell = LifecycleCell::new();
        assert_eq!(cell.get(), Starting);
        for state in LifecycleState::ALL {
            cell.set(state);
            assert_eq!(cell.get(), state);
        }
    }
}
