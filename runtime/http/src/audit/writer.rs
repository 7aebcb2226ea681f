//! The thread that writes: groups of entries, one write and one wait for the disk each.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustkernel_core::config::AuditConfig;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::chain::Link;
use super::entry::{Entry, Event};
use super::error::{AuditError, OpenError};
use super::log::{self, Log};

/// Most entries that are written at once.
pub(super) const GROUP: usize = 512;
/// How often a log that cannot be written is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// How long an entry may take to be durable.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// How long it may get, in bytes, before the next one is begun.
    pub max_bytes: u64,
    /// How long an entry may wait for others.
    pub commit_delay: Duration,
    /// How many entries may wait.
    pub queue: usize,
}

impl Settings {
    /// What a configuration says, of a service of that name.
    ///
    /// # Errors
    /// [`OpenError::NoPlace`] if it names no file and the environment no place.
    pub fn of(config: &AuditConfig, service: &str) -> Result<Self, OpenError> {
        let path = match &config.path {
            Some(path) => path.clone(),
            None => log::default_path(service)?,
        };
        let AuditConfig { max_bytes, commit_delay, queue, .. } = *config;
        Ok(Self { path, max_bytes, commit_delay, queue })
    }
}

/// An audit log that is written. Copies of the handle are the same log.
#[derive(Clone)]
pub struct Audit {
    jobs: SyncSender<Job>,
    shared: Arc<Shared>,
}

/// What the handle and the thread share.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    queue: usize,
    patience: Duration,
    failing: AtomicBool,
    /// Entries that nobody waits for and that found no place in the queue.
    unnoted: AtomicU64,
    /// The place of the last durable record.
    last: Mutex<Link>,
}

#[allow(clippy::large_enum_variant, reason = "all but the last are writes")]
enum Job {
    Write { entry: Entry, done: Option<Done> },
    End(oneshot::Sender<()>),
}

type Done = oneshot::Sender<Result<u64, AuditError>>;

impl Audit {
    /// Opens the log and starts its thread. It begins with a record that says so: a log that cannot be
    /// written is known now.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        let path = &settings.path;
        let io = |error| OpenError::Io { path: path.clone(), error };
        let (mut log, torn) = Log::open(path, settings.max_bytes)?;
        let version = concat!("rustkernel-http ", env!("CARGO_PKG_VERSION"));
        let opened = Entry::of_system(Event::Audit, "audit.opened", version);
        log.append(torn.iter().chain([&opened])).map_err(io)?;
        let shared = Arc::new(Shared {
            path: path.clone(),
            queue: settings.queue,
            patience: PATIENCE + settings.commit_delay,
            failing: AtomicBool::new(false),
            unnoted: AtomicU64::new(0),
            last: Mutex::new(log.link()),
        });
        let (jobs, taken) = sync_channel(settings.queue);
        let delay = settings.commit_delay;
        let writer = Writer { log, jobs: taken, delay, shared: Arc::clone(&shared), lost: None };
        thread::Builder::new().name("rk-audit".into()).spawn(|| writer.run()).map_err(io)?;
        Ok(Self { jobs, shared })
    }

    /// Writes an entry down, and returns its number when it is durable. An entry whose caller gives up
    /// waiting is written all the same.
    ///
    /// # Errors
    /// [`AuditError`]; the entry is not in the log then, but for [`Slow`](AuditError::Slow): the log is not writable
    /// then, until something is durable again.
    pub async fn record(&self, entry: Entry) -> Result<u64, AuditError> {
        let (done, told) = oneshot::channel();
        // (Memory is given back cheapest by the thread that took it.)
        let _about = Arc::clone(&entry.about);
        self.send(Job::Write { entry, done: Some(done) })?;
        match timeout(self.shared.patience, told).await {
            Ok(told) => told.unwrap_or(Err(AuditError::Closed)),
            Err(_) => {
                self.shared.failing.store(true, Ordering::Release);
                let (path, within) = (self.shared.path.clone(), self.shared.patience);
                Err(AuditError::Slow { path, within })
            }
        }
    }

    /// Has an entry written down, and does not wait for it.
    ///
    /// # Errors
    /// [`AuditError`] if as many wait as may, or the service has ended. How many found no place is written down
    /// as soon as anything is.
    pub fn note(&self, entry: Entry) -> Result<(), AuditError> {
        let sent = self.send(Job::Write { entry, done: None });
        if let Err(AuditError::Behind(_)) = sent {
            self.shared.unnoted.fetch_add(1, Ordering::AcqRel);
        }
        sent
    }

    /// Writes what waits, and closes the log. Entries that come later are refused.
    pub async fn close(&self) {
        let (done, ended) = oneshot::channel();
        let mut job = Job::End(done);
        // (Who closes it is the last to write: there will be room.)
        while let Err(TrySendError::Full(back)) = self.jobs.try_send(job) {
            job = back;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        ended.await.ok();
    }

    /// Whether it can be written, as far as the last attempt tells.
    pub fn is_writable(&self) -> bool {
        !self.shared.failing.load(Ordering::Acquire)
    }

    /// The place of the last durable record: written elsewhere, it shows later that none after it is lost.
    pub fn last(&self) -> Link {
        *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    fn send(&self, job: Job) -> Result<(), AuditError> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => AuditError::Behind(self.shared.queue),
            TrySendError::Disconnected(_) => AuditError::Closed,
        })
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

