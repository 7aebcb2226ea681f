//! How an actor is to be run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Hosted, HostedActor, Mailbox};
use crate::kernel::{AnySpec, KernelSpec, Placement};
use crate::restart::RestartPolicy;

/// How to run an actor of the application's under the runtime's supervisor: everything has a default but the
/// name and the factory.
///
/// It is one more child beside the kernels: started in its order and stopped in reverse, restarted by the
/// same policies, in their groups, quarantined, told of in events, statistics and the log. Each life begins
/// with the factory and `Actor::started`. Its end is
///
/// * a panic, in the factory, in `started`, in a handler or in any future of the actor's. Nothing more of the
///   state runs, not even `Actor::stopping`; it is dropped.
/// * `ctx.stop()`: the normal end, as [`KernelContext::exit`](crate::kernel::KernelContext::exit) is a
///   kernel's.
/// * an order: its group is restarted, or the runtime stops. `stopping` and `stopped` run, within the
///   shutdown timeout; `Running::Continue` delays that until the actor stops itself. When the runtime stops,
///   the messages that wait are handled first, for as long as the end of any instance may take.
///
/// The address, and what `ctx.address()` says, is the same in all lives, and messages that wait are kept: they
/// are handled by the next. Lost are the message in hand when it panicked, and those of which the answer was
/// still to come from a future of that life; their senders hear `MailboxError::Closed`. While the actor is in
/// backoff or quarantined messages wait, as many as the mailbox holds; senders that do not want to wait set a
/// timeout. Once it has ended for good, and when the runtime has stopped, each sender hears `Closed`. The
/// address alone keeps no actor alive, nor does the want of one end it.
///
/// What it does not have: deadlines, so a handler that does not come back is not noticed; and more than one
/// instance. `Supervised::restarting` is not called, as the state is a new one.
pub struct ActorSpec<A: HostedActor> {
    kernel: KernelSpec<Hosted<A>>,
    mailbox: Arc<Mailbox<A>>,
}

impl<A: HostedActor> ActorSpec<A> {
    /// An actor called `name` that is made by `factory`: at the first start and at each restart, on the
    /// thread where it lives.
    pub fn new(name: impl Into<String>, factory: impl Fn() -> A + Send + Sync + 'static) -> Self {
        let mailbox = Arc::new(Mailbox::new());
        let own = Arc::clone(&mailbox);
        let kernel = KernelSpec::new(name, move || Hosted::new(factory(), Arc::clone(&own)));
        Self { kernel: kernel.host(mailbox.clone()), mailbox }
    }

    /// How many messages may wait, beside one for each sender. The default is 16, as in actix.
    #[must_use]
    pub fn mailbox(self, capacity: usize) -> Self {
        self.mailbox.set_capacity(capacity);
        self
    }

    /// When it is restarted, how often, how soon, and what happens when that is not enough. The default is
    /// [`RestartPolicy::permanent`].
    #[must_use]
    pub fn restart(self, policy: RestartPolicy) -> Self {
        self.map(|kernel| kernel.restart(policy))
    }

    /// It belongs to that group of the runtime's; see [`Group`](crate::Group).
    #[must_use]
    pub fn group(self, name: impl Into<String>) -> Self {
        self.map(|kernel| kernel.group(name))
    }

    /// On which thread it lives. The default is one of its own, which it may block.
    #[must_use]
    pub fn placement(self, placement: Placement) -> Self {
        self.map(|kernel| kernel.placement(placement))
    }

    /// How long its factory and `started` may take. The default is 30 s.
    #[must_use]
    pub fn start_timeout(self, timeout: Duration) -> Self {
        self.map(|kernel| kernel.start_timeout(timeout))
    }

    /// How long it may take to stop when its group is restarted. The default is the start timeout.
    #[must_use]
    pub fn shutdown_timeout(self, timeout: Duration) -> Self {
        self.map(|kernel| kernel.shutdown_timeout(timeout))
    }

    /// The actor's name.
    pub fn name(&self) -> &str {
        self.kernel.name()
    }

    fn map(self, of: impl FnOnce(KernelSpec<Hosted<A>>) -> KernelSpec<Hosted<A>>) -> Self {
        Self { kernel: of(self.kernel), mailbox: self.mailbox }
    }
}

impl<A: HostedActor> From<ActorSpec<A>> for Box<dyn AnySpec> {
    fn from(spec: ActorSpec<A>) -> Self {
        Box::new(spec.kernel)
    }
}

impl<A: HostedActor> fmt::Debug for ActorSpec<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ActorSpec").field(&self.name()).finish()
    }
}
