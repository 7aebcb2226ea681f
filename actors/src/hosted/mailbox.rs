//! A hosted actor's mailbox: it outlives the actor's lives, and closes when there is to be no further one.

use std::any::Any;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use actix::Addr;
use actix::dev::channel::{self, AddressReceiver};
use actix::dev::{ContextParts, Envelope};
use futures_util::Stream;

use super::HostedActor;
use crate::panic;

/// How many messages may wait, unless an actor's spec says otherwise: as many as in actix.
const CAPACITY: usize = 16;

/// The receiving end of an actor's address.
pub(crate) struct Mailbox<A: HostedActor> {
    address: Addr<A>,
    state: Mutex<State<A>>,
}

struct State<A: HostedActor> {
    /// Which life takes messages out. One that was given up on may still come back: it finds another's
    /// number here.
    life: u64,
    /// None once it is closed.
    receiver: Option<AddressReceiver<A>>,
}

/// A mailbox whatever its actor, as the kernel that hosts it sees it.
pub(crate) trait AnyMailbox: Send + Sync {
    /// The `Addr` of the actor.
    fn address(&self) -> &dyn Any;

    /// How many messages may wait, beside one for each sender.
    fn capacity(&self) -> usize;

    /// Ends it: whoever waits for an answer to a message in it, or sends one later, hears that it has
    /// closed.
    fn close(&self);
}

impl<A: HostedActor> Mailbox<A> {
    pub(super) fn new() -> Self {
        let (sender, receiver) = channel::channel(CAPACITY);
        let state = State { life: 0, receiver: Some(receiver) };
        Self { address: Addr::new(sender), state: Mutex::new(state) }
    }

    // (It is held for a few instructions, and never while code of the application's runs.)
    fn state(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets how many messages may wait, beside one for each sender.
    pub(super) fn set_capacity(&self, capacity: usize) {
        if let Some(receiver) = &mut self.state().receiver {
            receiver.set_capacity(capacity);
        }
    }

    /// Begins a life, which alone takes messages out from now on: its number, and a context whose address
    /// is this mailbox's. None if it is closed.
    pub(super) fn begin(&self) -> Option<(u64, ContextParts<A>)> {
        let mut state = self.state();
        let parts = ContextParts::new(state.receiver.as_ref()?.sender_producer());
        state.life += 1;
        Some((state.life, parts))
    }

    /// The next message for that life; none if another has begun, or the mailbox is closed.
    pub(super) fn poll_next(&self, life: u64, cx: &mut Context<'_>) -> Poll<Option<Envelope<A>>> {
        let mut state = self.state();
        let current = state.life == life;
        match &mut state.receiver {
            Some(receiver) if current => Pin::new(receiver).poll_next(cx),
            _ => Poll::Ready(None),
        }
    }
}

impl<A: HostedActor> AnyMailbox for Mailbox<A> {
    fn address(&self) -> &dyn Any {
        &self.address
    }

    fn capacity(&self) -> usize {
        self.state().receiver.as_ref().map_or(0, AddressReceiver::capacity)
    }

    fn close(&self) {
        let receiver = self.state().receiver.take();
        // (Messages have code of the application's in them; what one says while it is dropped nobody asks.)
        panic::guard_drop(receiver).ok();
    }
}
