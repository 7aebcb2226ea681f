//! The signals that a service acts on.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Let requests in flight finish, and end. (SIGTERM, the first SIGINT)
    Drain,
    /// Cancel them, and end. (A further SIGINT)
    Stop,
    /// Read the configuration again. (SIGHUP)
    Reload,
}

/// Hears signals from the moment it was made.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    interrupted: bool,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupted: false,
        })
    }

    /// What the next signal asks for.
    pub(crate) async fn next(&mut self) -> Ask {
        tokio::select! {
            _ = self.terminate.recv() => Ask::Drain,
            _ = self.hang_up.recv() => Ask::Reload,
            _ = self.interrupt.recv() => {
                if std::mem::replace(&mut self.interrupted, true) { Ask::Stop } else { Ask::Drain }
            }
        }
    }
}
