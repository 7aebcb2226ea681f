//! Pictures as tensors: `[height, width, channels]` of 8-bit values, with 1 (gray), 3 (RGB) or 4
//! (RGBA) channels.

use std::ffi::OsStr;
use std::io::{Cursor, Write};

use image::codecs::bmp::BmpEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::pnm::{PnmEncoder, PnmSubtype, SampleEncoding};
use image::metadata::Orientation;
use image::{
    ColorType, DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError,
    ImageFormat, ImageReader,
};
use rustkernel_core::kernel::Tensor;

/// The most bytes that a picture may unpack to: a small file can claim a huge picture.
const LARGEST: u64 = 512 << 20;
/// JPEG's quality, of 100: differences are hard to see, and files stay small.
const JPEG_QUALITY: u8 = 90;

/// What is wrong with a picture, as a predicate of its file's name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PictureError {
    #[error("is no sound {0} picture: {1}")]
    Malformed(&'static str, String),
    #[error("has {0} as its colours; 8 bits a channel are needed")]
    Depth(String),
    #[error("is a picture of {0} × {1}, which unpacks to more than 512 MiB")]
    TooLarge(u32, u32),
}

/// A picture whose header is read.
#[derive(Debug)]
pub(crate) struct Picture {
    bytes: Vec<u8>,
    format: ImageFormat,
    shape: [usize; 3],
}

impl Picture {
    /// The format that a file which begins so has, if it is one that can be read.
    pub(crate) fn guess(start: &[u8]) -> Option<ImageFormat> {
        image::guess_format(start).ok().filter(ImageFormat::reading_enabled)
    }

    /// Reads a picture's header.
    pub(crate) fn open(bytes: Vec<u8>, format: ImageFormat) -> Result<Self, PictureError> {
        if format == ImageFormat::Jpeg && !reaches_end_marker(&bytes) {
            return Err(PictureError::Malformed(name(format), "it is cut short".into()));
        }
        let mut decoder = decoder(&bytes, format)?;
        let channels = match decoder.color_type() {
            ColorType::L8 => 1,
            ColorType::Rgb8 => 3,
            // There are no tensors of gray and alpha; as RGBA nothing is lost.
            ColorType::La8 | ColorType::Rgba8 => 4,
            other => return Err(PictureError::Depth(format!("{other:?}"))),
        };
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) * channels > LARGEST {
            return Err(PictureError::TooLarge(width, height));
        }
        let (mut width, mut height) = (width as usize, height as usize);
        if is_on_its_side(orientation(&mut decoder)) {
            (width, height) = (height, width);
        }
        drop(decoder);
        Ok(Self { shape: [height, width, channels as usize], bytes, format })
    }

    /// Height, width, channels, as the picture is meant to be seen.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Unpacks the picture, upright where a camera says how it was held.
    pub(crate) fn read(self) -> Result<Tensor<u8>, PictureError> {
        let mut decoder = decoder(&self.bytes, self.format)?;
        let orientation = orientation(&mut decoder);
        let image = DynamicImage::from_decoder(decoder);
        let mut image = image.map_err(|error| malformed(self.format, &error))?;
        image.apply_orientation(orientation);
        let data = match image {
            DynamicImage::ImageLuma8(gray) => gray.into_raw(),
            DynamicImage::ImageRgb8(rgb) => rgb.into_raw(),
            image => image.into_rgba8().into_raw(),
        };
        Ok(Tensor::new(self.shape, data).expect("invariant: as many pixels as the header says"))
    }
}

fn decoder(bytes: &[u8], format: ImageFormat) -> Result<impl ImageDecoder, PictureError> {
    let reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.into_decoder().map_err(|error| malformed(format, &error))
}

/// Whether a JPEG goes on to its end. The decoder forgives one that does not: what is missing would
/// come out gray.
fn reaches_end_marker(mut rest: &[u8]) -> bool {
    const END: u8 = 0xd9;
    // Neither stuffing, nor a marker without a segment: TEM, the restarts, the start.
    let is_marker =
        |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0x01 | 0xd0..=0xd8 | 0xff);
    while let Some(at) = rest.windows(2).position(is_marker) {
        if rest[at + 1] == END {
            return true;
        }
        // What is in a segment, such as a preview with an end of its own, is passed over.
        let Some([high, low]) = rest.get(at + 2..at + 4) else { break };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        rest = rest.get(at + 2 + length..).unwrap_or_default();
    }
    false
}

/// How the picture has to be turned; upright where it does not say, or not in an orderly way.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}

