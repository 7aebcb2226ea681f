//! The threads that write recordings.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use rustkernel_gpu::DeviceId;
use rustkernel_gpu::memory::record::{Events, Recorder, recorder};
use slog::{Logger, error, info, o, warn};

use super::file::{self, Target, unwritable};
use super::rows::Rows;
use super::{RecordConfig, RecordError, RecordFormat, Recorded, Recording};

/// Events that may wait to be written, 3 MiB of them: what a few milliseconds of nothing but
/// allocations bring.
const BOUND: usize = 1 << 16;

/// How long the end waits for a file.
const PATIENCE: Duration = Duration::from_secs(10);

/// The recordings of a runtime. Dropping it ends them: what was told so far is written first.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    all: Vec<Writer>,
}

/// One recording. Its thread sets the end.
#[derive(Debug)]
struct Writer {
    recorder: Recorder,
    about: Arc<About>,
    /// Disconnected when the thread is done.
    done: Receiver<()>,
    logger: Logger,
}

/// What is known of a recording while its runtime lives.
#[derive(Debug)]
pub(crate) struct About {
    device: DeviceId,
    path: PathBuf,
    end: OnceLock<Result<Recorded, RecordError>>,
}

impl Writers {
    /// Makes the files and starts the threads, one of each for a device.
    ///
    /// # Errors
    /// If the file's name is unsuitable, one cannot be written, or there is no thread.
    pub(crate) fn start(
        config: &RecordConfig,
        devices: &[DeviceId],
        logger: &Logger,
    ) -> Result<Self, RecordError> {
        let paths = file::paths(&config.path, devices)?;
        let mut writers = Self::default();
        for (device, path) in devices.iter().zip(paths) {
            let about = About { device: *device, path, end: OnceLock::new() };
            writers.all.push(Writer::start(about, config.format, logger)?);
        }
        Ok(writers)
    }

    /// What the memory of a device is to be told to.
    pub(crate) fn recorder(&self, device: DeviceId) -> Option<Recorder> {
        let writer = self.all.iter().find(|writer| writer.about.device == device)?;
        Some(writer.recorder.clone())
    }

    /// Those that there are.
    pub(crate) fn about(&self) -> Vec<Arc<About>> {
        self.all.iter().map(|writer| Arc::clone(&writer.about)).collect()
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.all.iter().for_each(|writer| writer.recorder.close());
        for Writer { about, done, logger, .. } in &self.all {
            done.recv_timeout(PATIENCE).ok();
            if about.end.get().is_none() {
                warn!(logger, "memory recording is not written yet"; "after" => ?PATIENCE);
            }
        }
    }
}

impl Writer {
    fn start(about: About, format: RecordFormat, logger: &Logger) -> Result<Self, RecordError> {
        let target = Target::create(&about.path)?;
        let (recorder, events) = recorder(BOUND);
        let path = about.path.display().to_string();
        let logger = logger.new(o!("device" => about.device.to_string(), "path" => path));
        let (alive, done) = sync_channel(1);
        let writer = Self { recorder, about: Arc::new(about), done, logger };
        let (about, logger) = (Arc::clone(&writer.about), writer.logger.clone());
        let run = move || about.run(events, (target, format), (alive, logger));
        let thread = thread::Builder::new().name("rk-record".into()).spawn(run);
        thread.map(|_| writer).map_err(|error| RecordError::NoThread(error.to_string()))
    }
}

impl About {
    /// The recording as it stands.
    pub(crate) fn read(&self) -> Recording {
        let end = self.end.get().cloned();
        Recording { device: self.device, path: self.path.clone(), end }
    }

    fn run(
        &self,
        events: Events,
        (target, format): (Target, RecordFormat),
        (_alive, logger): (SyncSender<()>, Logger),
    ) {
        let end = write(events, target, format).map_err(|error| unwritable(&self.path, &error));
        match &end {
            Ok(Recorded { lost: 0, allocations, .. }) => {
                info!(logger, "memory recorded"; "allocations" => allocations);
            }
            Ok(Recorded { lost, .. }) => {
                warn!(logger, "memory recording is not whole: it came too fast"; "lost" => lost);
            }
            Err(error) => error!(logger, "memory recording broke off"; "error" => %error),
        }
        self.end.set(end).expect("invariant: one thread writes");
    }
}

fn write(mut events: Events, target: Target, format: RecordFormat) -> io::Result<Recorded> {
    let mut rows = Rows::begin(target, format)?;
    for event in &mut events {
        rows.add(&event)?;
    }
    let (target, recorded) = rows.end(events.lost())?;
    target.finish()?;
    Ok(recorded)
}
