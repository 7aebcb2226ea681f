//! Outputs: each is written beside its place and put there by renaming, so that a file is either as
//! it was or whole, also where the disk fills up or the program is killed.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustkernel_core::kernel::AnyTensor;
use rustkernel_core::message::{FieldKind, FieldSpec};
use tempfile::NamedTempFile;

use super::{npy, picture};
use crate::exit::{Exit, Failure};

/// Where an output is to be written, and how.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    field: &'a FieldSpec,
    path: &'a Path,
    format: Format,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Npy,
    Picture(picture::Written),
}

/// What is at an output's path.
#[derive(Debug)]
enum Place {
    /// Nothing or a file, whose path this is once links are followed (of nothing those of its directory).
    File(PathBuf),
    /// Something to write into and never to replace: a pipe, a terminal, `/dev/null`.
    Special,
}

/// An output that is written, but not yet in its place.
#[derive(Debug)]
pub(crate) enum Staged<'a> {
    File { target: &'a Target<'a>, file: NamedTempFile, to: &'a Path },
    Special { target: &'a Target<'a>, tensor: &'a AnyTensor },
}

impl<'a> Target<'a> {
    /// A place for `field`, if it can be one.
    ///
    /// # Errors
    /// If the path's extension does not say a format that suits the field, or there is no directory
    /// to write in.
    pub(crate) fn new(field: &'a FieldSpec, path: &'a Path) -> Result<Self, Failure> {
        let place = look(path).map_err(|reason| cannot_write(field, path, &reason))?;
        let format = format(field, path, &place)?;
        Ok(Self { field, path, format, place })
    }

    /// The field's name.
    pub(crate) fn name(&self) -> &'a str {
        &self.field.name
    }

    /// Whether both would be written to one place.
    pub(crate) fn is_where(&self, other: &Self) -> bool {
        match (&self.place, &other.place) {
            (Place::File(own), Place::File(others)) => own == others,
            (Place::Special, Place::Special) => self.path == other.path,
            _ => false,
        }
    }

    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    /// Writes the tensor beside its place.
    ///
    /// # Errors
    /// If it cannot be written, or the format cannot hold it.
    pub(crate) fn stage(&'a self, tensor: &'a AnyTensor) -> Result<Staged<'a>, Failure> {
        let Place::File(to) = &self.place else {
            return Ok(Staged::Special { target: self, tensor });
        };
        let staged = temporary(to).map_err(|error| error.to_string()).and_then(|mut file| {
            self.write(tensor, file.as_file_mut())?;
            Ok(file)
        });
        let file = staged.map_err(|reason| self.cannot_write(&reason))?;
        Ok(Staged::File { target: self, file, to })
    }

    fn write(&self, tensor: &AnyTensor, file: &mut File) -> Result<(), String> {
        let mut file = BufWriter::new(file);
        match (self.format, tensor) {
            (Format::Npy, tensor) => {
                npy::write(tensor, &mut file).map_err(|error| error.to_string())?
            }
            (Format::Picture(format), AnyTensor::U8(tensor)) => {
                picture::write(tensor, format, &mut file)?
            }
            (Format::Picture(_), _) => return Err("it is not a picture".into()),
        }
        file.flush().map_err(|error| error.to_string())
    }

    fn cannot_write(&self, reason: &str) -> Failure {
        cannot_write(self.field, self.path, reason)
    }
}

impl Staged<'_> {
    /// Puts the output in its place.
    ///
    /// # Errors
    /// If that cannot be done.
    pub(crate) fn commit(self) -> Result<(), Failure> {
        match self {
            Self::File { target, file, to } => {
                let put = file.persist(to);
                put.map(drop).map_err(|error| target.cannot_write(&error.error.to_string()))
            }
            Self::Special { target, tensor } => {
                let open = File::options().write(true).open(target.path);
                let written = open
                    .map_err(|error| error.to_string())
                    .and_then(|mut file| target.write(tensor, &mut file));
                written.map_err(|reason| target.cannot_write(&reason))
            }
        }
    }
}

fn cannot_write(field: &FieldSpec, path: &Path, reason: &str) -> Failure {
    let message =
        format!("output `{}`: {} cannot be written: {reason}", field.name, path.display());
    Failure::new(Exit::CannotCreate, message)
}

fn look(path: &Path) -> Result<Place, String> {
    match fs::metadata(path) {
        Ok(about) if about.is_dir() => Err("it is a directory".into()),
        Ok(about) if about.is_file() && about.permissions().readonly() => {
            Err("it is write-protected".into())
        }
        Ok(about) if about.is_file() => {
            fs::canonicalize(path).map(Place::File).map_err(|error| error.to_string())
        }
        Ok(_) => Ok(Place::Special),
        Err(error) if error.kind() == ErrorKind::NotFound => match fs::metadata(directory(path)) {
            Ok(about) if about.is_dir() => {
                let directory =
                    fs::canonicalize(directory(path)).map_err(|error| error.to_string());
                let name = path.file_name().ok_or("it names no file")?;
                Ok(Place::File(directory?.join(name)))
            }
            Ok(_) => Err(format!("{} is not a directory", directory(path).display())),
            Err(_) => Err(format!("there is no directory {}", directory(path).display())),
        },
        Err(error) => Err(error.to_string()),
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file beside `to`, with the permissions of the file that it will replace or, without one, those
/// of any new file.
fn temporary(to: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".rustkernel-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let file = builder.tempfile_in(directory(to))?;
    if let Ok(about) = fs::metadata(to) {
        file.as_file().set_permissions(about.permissions())?;
    }
    Ok(file)
}

fn format(field: &FieldSpec, path: &Path, place: &Place) -> Result<Format, Failure> {
    let picture = matches!(field.kind, FieldKind::Tensor { picture: true, .. });
    let extension = path.extension().unwrap_or_default();
    let as_picture = picture::Written::named(extension);
    let place_has_none = matches!(place, Place::Special) && extension.is_empty();
    match as_picture {
        Some(format) if picture => Ok(Format::Picture(format)),
        _ if extension.eq_ignore_ascii_case("npy") || place_has_none => Ok(Format::Npy),
        found => {
            let known = if picture { ".npy, .png, .jpg, .bmp or .ppm" } else { ".npy" };
            let why = match found {
                Some(_) => format!("it is no picture but {field}"),
                None => "its name does not say in which format".into(),
            };
            let message = format!("output `{}` cannot go to {}: {why}", field.name, path.display());
            Err(Failure::usage(message).hint(format!("let the file's name end in {known}")))
        }
    }
}
