//! Blocks out of one range of addresses: an [arena](super::arena) and the pages behind it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::arena::{Arena, Block, Geometry, NoRoom as NoFit, Provision};
use super::pool::{NoRoom, Store, StreamUse};
use super::stats::MemoryStats;
use super::{MemoryKind, RawMemory};
use crate::device::{AddressSpace, Device, Epoch};
use crate::error::{DeviceError, DeviceResult};
use crate::timeline::Timeline;

/// One range of addresses of a device, within a limit.
pub(super) struct Space {
    device: Device,
    kind: MemoryKind,
    limit: u64,
    /// Whether free pages move to where they are needed.
    remap: bool,
    geometry: Geometry,
    books: Mutex<Books>,
    /// Apart from the books, and locked before them: mapping may be slow, and only who grows or trims
    /// waits for it.
    pages: Mutex<Option<Pages>>,
}

struct Books {
    arena: Arena<StreamUse>,
    base: u64,
    epoch: Epoch,
    leases: u64,
    hits: u64,
    growths: u64,
    releases: u64,
    remaps: u64,
    forgotten: u64,
}

/// Pages of the device's current epoch.
type Pages = Box<dyn AddressSpace>;

impl Space {
    /// The addresses of a device, if it has virtual memory and so many addresses are to be had.
    pub(super) fn open(device: &Device, kind: MemoryKind, limit: u64, remap: bool) -> Option<Self> {
        let geometry = device.backend().geometry(kind, limit)?;
        let pages = device.backend().reserve(kind, geometry.span).ok()?;
        let books = Books {
            arena: Arena::new(geometry),
            base: pages.base(),
            epoch: device.epoch(),
            leases: 0,
            hits: 0,
            growths: 0,
            releases: 0,
            remaps: 0,
            forgotten: 0,
        };
        let (device, books, pages) = (device.clone(), Mutex::new(books), Mutex::new(Some(pages)));
        Some(Self { device, kind, limit, remap, geometry, books, pages })
    }

    /// How its addresses are divided.
    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Unmaps and maps as the arena says. Once a device is back, its addresses are reserved anew.
    fn carry_out(&self, pages: &mut Option<Pages>, provision: &Provision) -> DeviceResult {
        if pages.is_none() {
            let reserved = self.device.backend().reserve(self.kind, self.geometry.span)?;
            self.books().base = reserved.base();
            *pages = Some(reserved);
        }
        let pages = pages.as_mut().expect("invariant: reserved above");
        provision.unmap.iter().for_each(|run| pages.unmap(*run));
        provision.map.map_or(Ok(()), |run| pages.map(run))
    }

    fn provide(&self, bytes: usize, home: Option<&StreamUse>) -> Result<Provision, NoRoom> {
        let provided = self.books().arena.provide(bytes as u64, self.limit, self.remap, home);
        provided.map_err(|no_fit| match no_fit {
            NoFit::Busy(last_use) => NoRoom::Busy(last_use.completion()),
            NoFit::Full => NoRoom::Full,
        })
    }

    fn try_grow(&self, bytes: usize, home: Option<&Arc<Timeline>>) -> Result<RawMemory, NoRoom> {
        // Held from the plan to its end: else another's plan could count on pages of this one.
        let mut pages = self.pages();
        let provision = self.provide(bytes, home.map(StreamUse::any).as_ref())?;
        let carried_out = self.carry_out(&mut pages, &provision);
        let mut books = self.books();
        match carried_out {
            Ok(()) => {
                books.leases += 1;
                books.growths += u64::from(provision.map.is_some());
                books.hits += u64::from(provision.map.is_none());
                books.remaps += u64::from(!provision.unmap.is_empty());
                Ok(books.raw(provision.block))
            }
            Err(error) => {
                books.arena.cancel(provision, home.map(StreamUse::until_now));
                Err(NoRoom::Device(error))
            }
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pages(&self) -> MutexGuard<'_, Option<Pages>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Space {
    /// Leases keep the pool alive, and the pool this; but a stream may still work on what was dropped
    /// behind it. Then the addresses are left to the end of the process.
    fn drop(&mut self) {
        let quiet = self.books().arena.is_quiet();
        let pages = self.pages().take();
        if !quiet {
            std::mem::forget(pages);
        }
    }
}

impl Store for Space {
    fn take(&self, bytes: usize, home: Option<&Arc<Timeline>>) -> Option<RawMemory> {
        let home = home.map(StreamUse::any);
        let mut books = self.books();
        let block = books.arena.allocate(bytes as u64, home.as_ref())?;
        books.leases += 1;
        books.hits += 1;
        Some(books.raw(block))
    }

    fn put(&self, memory: RawMemory, last_use: Option<StreamUse>) {
        let mut books = self.books();
        if memory.epoch != books.epoch {
            return;
        }
        let block = memory.block.expect("invariant: memory of an arena comes with its block");
        let freed = books.arena.free(block, last_use);
        freed.expect("invariant: a lease is dropped once");
    }

    fn grow(&self, bytes: usize, home: Option<&Arc<Timeline>>) -> Result<RawMemory, NoRoom> {
        match self.try_grow(bytes, home) {
            // Others use the device too: give it all that is not in use, and ask once more.
            Err(NoRoom::Device(DeviceError::OutOfMemory { .. })) if self.trim(0) > 0 => {
                self.try_grow(bytes, home)
            }
            grown => grown,
        }
    }

    fn trim(&self, keep: u64) -> u64 {
        self.forget_lost();
        let mut pages = self.pages();
        let unmap = {
            let mut books = self.books();
            let keep = books.arena.live() + keep;
            let unmap = books.arena.trim(keep);
            books.releases += unmap.len() as u64;
            unmap
        };
        if let Some(pages) = pages.as_mut() {
            unmap.iter().for_each(|run| pages.unmap(*run));
        }
        unmap.iter().map(|run| run.bytes).sum()
    }

    fn forget_lost(&self) {
        let epoch = self.device.epoch();
        let mut pages = self.pages();
        let mut books = self.books();
        if books.epoch != epoch {
            books.forgotten += u64::from(books.arena.mapped() > 0);
            books.arena = Arena::new(self.geometry);
            books.epoch = epoch;
            // (What was reserved in an earlier epoch is gone; dropping it calls nobody.)
            *pages = None;
        }
    }

    fn describe(&self, stats: &mut MemoryStats) {
        let books = self.books();
        stats.mapped = books.arena.mapped();
        stats.cached = books.arena.mapped() - books.arena.live();
        stats.leases = books.leases;
        stats.hits = books.hits;
        stats.growths = books.growths;
        stats.releases = books.releases;
        stats.remaps = books.remaps;
        stats.forgotten = books.forgotten;
        stats.classes = books.arena.free_by_class();
    }
}

impl Books {
    fn raw(&self, block: Block) -> RawMemory {
        let bytes = usize::try_from(block.bytes()).expect("invariant: it was asked for as a usize");
        let address = self.base + block.start();
        RawMemory { address, bytes, epoch: self.epoch, block: Some(block) }
    }
}
