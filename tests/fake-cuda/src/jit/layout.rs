//! Where parameters and variables lie.

use std::collections::HashMap;

use super::scope::Symbol;
use crate::ptx::{Initial, Number, Parsed, PtxError, Space, Type, Variable};
use crate::sim::program::Slot;

/// The parameters of a kernel, each with its place in the launch's parameter block.
pub(super) fn parameters<'v, 'a>(
    variables: &'v [Variable<'a>],
) -> Vec<(&'v Variable<'a>, Slot)> {
    let mut next = 0usize;
    let place = |variable: &'v Variable<'a>| {
        let offset = next.next_multiple_of(variable.align);
        next = offset + variable.bytes();
        (variable, Slot { offset: offset as u32, bytes: variable.bytes() as u32 })
    };
    variables.iter().map(place).collect()
}

/// Shared memory of a fixed size, as it is given out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shared {
    next: u64,
}

impl Shared {
    /// The place of a shared variable. One without a size is sized by the launch.
    pub(super) fn place(&mut self, variable: &Variable<'_>) -> Symbol {
        if variable.bytes() == 0 {
            return Symbol::DynamicShared;
        }
        let start = self.next.next_multiple_of(variable.align as u64);
        self.next = start + variable.bytes() as u64;
        Symbol::Shared(start)
    }

    pub(super) fn used(&self) -> u32 {
        u32::try_from(self.next).unwrap_or(u32::MAX)
    }
}

/// A variable of the module in device memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Global {
    pub(crate) name: String,
    pub(crate) bytes: usize,
}

/// The first contents of `variable`: its initialiser, and zeros for the rest.
pub(super) fn image(
    variable: &Variable<'_>,
    addresses: &HashMap<&str, u64>,
) -> Parsed<Vec<u8>> {
    let size = variable.ty.bytes();
    let mut bytes = Vec::with_capacity(variable.bytes());
    for initial in &variable.initial {
        let bits = match initial {
            Initial::Number(number) => element(*number, variable)?,
            Initial::Address { name, offset, .. } => {
                let address = addresses.get(name).ok_or_else(|| {
                    PtxError::new(variable.line, format!("`{name}` is not defined"))
                })?;
                address.wrapping_add(offset.cast_unsigned())
            }
        };
        bytes.extend_from_slice(&bits.to_le_bytes()[..size]);
    }
    if bytes.len() > variable.bytes() {
        return Err(PtxError::new(variable.line, "the initialiser is too long"));
    }
    bytes.resize(variable.bytes(), 0);
    Ok(bytes)
}

fn element(number: Number, variable: &Variable<'_>) -> Parsed<u64> {
    Ok(match (number, variable.ty) {
        (Number::Integer(value), Type::F32) => u64::from((value.cast_signed() as f32).to_bits()),
        (Number::Integer(value), Type::F64) => (value.cast_signed() as f64).to_bits(),
        (Number::Integer(value), _) => value,
        (Number::Single(bits), ty) if ty.bytes() == 4 => bits.into(),
        (Number::Single(bits), Type::F64) => f64::from(f32::from_bits(bits)).to_bits(),
        (Number::Double(bits), Type::F32) => u64::from((f64::from_bits(bits) as f32).to_bits()),
        (Number::Double(bits), ty) if ty.bytes() == 8 => bits,
        _ => return Err(PtxError::new(variable.line, "the initialiser has another type")),
    })
}

/// Whether a variable of the module is in device memory.
pub(super) fn is_global(variable: &Variable<'_>) -> bool {
    matches!(variable.space, Some(Space::Global | Space::Const))
}
