//! What stands in for the driver.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Player;
use crate::device::MemoryInfo;
use crate::epochs::Codes;
use crate::error::RecoveryFailure;

/// A stream, a page, or addresses, with the number of its context in the upper bits.
pub(super) type Handle = u64;

/// Where the number of the context begins in a handle; below there are addresses.
const CONTEXT: u32 = 48;

const OUT_OF_MEMORY: u32 = 2;
const INVALID_HANDLE: u32 = 400;
const UNKNOWN: u32 = 999;

pub(super) const CODES: Codes = Codes { name, is_sticky };

fn is_sticky(code: u32) -> bool {
    matches!(code, 700 | 710 | 714 | 719)
}

fn name(code: u32) -> &'static str {
    match code {
        OUT_OF_MEMORY => "CUDA_ERROR_OUT_OF_MEMORY",
        INVALID_HANDLE => "CUDA_ERROR_INVALID_HANDLE",
        700 => "CUDA_ERROR_ILLEGAL_ADDRESS",
        710 => "CUDA_ERROR_ASSERT",
        714 => "CUDA_ERROR_HARDWARE_STACK_ERROR",
        719 => "CUDA_ERROR_LAUNCH_FAILED",
        _ => "CUDA_ERROR_UNKNOWN",
    }
}

pub(super) struct Driver {
    memory_bytes: u64,
    pub(super) player: Box<dyn Player>,
    state: Mutex<State>,
}

struct State {
    context: u64,
    /// The code of the error that broke the context: what each call says since.
    broken: Option<u32>,
    /// After so many calls the next one breaks it, with that code.
    breaks: Option<(u64, u32)>,
    resets_to_fail: u32,
    /// What was made in this context, with its bytes.
    made: BTreeMap<Handle, u64>,
    used: u64,
    /// The first address that nobody has had, in this context.
    next: u64,
    stale: Vec<&'static str>,
}

impl Driver {
    pub(super) fn new(memory_bytes: u64, player: Box<dyn Player>) -> Self {
        let state = State {
            context: 1,
            broken: None,
            breaks: None,
            resets_to_fail: 0,
            made: BTreeMap::new(),
            used: 0,
            next: 0,
            stale: Vec::new(),
        };
        Self { memory_bytes, player, state: Mutex::new(state) }
    }

    /// Makes something that has so many addresses and bytes; its handle, and the first of its addresses.
    pub(super) fn make(&self, addresses: u64, bytes: u64, made: &mut Handle) -> u32 {
        let mut state = self.state();
        let code = self.call_in(&mut state, "make", &[]);
        if code != 0 {
            return code;
        }
        if state.used + bytes > self.memory_bytes {
            return OUT_OF_MEMORY;
        }
        *made = state.context << CONTEXT | state.next;
        state.next += addresses.max(1);
        state.made.insert(*made, bytes);
        state.used += bytes;
        0
    }

    /// Destroys what was made.
    pub(super) fn destroy(&self, handle: Handle) -> u32 {
        let mut state = self.state();
        let code = self.call_in(&mut state, "destroy", &[handle]);
        if code != 0 {
            return code;
        }
        let Some(bytes) = state.made.remove(&handle) else { return INVALID_HANDLE };
        state.used -= bytes;
        0
    }

    /// A call that uses handles, or addresses.
    pub(super) fn call(&self, name: &'static str, uses: &[Handle]) -> u32 {
        self.call_in(&mut self.state(), name, uses)
    }

    fn call_in(&self, state: &mut State, name: &'static str, uses: &[Handle]) -> u32 {
        if uses.iter().any(|handle| handle >> CONTEXT != state.context) {
            state.stale.push(name);
            return INVALID_HANDLE;
        }
        match &mut state.breaks {
            Some((0, code)) => {
                state.broken = Some(*code);
                state.breaks = None;
                self.player.broken();
            }
            Some((calls, _)) => *calls -= 1,
            None => {}
        }
        state.broken.unwrap_or(0)
    }

    /// Ends the context and begins another.
    pub(super) fn reset(&self) -> Result<(), RecoveryFailure> {
        let mut state = self.state();
        if let Some(left) = state.resets_to_fail.checked_sub(1) {
            state.resets_to_fail = left;
            let (call, code) = ("cuDevicePrimaryCtxReset", UNKNOWN);
            return Err(RecoveryFailure::Driver { call, code, name: name(code) });
        }
        state.context += 1;
        (state.broken, state.breaks) = (None, None);
        state.made.clear();
        state.used = 0;
        state.next = 0;
        Ok(())
    }

    pub(super) fn memory_info(&self) -> MemoryInfo {
        let total = self.memory_bytes;
        MemoryInfo { free: total - self.state().used, total }
    }

    pub(super) fn break_after(&self, calls: u64, code: u32) {
        self.state().breaks = Some((calls, code));
    }

    pub(super) fn fail_resets(&self, count: u32) {
        self.state().resets_to_fail = count;
    }

    pub(super) fn stale(&self) -> Vec<&'static str> {
        self.state().stale.clone()
    }

    pub(super) fn live(&self) -> (usize, u64) {
        let state = self.state();
        (state.made.len(), state.used)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
