//! One instruction: from its opcode to the part that knows it.

use super::assembler::Assembler;
use super::modifiers::Modifiers;
use crate::ptx::{Instruction, Operand, Parsed};

/// An instruction under decoding.
pub(super) struct Decoding<'a, 'b> {
    pub(super) name: &'a str,
    pub(super) modifiers: Modifiers<'a>,
    pub(super) operands: &'b [Operand<'a>],
}

impl<'a> Decoding<'a, '_> {
    /// The operands, when there must be `N`, and no modifier may be left.
    pub(super) fn take<const N: usize>(&self) -> Parsed<[&Operand<'a>; N]> {
        self.modifiers.done()?;
        let operands: Vec<&Operand<'a>> = self.operands.iter().collect();
        match operands.try_into() {
            Ok(operands) => Ok(operands),
            Err(found) => {
                let found: Vec<_> = found;
                self.modifiers.error(&format!("{N} operands were expected, not {}", found.len()))
            }
        }
    }
}

impl<'a> Assembler<'a, '_> {
    /// Decodes one instruction, whose guard is set already.
    pub(super) fn decode(&mut self, instruction: &Instruction<'a>) -> Parsed<()> {
        let (name, modifiers) = Modifiers::split(instruction.opcode, instruction.line);
        let mut decoding = Decoding { name, modifiers, operands: &instruction.operands };
        match name {
            "add" | "sub" | "mul" | "mad" | "div" | "abs" | "neg" | "min" | "max" => {
                self.arithmetic(&mut decoding)
            }
            "addc" | "subc" | "madc" => self.carrying(&mut decoding),
            "fma" | "rcp" | "sqrt" | "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh"
            | "copysign" => self.floating(&mut decoding),
            "rem" | "sad" | "and" | "or" | "xor" | "not" | "cnot" | "shl" | "shr" | "brev"
            | "bfe" => self.integer(&mut decoding),
            "bfi" | "popc" | "clz" | "bfind" | "prmt" | "shf" | "lop3" | "mul24" | "mad24"
            | "dp4a" => self.bits(&mut decoding),
            "setp" | "set" | "selp" | "slct" | "testp" => self.comparing(&mut decoding),
            "mov" | "cvt" | "cvta" | "isspacep" => self.moving(&mut decoding),
            "ld" | "ldu" | "st" | "atom" | "red" | "prefetch" | "prefetchu" | "membar"
            | "fence" | "cp" => self.memory(&mut decoding),
            "shfl" | "vote" | "match" | "redux" | "activemask" | "bar" | "barrier" => {
                self.exchange(&mut decoding)
            }
            "bra" | "brx" | "call" | "ret" | "exit" | "trap" | "brkpt" | "nanosleep"
            | "pmevent" => self.control(&mut decoding),
            _ => decoding.modifiers.error("the instruction is not supported"),
        }
    }

    /// Instructions that are of integers or of floats, by their type.
    fn arithmetic(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let float = ["f16", "f32", "f64"].iter().any(|ty| decoding.modifiers.has(ty));
        match () {
            () if float => self.floating(decoding),
            () if decoding.modifiers.has("cc") => self.carrying(decoding),
            () => self.integer(decoding),
        }
    }
}
