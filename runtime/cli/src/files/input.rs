//! Inputs: a file is opened and its header checked first, so that a mistake is found before
//! gigabytes are read for nothing.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use image::ImageFormat;
use rustkernel_core::gpu::ElementType;
use rustkernel_core::kernel::AnyTensor;
use rustkernel_core::message::{FieldKind, FieldSpec};

use super::npy::{self, Header, MAGIC, NpyError};
use super::picture::{self, Picture, PictureError};
use crate::exit::{Exit, Failure};

/// Bytes by which a file's format is told.
const START: u64 = 16;
/// The most bytes that a picture's file may have.
const LARGEST_PICTURE: u64 = 512 << 20;

/// An input whose header is read: of the right type, and of a known shape.
pub(crate) struct Input<'a> {
    place: Place<'a>,
    content: Content,
}

/// Which file is which field.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    field: &'a FieldSpec,
    path: &'a Path,
}

enum Content {
    Npy { header: Header, data: Box<dyn Read>, length: Option<u64> },
    Picture(Picture),
}

impl<'a> Input<'a> {
    /// Opens the file for `field`.
    ///
    /// # Errors
    /// If it cannot be read, is of no known format, or has elements of another type.
    pub(crate) fn open(field: &'a FieldSpec, path: &'a Path) -> Result<Self, Failure> {
        let place = Place { field, path };
        let content = open(field, path).map_err(|problem| place.failure(problem))?;
        Ok(Self { place, content })
    }

    /// The field's name.
    pub(crate) fn name(&self) -> &'a str {
        &self.place.field.name
    }

    pub(crate) fn shape(&self) -> &[usize] {
        match &self.content {
            Content::Npy { header, .. } => &header.shape,
            Content::Picture(picture) => picture.shape(),
        }
    }

    /// Reads the elements.
    ///
    /// # Errors
    /// If the file cannot be read or is not sound.
    pub(crate) fn read(self) -> Result<AnyTensor, Failure> {
        let place = self.place;
        let tensor = match self.content {
            Content::Npy { header, data, length } => {
                npy::read(header, data, length).map_err(Problem::from)
            }
            Content::Picture(picture) => picture.read().map(Into::into).map_err(Problem::from),
        };
        tensor.map_err(|problem| place.failure(problem))
    }
}

impl Place<'_> {
    fn failure(self, Problem { exit, what, hint }: Problem) -> Failure {
        let message = format!("input `{}`: {} {what}", self.field.name, self.path.display());
        Failure { exit, message, hint }
    }
}

/// What is wrong with a file, as a predicate of its name.
struct Problem {
    exit: Exit,
    what: String,
    hint: Option<String>,
}

impl Problem {
    fn data(what: impl ToString) -> Self {
        Self { exit: Exit::Data, what: what.to_string(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self { exit: Exit::NoInput, what: format!("cannot be read: {error}"), hint: None }
    }
}

impl From<NpyError> for Problem {
    fn from(error: NpyError) -> Self {
        let exit = match &error {
            NpyError::Io(_) => Exit::NoInput,
            NpyError::Memory(_) => Exit::TryAgain,
            _ => Exit::Data,
        };
        Self { exit, what: error.to_string(), hint: None }
    }
}

impl From<PictureError> for Problem {
    fn from(error: PictureError) -> Self {
        Self::data(error)
    }
}

fn open(field: &FieldSpec, path: &Path) -> Result<Content, Problem> {
    let FieldKind::Tensor { element, picture, .. } = &field.kind else {
        unreachable!("invariant: only tensors are read from files")
    };
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    let mut start = Vec::new();
    file.by_ref().take(START).read_to_end(&mut start)?;
    // (Files that the system makes up as they are read say that they have no bytes.)
    let length = Some(about.len()).filter(|length| about.is_file() && *length > 0);
    let whole = BufReader::new(Cursor::new(start.clone()).chain(file));
    if start.starts_with(MAGIC) {
        return open_npy(field, *element, whole, length);
    }
    match Picture::guess(&start) {
        Some(format) if *picture => open_picture(whole, format),
        found => Err(unknown(field, *picture, &start, found)),
    }
}

fn open_npy(
    field: &FieldSpec,
    element: ElementType,
    mut whole: impl Read + 'static,
    length: Option<u64>,
) -> Result<Content, Problem> {
    let mut before = Counted { source: &mut whole, bytes: 0 };
    let header = Header::read(&mut before).map_err(|error| match error {
        NpyError::Type { .. } => wrong_type(&error.to_string(), field, element),
        error => error.into(),
    })?;
    let length = length.map(|length| length.saturating_sub(before.bytes));
    if header.element != element {
        let holds = format!("holds {} {:?}", header.element, header.shape);
        return Err(wrong_type(&holds, field, element));
    }
    Ok(Content::Npy { header, data: Box::new(whole), length })
}

fn open_picture(whole: impl Read, format: ImageFormat) -> Result<Content, Problem> {
    let mut bytes = Vec::new();
    whole.take(LARGEST_PICTURE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_PICTURE {
        return Err(Problem::data("has more than 512 MiB, too many for a picture")
            .hint("an .npy file may be as large as memory is"));
    }
    let opened = Picture::open(bytes, format);
    let picture = opened.map_err(|error| match error {
        error @ PictureError::Depth(_) => {
            Problem::from(error).hint("save it with 8 bits a channel")
        }
        error => error.into(),
    })?;
    Ok(Content::Picture(picture))
}

/// Says of which format a file is not.
fn unknown(field: &FieldSpec, picture: bool, start: &[u8], found: Option<ImageFormat>) -> Problem {
    match found {
        _ if start.is_empty() => Problem::data("is empty"),
        Some(format) => {
            Problem::data(format!("is a {} picture; it has to be {field}", picture::name(format)))
                .hint("save the tensor as an .npy file, as numpy.save does")
        }
        None if picture => {
            Problem::data("is neither a picture (PNG, JPEG, BMP, PNM) nor an .npy file")
        }
        None => Problem::data("is not an .npy file").hint("numpy.save makes one"),
    }
}

fn wrong_type(holds: &str, field: &FieldSpec, element: ElementType) -> Problem {
    let numpy = element.name().to_lowercase().replace("fp", "float");
    Problem::data(format!("{holds}; it has to be {field}"))
        .hint(format!("in NumPy, save `array.astype(numpy.{numpy})`"))
}

/// Counts the bytes that are read.
struct Counted<'a, R> {
    source: &'a mut R,
    bytes: u64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}
