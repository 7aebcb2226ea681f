//! Files that say whom to trust.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
    let file = File::open(path)?;
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
