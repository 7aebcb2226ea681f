//! Blocks out of one range of addresses: an [arena](super::arena) and the pages behind it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::arena::{Arena, Block, Geometry, Manner, NoRoom as NoFit, Provision, Terms};
use super::ledger::Ledger;
use super::map::{MapRange, MemoryMap, RangeState};
use super::pool::{NoRoom, Store, StreamUse};
use super::stats::MemoryStats;
use super::stream_magazine::ParkedAt;
use super::{MemoryKind, MemoryLimits, RawMemory};
use crate::device::{AddressSpace, Device, Epoch};
use crate::error::{DeviceError, DeviceResult};
use crate::timeline::Timeline;

/// Staging memory that is there from the start, in bytes, and at most a quarter of its limit.
const FIRST_STAGING: u64 = 64 << 20;

/// What is left to promise is told in such parts of the limit, so that it is not told with each block.
const STEPS: u64 = 256;

/// The addresses of a device, and how they are divided.
pub(super) type Opened = (Geometry, Box<dyn AddressSpace>);

/// One range of addresses of a device, within a limit. After the device was lost, another.
pub(super) struct Space {
    device: Device,
    kind: MemoryKind,
    limit: u64,
    /// The whole pages of it.
    whole: u64,
    /// `log2` of what is told of it at once, in bytes.
    step: u32,
    /// Whether free pages move to where they are needed.
    remap: bool,
    geometry: Geometry,
    /// What was promised, which is told what is lost.
    ledger: Arc<Ledger>,
    books: Mutex<Books>,
    /// Apart from the books, and locked before them: mapping may be slow, and only who grows or trims
    /// waits for it.
    pages: Mutex<Pages>,
}

struct Books {
    lost: Vec<Lost>,
    arena: Arena<StreamUse>,
    base: u64,
    epoch: Epoch,
    growths: u64,
    releases: u64,
    remaps: u64,
    forgotten: u64,
}

/// What is still leased of an epoch that was lost.
struct Lost {
    epoch: Epoch,
    /// Bytes that are leased.
    live: u64,
    /// Left as they are until nothing is: the host may read its own memory at any time.
    _pages: Pages,
}

/// The pages behind the addresses: none after the end, or while the device is lost.
type Pages = Option<Box<dyn AddressSpace>>;

impl Space {
    /// Within the limit of what was opened.
    pub(super) fn new(
        (device, kind): (&Device, MemoryKind),
        (geometry, pages): Opened,
        limits: &MemoryLimits,
        ledger: &Arc<Ledger>,
    ) -> Self {
        let books = Books {
            lost: Vec::new(),
            arena: Arena::new(geometry),
            base: pages.base(),
            epoch: pages.epoch(),
            growths: 0,
            releases: 0,
            remaps: 0,
            forgotten: 0,
        };
        let (books, pages) = (Mutex::new(books), Mutex::new(Some(pages)));
        let limit = limits.of(kind);
        let whole = limit / geometry.page * geometry.page;
        let (device, remap, ledger) = (device.clone(), limits.defrag, Arc::clone(ledger));
        let step = (limit / STEPS).max(1).ilog2();
        Self { device, kind, limit, whole, step, remap, geometry, ledger, books, pages }
    }

    /// What the arena has to keep. Where pages do not move, nothing can be kept for what was promised.
    fn terms(&self) -> Terms {
        let promised = if self.remap { self.ledger.committed() } else { 0 };
        Terms { limit: self.whole, promised }
    }

    /// Tells what is left to promise, rounded down.
    fn tell_room(&self, books: &Books) {
        if self.remap {
            let room = books.arena.promisable(self.whole);
            self.ledger.set_room(room >> self.step << self.step);
        }
    }

    fn provide(
        &self,
        bytes: usize,
        home: Option<&StreamUse>,
        manner: Manner,
    ) -> Result<Provision, NoRoom> {
        let mut books = self.books();
        let provided = books.arena.provide(bytes as u64, self.terms(), manner, home);
        self.tell_room(&books);
        provided.map_err(|no_fit| match no_fit {
            NoFit::Busy(last_use) => NoRoom::Busy(last_use.completion()),
            NoFit::Full => NoRoom::Full,
        })
    }

