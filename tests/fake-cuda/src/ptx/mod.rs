//! PTX text to a tree: a lexer, a parser, and the tree itself.
//!
//! Nothing here knows what an instruction means. An instruction's opcode stays the text that it is
//! (`ld.global.v4.f32`), with its operands and its line; the module [`jit`](crate::jit) decides what
//! to make of it.

mod ast;
mod lexer;
mod literal;
mod parser;
mod statement;
mod types;

use std::fmt;

pub(crate) use ast::*;
pub(crate) use literal::Number;
pub(crate) use parser::parse;
pub(crate) use types::{Space, Type};

/// What is wrong with a PTX text, and on which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PtxError {
    pub(crate) line: u32,
    pub(crate) reason: String,
}

impl PtxError {
    pub(crate) fn new(line: u32, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }
}

impl fmt::Display for PtxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

pub(crate) type Parsed<T> = Result<T, PtxError>;
