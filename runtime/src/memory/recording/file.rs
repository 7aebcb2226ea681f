//! The file of a recording.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use rustkernel_gpu::DeviceId;

use super::RecordError;

/// A file that is written to, and packed on the way if its name says so.
#[derive(Debug)]
pub(super) enum Target {
    Plain(BufWriter<File>),
    Packed(BufWriter<GzEncoder<File>>),
}

impl Target {
    /// Makes the file, or empties the one that is there.
    ///
    /// # Errors
    /// If its name is unsuitable, or it cannot be written.
    pub(super) fn create(path: &Path) -> Result<Self, RecordError> {
        let ending = ending(path)?;
        let file = File::create(path).map_err(|error| unwritable(path, &error))?;
        Ok(match ending {
            Ending::Csv => Self::Plain(BufWriter::new(file)),
            Ending::CsvGz => {
                Self::Packed(BufWriter::new(GzEncoder::new(file, Compression::default())))
            }
        })
    }

    /// Writes what is still in memory.
    ///
    /// # Errors
    /// If that cannot be written.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut file) => file.flush(),
            Self::Packed(packed) => packed.into_inner()?.finish().map(drop),
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Packed(packed) => packed.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Packed(packed) => packed.flush(),
        }
    }
}

pub(super) fn unwritable(path: &Path, error: &io::Error) -> RecordError {
    RecordError::Unwritable { path: path.into(), reason: error.to_string() }
}

/// The files for these devices: the one that was named, or one for each.
///
/// # Errors
/// If the name is unsuitable.
pub(super) fn paths(path: &Path, devices: &[DeviceId]) -> Result<Vec<PathBuf>, RecordError> {
    let ending = ending(path)?;
    Ok(match devices {
        [_] => vec![path.to_owned()],
        _ => devices.iter().map(|device| for_device(path, ending, *device)).collect(),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Csv,
    CsvGz,
}

fn ending(path: &Path) -> Result<Ending, RecordError> {
    let is = |path: &Path, ending| path.extension().is_some_and(|found| found == ending);
    match path {
        _ if is(path, "csv") => Ok(Ending::Csv),
        _ if is(path, "gz") && is(&path.with_extension(""), "csv") => Ok(Ending::CsvGz),
        _ => Err(RecordError::UnknownExtension(path.into())),
    }
}

/// `trace.csv` for `cuda:0` is `trace.cuda0.csv`. (Not every file system has names with colons.)
fn for_device(path: &Path, ending: Ending, device: DeviceId) -> PathBuf {
    let device = device.to_string().replace(':', "");
    match ending {
        Ending::Csv => path.with_extension(format!("{device}.csv")),
        Ending::CsvGz => path.with_extension("").with_extension(format!("{device}.csv.gz")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_how_a_file_is_packed() {
        for (name, expected) in [
            ("a.csv", Some(Ending::Csv)),
            ("a.b.csv", Some(Ending::Csv)),
            ("a.csv.gz", Some(Ending::CsvGz)),
            ("a.gz", None),
            ("a.csv.zip", None),
            (".csv", None),
            ("a", None),
            ("", None),
        ] {
            assert_eq!(ending(Path::new(name)).ok(), expected, "{name}");
        }
    }

    #[test]
    fn each_of_several_devices_has_a_file() {
        let devices = [DeviceId::Cuda(1), DeviceId::Host];
        let names = |name: &str, count| paths(Path::new(name), &devices[..count]).unwrap();
        assert_eq!(names("d.d/a.csv", 1), [Path::new("d.d/a.csv")]);
        assert_eq!(names("a.csv", 2), [Path::new("a.cuda1.csv"), Path::new("a.host.csv")]);
        assert_eq!(
            names("d.d/a.b.csv.gz", 2),
            [Path::new("d.d/a.b.cuda1.csv.gz"), Path::new("d.d/a.b.host.csv.gz")]
        );
    }
}
