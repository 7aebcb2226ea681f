//! The header: which elements, in which order, of which shape.

use std::io::{ErrorKind, Read};

use rustkernel_core::gpu::ElementType;

use super::{NpyError, TYPES};

/// How every file begins.
pub(crate) const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// The most bytes that a header's text may have. Those of plain arrays have hundreds; version 2.0
/// would allow four gigabytes.
const LONGEST: usize = u16::MAX as usize;
/// The most dimensions that NumPy knows.
const MOST_DIMENSIONS: usize = 64;
/// Header and data are aligned to this many bytes.
const ALIGNMENT: usize = 64;

/// What a header says. The data that it promises can be counted in an `isize`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) element: ElementType,
    pub(crate) big_endian: bool,
    pub(crate) fortran_order: bool,
    pub(crate) shape: Vec<usize>,
}

impl Header {
    /// Reads a header; the data comes next.
    pub(crate) fn read(source: &mut impl Read) -> Result<Self, NpyError> {
        let mut start = [0; 8];
        read_exactly(source, &mut start)?;
        let [magic @ .., major, minor] = &start;
        if magic != MAGIC {
            return Err(NpyError::NotNpy);
        }
        let length = match (*major, *minor) {
            (1, 0) => read_number::<2>(source)?,
            (2 | 3, 0) => read_number::<4>(source)?,
            (major, minor) => return Err(NpyError::Version(major, minor)),
        };
        if length > LONGEST {
            return Err(malformed(format!("it is {length} bytes long")));
        }
        let mut text = vec![0; length];
        read_exactly(source, &mut text)?;
        let text = str::from_utf8(&text).map_err(|_| malformed("it is not a text"))?;
        Self::parse(text)
    }

    /// Reads a header's text.
    fn parse(text: &str) -> Result<Self, NpyError> {
        let mut literal = Literal { rest: text };
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        literal.expect('{')?;
        while !literal.skip('}') {
            let key = literal.string()?;
            literal.expect(':')?;
            match key {
                "descr" => descr = Some(literal.descr()?),
                "fortran_order" => fortran_order = Some(literal.bool()?),
                "shape" => shape = Some(literal.shape()?),
                key => return Err(malformed(format!("it has the key `{}`", key.escape_debug()))),
            }
            if !literal.skip(',') {
                literal.expect('}')?;
                break;
            }
        }
        literal.end()?;
        let missing = |key| malformed(format!("it has no `{key}`"));
        let (element, big_endian) = element(descr.ok_or_else(|| missing("descr"))?)?;
        let fortran_order = fortran_order.ok_or_else(|| missing("fortran_order"))?;
        let shape = shape.ok_or_else(|| missing("shape"))?;
        let header = Self { element, big_endian, fortran_order, shape };
        match header.checked_bytes() {
            Some(_) => Ok(header),
            None => Err(NpyError::TooLarge(format!("{:?}", header.shape))),
        }
    }

    /// How many elements there are.
    pub(crate) fn count(&self) -> usize {
        self.bytes() / self.element.size()
    }

    /// How many bytes of data follow.
    pub(crate) fn bytes(&self) -> usize {
        self.checked_bytes().expect("invariant: checked when the header was read")
    }

    fn checked_bytes(&self) -> Option<usize> {
        // A zero anywhere makes it empty, also where the other dimensions would overflow.
        if self.shape.contains(&0) {
            return Some(0);
        }
        let size = Some(self.element.size());
        let bytes = self.shape.iter().fold(size, |bytes, length| bytes?.checked_mul(*length));
        bytes.filter(|bytes| isize::try_from(*bytes).is_ok())
    }
}

/// The header of a little-endian, row-major array, from the first byte to where the data starts.
pub(super) fn format(element: ElementType, shape: &[usize]) -> Option<Vec<u8>> {
    let (_, code) = TYPES.into_iter().find(|(known, _)| *known == element)?;
    let order = if element.size() == 1 { '|' } else { '<' };
    let lengths: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let mut text = format!(
        "{{'descr': '{order}{code}', 'fortran_order': False, 'shape': ({}{comma}), }}",
        lengths.join(", ")
    );
    let before = MAGIC.len() + 2 + 2;
    let whole = (before + text.len() + 1).next_multiple_of(ALIGNMENT);
    text.extend(std::iter::repeat_n(' ', whole - before - text.len() - 1));
    text.push('\n');
    let length = u16::try_from(text.len()).ok()?.to_le_bytes();
    Some([MAGIC.as_slice(), &[1, 0], &length, text.as_bytes()].concat())
}

