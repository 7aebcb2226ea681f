//! PTX to code that the interpreter runs: what a device's just-in-time compiler is to a driver.
//!
//! Loading a module has two steps, because its code contains the addresses of its variables:
//! [`Unit::parse`] reads the text and says which variables there are, and [`Unit::compile`] makes
//! the code when they have their places. An instruction that is not supported is an error of the
//! function that it is in, with its line: nothing is left out in silence.

mod accesses;
mod assembler;
mod comparisons;
mod control;
mod decode;
mod floats;
mod function;
mod integers;
mod lanes;
mod layout;
mod modifiers;
mod moves;
mod operands;
mod scope;
mod special;

use std::collections::HashMap;

use crate::code::Code;
use crate::ptx::{self, Bounds, PtxError};
use crate::sim::function_address;
use crate::sim::program::{self, Program, Slot};
use assembler::{Functions, Known};
use function::Around;
pub(crate) use layout::Global;
use layout::Shared;
use scope::Symbol;

/// The newest PTX that the driver's compiler takes: that of CUDA 12.4.
const NEWEST: (u32, u32) = (8, 4);
/// The device's architecture; code for a newer one is refused.
const ARCHITECTURE: u32 = 80;

/// A PTX text that has been read.
pub(crate) struct Unit<'a> {
    module: ptx::Module<'a>,
}

/// Why a text was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) log: String,
}

impl From<PtxError> for Refusal {
    fn from(error: PtxError) -> Self {
        Self { code: Code::INVALID_PTX, log: error.to_string() }
    }
}

/// A kernel, as launches see it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Its number in the program.
    pub(crate) number: usize,
    pub(crate) parameters: Vec<Slot>,
    pub(crate) parameter_bytes: u32,
    pub(crate) static_shared: u32,
    pub(crate) local_bytes: u32,
    pub(crate) registers: u32,
    pub(crate) bounds: Bounds,
    /// Why it cannot be interpreted, if it cannot.
    pub(crate) refusal: Option<String>,
}

/// A module's code.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) program: Program,
    pub(crate) entries: Vec<Entry>,
}

impl<'a> Unit<'a> {
    /// Reads `text`.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        let module = ptx::parse(text)?;
        let (major, minor) = module.version;
        if module.version > NEWEST {
            let log = format!("Unsupported .version {major}.{minor}; current version is '8.4'");
            return Err(Refusal { code: Code::UNSUPPORTED_PTX_VERSION, log });
        }
        let architecture: String = module
            .target
            .strip_prefix("sm_")
            .unwrap_or_default()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        if architecture.parse().is_ok_and(|number: u32| number <= ARCHITECTURE) {
            return Ok(Self { module });
        }
        let log = format!(".target {} is not one that a device of sm_80 runs", module.target);
        Err(Refusal { code: Code::INVALID_PTX, log })
    }

    /// The module's variables in device memory, which need a place before it can be compiled.
    pub(crate) fn globals(&self) -> Vec<Global> {
        let globals = self.module.variables.iter().filter(|variable| layout::is_global(variable));
        globals
            .map(|variable| Global { name: variable.name.into(), bytes: variable.bytes() })
            .collect()
    }

    /// The code, with the variables (those of [`globals`](Self::globals), in that order) at
    /// `places`; and the first contents of each.
    ///
    /// A kernel that cannot be compiled is an error, unless `excused` says that it need not be.
    pub(crate) fn compile(
        &self,
        places: &[u64],
        excused: impl Fn(&str) -> bool,
    ) -> Result<(Compiled, Vec<Vec<u8>>), Refusal> {
        let functions = self.functions();
        let addresses = self.addresses(places, &functions);
        let mut images = Vec::new();
        for variable in self.module.variables.iter().filter(|v| layout::is_global(v)) {
            if variable.external {
                let reason = format!("`{}` is defined nowhere", variable.name);
                return Err(PtxError::new(variable.line, reason).into());
            }
            images.push(layout::image(variable, &addresses)?);
        }
        let mut shared = Shared::default();
        let mut symbols: Vec<(&str, Symbol)> =
            addresses.iter().map(|(name, address)| (*name, Symbol::Address(*address))).collect();
        for variable in &self.module.variables {
            if variable.space == Some(ptx::Space::Shared) {
                symbols.push((variable.name, shared.place(variable)));
            }
        }
        let around = Around { functions: &functions, symbols: &symbols, shared };
        Ok((self.code(around, excused)?, images))
    }

    /// The functions that have a body, numbered in order.
    fn functions(&self) -> Functions<'a> {
        let bodies = self.module.functions.iter().filter(|function| function.body.is_some());
        let sizes = |variables: &[ptx::Variable<'_>]| {
            variables.iter().map(|variable| variable.bytes() as u32).collect()
        };
        let known = bodies.enumerate().map(|(number, function)| {
            let sizes = (sizes(&function.parameters), sizes(&function.returns));
            (function.name, Known { number, sizes })
        });
        known.collect()
    }

    fn addresses(&self, places: &[u64], functions: &Functions<'a>) -> HashMap<&'a str, u64> {
        let globals = self.module.variables.iter().filter(|variable| layout::is_global(variable));
        let globals = globals.zip(places).map(|(variable, place)| (variable.name, *place));
        let functions =
            functions.iter().map(|(name, known)| (*name, function_address(known.number)));
        globals.chain(functions).collect()
    }

    /// Device functions come first: their shared variables lie below those of every kernel, which may
    /// call them.
    fn code(
        &self,
        mut around: Around<'a, '_>,
        excused: impl Fn(&str) -> bool,
    ) -> Result<Compiled, Refusal> {
        let bodies = self.module.functions.iter().filter(|function| function.body.is_some());
        let (mut codes, mut entries) = (vec![], vec![]);
        codes.resize_with(bodies.clone().count(), program::Function::default);
        for (number, function) in bodies.clone().enumerate().filter(|(_, f)| !f.is_entry) {
            (codes[number], around.shared) = function::compile(function, around)?;
        }
        for (number, function) in bodies.enumerate().filter(|(_, f)| f.is_entry) {
            let compiled = function::compile(function, around);
            let (code, shared, refusal) = match compiled {
                Ok((code, shared)) => (code, shared.used(), None),
                Err(error) if excused(function.name) => {
                    (program::Function::default(), 0, Some(error.to_string()))
                }
                Err(error) => return Err(error.into()),
            };
            entries.push(entry(function, (number, &code), shared, refusal));
            codes[number] = code;
        }
        Ok(Compiled { program: Program { functions: codes }, entries })
    }
}

fn entry(
    function: &ptx::Function<'_>,
    (number, code): (usize, &program::Function),
    static_shared: u32,
    refusal: Option<String>,
) -> Entry {
    let slots = layout::parameters(&function.parameters);
    let parameters: Vec<Slot> = slots.into_iter().map(|(_, slot)| slot).collect();
    let rows = code.rows;
    // (as many as a compiler that shares registers would need, roughly)
    let registers = u32::from(rows.words) + 2 * u32::from(rows.longs);
    Entry {
        name: function.name.into(),
        number,
        parameter_bytes: parameters.last().map_or(0, |slot| slot.offset + slot.bytes),
        parameters,
        static_shared,
        local_bytes: code.frame_bytes,
        registers: (registers / 2).clamp(16, 64),
        bounds: function.bounds,
        refusal,
    }
}
