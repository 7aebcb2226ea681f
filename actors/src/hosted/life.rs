//! One life of a hosted actor: its context, polled where a panic is caught.
//!
//! The actor's own context would take messages out of a mailbox that ends with it. So it is given one that
//! stays empty, and the [`Pump`], a future of the actor's, hands it the messages of the mailbox that stays.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix::dev::{AsyncContextParts, ContextFut, ContextParts, EnvelopeProxy};
use actix::{ActorContext, ActorFuture, AsyncContext};
use atomic_waker::AtomicWaker;

use super::{HostedActor, Mailbox};
use crate::instance::Pacer;

/// What its instance wants of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It goes on.
    Live,
    /// It stops in an orderly way; messages that wait are kept.
    Park,
    /// As that, after the messages that wait.
    Finish,
    /// It is dropped as it is.
    Drop,
}

/// What a life and its instance tell each other. Both are on one thread.
pub(super) struct Desk {
    wanted: Cell<Wanted>,
    waker: AtomicWaker,
    pacer: RefCell<Pacer>,
    /// The actor has started, and may have messages.
    open: Cell<bool>,
    /// The pump has found the mailbox empty.
    empty: Cell<bool>,
    /// A message has been handled.
    handled: Cell<bool>,
}

impl Desk {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            wanted: Cell::new(Wanted::Live),
            waker: AtomicWaker::new(),
            pacer: RefCell::new(Pacer::new()),
            open: Cell::new(false),
            empty: Cell::new(false),
            handled: Cell::new(false),
        })
    }

    pub(super) fn want(&self, wanted: Wanted) {
        self.wanted.set(wanted);
        // (What the pump found before does not count.)
        self.empty.set(false);
        self.waker.wake();
    }

    /// Whether a message has been handled without a panic.
    pub(super) fn has_handled(&self) -> bool {
        self.handled.get()
    }
}

/// An actor in its context.
pub(super) struct Life<A: HostedActor> {
    future: ContextFut<A, actix::Context<A>>,
    desk: Rc<Desk>,
    /// It was told to stop.
    told: bool,
}

impl<A: HostedActor> Life<A> {
    /// Nothing of the actor runs yet.
    pub(super) fn new(
        actor: A,
        (number, parts): (u64, ContextParts<A>),
        mailbox: Arc<Mailbox<A>>,
        desk: Rc<Desk>,
    ) -> Self {
        let mut context = actix::Context::new();
        *context.parts() = parts;
        context.spawn(Pump { mailbox, life: number, desk: Rc::clone(&desk) });
        let future = ContextFut::new(context, actor, actix::dev::Mailbox::default());
        Self { future, desk, told: false }
    }

    /// Has the actor's `started` run. True if the actor has stopped itself in it.
    pub(super) fn poll_start(&mut self, cx: &mut Context<'_>) -> bool {
        Pin::new(&mut self.future).poll(cx).is_ready()
    }

    /// Goes on until the actor has stopped, or the life is to be dropped.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.desk.waker.register(cx.waker());
        self.desk.open.set(true);
        self.desk.pacer.borrow_mut().resume();
        loop {
            if self.desk.wanted.get() == Wanted::Drop {
                return Poll::Ready(());
            }
            if self.is_to_be_told() {
                // (It may go on: `Actor::stopping` is asked.)
                self.told = true;
                self.future.ctx().stop();
            }
            if Pin::new(&mut self.future).poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if !self.is_to_be_told() {
                return Poll::Pending;
            }
        }
    }

    /// Whether it is time to tell the actor to stop.
    fn is_to_be_told(&self) -> bool {
        let due = match self.desk.wanted.get() {
            Wanted::Live | Wanted::Drop => false,
            Wanted::Park => true,
            Wanted::Finish => self.desk.empty.get(),
        };
        due && !self.told
    }
}

impl<A: HostedActor> Drop for Life<A> {
    fn drop(&mut self) {
        // Otherwise the context would poll the actor once more, for its hooks: also after a panic.
        self.future.ctx().terminate();
    }
}

/// Hands an actor the messages of its mailbox, and lets others run when that has taken a while.
struct Pump<A: HostedActor> {
    mailbox: Arc<Mailbox<A>>,
    life: u64,
    desk: Rc<Desk>,
}

impl<A: HostedActor> ActorFuture<A> for Pump<A> {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut A,
        context: &mut actix::Context<A>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Self { mailbox, life, desk } = &*self;
        desk.empty.set(false);
        while desk.open.get() && !context.waiting() {
            if desk.pacer.borrow().budget_is_spent() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match mailbox.poll_next(*life, cx) {
                Poll::Ready(Some(mut message)) => {
                    message.handle(actor, context);
                    desk.handled.set(true);
                    desk.pacer.borrow_mut().lap();
                }
                // Another life has begun.
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {
                    desk.empty.set(true);
                    break;
                }
            }
        }
        Poll::Pending
    }
}
