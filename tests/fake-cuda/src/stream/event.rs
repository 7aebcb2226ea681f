//! Events: marks in streams that can be waited for.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::capture::Capturing;
use super::progress::Latch;
use super::queue::{Stream, Work};
use crate::code::{Answer, Code};
use crate::device::context::Context;

/// `CU_EVENT_DISABLE_TIMING`.
const NO_TIMING: u32 = 2;

pub(crate) struct Event {
    pub(crate) context: Arc<Context>,
    flags: u32,
    recorded: Mutex<Recorded>,
}

/// Where it was recorded last.
#[derive(Clone, Default)]
enum Recorded {
    #[default]
    Nowhere,
    /// In a stream, whose work up to there opens the latch.
    InStream(Arc<Latch>),
    /// In a stream that was capturing.
    InCapture(Capturing),
}

impl Event {
    pub(crate) fn new(context: Arc<Context>, flags: u32) -> Self {
        Self { context, flags, recorded: Mutex::default() }
    }

    pub(crate) fn record(&self, stream: &Arc<Stream>) -> Answer {
        if !Arc::ptr_eq(&self.context, &stream.context) {
            return Err(Code::INVALID_HANDLE);
        }
        let capturing = stream.capturing.lock().clone();
        if let Some(capturing) = capturing {
            *self.recorded.lock() = Recorded::InCapture(capturing);
            return Ok(());
        }
        let latch = Arc::new(Latch::default());
        stream.context.enqueue(stream, Work::Mark(Arc::clone(&latch)))?;
        *self.recorded.lock() = Recorded::InStream(latch);
        Ok(())
    }

    /// Makes `stream` wait for it. A captured event takes the stream into its capture.
    pub(crate) fn make_wait(&self, stream: &Arc<Stream>) -> Answer {
        let recorded = self.recorded.lock().clone();
        match recorded {
            Recorded::Nowhere => Ok(()),
            Recorded::InCapture(captured) => captured.joined_by(stream),
            Recorded::InStream(latch) => {
                let capturing = stream.capturing.lock();
                if let Some(capturing) = &*capturing {
                    return capturing.capture.refuse(Code::STREAM_CAPTURE_ISOLATION);
                }
                drop(capturing);
                if latch.is_open() {
                    return Ok(());
                }
                stream.context.enqueue(stream, Work::Await(latch))
            }
        }
    }

    fn latch(&self) -> Answer<Option<Arc<Latch>>> {
        match &*self.recorded.lock() {
            Recorded::Nowhere => Ok(None),
            Recorded::InStream(latch) => Ok(Some(Arc::clone(latch))),
            Recorded::InCapture(_) => Err(Code::CAPTURED_EVENT),
        }
    }

    /// An event that was never recorded is complete.
    pub(crate) fn query(&self) -> Answer {
        match self.latch()? {
            Some(latch) if !latch.is_open() => Err(Code::NOT_READY),
            _ => self.context.status(),
        }
    }

    pub(crate) fn synchronize(&self) -> Answer {
        if let Some(latch) = self.latch()? {
            latch.wait(&self.context.progress, || self.context.is_destroyed());
        }
        self.context.status()
    }

    fn time(&self) -> Answer<Instant> {
        let latch = self.latch()?.filter(|_| self.flags & NO_TIMING == 0);
        latch.ok_or(Code::INVALID_HANDLE)?.opened_at().ok_or(Code::NOT_READY)
    }

    /// Milliseconds from `start` to this one.
    pub(crate) fn since(&self, start: &Self) -> Answer<f32> {
        let (start, end) = (start.time()?, self.time()?);
        let ahead = end.saturating_duration_since(start).as_secs_f32();
        let behind = start.saturating_duration_since(end).as_secs_f32();
        Ok((ahead - behind) * 1e3)
    }
}
