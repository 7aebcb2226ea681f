//! Actors of the application's as supervised children, beside kernels.
//!
//! | part | role |
//! |---|---|
//! | [`ActorSpec`] | how to run one: name, factory, mailbox, placement, policies |
//! | `kernel` | a kernel without requests that has an actor live and end; what supervises kernels supervises it |
//! | `life` | one life of the actor: from its factory to its end, panics caught |
//! | `mailbox` | what outlives each life: the address, and the messages that wait |
//!
//! `actix::Supervisor` does not restart an actor that panics: the panic ends the task that has the mailbox.
//! Here the mailbox is kept apart from the task.

mod kernel;
mod life;
mod mailbox;
mod spec;

use actix::{Actor, Context};

pub(crate) use mailbox::AnyMailbox;
pub use spec::ActorSpec;

use kernel::Hosted;
use life::{Desk, Life};
use mailbox::Mailbox;

/// An actor that can be supervised: any whose context is actix's own.
pub trait HostedActor: Actor<Context = Context<Self>> {}

impl<A: Actor<Context = Context<A>>> HostedActor for A {}
