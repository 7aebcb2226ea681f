//! Decodes loads, stores, atomics and fences.

use super::assembler::Assembler;
use super::decode::Decoding;
use super::modifiers::Modifiers;
use super::moves::scalar;
use super::operands::size;
use crate::ptx::{Operand, Parsed, Space, Type};
use crate::sim::Row;
use crate::sim::compare::Size;
use crate::sim::program::{Atomic, AtomicOperation, Op, Transfer};

fn operation(name: &str) -> Option<AtomicOperation> {
    Some(match name {
        "add" => AtomicOperation::Add,
        "min" => AtomicOperation::Min,
        "max" => AtomicOperation::Max,
        "and" => AtomicOperation::And,
        "or" => AtomicOperation::Or,
        "xor" => AtomicOperation::Xor,
        "exch" => AtomicOperation::Exchange,
        "cas" => AtomicOperation::CompareAndSwap,
        "inc" => AtomicOperation::Increment,
        "dec" => AtomicOperation::Decrement,
        _ => return None,
    })
}

/// Memory order and scope: here every atomic access is of the strongest kind. Says whether there was
/// any.
fn ordered(modifiers: &mut Modifiers<'_>) -> bool {
    let order = |part: &str| {
        matches!(part, "volatile" | "relaxed" | "acquire" | "release" | "acq_rel" | "mmio")
            .then_some(())
    };
    let scope = |part: &str| matches!(part, "cta" | "gpu" | "sys" | "cluster").then_some(());
    let ordered = modifiers.take(order).is_some();
    modifiers.take(scope);
    ordered
}

impl<'a> Assembler<'a, '_> {
    pub(super) fn memory(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        match decoding.name {
            "ld" | "ldu" | "st" => self.transfer(decoding),
            "atom" | "red" => self.atomic(decoding),
            "prefetch" | "prefetchu" => {
                self.emit(Op::Nothing);
                Ok(())
            }
            "cp" => self.copy_async(decoding),
            _ => self.fence(decoding),
        }
    }

    fn transfer(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let modifiers = &mut decoding.modifiers;
        modifiers.ignore_hints();
        let concurrent = ordered(modifiers);
        let space = modifiers.take(Space::named).unwrap_or(Space::Generic);
        let count = modifiers.take(|part| match part {
            "v2" => Some(2),
            "v4" => Some(4),
            _ => None,
        });
        let ty = modifiers.ty()?;
        let Some(scalar) = scalar(ty) else {
            return modifiers.error("the type is not supported");
        };
        let [first, second] = decoding.take()?;
        let (address, value) =
            if decoding.name == "st" { (first, second) } else { (second, first) };
        let values = match (value, count) {
            (Operand::Vector(values), Some(count)) if values.len() == count => values.as_slice(),
            (value, None) => std::slice::from_ref(value),
            _ => return decoding.modifiers.error("the vector has another length"),
        };
        let (size, rows) = self.transferred(values, ty, decoding.name == "st")?;
        let address = self.address(address, space)?;
        let transfer = Transfer { scalar, concurrent, count: values.len() as u8, size, rows };
        self.emit(match decoding.name {
            "st" => Op::Store(transfer, address),
            _ => Op::Load(transfer, address),
        });
        Ok(())
    }

    /// The registers of a load or a store: all of one size, which may be more than the type's.
    fn transferred(
        &mut self,
        values: &[Operand<'a>],
        ty: Type,
        stores: bool,
    ) -> Parsed<(Size, [Row; 4])> {
        let mut own = ty;
        for value in values {
            if let Ok((register, _)) = self.register(value) {
                own = register;
            }
        }
        if own == Type::Pred || own.bytes() < ty.bytes() || ty.is_float() && own.bytes() != ty.bytes() {
            return self.error(format!("a {own:?} register does not hold a {ty:?}"));
        }
        let mut rows = [Row::default(); 4];
        for (row, value) in rows.iter_mut().zip(values) {
            *row = match value {
                Operand::Number(number) if stores => {
                    let bits = self.literal(*number, ty)?;
                    self.constant(size(own), bits)?
                }
                value if stores => self.source(value, own)?,
                value => self.destination(value, own)?,
            };
        }
        Ok((size(own), rows))
    }

    fn atomic(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let modifiers = &mut decoding.modifiers;
        modifiers.ignore_hints();
        ordered(modifiers);
        let space = modifiers.take(Space::named).unwrap_or(Space::Generic);
        let operation = modifiers.need("an operation", operation)?;
        let ty = modifiers.ty()?;
        let Some(scalar) = scalar(ty).filter(|_| fits(operation, ty)) else {
            return modifiers.error("the type is not supported");
        };
        modifiers.done()?;
        let (result, rest) = match (decoding.name, decoding.operands) {
            ("atom", [d, rest @ ..]) => (Some(self.destination(d, ty)?), rest),
            (_, rest) => (None, rest),
        };
        let swap = operation == AtomicOperation::CompareAndSwap;
        let (address, b, c) = match rest {
            [address, b] if !swap => (address, b, b),
            [address, b, c] if swap => (address, b, c),
            _ => return decoding.modifiers.error("the number of operands is wrong"),
        };
        let [b, c] = self.sources([b, c], ty)?;
        let address = self.address(address, space)?;
        self.emit(Op::Atomic(Atomic { operation, scalar, result, b, c }, address));
        Ok(())
    }

    fn fence(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        ordered(&mut decoding.modifiers);
        decoding.modifiers.flag("sc");
        decoding.modifiers.flag("gl");
        let [] = decoding.take()?;
        self.emit(Op::Fence);
        Ok(())
    }

    /// `cp.async`, whose copy is done at once; so its groups have nothing to wait for.
    fn copy_async(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let modifiers = &mut decoding.modifiers;
        if !modifiers.flag("async") {
            return modifiers.error("the instruction is not supported");
        }
        if modifiers.flag("commit_group") || modifiers.flag("wait_all") || modifiers.flag("wait_group")
        {
            modifiers.done()?;
            self.emit(Op::Nothing);
            return Ok(());
        }
        modifiers.ignore_hints();
        modifiers.need("shared", |part| matches!(part, "shared" | "shared::cta").then_some(()))?;
        modifiers.need("global", |part| (part == "global").then_some(()))?;
        let [to, from, bytes] = decoding.take()?;
        let bytes = match bytes {
            Operand::Number(number) => self.literal(*number, Type::B32)?,
            _ => 0,
        };
        if !matches!(bytes, 4 | 8 | 16) {
            return self.error("4, 8 or 16 bytes can be copied");
        }
        let to = self.address(to, Space::Shared)?;
        let from = self.address(from, Space::Global)?;
        let offsets = [to.offset, from.offset];
        self.emit(Op::CopyBytes { bytes: bytes as u8, to: to.row, from: from.row, offsets });
        Ok(())
    }
}

/// The operations that exist for a type.
fn fits(operation: AtomicOperation, ty: Type) -> bool {
    use AtomicOperation as Is;
    match operation {
        Is::Add => matches!(ty, Type::U32 | Type::S32 | Type::U64 | Type::S64 | Type::F32 | Type::F64),
        Is::Min | Is::Max => matches!(ty, Type::U32 | Type::S32 | Type::U64 | Type::S64),
        Is::Increment | Is::Decrement => ty == Type::U32,
        Is::And | Is::Or | Is::Xor | Is::Exchange | Is::CompareAndSwap => {
            matches!(ty, Type::B32 | Type::B64 | Type::U32 | Type::S32 | Type::U64 | Type::S64)
        }
    }
}
