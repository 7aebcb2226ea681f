//! Tokens to a tree: the bodies of functions.

use super::lexer::Kind;
use super::parser::Parser;
use super::{Guard, Instruction, Operand, Parsed, Statement};

impl<'a> Parser<'a> {
    /// A function's body, with its braces.
    pub(super) fn body(&mut self) -> Parsed<Vec<Statement<'a>>> {
        self.expect('{')?;
        let (mut statements, mut depth) = (Vec::new(), 1);
        while depth > 0 {
            if self.accept('}') {
                depth -= 1;
                statements.push(Statement::Close);
            } else if self.accept('{') {
                depth += 1;
                statements.push(Statement::Open);
            } else {
                self.statement(&mut statements)?;
            }
        }
        statements.pop();
        Ok(statements)
    }

    fn statement(&mut self, to: &mut Vec<Statement<'a>>) -> Parsed<()> {
        match self.peek() {
            Kind::Word(".reg") => to.push(self.registers()?),
            Kind::Word(".loc" | ".file") => self.skip_line(),
            Kind::Word(".pragma") => self.pragma()?,
            Kind::Word(word) if word.starts_with('.') => {
                to.extend(self.variables()?.into_iter().map(Statement::Variable));
            }
            Kind::Word(name) if self.peek_second() == Kind::Mark(':') => {
                self.next();
                self.next();
                to.push(self.labelled(name)?);
            }
            Kind::Mark(';') => {
                self.next();
            }
            _ => to.push(Statement::Instruction(self.instruction()?)),
        }
        Ok(())
    }

    /// What a label stands for: a place, or a table.
    fn labelled(&mut self, name: &'a str) -> Parsed<Statement<'a>> {
        if self.accept_word(".callprototype") {
            self.parameters()?;
            self.word()?;
            self.parameters()?;
            self.accept_word(".noreturn");
            self.expect(';')?;
            return Ok(Statement::Prototype);
        }
        if self.accept_word(".branchtargets") {
            let labels = self.list(';', Self::word)?;
            return Ok(Statement::Targets { name, labels });
        }
        Ok(Statement::Label(name))
    }

    fn registers(&mut self) -> Parsed<Statement<'a>> {
        self.next();
        let word = self.word()?;
        let ty = self.ty(word.trim_start_matches('.'))?;
        let names = self.list(';', |parser| {
            let name = parser.word()?;
            if !parser.accept('<') {
                return Ok((name, None));
            }
            let count = parser.integer()?;
            parser.expect('>')?;
            Ok((name, Some(u32::try_from(count).unwrap_or(u32::MAX))))
        })?;
        Ok(Statement::Registers { ty, names })
    }

    fn instruction(&mut self) -> Parsed<Instruction<'a>> {
        let guard = if self.accept('@') {
            let negated = self.accept('!');
            Some(Guard { predicate: self.word()?, negated })
        } else {
            None
        };
        let line = self.line();
        let opcode = self.word()?;
        let operands = self.list(';', Self::operand)?;
        Ok(Instruction { line, guard, opcode, operands })
    }

    fn operand(&mut self) -> Parsed<Operand<'a>> {
        match self.peek() {
            Kind::Mark('{') => {
                self.next();
                self.list('}', Self::operand).map(Operand::Vector)
            }
            Kind::Mark('(') => {
                self.next();
                self.list(')', Self::operand).map(Operand::List)
            }
            Kind::Mark('[') => {
                self.next();
                self.address()
            }
            Kind::Mark('!') => {
                self.next();
                self.word().map(Operand::Not)
            }
            Kind::Word(name) => {
                self.next();
                self.named(name)
            }
            _ => self.number().map(Operand::Number),
        }
    }

    fn named(&mut self, name: &'a str) -> Parsed<Operand<'a>> {
        if self.accept('|') {
            return Ok(Operand::Pair(name, self.word()?));
        }
        Ok(match self.offset()? {
            0 => Operand::Name(name),
            offset => Operand::Offset(name, offset),
        })
    }

    /// The inside of `[…]`, with its end.
    fn address(&mut self) -> Parsed<Operand<'a>> {
        let operand = match self.peek() {
            Kind::Word(name) => {
                self.next();
                Operand::Address(Some(name), self.offset()?)
            }
            _ => Operand::Address(None, self.integer()?.cast_signed()),
        };
        self.expect(']')?;
        Ok(operand)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Initial, Number, Space, Type, parse};
    use super::*;

    const TEXT: &str = r#"
