//! Decodes what lanes and threads do with each other.

use super::assembler::Assembler;
use super::decode::Decoding;
use super::operands::size;
use crate::ptx::{Operand, Parsed, Type};
use crate::sim::Row;
use crate::sim::integer::Kind;
use crate::sim::program::{AtomicOperation, Barrier, Op, Shuffle, Vote};

fn shuffle(name: &str) -> Option<Shuffle> {
    Some(match name {
        "up" => Shuffle::Up,
        "down" => Shuffle::Down,
        "bfly" => Shuffle::Butterfly,
        "idx" => Shuffle::Index,
        _ => return None,
    })
}

fn reduction(name: &str) -> Option<AtomicOperation> {
    Some(match name {
        "add" => AtomicOperation::Add,
        "min" => AtomicOperation::Min,
        "max" => AtomicOperation::Max,
        "and" => AtomicOperation::And,
        "or" => AtomicOperation::Or,
        "xor" => AtomicOperation::Xor,
        _ => return None,
    })
}

/// Splits the member mask, which instructions with `.sync` have last, from the operands.
type Split<'a, 'b> = (&'b [Operand<'a>], Option<Row>);

impl<'a> Assembler<'a, '_> {
    pub(super) fn exchange(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        match decoding.name {
            "shfl" => self.shuffle(decoding),
            "vote" => self.vote(decoding),
            "match" => self.matching(decoding),
            "redux" => self.reduce(decoding),
            "activemask" => {
                decoding.modifiers.ty()?;
                let [d] = decoding.take()?;
                let d = self.destination(d, Type::B32)?;
                self.emit(Op::ActiveMask { d });
                Ok(())
            }
            _ => self.barrier(decoding),
        }
    }

    fn members<'b>(&mut self, decoding: &mut Decoding<'a, 'b>) -> Parsed<Split<'a, 'b>> {
        if !decoding.modifiers.flag("sync") {
            return Ok((decoding.operands, None));
        }
        match decoding.operands {
            [rest @ .., members] => {
                let members = self.source(members, Type::B32)?;
                Ok((rest, Some(members)))
            }
            [] => decoding.modifiers.error("the member mask is missing"),
        }
    }

    fn shuffle(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let (operands, members) = self.members(decoding)?;
        let mode = decoding.modifiers.need("a mode", shuffle)?;
        decoding.modifiers.need("b32", |part| (part == "b32").then_some(()))?;
        decoding.modifiers.done()?;
        let [d, a, b, c] = operands else {
            return decoding.modifiers.error("the number of operands is wrong");
        };
        let rows = self.sources([a, b, c], Type::B32)?;
        let (d, valid) = match d {
            Operand::Pair(d, valid) => {
                let valid = self.predicate_result(&Operand::Name(valid))?;
                (self.destination(&Operand::Name(d), Type::B32)?, Some(valid))
            }
            d => (self.destination(d, Type::B32)?, None),
        };
        self.emit(Op::Shuffle { mode, d, valid, rows, members });
        Ok(())
    }

    fn vote(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let (operands, members) = self.members(decoding)?;
        let vote = decoding.modifiers.need("a mode", |part| {
            Some(match part {
                "all" => Some(Vote::All),
                "any" => Some(Vote::Any),
                "uni" => Some(Vote::Uniform),
                "ballot" => None,
                _ => return None,
            })
        })?;
        let expected = if vote.is_some() { "pred" } else { "b32" };
        decoding.modifiers.need(expected, |part| (part == expected).then_some(()))?;
        decoding.modifiers.done()?;
        let [d, a] = operands else {
            return decoding.modifiers.error("the number of operands is wrong");
        };
        let a = self.predicate(a)?;
        let op = match vote {
            Some(vote) => Op::Vote { vote, d: self.predicate_result(d)?, a, members },
            None => Op::Ballot { d: self.destination(d, Type::B32)?, a, members },
        };
        self.emit(op);
        Ok(())
    }

    fn matching(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let (operands, members) = self.members(decoding)?;
        let all = decoding.modifiers.flag("all");
        if !all {
            decoding.modifiers.need("any or all", |part| (part == "any").then_some(()))?;
        }
        let ty = decoding.modifiers.ty()?;
        decoding.modifiers.done()?;
        let ([d, a], Some(members)) = (operands, members) else {
            return decoding.modifiers.error("the number of operands is wrong");
        };
        if ty.bytes() < 4 {
            return decoding.modifiers.error("the type is not supported");
        }
        let (size, a) = (size(ty), self.source(a, ty)?);
        let op = match d {
            Operand::Pair(d, same) if all => {
                let same = Some(self.predicate_result(&Operand::Name(same))?);
                let d = self.destination(&Operand::Name(d), Type::B32)?;
                Op::MatchAll { size, d, all: same, a, members }
            }
            d if all => {
                Op::MatchAll { size, d: self.destination(d, Type::B32)?, all: None, a, members }
            }
            d => Op::MatchAny { size, d: self.destination(d, Type::B32)?, a, members },
        };
        self.emit(op);
        Ok(())
    }

    fn reduce(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let (operands, members) = self.members(decoding)?;
        let operation = decoding.modifiers.need("an operation", reduction)?;
        let ty = decoding.modifiers.ty()?;
        decoding.modifiers.done()?;
        let ([d, a], Some(members)) = (operands, members) else {
            return decoding.modifiers.error("the number of operands is wrong");
        };
        let kind = match ty {
            Type::S32 => Kind::S32,
            Type::U32 | Type::B32 => Kind::U32,
            _ => return decoding.modifiers.error("the type is not supported"),
        };
        let a = self.source(a, ty)?;
        let d = self.destination(d, ty)?;
        self.emit(Op::ReduceLanes { what: (operation, kind), d, a, members });
        Ok(())
    }

    /// `bar`, of a warp or of a block, and its newer name `barrier`.
    fn barrier(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let modifiers = &mut decoding.modifiers;
        if modifiers.flag("warp") {
            modifiers.flag("sync");
            let [members] = decoding.take()?;
            let members = self.source(members, Type::B32)?;
            self.emit(Op::WarpBarrier { members });
            return Ok(());
        }
        modifiers.flag("cta");
        modifiers.flag("aligned");
        if modifiers.flag("red") {
            return self.reducing_barrier(decoding);
        }
        let arrives = modifiers.flag("arrive");
        if !arrives {
            modifiers.need("sync", |part| (part == "sync").then_some(()))?;
        }
        modifiers.done()?;
        let barrier = if arrives { Barrier::Arrive } else { Barrier::Wait };
        self.place(barrier, decoding.operands)
    }

    fn reducing_barrier(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let modifiers = &mut decoding.modifiers;
        let counts = modifiers.flag("popc");
        let any = modifiers.flag("or");
        if !counts && !any {
            modifiers.need("popc, and, or", |part| (part == "and").then_some(()))?;
        }
        modifiers.ty()?;
        modifiers.done()?;
        let [result, place @ .., of] = decoding.operands else {
            return modifiers.error("the number of operands is wrong");
        };
        let of = self.predicate(of)?;
        let barrier = if counts {
            Barrier::Count { result: self.destination(result, Type::U32)?, of }
        } else {
            Barrier::Reduce { result: self.predicate_result(result)?, of, any }
        };
        self.place(barrier, place)
    }

    /// The barrier's number, and how many threads it waits for.
    fn place(&mut self, barrier: Barrier, operands: &[Operand<'a>]) -> Parsed<()> {
        let (number, threads) = match operands {
            [number] => (number, None),
            [number, threads] => (number, Some(self.source(threads, Type::U32)?)),
            _ => return self.error("a barrier has a number, and may have a count of threads"),
        };
        let number = self.source(number, Type::U32)?;
        self.emit(Op::Barrier { barrier, number, threads });
        Ok(())
    }
}