struct Writer {
    log: Log,
    jobs: Receiver<Job>,
    delay: Duration,
    shared: Arc<Shared>,
    /// Entries that could not be written since it failed, and why the first could not.
    lost: Option<(u64, String)>,
}

/// What is to be done next.
#[derive(Default)]
struct Group {
    entries: VecDeque<Entry>,
    done: Vec<Option<Done>>,
    end: Option<oneshot::Sender<()>>,
    /// Nobody is there any more.
    left: bool,
}

impl Group {
    fn is_full(&self) -> bool {
        self.entries.len() >= GROUP || self.end.is_some()
    }

    fn add(&mut self, job: Job) {
        match job {
            Job::Write { entry, done } => {
                self.entries.push_back(entry);
                self.done.push(done);
            }
            Job::End(done) => self.end = Some(done),
        }
    }
}

/// Has the system let this thread begin when a processor is free, and not take one, the moment that a record
/// comes, from a thread that is about to bring more of them: so they share a write, and nobody is interrupted
/// twice a request. Where the system refuses, records are written as well.
#[cfg(target_os = "linux")]
fn wait_for_others() {
    use thread_priority::unix::{NormalThreadSchedulePolicy, ThreadSchedulePolicy};
    use thread_priority::{ThreadPriority, ThreadPriorityOsValue};

    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    let niceness = ThreadPriority::Os(ThreadPriorityOsValue::default());
    let own = thread_priority::unix::thread_native_id();
    thread_priority::unix::set_thread_priority_and_policy(own, niceness, policy).ok();
}

#[cfg(not(target_os = "linux"))]
fn wait_for_others() {}

impl Writer {
    fn run(mut self) {
        wait_for_others();
        let end = self.write_all();
        drop(self); // The lock with it: whoever waits for the end may open the log.
        end.map(|done| done.send(()));
    }

    /// Writes until nobody has any more to write. Returns who wants to know.
    fn write_all(&mut self) -> Option<oneshot::Sender<()>> {
        loop {
            let group = self.next();
            self.count_unnoted();
            self.write(group.entries, group.done);
            if group.left || group.end.is_some() {
                return group.end;
            }
        }
    }

    /// Those count as lost with what the disk has refused.
    fn count_unnoted(&mut self) {
        let count = self.shared.unnoted.swap(0, Ordering::AcqRel);
        if count > 0 {
            let lost = self.lost.get_or_insert_with(|| (0, "too many waited".to_owned()));
            lost.0 += count;
        }
    }