.version 7.8
.target sm_50, debug
.address_size 64
.file 1 "a.cu"
.extern .shared .align 16 .b8 dynamic[];
.visible .const .align 4 .b8 c[4] = {0, 0, 128, 63};
.global .align 8 .u64 where = generic(c)+8;
.func (.param .b32 r) f (.param .b64 p) ;
.visible .entry k(
    .param .u64 .ptr .global .align 4 k_param_0,
    .param .align 8 .b8 k_param_1[24]
)
.maxntid 256, 1, 1
{
    .local .align 8 .b8 depot[16];
    .reg .pred %p<3>;
    .loc 1 3 5
    .pragma "nounroll";
$L: @!%p1 bra $L;
    { .reg .b32 %t; mov.b64 {%t, _}, %rd1; }
    proto : .callprototype (.param .b32 _) _ (.param .b64 _);
    call (r0), %rd1, (p0, 4), proto;
    ts: .branchtargets A, B;
    ld.global.u32 %r1, [%rd1+-4];
    ret;
}
.section .debug_str { .b8 0 }
"#;

    #[test]
    fn a_module_with_everything() {
        let module = parse(TEXT).unwrap();
        assert_eq!((module.version, module.target), ((7, 8), "sm_50"));
        let [dynamic, c, place] = &module.variables[..] else { panic!("three variables") };
        assert!(dynamic.external && dynamic.bytes() == 0 && dynamic.align == 16);
        assert_eq!((c.space, c.bytes(), c.initial.len()), (Some(Space::Const), 4, 4));
        let address = Initial::Address { name: "c", offset: 8, generic: true };
        assert_eq!(place.initial, [address]);
        let [declared, kernel] = &module.functions[..] else { panic!("two functions") };
        assert!(declared.body.is_none() && declared.returns.len() == 1);
        assert!(kernel.is_entry);
        assert_eq!(kernel.bounds.max_threads, [256, 1, 1]);
        let sizes: Vec<_> = kernel.parameters.iter().map(|p| (p.bytes(), p.align)).collect();
        assert_eq!(sizes, [(8, 8), (24, 8)]);
    }

    #[test]
    fn a_body_with_everything() {
        let module = parse(TEXT).unwrap();
        let body = module.functions[1].body.as_ref().unwrap();
        let instructions: Vec<_> = body
            .iter()
            .filter_map(|statement| match statement {
                Statement::Instruction(instruction) => Some(instruction),
                _ => None,
            })
            .collect();
        let opcodes: Vec<_> = instructions.iter().map(|instruction| instruction.opcode).collect();
        assert_eq!(opcodes, ["bra", "mov.b64", "call", "ld.global.u32", "ret"]);
        assert!(instructions[0].guard.unwrap().negated);
        let list = Operand::List(vec![
            Operand::Name("p0"),
            Operand::Number(Number::Integer(4)),
        ]);
        assert_eq!(instructions[2].operands[2], list);
        assert_eq!(instructions[3].operands[1], Operand::Address(Some("%rd1"), -4));
        assert!(matches!(&body[1], Statement::Registers { ty: Type::Pred, .. }));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let wrong = [
            ("", "`.version`"),
            ("hello", "a state space"),
            (".version 6.0", "`.target`"),
            (".version 6.0\n.target sm_50\n.address_size 32", "address_size 32"),
            (".version 6.0\n.target sm_50\n.entry k() { add.s32 %r1 %r2; }", "`,`"),
            (".version 6.0\n.target sm_50\n.entry k() { .reg .v4 .f32 x; }", ".v4"),
            (".version 6.0\n.target sm_50\n.entry k() {", "a name"),
        ];
        for (text, part) in wrong {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }
}