    fn try_grow(
        &self,
        bytes: usize,
        home: Option<&Arc<Timeline>>,
        manner: Manner,
    ) -> Result<RawMemory, NoRoom> {
        // Held from the plan to its end: else another's plan could count on pages of this one.
        let mut pages = self.pages();
        let pages = self.open_again(&mut pages).map_err(NoRoom::Device)?;
        let provision = self.provide(bytes, home.map(StreamUse::any).as_ref(), manner)?;
        let rearranged = pages.rearrange(&provision.unmap, provision.map);
        let mut books = self.books();
        match rearranged {
            Ok(()) => {
                books.growths += u64::from(provision.map.is_some());
                books.remaps += u64::from(!provision.unmap.is_empty());
                if let Some(rest) = provision.rest {
                    books.free(rest);
                }
                self.tell_room(&books);
                Ok(books.raw(provision.block))
            }
            Err(error) => {
                books.arena.cancel(provision, home.map(StreamUse::until_now));
                Err(NoRoom::Device(error))
            }
        }
    }

    /// Maps as many bytes ahead of need, if there is room.
    fn extend(&self, bytes: u64) {
        let mut pages = self.pages();
        let Ok(pages) = self.open_again(&mut pages) else { return };
        let Some(provision) = self.books().arena.extend(bytes, self.limit) else { return };
        let mapped = pages.rearrange(&[], provision.map);
        let mut books = self.books();
        match mapped {
            Ok(()) => {
                books.growths += 1;
                books.free(provision.block);
            }
            // Who needs it will ask for it, and hear of the error.
            Err(_) => books.arena.cancel(provision, None),
        }
    }

