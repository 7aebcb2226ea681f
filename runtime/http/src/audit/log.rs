//! The file: opening it, cutting off what was left unfinished, appending to it, beginning the next one.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::chain::{self, LONGEST_LINE, Link};
use super::entry::{Entry, Event};
use super::error::OpenError;
use super::writer::GROUP;
use crate::{clock, places};

/// For its owner alone.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// Most bytes that a crash leaves unfinished: the records that are written at once, or the zeros in their place.
const UNFINISHED: usize = GROUP * LONGEST_LINE;
/// Digits of the number in a full file's name, so that names sort as numbers do.
const DIGITS: usize = 20;

/// Where the log of a service is if nobody says: `rustkernel/NAME.audit.jsonl` in `$STATE_DIRECTORY`, else
/// `$XDG_STATE_HOME`, else `/var/lib` for root and `~/.local/state` for others.
///
/// # Errors
/// [`OpenError::NoPlace`] if the environment names no home.
pub fn default_path(service: &str) -> Result<PathBuf, OpenError> {
    let place = places::state().ok_or(OpenError::NoPlace)?;
    Ok(place.join(format!("{service}.audit.jsonl")))
}

/// The log's file, and where its chain is.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    identity: (u64, u64),
    /// Bytes of it that are durable records.
    len: u64,
    link: Link,
    most: u64,
    /// Held as long as it is written.
    _lock: File,
}

impl Log {
    /// Opens the log, or begins it. What a crash has left of an unfinished record is put aside. Returns
    /// what is to be written about that as well.
    ///
    /// # Errors
    /// [`OpenError`] if another process writes it, it does not end with a record, or the system refuses.
    pub(super) fn open(path: &Path, most: u64) -> Result<(Self, Option<Entry>), OpenError> {
        let io = |error| OpenError::Io { path: path.to_owned(), error };
        if let Some(parent) = parent(path) {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent).map_err(io)?;
        }
        let lock = lock(path).map_err(io)?.ok_or_else(|| OpenError::Taken(path.to_owned()))?;
        let (file, found) = open(path).map_err(io)?;
        let torn = put_torn_aside(&file, path).map_err(io)?;
        let len = length(&file.metadata().map_err(io)?);
        let link = match last_line(&file, len).map_err(io)? {
            Some(line) => {
                chain::read(&line)
                    .map_err(|_| OpenError::Damaged { path: path.to_owned(), at: len })?
                    .link
            }
            None => after_the_full_ones(path)?,
        };
        sync_directory(path).map_err(io)?;
        let (path, identity) = (path.to_owned(), identity(&found));
        Ok((Self { path, file, identity, len, link, most, _lock: lock }, torn))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// Writes entries, all or none, and makes them durable.
    ///
    /// # Errors
    /// What the system says; then none is in the file.
    pub(super) fn append<'e>(
        &mut self,
        entries: impl Iterator<Item = &'e Entry>,
    ) -> io::Result<()> {
        self.follow()?;
        let (mut lines, mut link, now) = (Vec::new(), self.link, clock::wall());
        for entry in entries {
            link = chain::append(&mut lines, link, now, entry);
        }
        if self.len > 0 && self.len + lines.len() as u64 > self.most {
            self.rotate()?;
        }
        let written = self.file.write_all(&lines).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // What was written of them goes again. (A device that is no file has no length.)
            if self.file.metadata()?.is_file() {
                self.file.set_len(self.len)?;
            }
            return Err(error);
        }
        self.len += lines.len() as u64;
        self.link = link;
        Ok(())
    }

    /// Goes on in the file that has the log's name, if ours was moved or removed.
    fn follow(&mut self) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(named) if identity(&named) == self.identity => {
                return match length(&named) {
                    len if len == self.len => Ok(()),
                    // What an attempt has left and could not take back.
                    len if len > self.len => self.file.set_len(self.len),
                    _ => Err(io::Error::other("it is shorter than what was written")),
                };
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let (file, found) = open(&self.path)?;
        let len = length(&found);
        let last = last_line(&file, len)?.map(|line| chain::read(&line).map(|sealed| sealed.link));
        if last.is_some_and(|last| last != Ok(self.link)) {
            return Err(io::Error::other("another file, with other records, has its name"));
        }
        sync_directory(&self.path)?;
        (self.file, self.identity, self.len) = (file, identity(&found), len);
        Ok(())
    }

    /// Gives the full file a name with the number of its last record, and begins the next one.
    fn rotate(&mut self) -> io::Result<()> {
        fs::rename(&self.path, full_name(&self.path, self.link.seq))?;
        let (file, found) = open(&self.path)?;
        (self.file, self.identity, self.len) = (file, identity(&found), length(&found));
        sync_directory(&self.path)
    }
}

