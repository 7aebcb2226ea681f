//! Devices. Each is a world of its own: contexts, memory, streams and faults are per device.

pub(crate) mod attributes;
pub(crate) mod context;
pub(crate) mod current;
pub(crate) mod handle;
pub(crate) mod stale;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::code::{Answer, Code};
use crate::control::config::{self, Config};
use crate::entry::ENTRY_POINTS;
use crate::memory::budget::Budget;
use crate::memory::physical::Physical;
use crate::memory::pool::Pool;
use crate::memory::space::{Addresses, Space};
use context::Context;
use handle::{Kind, Table};
use stale::Generation;

pub(crate) struct Device {
    pub(crate) ordinal: usize,
    pub(crate) budget: Arc<Budget>,
    pub(crate) addresses: Addresses,
    pub(crate) pools: Pools,
    /// Calls of each entry point that concerned the device.
    pub(crate) calls: Vec<AtomicU64>,
    /// Launches of each kernel.
    pub(crate) launches: Mutex<BTreeMap<String, u64>>,
    pub(crate) launch_number: AtomicU32,
    pub(crate) generation: Generation,
    /// Memory of `cuMemCreate`: it outlives the context, as what is mapped does.
    pub(crate) physical: Table<Physical>,
    /// Reserved addresses and what is mapped there, while there is no context.
    pub(crate) kept: Mutex<Space>,
    primary: Mutex<Primary>,
}

#[derive(Default)]
struct Primary {
    retained: u32,
    flags: u32,
    context: Option<Arc<Context>>,
}

/// The memory pools of a device.
pub(crate) struct Pools {
    pub(crate) table: Table<Pool>,
    /// The handle of the pool that the device was made with.
    pub(crate) default: u64,
    /// The one that `cuMemAllocAsync` allocates from.
    pub(crate) current: AtomicU64,
}

static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Makes the devices, if there are none yet.
pub(crate) fn configure(config: &Config) -> bool {
    let make = |ordinal| Device::new(ordinal, config.memory_bytes);
    let first = std::cell::Cell::new(false);
    DEVICES.get_or_init(|| {
        first.set(true);
        (0..config.devices.min(MOST)).map(make).collect()
    });
    first.get()
}

/// The most devices that addresses and handles have room for.
const MOST: usize = 1024;

/// All devices; made as the environment says if nobody has configured them.
pub(crate) fn all() -> &'static [Device] {
    if DEVICES.get().is_none() {
        configure(&config::from_environment());
    }
    DEVICES.get().map_or(&[], Vec::as_slice)
}

pub(crate) fn find(ordinal: usize) -> Option<&'static Device> {
    all().get(ordinal)
}

/// What `cuInit` does.
pub(crate) fn initialise() -> Answer {
    if all().is_empty() {
        return Err(Code::NO_DEVICE);
    }
    INITIALISED.store(true, Ordering::Release);
    Ok(())
}

pub(crate) fn initialised() -> Answer {
    if INITIALISED.load(Ordering::Acquire) { Ok(()) } else { Err(Code::NOT_INITIALIZED) }
}

impl Device {
    fn new(ordinal: usize, capacity: u64) -> Self {
        let budget = Budget::new(capacity);
        let table = Table::new(Kind::Pool, ordinal);
        let default = Pool::new(&budget, ordinal).map_or(0, |pool| table.add(pool));
        Self {
            ordinal,
            budget,
            addresses: Addresses::of(ordinal),
            pools: Pools { table, default, current: AtomicU64::new(default) },
            calls: ENTRY_POINTS.iter().map(|_| AtomicU64::new(0)).collect(),
            launches: Mutex::default(),
            launch_number: AtomicU32::new(0),
            generation: Generation::default(),
            physical: Table::new(Kind::Physical, ordinal),
            kept: Mutex::default(),
            primary: Mutex::default(),
        }
    }

    /// The handle of the primary context: always the same.
    pub(crate) fn context_handle(&self) -> u64 {
        handle::value(Kind::Context, self.ordinal, 1)
    }

    /// The primary context, if it is active.
    pub(crate) fn context(&self) -> Option<Arc<Context>> {
        self.primary.lock().context.clone()
    }

    pub(crate) fn retain(&'static self) {
        let mut primary = self.primary.lock();
        primary.retained += 1;
        if primary.context.is_none() {
            self.generation.begin(&self.addresses);
            primary.context = Some(Context::new(self));
        }
    }

    /// Lets go of the context, which ends with the last who retained it.
    pub(crate) fn release(&self) -> Answer {
        let mut primary = self.primary.lock();
        primary.retained = primary.retained.checked_sub(1).ok_or(Code::INVALID_CONTEXT)?;
        let last = primary.retained == 0;
        drop(primary);
        if last {
            self.reset();
        }
        Ok(())
    }

    /// Ends the context under all who retain it. It begins anew at the next retain.
    pub(crate) fn reset(&self) {
        let mut primary = self.primary.lock();
        let context = primary.context.take();
        self.generation.end();
        drop(primary);
        if let Some(context) = context {
            self.end(&context);
        }
    }

    /// As if nothing had ever retained it: for a test that is over.
    pub(crate) fn abandon(&self) {
        {
            let mut primary = self.primary.lock();
            (primary.retained, primary.flags) = (0, 0);
        }
        self.reset();
        self.physical.clear();
        drop(std::mem::take(&mut *self.kept.lock()));
        self.budget.occupy(0);
        self.budget.reset_peak();
        self.calls.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        self.launches.lock().clear();
        self.generation.forget();
    }

    fn end(&self, context: &Context) {
        *self.kept.lock() = context.destroy();
        self.pools.table.retain(|_| false);
        if let Ok(pool) = Pool::new(&self.budget, self.ordinal) {
            self.pools.table.insert(self.pools.default, Arc::new(pool));
        }
        self.pools.current.store(self.pools.default, Ordering::Release);
    }

    /// The flags of the primary context, and whether it is active; how often it is retained.
    pub(crate) fn state(&self) -> (u32, bool, u32) {
        let primary = self.primary.lock();
        (primary.flags, primary.context.is_some(), primary.retained)
    }

    pub(crate) fn set_flags(&self, flags: u32) {
        self.primary.lock().flags = flags;
    }

    /// What every synchronisation does to the pools.
    pub(crate) fn trim_pools(&self) {
        for pool in self.pools.table.all() {
            pool.trim_to_threshold();
        }
    }

    /// A pool, by its handle.
    pub(crate) fn pool(&self, handle: u64) -> Answer<Arc<Pool>> {
        self.pools.table.get(handle)
    }
}
