//! Loaded modules and their functions.
//!
//! | part | role |
//! |---|---|
//! | `load` | PTX to a module with its variables in device memory |
//! | `function` | a kernel's attributes |
//! | `launch` | one launch: its geometry, its arguments, and what carries it out |

pub(crate) mod function;
pub(crate) mod launch;
pub(crate) mod load;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) use function::Function;

use crate::jit::Entry;
use crate::sim::program::Program;

/// A module of one context.
pub(crate) struct Module {
    pub(crate) handle: u64,
    pub(crate) program: Arc<Program>,
    pub(crate) entries: HashMap<String, Arc<Entry>>,
    /// The variables, with their addresses and sizes.
    pub(crate) globals: HashMap<String, (u64, u64)>,
    /// The handles of functions that have been asked for, by name.
    pub(crate) functions: Mutex<HashMap<String, u64>>,
}
