//! The parts of an opcode. Each is taken by whoever knows it; what is left over is an error, so no
//! modifier is ever ignored in silence.

use crate::ptx::{Parsed, PtxError, Type};

pub(super) struct Modifiers<'a> {
    opcode: &'a str,
    line: u32,
    left: Vec<&'a str>,
}

impl<'a> Modifiers<'a> {
    /// The opcode's name, and its modifiers.
    pub(super) fn split(opcode: &'a str, line: u32) -> (&'a str, Self) {
        let mut parts = opcode.split('.');
        let name = parts.next().unwrap_or_default();
        (name, Self { opcode, line, left: parts.collect() })
    }

    pub(super) fn error<T>(&self, reason: &str) -> Parsed<T> {
        Err(PtxError::new(self.line, format!("`{}`: {reason}", self.opcode)))
    }

    /// Takes `.name` if it is there.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        self.take(|part| (part == name).then_some(())).is_some()
    }

    /// Takes the first part that `known` knows.
    pub(super) fn take<T>(&mut self, known: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (at, value) = self.left.iter().enumerate().find_map(|(i, part)| {
            let value = known(part)?;
            Some((i, value))
        })?;
        self.left.remove(at);
        Some(value)
    }

    /// As `take`, where one is needed.
    pub(super) fn need<T>(&mut self, what: &str, known: impl Fn(&str) -> Option<T>) -> Parsed<T> {
        match self.take(known) {
            Some(value) => Ok(value),
            None => self.error(&format!("{what} is missing, or not supported")),
        }
    }

    /// Takes the first type.
    pub(super) fn ty(&mut self) -> Parsed<Type> {
        self.need("a type", Type::named)
    }

    /// Takes hints that change nothing here: caching, and how often an address is used.
    pub(super) fn ignore_hints(&mut self) {
        let hint = |part: &str| {
            matches!(part, "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt" | "nc" | "weak")
                || part.starts_with("L1::")
                || part.starts_with("L2::")
        };
        self.left.retain(|part| !hint(part));
    }

    /// All parts must have been taken.
    pub(super) fn done(&self) -> Parsed<()> {
        match self.left.first() {
            None => Ok(()),
            Some(part) => self.error(&format!(".{part} is not supported")),
        }
    }

    /// Whether a part is there, left where it is.
    pub(super) fn has(&self, name: &str) -> bool {
        self.left.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_must_be_taken() {
        let (name, mut modifiers) = Modifiers::split("ld.volatile.global.L1::evict_last.u32", 7);
        assert_eq!(name, "ld");
        modifiers.ignore_hints();
        assert!(modifiers.flag("volatile") && !modifiers.flag("volatile"));
        assert_eq!(modifiers.ty().unwrap(), Type::U32);
        let error = modifiers.done().unwrap_err().to_string();
        assert!(error.contains("line 7") && error.contains(".global"), "{error}");
        assert!(modifiers.flag("global") && modifiers.done().is_ok());
    }
}