fn is_on_its_side(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

fn malformed(format: ImageFormat, error: &ImageError) -> PictureError {
    // (The crate's own message opens with the format's name.)
    let text = match error {
        ImageError::Decoding(error) => {
            let cause = std::error::Error::source(error);
            cause.map_or_else(|| error.to_string(), ToString::to_string)
        }
        error => error.to_string(),
    };
    PictureError::Malformed(name(format), text)
}

/// A format's name for people.
pub(crate) fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Pnm => "PNM",
        _ => "unknown",
    }
}

/// A format that pictures are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Png,
    Jpeg,
    Bmp,
    /// Of Netpbm's formats the one for as many channels: PGM or PPM, which every program knows.
    Pnm,
    /// Netpbm's format for any number of channels.
    Pam,
}

impl Written {
    /// The one that the extension of a file's name stands for.
    pub(crate) fn named(extension: &OsStr) -> Option<Self> {
        Some(match extension.to_ascii_lowercase().to_str()? {
            "png" => Self::Png,
            "jpg" | "jpeg" => Self::Jpeg,
            "bmp" => Self::Bmp,
            "ppm" | "pgm" | "pnm" => Self::Pnm,
            "pam" => Self::Pam,
            _ => return None,
        })
    }
}

/// Writes a picture.
///
/// # Errors
/// A sentence if the format cannot hold it, or it cannot be written.
pub(crate) fn write(
    picture: &Tensor<u8>,
    format: Written,
    mut target: &mut dyn Write,
) -> Result<(), String> {
    let &[height, width, channels] = picture.shape() else {
        return Err(format!("a tensor {:?} is no picture", picture.shape()));
    };
    let colour = match channels {
        1 => ExtendedColorType::L8,
        3 => ExtendedColorType::Rgb8,
        4 if format == Written::Jpeg => {
            return Err("a JPEG has no fourth channel; write a .png".into());
        }
        4 if format == Written::Pnm => {
            return Err("a PPM has no fourth channel; write a .pam or a .png".into());
        }
        4 => ExtendedColorType::Rgba8,
        _ => {
            return Err(format!("a picture has 1, 3 or 4 channels, not {channels}; write an .npy"));
        }
    };
    let side = |length| u32::try_from(length).map_err(|_| format!("{length} pixels are too many"));
    let (width, height, data) = (side(width)?, side(height)?, picture.as_slice());
    if data.is_empty() {
        return Err(format!("a picture of {width} × {height} has no pixels; write an .npy"));
    }
    let written = match format {
        Written::Png => PngEncoder::new(target).write_image(data, width, height, colour),
        Written::Jpeg => JpegEncoder::new_with_quality(target, JPEG_QUALITY)
            .write_image(data, width, height, colour),
        Written::Bmp => BmpEncoder::new(&mut target).write_image(data, width, height, colour),
        Written::Pnm | Written::Pam => PnmEncoder::new(target)
            .with_subtype(subtype(format, channels))
            .write_image(data, width, height, colour),
    };
    written.map_err(|error| match error {
        ImageError::IoError(error) => error.to_string(),
        error => error.to_string(),
    })
}

