//! The kernel that hosts an actor. It takes no requests; its instance is up while the actor lives.

use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::life::Wanted;
use super::{Desk, HostedActor, Life, Mailbox};
use crate::error::{KernelError, KernelResult};
use crate::kernel::{HealthBell, Kernel, KernelContext};
use crate::panic::{self, Ended};

/// When the runtime stops: how long an actor may handle the messages that wait, and then how long it may go on
/// although it was told to stop. Together less than the supervisor's grace.
const STOP_PART: Duration = Duration::from_millis(100);

/// One life of an actor, as its instance sees it.
pub(crate) struct Hosted<A: HostedActor> {
    mailbox: Arc<Mailbox<A>>,
    /// Until it is opened.
    actor: Option<A>,
    /// While it is opened. (Here, because it must not be dropped while the thread unwinds.)
    life: Option<Life<A>>,
    desk: Rc<Desk>,
    /// Tells how the life has ended; until that is known.
    ended: Option<oneshot::Receiver<Ended<()>>>,
}

impl<A: HostedActor> Hosted<A> {
    pub(super) fn new(actor: A, mailbox: Arc<Mailbox<A>>) -> Self {
        Self { mailbox, actor: Some(actor), life: None, desk: Desk::new(), ended: None }
    }

    fn begin(&mut self) -> KernelResult<&mut Life<A>> {
        let (actor, begun) = (self.actor.take(), self.mailbox.begin());
        let (Some(actor), Some(begun)) = (actor, begun) else {
            return Err(KernelError::failed("its mailbox is closed"));
        };
        let (mailbox, desk) = (Arc::clone(&self.mailbox), Rc::clone(&self.desk));
        Ok(self.life.insert(Life::new(actor, begun, mailbox, desk)))
    }

    /// The runtime stops: so does the actor, by itself as far as there is time.
    async fn stop(&self, how: &mut oneshot::Receiver<Ended<()>>) -> Option<Ended<()>> {
        for wanted in [Wanted::Finish, Wanted::Park] {
            self.desk.want(wanted);
            if let Ok(how) = tokio::time::timeout(STOP_PART, &mut *how).await {
                return how.ok();
            }
        }
        self.desk.want(Wanted::Drop);
        how.await.ok()
    }
}

/// Polls a life to its end, with panics caught, and rings whenever its instance has to look.
async fn live<A: HostedActor>(
    mut life: Life<A>,
    desk: Rc<Desk>,
    ended: oneshot::Sender<Ended<()>>,
    bell: HealthBell,
) {
    let mut handled = false;
    let living = poll_fn(|cx| {
        let polled = life.poll(cx);
        if !handled && desk.has_handled() {
            handled = true;
            bell.ring();
        }
        polled
    });
    let mut how = panic::run_guarded(living, |_| false).await;
    if let (Err(report), Ended::Done(())) = (panic::guard_drop(life), &how) {
        how = Ended::Panicked(report);
    }
    // (An instance that is gone has no use for it.)
    ended.send(how).ok();
    bell.ring();
}

impl<A: HostedActor> Kernel for Hosted<A> {
    type Request = Infallible;
    type Response = Infallible;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        let life = self.begin()?;
        let stopped = poll_fn(|cx| Poll::Ready(life.poll_start(cx))).await;
        let (ended, how) = oneshot::channel();
        self.ended = Some(how);
        let bell = cx.health_bell();
        match self.life.take() {
            Some(life) if !stopped => {
                actix::spawn(live(life, Rc::clone(&self.desk), ended, bell));
            }
            stopped => {
                drop(stopped);
                ended.send(Ended::Done(())).ok();
                bell.ring();
            }
        }
        Ok(())
    }

    async fn execute(
        &mut self,
        request: Infallible,
        _: &mut KernelContext,
    ) -> KernelResult<Infallible> {
        match request {}
    }

    /// Asked at each health check, and when the bell rang.
    async fn check(&mut self, cx: &mut KernelContext) -> KernelResult {
        if self.desk.has_handled() {
            cx.note_served();
        }
        let Some(how) = &mut self.ended else { return Ok(()) };
        match how.try_recv() {
            Err(TryRecvError::Empty) => return Ok(()),
            Ok(Ended::Panicked(report)) => panic::resume(report),
            Ok(Ended::Done(()) | Ended::GivenUp) => cx.exit(),
            Err(TryRecvError::Closed) => return Err(KernelError::fatal("its task is gone")),
        }
        self.ended = None;
        Ok(())
    }

    async fn close(&mut self, cx: &mut KernelContext) {
        let Some(mut how) = self.ended.take() else { return };
        let how = if cx.is_stopping() {
            self.stop(&mut how).await
        } else {
            self.desk.want(Wanted::Park);
            how.await.ok()
        };
        if let Some(Ended::Panicked(report)) = how {
            panic::resume(report);
        }
    }
}

impl<A: HostedActor> Drop for Hosted<A> {
    fn drop(&mut self) {
        self.desk.want(Wanted::Drop);
    }
}
