//! Bodies that come packed.

use std::io::Read;

use actix_web::http::header::HeaderValue;
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::{Fault, Reason};

/// How a body is packed, by its header `Content-Encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// `gzip`, or by its old name `x-gzip`.
    Gzip,
    /// `deflate`, which is zlib's format (RFC 9110, 8.4.1.2).
    Deflate,
}

impl Packing {
    /// That of a header; without packing, none.
    ///
    /// # Errors
    /// If it is not known.
    pub(super) fn of(encoding: &HeaderValue) -> Result<Option<Self>, Fault> {
        let named = |names: &[&str]| {
            names.iter().any(|name| encoding.as_bytes().eq_ignore_ascii_case(name.as_bytes()))
        };
        if named(&["identity"]) {
            Ok(None)
        } else if named(&["gzip", "x-gzip"]) {
            Ok(Some(Self::Gzip))
        } else if named(&["deflate"]) {
            Ok(Some(Self::Deflate))
        } else {
            let error = format!(
                "the body's encoding {encoding:?} is not known; send it as gzip, as deflate, or as it is"
            );
            Err(Fault::new(Reason::UnsupportedEncoding, error))
        }
    }

    /// Unpacks a body to at most so many bytes; `None` if it has more.
    ///
    /// # Errors
    /// If it is not packed so.
    pub(super) fn unpack(self, packed: &[u8], most: usize) -> Result<Option<Vec<u8>>, Fault> {
        let mut body = Vec::new();
        // (One more than may be, to tell.)
        let enough = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        let read = match self {
            Self::Gzip => MultiGzDecoder::new(packed).take(enough).read_to_end(&mut body),
            Self::Deflate => ZlibDecoder::new(packed).take(enough).read_to_end(&mut body),
        };
        read.map_err(|error| Fault::invalid(format!("the body cannot be unpacked: {error}")))?;
        Ok((body.len() <= most).then_some(body))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(body).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn what_was_packed_comes_back_up_to_a_size() {
        let body = b"a body ".repeat(1000);
        let mut deflated = ZlibEncoder::new(Vec::new(), Compression::fast());
        deflated.write_all(&body).unwrap();
        for (packing, packed) in
            [(Packing::Gzip, gzip(&body)), (Packing::Deflate, deflated.finish().unwrap())]
        {
            assert_eq!(packing.unpack(&packed, body.len()).unwrap().unwrap(), body);
            assert_eq!(packing.unpack(&packed, body.len() - 1).unwrap(), None);
            packing.unpack(&packed[..packed.len() - 1], body.len()).unwrap_err();
            packing.unpack(&body, body.len()).unwrap_err();
        }
    }

    #[test]
    fn what_is_small_and_unpacks_to_very_much_takes_no_more_than_may_be() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 100_000, "{}", bomb.len());
        assert_eq!(Packing::Gzip.unpack(&bomb, 1 << 20).unwrap(), None);
    }

    #[test]
    fn encodings_are_known_by_their_names() {
        let of = |name: &str| Packing::of(&HeaderValue::from_str(name).unwrap());
        assert_eq!(of("identity"), Ok(None));
        assert_eq!(of("GZip"), Ok(Some(Packing::Gzip)));
        assert_eq!(of("x-gzip"), Ok(Some(Packing::Gzip)));
        assert_eq!(of("deflate"), Ok(Some(Packing::Deflate)));
        for unknown in ["br", "zstd", "gzip, gzip", "", "gzi"] {
            assert_eq!(of(unknown).unwrap_err().reason, Reason::UnsupportedEncoding, "{unknown}");
        }
    }
}