    /// The pages; new addresses, if those that were there are lost and the device is back.
    fn open_again<'a>(&self, pages: &'a mut Pages) -> DeviceResult<&'a mut dyn AddressSpace> {
        if pages.is_none() {
            self.device.health()?;
            let again = self.device.backend().address_space(self.kind, self.limit);
            let again = again.filter(|(geometry, _)| *geometry == self.geometry);
            let Some((_, again)) = again else {
                // It may have been lost in that very call.
                self.device.health()?;
                let (device, what) = (self.device.id(), "reserve addresses again");
                return Err(DeviceError::Unsupported { device, what });
            };
            let mut books = self.books();
            (books.base, books.epoch) = (again.base(), again.epoch());
            *pages = Some(again);
        }
        Ok(&mut **pages.as_mut().expect("invariant: they are open"))
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
    fn take(
        &self,
        bytes: usize,
        home: Option<&Arc<Timeline>>,
        most: usize,
        to: &mut dyn FnMut(RawMemory),
    ) {
        let (home, epoch) = (home.map(StreamUse::any), self.device.epoch());
        let mut books = self.books();
        if books.epoch != epoch {
            return;
        }
        for _ in 0..most {
            let block = books.arena.allocate(bytes as u64, self.terms(), home.as_ref());
            let Some(block) = block else { break };
            to(books.raw(block));
        }
        self.tell_room(&books);
    }

    fn put(&self, memory: &mut dyn Iterator<Item = RawMemory>, last_use: Option<StreamUse>) {
        let mut over = Vec::new();
        let mut books = self.books();
        for memory in memory {
            if memory.epoch != books.epoch {
                over.extend(books.forget(&memory));
                continue;
            }
            let last_use = StreamUse::of_memory(last_use.as_ref(), &memory);
            let block = memory.block.expect("invariant: memory of an arena comes with its block");
            let freed = books.arena.free(block, last_use);
            freed.expect("invariant: a lease is dropped once");
        }
        self.tell_room(&books);
        drop(books);
        // (What is left of lost epochs goes here, when nobody waits for the books.)
    }

    fn grow(
        &self,
        bytes: usize,
        home: Option<&Arc<Timeline>>,
        manner: Manner,
    ) -> Result<RawMemory, NoRoom> {
        let manner = Manner { remap: manner.remap && self.remap, ..manner };
        match self.try_grow(bytes, home, manner) {
            // Others use the device too: give it all that is not in use, and ask once more.
            Err(NoRoom::Device(DeviceError::OutOfMemory { .. })) if self.trim(0) > 0 => {
                self.try_grow(bytes, home, manner)
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
            // (Only giving memory can fail.)
            pages.rearrange(&unmap, None).ok();
        }
        unmap.iter().map(|run| run.bytes).sum()
    }

    fn prepare(&self, at_start: bool) {
        let ahead = match (at_start, self.kind) {
            // Pinning takes long: some is to be there before it is needed.
            (true, MemoryKind::Staging) => (self.limit / 4).min(FIRST_STAGING),
            (true, MemoryKind::Device) => 0,
            (false, _) => self.books().arena.headroom(),
        };
        if ahead > 0 {
            self.extend(ahead);
        }
    }

    fn forget_lost(&self) {
        if self.books().epoch == self.device.epoch() {
            return;
        }
        let mut pages = self.pages();
        let mut books = self.books();
        let epoch = self.device.epoch();
        if books.epoch == epoch {
            return;
        }
        let arena = std::mem::replace(&mut books.arena, Arena::new(self.geometry));
        // (Its handles are of the lost epoch: they are forgotten, not passed to the driver.)
        let lost = Lost { epoch: books.epoch, live: arena.live(), _pages: pages.take() };
        books.epoch = epoch;
        if lost.live > 0 {
            books.lost.push(lost);
        }
        self.tell_room(&books);
    }

    fn describe(&self, stats: &mut MemoryStats) {
        let books = self.books();
        let lost: u64 = books.lost.iter().map(|lost| lost.live).sum();
        stats.live = books.arena.live() + lost;
        stats.peak_live = books.arena.peak_live();
        stats.mapped = books.arena.mapped() + lost;
        stats.cached = books.arena.mapped() - books.arena.live();
        stats.quarantined = books.arena.quarantined();
        stats.stranded = books.arena.stranded();
        stats.growths = books.growths;
        stats.releases = books.releases;
        stats.remaps = books.remaps;
        stats.forgotten = books.forgotten;
        stats.classes = books.arena.free_by_class();
    }

    fn map(&self, parked: &[ParkedAt]) -> Option<MemoryMap> {
        let books = self.books();
        let is_parked = |range: &MapRange| {
            let place = (books.epoch, books.base + range.start, range.bytes);
            range.state == RangeState::Live && parked.binary_search(&place).is_ok()
        };
        let ranges = books.arena.map().map(|range| match is_parked(&range) {
            true => MapRange { state: RangeState::Parked, ..range },
            false => range,
        });
        let lost = books.lost.iter().map(|lost| lost.live).sum();
        Some(MemoryMap { lost, ..MemoryMap::new(&self.geometry, ranges) })
    }
}

impl Books {
    /// Memory of a lost epoch comes back; what is left of that epoch, if this was the last of it.
    fn forget(&mut self, memory: &RawMemory) -> Option<Lost> {
        self.forgotten += 1;
        let index = self.lost.iter().position(|lost| lost.epoch == memory.epoch)?;
        self.lost[index].live -= memory.bytes as u64;
        (self.lost[index].live == 0).then(|| self.lost.swap_remove(index))
    }

    /// Memory that is mapped now.
    fn free(&mut self, block: Block) {
        self.arena.free(block, None).expect("invariant: nobody else has had it");
    }

    fn raw(&self, block: Block) -> RawMemory {
        let bytes = usize::try_from(block.bytes()).expect("invariant: it was asked for as a usize");
        let address = self.base + block.start();
        RawMemory { address, bytes, epoch: self.epoch, block: Some(block) }
    }
}