    /// Waits for a first entry, and takes those that are there with it. While the log cannot be written
    /// there may be none: then it is tried without.
    fn next(&self) -> Group {
        let mut group = Group::default();
        let first = match self.lost {
            None => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => self.jobs.recv_timeout(RETRY),
        };
        match first {
            Ok(job) => group.add(job),
            Err(RecvTimeoutError::Timeout) => return group,
            Err(RecvTimeoutError::Disconnected) => group.left = true,
        }
        let until = Instant::now() + self.delay;
        while !group.is_full() && !group.left {
            let left = until.saturating_duration_since(Instant::now());
            match self.jobs.recv_timeout(left) {
                Ok(job) => group.add(job),
                Err(_) => break,
            }
        }
        group
    }

    fn write(&mut self, entries: VecDeque<Entry>, done: Vec<Option<Done>>) {
        let resumed = self.lost.as_ref().map(|(count, reason)| {
            let reason = format!("{count} records could not be written: {reason}");
            Entry::of_system(Event::Audit, "audit.resumed", reason)
        });
        if entries.is_empty() && resumed.is_none() {
            return;
        }
        let count = entries.len() as u64;
        let written = self.log.append(resumed.iter().chain(&entries));
        drop(entries); // Before those who made them are told, see `record`.
        match written {
            Ok(()) => self.tell(count, done),
            Err(error) => self.fail(count, done, &error),
        }
    }

    /// Tells each its number: they are the log's last ones.
    fn tell(&mut self, count: u64, done: Vec<Option<Done>>) {
        self.lost = None;
        self.shared.failing.store(false, Ordering::Release);
        let last = self.log.link();
        *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        for (seq, done) in (last.seq - count + 1..).zip(done) {
            done.map(|done| done.send(Ok(seq)));
        }
    }

    fn fail(&mut self, count: u64, done: Vec<Option<Done>>, error: &io::Error) {
        self.shared.failing.store(true, Ordering::Release);
        let lost = self.lost.get_or_insert_with(|| (0, error.to_string()));
        lost.0 += count;
        let path = self.log.path().to_owned();
        let error = AuditError::Unwritable { path, reason: error.to_string() };
        for done in done.into_iter().flatten() {
            done.send(Err(error.clone())).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One without a thread, of which a single entry may wait.
    fn unwritten() -> (Audit, Receiver<Job>) {
        let (jobs, taken) = sync_channel(1);
        let shared = Shared {
            path: "log".into(),
            queue: 1,
            patience: PATIENCE,
            failing: AtomicBool::new(false),
            unnoted: AtomicU64::new(0),
            last: Mutex::new(Link::START),
        };
        (Audit { jobs, shared: Arc::new(shared) }, taken)
    }

    fn entry() -> Entry {
        Entry::of_system(Event::Audit, "test", "")
    }

    #[test]
    fn what_found_no_place_is_counted_in_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let (audit, jobs) = unwritten();
        audit.note(entry()).unwrap();
        for _ in 0..2 {
            assert_eq!(audit.note(entry()), Err(AuditError::Behind(1)));
        }
        let (log, _) = Log::open(&path, 1 << 20).unwrap();
        let (delay, shared) = (Duration::ZERO, Arc::clone(&audit.shared));
        drop(audit);
        Writer { log, jobs, delay, shared, lost: None }.run();
        let written = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = written.lines().collect();
        assert!(lines[0].contains("2 records could not be written: too many waited"), "{written}");
        assert!(lines[1].contains("\"test\"") && lines.len() == 2, "{written}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_is_not_waited_for() {
        let (audit, _taken) = unwritten();
        let slow = audit.record(entry()).await.unwrap_err();
        assert_eq!(slow, AuditError::Slow { path: "log".into(), within: PATIENCE });
        assert!(!audit.is_writable());
        assert_eq!(audit.record(entry()).await, Err(AuditError::Behind(1)));
    }
}
