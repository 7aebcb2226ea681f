//! minimalloc's format: `id,lower,upper,size`, a buffer a row, in any order.
//!
//! A buffer lives from `lower` to before `upper`; so of what happens at one moment, frees come first.
//! Times and sizes are in units of the file's own. The buffers of the known cases are tiny beside a
//! page of device memory, which would be all that is measured: the page shrinks with them.

use std::collections::HashSet;

use super::books::Books;
use super::error::Reason;
use super::read::{fields, number};
use super::{Op, PAGE, Step};

/// The first line of the format.
pub(super) const HEADER: &[u8] = b"id,lower,upper,size";

/// Pages that the peak is divided into, where that makes them smaller than [`PAGE`].
const PAGES: u64 = 512;

struct Life {
    id: u64,
    lower: u64,
    upper: u64,
    size: u64,
}

/// The buffers so far.
#[derive(Default)]
pub(super) struct Lifetimes {
    lives: Vec<Life>,
    ids: HashSet<u64>,
}

impl Lifetimes {
    pub(super) fn add(&mut self, row: &[u8]) -> Result<(), Reason> {
        let [id, lower, upper, size] = fields(row)?;
        let (lower, upper) = (number("lower", lower)?, number("upper", upper)?);
        let life = Life { id: number("id", id)?, lower, upper, size: number("size", size)? };
        if lower >= upper {
            return Err(Reason::NoLife { lower, upper });
        }
        if !self.ids.insert(life.id) {
            return Err(Reason::UsedTwice(life.id));
        }
        self.lives.push(life);
        Ok(())
    }

    /// The same as allocations and frees in time order.
    pub(super) fn into_books(self) -> Result<Books, Reason> {
        let frees = self.lives.iter().enumerate().map(|(row, life)| (life.upper, false, row));
        let starts = self.lives.iter().enumerate().map(|(row, life)| (life.lower, true, row));
        let mut events: Vec<_> = frees.chain(starts).collect();
        events.sort_unstable();
        let mut books = Books::default();
        for (moment, starts, row) in events {
            let Life { id, size, .. } = self.lives[row];
            let op = if starts { Op::Allocate } else { Op::Free };
            let step = Step { t_us: moment as f64, bytes: size, id: 0, stream: 0, op };
            if starts { books.allocate(step, id)? } else { books.free(step, id)? }
        }
        Ok(books)
    }
}

/// The page for a peak in the file's own units.
pub(super) fn page(peak: u64) -> u64 {
    let part = (peak / PAGES).max(1);
    PAGE.min(1 << part.ilog2())
}
