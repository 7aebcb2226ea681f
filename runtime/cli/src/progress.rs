//! A spinner or a bar for whoever watches, once something takes longer than a moment.

use std::borrow::Cow;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is over before this is not worth a word.
const MOMENT: Duration = Duration::from_millis(400);
const TICK: Duration = Duration::from_millis(100);

/// Says what goes on, until it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    painter: Option<Painter>,
}

/// The thread that paints. It ends when the other end of its channel does.
#[derive(Debug)]
struct Painter {
    alive: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Progress {
    /// Shown only if it is `wanted`.
    pub(crate) fn start(wanted: bool) -> Self {
        Self::new(None, "{spinner} {msg} {elapsed}", wanted)
    }

    /// A bar of so many steps.
    pub(crate) fn of(steps: usize, wanted: bool) -> Self {
        Self::new(Some(steps as u64), "{bar:24} {pos}/{len} {msg}", wanted)
    }

    fn new(steps: Option<u64>, template: &str, wanted: bool) -> Self {
        let bar = ProgressBar::with_draw_target(steps, ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.expect("invariant: the template is sound"));
        let painter = if wanted { Painter::start(bar.clone()) } else { None };
        Self { bar, painter }
    }

    /// One more step is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// Says what goes on now.
    pub(crate) fn say(&self, what: impl Into<Cow<'static, str>>) {
        self.bar.set_message(what);
    }
}

impl Painter {
    /// None if there is no thread to be had: nothing depends on it.
    fn start(bar: ProgressBar) -> Option<Self> {
        let (alive, over) = sync_channel(0);
        let paint = move || paint(&bar, &over);
        let thread = thread::Builder::new().name("rk-progress".into()).spawn(paint).ok()?;
        Some(Self { alive, thread })
    }
}

fn paint(bar: &ProgressBar, over: &Receiver<()>) {
    let goes_on = |time| over.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
    if goes_on(MOMENT) {
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.tick();
        while goes_on(TICK) {
            bar.tick();
        }
        bar.finish_and_clear();
    }
}

impl Drop for Progress {
    /// Clears the line, before anything else is written there.
    fn drop(&mut self) {
        if let Some(Painter { alive, thread }) = self.painter.take() {
            drop(alive);
            drop(thread.join());
        }
    }
}
