//! One launch: what it is checked for, and what carries it out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::Function;
use crate::code::{Answer, Code};
use crate::control::kernels::{self, Body};
use crate::control::{config, faults, gates, log};
use crate::device::attributes::{BLOCK_THREADS, MULTIPROCESSORS, SHARED_BYTES_ASKED};
use crate::device::context::Context;
use crate::sim::{self, Fault, Limits};
use crate::stream::{Busy, Stream};

/// The size of a launch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) shared: u32,
}

impl Geometry {
    /// What the driver refuses at the call.
    pub(crate) fn check(&self, function: &Function) -> Answer {
        let threads: u64 = self.block.iter().map(|size| u64::from(*size)).product();
        let fits = |sizes: [u32; 3], most: [u32; 3]| {
            sizes.iter().zip(most).all(|(size, most)| (1..=most).contains(size))
        };
        let grid = fits(self.grid, [i32::MAX as u32, 65_535, 65_535]);
        let block = fits(self.block, [BLOCK_THREADS, BLOCK_THREADS, 64]);
        if !grid || !block || threads > BLOCK_THREADS.into() {
            return Err(Code::INVALID_VALUE);
        }
        if self.shared > function.most_dynamic_shared() {
            return Err(Code::INVALID_VALUE);
        }
        let required = function.entry.bounds.required_threads;
        let exact = required == [0; 3] || required == self.block;
        let shared = u64::from(function.entry.static_shared) + u64::from(self.shared);
        if threads > function.most_threads().into() || !exact || shared > SHARED_BYTES_ASKED.into() {
            return Err(Code::LAUNCH_OUT_OF_RESOURCES);
        }
        Ok(())
    }

    /// What a cooperative launch is refused for as well: its blocks must all run at once.
    pub(crate) fn check_cooperative(&self, function: &Function) -> Answer {
        let blocks: u64 = self.grid.iter().map(|size| u64::from(*size)).product();
        let threads = self.block.iter().product();
        let each = function.blocks_per_multiprocessor(threads, self.shared.into());
        let most = (u64::from(each) * MULTIPROCESSORS as u64).min(sim::RESIDENT as u64);
        if blocks > most { Err(Code::COOPERATIVE_LAUNCH_TOO_LARGE) } else { Ok(()) }
    }
}

/// A launch that can be carried out, once or many times.
pub(crate) struct Prepared {
    function: Arc<Function>,
    geometry: Geometry,
    /// All parameters, laid out as the kernel declares them.
    parameters: Vec<u8>,
    /// What runs in the place of the PTX.
    body: Option<Body>,
}

impl Prepared {
    pub(crate) fn new(
        context: &Context,
        function: Arc<Function>,
        geometry: Geometry,
        parameters: Vec<u8>,
    ) -> Answer<Self> {
        geometry.check(&function)?;
        let body = kernels::find(&function.entry.name, context.device.ordinal);
        if let (None, Some(refusal)) = (&body, &function.entry.refusal) {
            log::verbose(format_args!("{}: {refusal}", function.entry.name));
            return Err(Code::INVALID_PTX);
        }
        Ok(Self { function, geometry, parameters, body })
    }

    /// The code with which this launch is to fail, if a test wants it to.
    pub(crate) fn fault(&self, context: &Context) -> Option<Code> {
        faults::at_launch(&self.function.entry.name, context.device.ordinal)
    }

    /// Carries it out, on the thread of its stream.
    pub(crate) fn run(&self, stream: &Stream, fault: Option<Code>) -> Answer {
        let (context, name) = (&stream.context, &self.function.entry.name);
        *context.device.launches.lock().entry(name.clone()).or_insert(0) += 1;
        gates::meet(name, context);
        if let Some(code) = fault {
            log::verbose(format_args!("{name}: injected fault {}", code.0));
            return Err(code);
        }
        if context.is_destroyed() {
            return Err(Code::CONTEXT_IS_DESTROYED);
        }
        match &self.body {
            Some(body) => {
                stream.set_busy(Busy::Host);
                self.call(body, context)
            }
            None => self.interpret(context),
        }
    }

    fn call(&self, body: &Body, context: &Arc<Context>) -> Answer {
        let slots = self.function.entry.parameters.iter();
        let argument = |slot: &sim::program::Slot| {
            let start = slot.offset as usize;
            self.parameters[start..start + slot.bytes as usize].to_vec()
        };
        let launch = kernels::Launch {
            name: self.function.entry.name.clone(),
            device: context.device.ordinal,
            grid: self.geometry.grid,
            block: self.geometry.block,
            shared_bytes: self.geometry.shared,
            arguments: slots.map(argument).collect(),
            context: Arc::clone(context),
            held: Mutex::default(),
        };
        body(&launch).map_err(Code)
    }

    fn interpret(&self, context: &Arc<Context>) -> Answer {
        let entry = &self.function.entry;
        let launch = sim::Launch {
            program: Arc::clone(&self.function.program),
            entry: entry.number,
            grid: self.geometry.grid,
            block: self.geometry.block,
            parameters: self.parameters.clone(),
            static_shared: entry.static_shared,
            dynamic_shared: self.geometry.shared,
            number: context.device.launch_number.fetch_add(1, Ordering::Relaxed),
        };
        let limits =
            Limits { stop: context.destroyed(), instructions: config::instruction_limit() };
        match sim::run(&launch, &**context, &limits) {
            Ok(_) => Ok(()),
            Err(crash) => {
                if crash.fault != Fault::Stopped {
                    log::verbose(&crash);
                }
                Err(crash.fault.code())
            }
        }
    }
}
