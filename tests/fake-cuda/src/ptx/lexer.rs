//! PTX text to tokens, without comments and white space.

use super::{Number, Parsed, PtxError};

/// One token and the line that it is on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) line: u32,
    pub(crate) kind: Kind<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind<'a> {
    /// A name, a directive (`.reg`) or a whole opcode (`ld.global.u32`): dots are part of it.
    Word(&'a str),
    Number(Number),
    Text(&'a str),
    Mark(char),
    End,
}

/// All tokens of `text`, with a [`Kind::End`] at the end.
pub(crate) fn tokens(text: &str) -> Parsed<Vec<Token<'_>>> {
    let mut lexer = Lexer { rest: text, line: 1 };
    let mut tokens = Vec::with_capacity(text.len() / 4);
    loop {
        let token = lexer.next()?;
        tokens.push(token);
        if token.kind == Kind::End {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    rest: &'a str,
    line: u32,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Parsed<Token<'a>> {
        self.skip_blanks()?;
        let line = self.line;
        let kind = match self.rest.as_bytes() {
            [] => Kind::End,
            [b'"', ..] => self.quoted()?,
            [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => self.number()?,
            [first, ..] if is_word(*first) || *first == b'.' => Kind::Word(self.word()),
            [first, ..] if b"()[]{}<>,;:+-*/!@|=~&^".contains(first) => {
                Kind::Mark(char::from(self.take(1).as_bytes()[0]))
            }
            _ => {
                let stray = self.rest.chars().next().unwrap_or_default();
                return Err(PtxError::new(line, format!("unexpected character {stray:?}")));
            }
        };
        Ok(Token { line, kind })
    }

    /// The next `count` bytes; the line number follows.
    fn take(&mut self, count: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(count);
        let breaks = taken.bytes().filter(|byte| *byte == b'\n').count();
        self.line += u32::try_from(breaks).unwrap_or(u32::MAX);
        self.rest = rest;
        taken
    }

    fn skip_blanks(&mut self) -> Parsed<()> {
        loop {
            let blanks = self.rest.len() - self.rest.trim_start().len();
            self.take(blanks);
            if self.rest.starts_with("//") {
                self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                let end = self.rest.find("*/");
                let end =
                    end.ok_or_else(|| PtxError::new(self.line, "a comment has no end"))?;
                self.take(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    fn quoted(&mut self) -> Parsed<Kind<'a>> {
        let end = self.rest[1..].find('"');
        let end = end.ok_or_else(|| PtxError::new(self.line, "a string has no end"))?;
        let text = self.take(end + 2);
        Ok(Kind::Text(&text[1..=end]))
    }

    fn number(&mut self) -> Parsed<Kind<'a>> {
        let bytes = self.rest.as_bytes();
        let signed_exponent = |at: usize| {
            matches!(bytes[at], b'+' | b'-')
                && matches!(bytes[at - 1], b'e' | b'E')
                && !self.rest.starts_with("0x")
        };
        let end = (1..bytes.len())
            .find(|&at| {
                !(bytes[at].is_ascii_alphanumeric() || bytes[at] == b'.' || signed_exponent(at))
            })
            .unwrap_or(bytes.len());
        let text = self.take(end);
        let number = Number::parse(text);
        number
            .map(Kind::Number)
            .ok_or_else(|| PtxError::new(self.line, format!("{text} is not a number")))
    }

    fn word(&mut self) -> &'a str {
        let bytes = self.rest.as_bytes();
        let mut end = 1;
        while end < bytes.len() {
            if is_word(bytes[end]) || bytes[end] == b'.' {
                end += 1;
            } else if bytes[end..].starts_with(b"::") {
                end += 2;
            } else {
                break;
            }
        }
        self.take(end)
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind<'_>> {
        tokens(text).unwrap().into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn an_instruction() {
        let number = Kind::Number(Number::Integer(4));
        assert_eq!(
            kinds("@!%p1 ld.global.v2.f32 {%f1,_}, [%rd1+-4]; // why"),
            [
                Kind::Mark('@'),
                Kind::Mark('!'),
                Kind::Word("%p1"),
                Kind::Word("ld.global.v2.f32"),
                Kind::Mark('{'),
                Kind::Word("%f1"),
                Kind::Mark(','),
                Kind::Word("_"),
                Kind::Mark('}'),
                Kind::Mark(','),
                Kind::Mark('['),
                Kind::Word("%rd1"),
                Kind::Mark('+'),
                Kind::Mark('-'),
                number,
                Kind::Mark(']'),
                Kind::Mark(';'),
                Kind::End,
            ]
        );
    }

    #[test]
    fn labels_directives_and_scoped_modifiers() {
        assert_eq!(
            kinds("$L__BB0_2: .version 7.8\nld.global.L1::no_allocate.u8"),
            [
                Kind::Word("$L__BB0_2"),
                Kind::Mark(':'),
                Kind::Word(".version"),
                Kind::Number(Number::Double(7.8f64.to_bits())),
                Kind::Word("ld.global.L1::no_allocate.u8"),
                Kind::End,
            ]
        );
    }

    #[test]
    fn lines_are_counted_through_comments() {
        let text = "a /* one\n two */ b\n// c\n d \"e\"";
        let lines: Vec<_> = tokens(text).unwrap().iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 2, 4, 4, 4]);
    }

    #[test]
    fn what_is_malformed_is_named_with_its_line() {
        for (text, line, part) in
            [("a\n`", 2, "'`'"), ("\"a", 1, "no end"), ("/* a", 1, "no end"), ("0xZZ", 1, "0xZZ")]
        {
            let error = tokens(text).unwrap_err();
            assert_eq!(error.line, line);
            assert!(error.reason.contains(part), "{error}");
        }
    }
}