fn subtype(format: Written, channels: usize) -> PnmSubtype {
    match (format, channels) {
        (Written::Pam, _) => PnmSubtype::ArbitraryMap,
        (_, 1) => PnmSubtype::Graymap(SampleEncoding::Binary),
        _ => PnmSubtype::Pixmap(SampleEncoding::Binary),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(shape: [usize; 3], format: Written) -> Result<Vec<u8>, String> {
        let data = (0..shape.iter().product::<usize>()).map(|n| (n * 37) as u8).collect();
        let mut bytes = Vec::new();
        write(&Tensor::new(shape, data).unwrap(), format, &mut bytes)?;
        Ok(bytes)
    }

    fn read(bytes: &[u8]) -> Result<Tensor<u8>, PictureError> {
        let format = Picture::guess(bytes).expect("a picture");
        let picture = Picture::open(bytes.into(), format)?;
        let shape = picture.shape().to_vec();
        let tensor = picture.read()?;
        assert_eq!(tensor.shape(), shape, "the header says what comes");
        Ok(tensor)
    }

    #[test]
    fn pictures_without_loss_come_back_as_they_were() {
        for format in [Written::Png, Written::Bmp, Written::Pam, Written::Pnm] {
            let most = if format == Written::Pnm { 3 } else { 4 };
            for channels in [1, 3, 4].into_iter().filter(|channels| *channels <= most) {
                let shape = [5, 7, channels];
                let data = (0..5 * 7 * channels).map(|n| (n * 37) as u8).collect();
                let tensor = read(&written(shape, format).unwrap()).unwrap();
                // (A gray BMP has a palette, and comes back in colour.)
                if (format, channels) != (Written::Bmp, 1) {
                    assert_eq!(tensor, Tensor::new(shape, data).unwrap(), "{format:?} {channels}");
                }
            }
        }
    }

    #[test]
    fn jpegs_have_one_or_three_channels() {
        for channels in [1, 3] {
            let tensor = read(&written([16, 8, channels], Written::Jpeg).unwrap()).unwrap();
            assert_eq!(tensor.shape(), [16, 8, channels]);
        }
        let error = written([2, 2, 4], Written::Jpeg).unwrap_err();
        assert_eq!(error, "a JPEG has no fourth channel; write a .png");
    }

    #[test]
    fn files_have_the_format_that_their_names_say() {
        let start = |name: &str, channels| {
            let bytes = written([2, 2, channels], Written::named(name.as_ref()).unwrap())?;
            Ok(String::from_utf8_lossy(&bytes[..2]).into_owned())
        };
        for (name, channels, magic) in [
            ("ppm", 3, "P6"),
            ("PGM", 1, "P5"),
            ("pnm", 3, "P6"),
            ("pam", 3, "P7"),
            ("pam", 4, "P7"),
        ] {
            assert_eq!(start(name, channels), Ok(magic.to_owned()), "{name}");
        }
        let error = "a PPM has no fourth channel; write a .pam or a .png".to_owned();
        assert_eq!(start("ppm", 4), Err(error));
        assert_eq!(Written::named("pbm".as_ref()), None, "it has one bit a pixel");
    }

    #[test]
    fn what_is_no_picture_is_not_written_as_one() {
        let error = |shape| written(shape, Written::Png).unwrap_err();
        assert_eq!(error([2, 2, 2]), "a picture has 1, 3 or 4 channels, not 2; write an .npy");
        assert_eq!(error([0, 2, 3]), "a picture of 2 × 0 has no pixels; write an .npy");
        let flat = Tensor::<u8>::zeros([4]);
        let error = write(&flat, Written::Png, &mut Vec::new()).unwrap_err();
        assert_eq!(error, "a tensor [4] is no picture");
    }

    #[test]
    fn gray_with_alpha_becomes_colour_with_alpha() {
        let mut bytes = Vec::new();
        let encoder = PngEncoder::new(&mut bytes);
        encoder.write_image(&[10, 20], 1, 1, ExtendedColorType::La8).unwrap();
        assert_eq!(read(&bytes).unwrap().as_slice(), [10, 10, 10, 20]);
    }

    #[test]
    fn pictures_of_other_depths_are_refused() {
        let mut bytes = Vec::new();
        let encoder = PngEncoder::new(&mut bytes);
        encoder.write_image(&[0; 6], 1, 1, ExtendedColorType::Rgb16).unwrap();
        let error = read(&bytes).unwrap_err().to_string();
        assert_eq!(error, "has Rgb16 as its colours; 8 bits a channel are needed");
    }

    #[test]
    fn a_photograph_taken_sideways_stands_upright() {
        // An APP1 segment with EXIF's orientation 6: turn it by 90 degrees.
        let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let length = (exif.len() as u16 + 2).to_be_bytes();
        let mut bytes = written([8, 16, 3], Written::Jpeg).unwrap();
        bytes.splice(2..2, [&[0xff, 0xe1], &length[..], exif].concat());
        assert_eq!(read(&bytes).unwrap().shape(), [16, 8, 3]);
    }

    #[test]
    fn damaged_pictures_are_refused() {
        for (format, coding) in [
            (ImageFormat::Png, Written::Png),
            (ImageFormat::Jpeg, Written::Jpeg),
            (ImageFormat::Bmp, Written::Bmp),
            (ImageFormat::Pnm, Written::Pnm),
            (ImageFormat::Pnm, Written::Pam),
        ] {
            let bytes = written([64, 64, 3], coding).unwrap();
            for keep in [16, bytes.len() / 2] {
                let error = read(&bytes[..keep]).expect_err(name(format)).to_string();
                assert!(error.starts_with(&format!("is no sound {}", name(format))), "{error}");
            }
        }
    }

    #[test]
    fn a_picture_that_claims_to_be_huge_is_refused_unseen() {
        let mut bytes = written([1, 1, 3], Written::Bmp).unwrap();
        bytes[18..26].copy_from_slice(&[0, 0xf0, 0, 0, 0, 0xf0, 0, 0]);
        let error = read(&bytes).unwrap_err().to_string();
        assert_eq!(error, "is a picture of 61440 × 61440, which unpacks to more than 512 MiB");
    }
}
