//! Special registers by name.

use super::assembler::Assembler;
use crate::ptx::{Parsed, Type};
use crate::sim::Row;
use crate::sim::bits::Pack;
use crate::sim::compare::{Comparison, Size};
use crate::sim::program::{LongSpecial, Op, Special};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Word(Special),
    Long(LongSpecial),
}

/// The special register of that name.
pub(super) fn special(name: &str) -> Option<Named> {
    if let Some((vector, axis)) = name.split_once('.') {
        let axis = ["x", "y", "z"].iter().position(|known| *known == axis)? as u8;
        return Some(Named::Word(match vector {
            "%tid" => Special::Thread(axis),
            "%ntid" => Special::BlockSize(axis),
            "%ctaid" => Special::Block(axis),
            "%nctaid" => Special::GridSize(axis),
            _ => return None,
        }));
    }
    Some(match name {
        "%laneid" => Named::Word(Special::Lane),
        "%warpid" => Named::Word(Special::Warp),
        "%nwarpid" => Named::Word(Special::WarpCount),
        // the multiprocessor that a block runs on: there is one
        "%smid" => Named::Word(Special::Zero),
        "%nsmid" => Named::Word(Special::Zero),
        "%gridid" => Named::Word(Special::GridNumber),
        "%lanemask_eq" => Named::Word(Special::LaneMask(Comparison::Equal)),
        "%lanemask_lt" => Named::Word(Special::LaneMask(Comparison::Less)),
        "%lanemask_le" => Named::Word(Special::LaneMask(Comparison::LessEqual)),
        "%lanemask_gt" => Named::Word(Special::LaneMask(Comparison::Greater)),
        "%lanemask_ge" => Named::Word(Special::LaneMask(Comparison::GreaterEqual)),
        "%dynamic_smem_size" => Named::Word(Special::DynamicSharedBytes),
        "%total_smem_size" => Named::Word(Special::TotalSharedBytes),
        "%clock" => Named::Word(Special::Clock),
        "%clock_hi" => Named::Word(Special::ClockHigh),
        "%clock64" => Named::Long(LongSpecial::Clock),
        "%globaltimer" => Named::Long(LongSpecial::Nanoseconds),
        _ => return None,
    })
}

impl Assembler<'_, '_> {
    /// The value of a special register, in a row of its own.
    pub(super) fn special(&mut self, which: Named, ty: Type) -> Parsed<Row> {
        match (which, ty.bytes()) {
            (Named::Word(which), 4) => {
                let row = self.row(Type::B32)?;
                self.emit(Op::Special(which, row));
                Ok(row)
            }
            // (%gridid is 64 bits wide to a newer PTX, and %tid may be read as 16)
            (Named::Word(_), 8) => {
                let low = self.special(which, Type::B32)?;
                let (row, zero) = (self.row(Type::B64)?, self.constant(Size::Word, 0)?);
                self.emit(Op::Pack(Pack::WordsToLong, [row, low, zero]));
                Ok(row)
            }
            (Named::Word(_), 2) => {
                let word = self.special(which, Type::B32)?;
                let (low, high) = (self.row(Type::B16)?, self.row(Type::B16)?);
                self.emit(Op::Pack(Pack::WordToHalves, [word, low, high]));
                Ok(low)
            }
            (Named::Long(which), 8) => self.long_special(which),
            _ => self.error(format!("a special register is no {ty:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_axes() {
        assert_eq!(special("%ctaid.z"), Some(Named::Word(Special::Block(2))));
        assert_eq!(special("%clock64"), Some(Named::Long(LongSpecial::Clock)));
        for name in ["%r1", "%tid", "%tid.w", "%rd.x", "depot"] {
            assert_eq!(special(name), None, "{name}");
        }
    }
}
