//! Listening at an endpoint, alone.
//!
//! Who listens holds a lock on a file beside the socket, until it ends in whatever way: so a socket that was
//! left behind is told from one that lives, also by two that start at the same moment. The lock's file
//! stays where it is, because removing it would let two hold it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError, symlink_metadata};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::Endpoint;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;
/// For its owner alone.
const SOCKET_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Why nobody can listen at an endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another process does.
    #[error("another process listens at {0}; end it, or give this one another name or endpoint")]
    Taken(Endpoint),
    /// There is something else of that name.
    #[error("{0} is there and is no socket; remove it, or name another endpoint")]
    NotASocket(PathBuf),
    /// Others could put their socket in its place.
    #[error(
        "{directory} is not this user's alone ({why}); remove it, or name an endpoint elsewhere"
    )]
    Unsafe {
        /// The directory.
        directory: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system refuses.
    #[error("cannot listen at {endpoint}: {error}")]
    Io {
        /// The endpoint.
        endpoint: Endpoint,
        /// What it says.
        error: io::Error,
    },
}

/// A socket that listens, and is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: UnixListener,
    path: PathBuf,
    /// Held as long as it listens.
    _lock: File,
}

impl Bound {
    /// Listens at `endpoint`. A socket that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// [`BindError`] if somebody does, or the place is not fit for it.
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self, BindError> {
        let io = |error| BindError::Io { endpoint: endpoint.clone(), error };
        let path = endpoint.path();
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(directory) = directory {
            prepare(directory).map_err(io)?;
            if directory == Endpoint::directory() {
                check_owner(directory, rustix::process::geteuid().as_raw()).map_err(io)??;
            }
        }
        let lock = match lock(path) {
            Ok(lock) => lock,
            Err(TryLockError::WouldBlock) => return Err(BindError::Taken(endpoint.clone())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        };
        clear(endpoint)?;
        let listener = listen(path).map_err(io)?;
        Ok(Self { listener, path: path.to_owned(), _lock: lock })
    }

    /// Another handle of the socket.
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // (What cannot be removed is replaced by the next one to listen here.)
        std::fs::remove_file(&self.path).ok();
    }
}

fn prepare(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)
}

/// Whether a directory is the user's, and nobody else may enter it. The default place may be in a folder
/// where everybody can make directories.
fn check_owner(directory: &Path, user: u32) -> io::Result<Result<(), BindError>> {
    let found = symlink_metadata(directory)?;
    let mode = found.mode() & 0o777;
    let why = if !found.is_dir() {
        "it is no directory".to_owned()
    } else if found.uid() != user {
        format!("it belongs to user {}", found.uid())
    } else if mode & 0o077 != 0 {
        format!("its mode is {mode:o}, which has to be {DIRECTORY_MODE:o}")
    } else {
        return Ok(Ok(()));
    };
    Ok(Err(BindError::Unsafe { directory: directory.to_owned(), why }))
}

fn lock(path: &Path) -> Result<File, TryLockError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(SOCKET_MODE);
    let file = options.open(path.with_added_extension("lock")).map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

/// Removes a socket that was left behind.
fn clear(endpoint: &Endpoint) -> Result<(), BindError> {
    let io = |error| BindError::Io { endpoint: endpoint.clone(), error };
    match symlink_metadata(endpoint.path()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(endpoint.path().to_owned()));
        }
        Ok(_) => {}
    }
    // Somebody who knows of no lock may listen there.
    if is_listened_at(endpoint.path()).map_err(io)? {
        return Err(BindError::Taken(endpoint.clone()));
    }
    std::fs::remove_file(endpoint.path()).map_err(io)
}

/// Whether somebody listens, also one who accepts nothing: it does not wait.
fn is_listened_at(path: &Path) -> io::Result<bool> {
    let socket = socket(SocketFlags::NONBLOCK)?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS) => Ok(true),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    let flags = flags | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// The socket has its mode before it is there to be connected to, where the system can do that (Linux
/// can); elsewhere right after.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = socket(SocketFlags::empty())?;
    #[cfg(target_os = "linux")]
    fchmod(&socket, Mode::from_raw_mode(SOCKET_MODE))?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn endpoint(directory: &Path) -> Endpoint {
        directory.join("own/a.sock").into()
    }

    #[test]
    fn a_socket_is_for_its_owner_alone_and_gone_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = endpoint(directory.path());
        let bound = Bound::new(&endpoint).unwrap();
        let mode = |path: &Path| symlink_metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(endpoint.path()), SOCKET_MODE);
        assert_eq!(mode(endpoint.path().parent().unwrap()), DIRECTORY_MODE);
        UnixStream::connect(endpoint.path()).unwrap();
        drop(bound);
        assert!(!endpoint.path().exists());
        Bound::new(&endpoint).unwrap();
    }

    #[test]
    fn one_that_lives_is_not_taken_over_and_one_that_was_left_behind_is() {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = endpoint(directory.path());
        let bound = Bound::new(&endpoint).unwrap();
        assert!(matches!(Bound::new(&endpoint), Err(BindError::Taken(_))));
        drop(bound);
        // Who knows of no lock, lives, and then leaves its socket behind.
        let other = UnixListener::bind(endpoint.path()).unwrap();
        assert!(matches!(Bound::new(&endpoint), Err(BindError::Taken(_))));
        drop(other);
        assert!(endpoint.path().exists());
        Bound::new(&endpoint).unwrap();
    }

    #[test]
    fn nothing_but_a_socket_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = endpoint(directory.path());
        prepare(endpoint.path().parent().unwrap()).unwrap();
        std::fs::write(endpoint.path(), "precious").unwrap();
        assert!(matches!(Bound::new(&endpoint), Err(BindError::NotASocket(_))));
        assert_eq!(std::fs::read(endpoint.path()).unwrap(), b"precious");
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let set = |mode| {
            std::fs::set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();
        };
        set(DIRECTORY_MODE);
        let user = symlink_metadata(directory.path()).unwrap().uid();
        let check = |user| check_owner(directory.path(), user).unwrap();
        check(user).unwrap();
        assert!(check(user + 1).unwrap_err().to_string().contains("belongs to user"));
        set(0o750);
        assert!(check(user).unwrap_err().to_string().contains("its mode is 750"));
    }

    #[test]
    fn a_path_that_is_too_long_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::from(directory.path().join("a".repeat(200)));
        let error = Bound::new(&endpoint).unwrap_err();
        assert!(matches!(&error, BindError::Io { .. }), "{error}");
        assert!(error.to_string().contains("aaaa"));
    }
}