/// The part of Python's literals that a header is made of.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    /// Passes a character, and the spaces before it, if it comes next.
    fn skip(&mut self, character: char) -> bool {
        let after = self.rest.trim_start().strip_prefix(character);
        after.inspect(|after| self.rest = after).is_some()
    }

    fn expect(&mut self, character: char) -> Result<(), NpyError> {
        if self.skip(character) { Ok(()) } else { Err(self.unexpected(&format!("`{character}`"))) }
    }

    fn end(&self) -> Result<(), NpyError> {
        if self.rest.trim().is_empty() { Ok(()) } else { Err(self.unexpected("its end")) }
    }

    /// Neither type codes nor keys have quotes or escapes in them.
    fn string(&mut self) -> Result<&'a str, NpyError> {
        let quote = ['\'', '"'].into_iter().find(|quote| self.skip(*quote));
        let quote = quote.ok_or_else(|| self.unexpected("a string"))?;
        let (string, after) =
            self.rest.split_once(quote).ok_or_else(|| malformed("a string is not closed"))?;
        self.rest = after;
        Ok(string)
    }

    fn word(&mut self) -> &'a str {
        let start = self.rest.trim_start();
        let end = start.find(|next: char| !next.is_ascii_alphanumeric()).unwrap_or(start.len());
        let (word, after) = start.split_at(end);
        self.rest = after;
        word
    }

    fn bool(&mut self) -> Result<bool, NpyError> {
        match self.word() {
            "True" => Ok(true),
            "False" => Ok(false),
            _ => Err(malformed("`fortran_order` is neither True nor False")),
        }
    }

    fn descr(&mut self) -> Result<&'a str, NpyError> {
        match self.rest.trim_start().chars().next() {
            Some('[' | '(') => {
                Err(NpyError::Type { what: "records", descr: "a structured type".into() })
            }
            _ => self.string(),
        }
    }

    fn shape(&mut self) -> Result<Vec<usize>, NpyError> {
        let mut shape = Vec::new();
        self.expect('(')?;
        while !self.skip(')') {
            shape.push(self.length()?);
            if shape.len() > MOST_DIMENSIONS {
                return Err(malformed(format!("it has more than {MOST_DIMENSIONS} dimensions")));
            }
            if !self.skip(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(shape)
    }

    fn length(&mut self) -> Result<usize, NpyError> {
        let word = self.word();
        // Python 2 wrote large numbers with an L.
        let digits = word.strip_suffix('L').unwrap_or(word);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.unexpected("a length"));
        }
        digits.parse().map_err(|_| NpyError::TooLarge(digits.into()))
    }

    fn unexpected(&self, expected: &str) -> NpyError {
        let found: String = self.rest.trim_start().chars().take(10).collect();
        malformed(format!("{expected} is expected before `{}`", found.escape_debug()))
    }
}

/// An element type, and whether it is big-endian.
fn element(descr: &str) -> Result<(ElementType, bool), NpyError> {
    let (order, code) = match descr.strip_prefix(['<', '>', '|', '=']) {
        Some(code) => (&descr[..1], code),
        None => ("=", descr),
    };
    let known = TYPES.into_iter().find(|(_, known)| *known == code);
    match (known, order) {
        (Some((element, _)), "|") if element.size() > 1 => {
            Err(malformed(format!("`{descr}` has no byte order")))
        }
        (Some((element, _)), "=") => Ok((element, cfg!(target_endian = "big"))),
        (Some((element, _)), order) => Ok((element, order == ">")),
        (None, _) => Err(NpyError::Type {
            what: describe(code),
            descr: format!("`{}`", descr.escape_debug()),
        }),
    }
}

/// What NumPy has and tensors do not, by the first letter of its code.
fn describe(code: &str) -> &'static str {
    match code.chars().next() {
        Some('b' | '?') => "truth values",
        Some('c') => "complex numbers",
        Some('f') => "floating-point numbers of another size",
        Some('O') => "Python objects",
        Some('S' | 'a' | 'U') => "texts",
        Some('M' | 'm') => "dates or times",
        Some('V') => "raw bytes",
        _ => "elements of an unknown type",
    }
}

fn malformed(reason: impl Into<String>) -> NpyError {
    NpyError::Header(reason.into())
}

fn read_exactly(source: &mut impl Read, bytes: &mut [u8]) -> Result<(), NpyError> {
    source.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => NpyError::HeaderCut,
        _ => NpyError::Io(error),
    })
}

fn read_number<const BYTES: usize>(source: &mut impl Read) -> Result<usize, NpyError> {
    let mut bytes = [0; BYTES];
    read_exactly(source, &mut bytes)?;
    Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}
