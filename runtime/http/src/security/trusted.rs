//! Files that say whom to trust.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// Most bytes of such a file.
const MOST: u64 = 4 << 20;

/// Reads a file that nobody but its owner may write. What it held is wiped from memory when it is dropped.
///
/// # Errors
/// What the system says; or that it is too long, or others may write it.
pub(super) fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    read_unless(path, 0o022, "others may write it")
}

/// Reads a file that strangers may not even read.
///
/// # Errors
/// As [`read`], or that everybody may read it.
pub(super) fn read_secret(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    read_unless(path, 0o027, "others may read or write it")
}

fn read_unless(path: &Path, never: u32, why: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    // (To open a pipe would be to wait for who writes it. For a file the flag means nothing.)
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    let found = file.metadata()?;
    if found.mode() & never != 0 {
        let why = format!("{why} (mode {:o}); set its mode to 600", found.mode() & 0o777);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    if !found.is_file() || found.len() > MOST {
        return Err(io::Error::other(format!("it is no file of at most {} MiB", MOST >> 20)));
    }
    // (With room for all of it, so that no shorter copy is left behind.)
    let mut bytes = Zeroizing::new(Vec::with_capacity(found.len() as usize + 1));
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        let (tell, told) = mpsc::sync_channel(1);
        thread::spawn(move || tell.send(read(&path)));
        let read = told.recv_timeout(Duration::from_secs(60)).expect("it does not wait");
        assert!(read.unwrap_err().to_string().starts_with("it is no file"));
    }
}