fn parent(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}

/// The file, and what the system says of it.
fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create(true).mode(FILE_MODE).open(path)?;
    let found = file.metadata()?;
    if found.is_file() && found.mode() & 0o777 != FILE_MODE {
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    }
    Ok((file, found))
}

/// By what a file is told from others, whatever its name.
fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// The lock, unless another process has it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(FILE_MODE);
    let file = options.open(path.with_added_extension("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// That of a file; devices have none.
fn length(found: &Metadata) -> u64 {
    if found.is_file() { found.len() } else { 0 }
}

/// The file's end, at most so long, and where it begins.
fn tail(mut file: &File, len: u64, most: usize) -> io::Result<(u64, Vec<u8>)> {
    let begin = len.saturating_sub(most as u64);
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(begin))?;
    file.take(len - begin).read_to_end(&mut bytes)?;
    Ok((begin, bytes))
}

/// Cuts off what comes after the last line's end, keeps it in a file beside, and says so.
fn put_torn_aside(file: &File, path: &Path) -> io::Result<Option<Entry>> {
    let len = length(&file.metadata()?);
    let (mut begin, mut bytes) = tail(file, len, LONGEST_LINE)?;
    if !bytes.contains(&b'\n') {
        (begin, bytes) = tail(file, len, UNFINISHED)?;
    }
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let torn = &bytes[whole..];
    if torn.is_empty() || (whole == 0 && begin > 0) {
        return Ok(None); // (What is too long to be ours is found to be damage.)
    }
    let aside = path.with_added_extension("torn");
    let (mut kept, _) = open(&aside)?;
    kept.write_all(torn)?;
    kept.write_all(b"\n")?;
    kept.sync_all()?;
    file.set_len(begin + whole as u64)?;
    file.sync_all()?;
    let reason = format!(
        "{} bytes that a crash left unfinished were moved to {}",
        torn.len(),
        aside.display()
    );
    Ok(Some(Entry::of_system(Event::Audit, "audit.torn", reason)))
}

/// The last line, without its end.
fn last_line(file: &File, len: u64) -> io::Result<Option<Vec<u8>>> {
    let (_, bytes) = tail(file, len, LONGEST_LINE)?;
    let Some((_, before)) = bytes.split_last() else { return Ok(None) };
    let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    Ok(Some(before[begin..].to_vec()))
}

fn full_name(path: &Path, last: u64) -> PathBuf {
    path.with_added_extension(format!("{last:0DIGITS$}"))
}

/// Where the chain is if the log's own file is empty: at the end of the newest full one.
fn after_the_full_ones(path: &Path) -> Result<Link, OpenError> {
    let io = |error| OpenError::Io { path: path.to_owned(), error };
    let Some(newest) = newest_full(path).map_err(io)? else { return Ok(Link::START) };
    let file = File::open(&newest).map_err(io)?;
    let len = length(&file.metadata().map_err(io)?);
    let line = last_line(&file, len).map_err(io)?.unwrap_or_default();
    let sealed = chain::read(&line).map_err(|_| OpenError::Damaged { path: newest, at: len })?;
    Ok(sealed.link)
}

fn newest_full(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut prefix = OsString::from(path.file_name().unwrap_or_default());
    prefix.push(".");
    let prefix = prefix.into_encoded_bytes();
    let mut newest = None;
    for entry in fs::read_dir(parent(path).unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let name = entry.file_name().into_encoded_bytes();
        let number = name.strip_prefix(prefix.as_slice());
        let is_full = number
            .is_some_and(|number| number.len() == DIGITS && number.iter().all(u8::is_ascii_digit));
        if is_full {
            newest = newest.max(Some(entry.path()));
        }
    }
    Ok(newest)
}

/// Makes names in the log's directory durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(parent(path).unwrap_or(Path::new(".")))?.sync_all()
}
