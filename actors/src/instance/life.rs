//! The state of an instance, from its factory to its drop.

use std::sync::Arc;
use std::task::Context;

use super::{End, Instance, Kept};
use crate::clock;
use crate::error::KernelError;
use crate::kernel::{Kernel, KernelContext, Setting};
use crate::panic::{self, Ended};
use crate::restart::Cause;

/// A kernel's state, and what belongs to it alone.
pub(super) struct Life<K> {
    pub(super) kernel: K,
    pub(super) cx: KernelContext,
    /// Requests in a row that failed because the driver refused a call.
    pub(super) refused: u32,
}

/// Why a kernel's state is not open.
pub(super) enum NotOpen {
    /// It was told to give up, which is no fault of its own.
    GivenUp,
    Failed(KernelError),
}

impl From<NotOpen> for KernelError {
    fn from(not_open: NotOpen) -> Self {
        match not_open {
            NotOpen::GivenUp => Self::failed("the runtime was stopped meanwhile"),
            NotOpen::Failed(error) => error,
        }
    }
}

impl From<KernelError> for NotOpen {
    fn from(error: KernelError) -> Self {
        Self::Failed(error)
    }
}

impl<K: Kernel> Instance<K> {
    /// Makes the kernel's state and opens it, within the time for a start.
    pub(super) async fn open(&self, kept: &mut Kept<K>) -> Result<Life<K>, NotOpen> {
        self.seat.set_hook(Some(clock::now() + self.shared.parts.start_timeout));
        let opened = self.make(kept).await;
        self.seat.set_hook(None);
        let (kernel, cx) = opened?;
        Ok(Life { kernel, cx, refused: 0 })
    }

    async fn make(&self, kept: &mut Kept<K>) -> Result<(K, KernelContext), NotOpen> {
        let mut cx = KernelContext::new(Setting {
            kernel: Arc::clone(&self.shared.parts.name),
            seat: Arc::clone(&self.seat),
            client: self.client.clone(),
            inline: self.inline,
            logger: self.logger.clone(),
            status: self.shared.clone(),
        })?;
        let made = panic::guard(|| (self.shared.parts.factory)());
        let mut kernel = made.map_err(|report| self.start_panicked(report))?;
        let timeout = self.shared.parts.start_timeout;
        let opening = tokio::time::timeout(timeout, kernel.open(&mut cx));
        let mut stopped = self.stopped();
        let given_up = |cx: &mut Context<'_>| {
            self.refuse_with_others(kept);
            stopped(cx)
        };
        let opened = match panic::run_guarded(opening, given_up).await {
            Ended::Done(Ok(opened)) => opened.map_err(NotOpen::Failed),
            Ended::Done(Err(_elapsed)) => {
                Err(KernelError::failed(format!("it was not open within {timeout:?}")).into())
            }
            Ended::Panicked(report) => Err(self.start_panicked(report).into()),
            Ended::GivenUp => Err(NotOpen::GivenUp),
        };
        match opened {
            Ok(()) => Ok((kernel, cx)),
            Err(not_open) => {
                self.drop_guarded(kernel);
                Err(not_open)
            }
        }
    }

    fn start_panicked(&self, report: panic::PanicReport) -> KernelError {
        self.shared.count_panic();
        KernelError::Panicked(report)
    }

    /// Ends the kernel's state: in an orderly way, unless it ended by itself.
    pub(super) async fn close(&self, life: Life<K>, end: &End) {
        let Life { mut kernel, mut cx, .. } = life;
        let timeout = self.shared.close_timeout();
        self.seat.set_hook(Some(clock::now() + timeout));
        let orderly = matches!(end, End::Left | End::Suspended | End::Died(Cause::Exited));
        if orderly && !self.seat.is_given_up() {
            self.tell_now();
            let closing = tokio::time::timeout(timeout, kernel.close(&mut cx));
            if let Ended::Panicked(report) = panic::run_guarded(closing, |_| false).await {
                self.panicked(report);
            }
        }
        self.drop_guarded(kernel);
        drop(cx);
        self.seat.set_hook(None);
    }
}
