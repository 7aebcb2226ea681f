//! The format with times: `t_us,op,id,bytes,stream`.

use super::books::Books;
use super::error::{Reason, shown};
use super::read::{fields, number};
use super::{Op, Step};

/// The first line of the format.
pub(super) const HEADER: &[u8] = b"t_us,op,id,bytes,stream";

/// Adds a row to the books.
pub(super) fn add(books: &mut Books, row: &[u8]) -> Result<(), Reason> {
    let [t_us, op, id, bytes, stream] = fields(row)?;
    let time: f64 = number("t_us", t_us)?;
    if !time.is_finite() {
        return Err(Reason::NotANumber { column: "t_us", text: shown(t_us) });
    }
    let id_in_file = number("id", id)?;
    let step = |op| {
        let (bytes, stream) = (number("bytes", bytes)?, number("stream", stream)?);
        Ok::<_, Reason>(Step { t_us: time, bytes, id: 0, stream, op })
    };
    match op {
        b"a" => books.allocate(step(Op::Allocate)?, id_in_file),
        b"f" => books.free(step(Op::Free)?, id_in_file),
        other => Err(Reason::UnknownOp(shown(other))),
    }
}
