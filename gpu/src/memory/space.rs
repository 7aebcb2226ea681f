//! Blocks out of one range of addresses: an [arena](super::arena) and the pages behind it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::arena::{Arena, Block, Geometry, NoRoom as NoFit, Provision};
use super::pool::{NoRoom, Store, StreamUse};
use super::stats::MemoryStats;
use super::{MemoryKind, RawMemory};
use crate::device::{AddressSpace, Device, Epoch};
use crate::error::DeviceError;
use crate::timeline::Timeline;

/// One range of addresses of a device that is never lost, within a limit.
pub(super) struct Space {
    limit: u64,
    /// Whether free pages move to where they are needed.
    remap: bool,
    geometry: Geometry,
    books: Mutex<Books>,
    /// Apart from the books, and locked before them: mapping may be slow, and only who grows or trims
    /// waits for it.
    pages: Mutex<Pages>,
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
}

/// The pages behind the addresses: none after the end.
type Pages = Option<Box<dyn AddressSpace>>;

impl Space {
    /// The addresses of a device, if it has virtual memory and so many addresses are to be had.
    pub(super) fn open(device: &Device, kind: MemoryKind, limit: u64, remap: bool) -> Option<Self> {
        let (geometry, pages) = device.backend().address_space(kind, limit)?;
        let books = Books {
            arena: Arena::new(geometry),
            base: pages.base(),
            epoch: device.epoch(),
            leases: 0,
            hits: 0,
            growths: 0,
            releases: 0,
            remaps: 0,
        };
        let (books, pages) = (Mutex::new(books), Mutex::new(Some(pages)));
        Some(Self { limit, remap, geometry, books, pages })
    }

    /// How its addresses are divided.
    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
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
        let pages = pages.as_mut().expect("invariant: taken only on drop");
        provision.unmap.iter().for_each(|run| pages.unmap(*run));
        let mapped = provision.map.map_or(Ok(()), |run| pages.map(run));
        let mut books = self.books();
        match mapped {
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

    fn pages(&self) -> MutexGuard<'_, Pages> {
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

    fn describe(&self, stats: &mut MemoryStats) {
        let books = self.books();
        stats.mapped = books.arena.mapped();
        stats.cached = books.arena.mapped() - books.arena.live();
        stats.leases = books.leases;
        stats.hits = books.hits;
        stats.growths = books.growths;
        stats.releases = books.releases;
        stats.remaps = books.remaps;
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
