//! Answer slots: where a caller waits for the one answer to its request.
//!
//! A slot goes through these phases, each transition under its lock, and each request reaches
//! exactly one end:
//!
//! ```text
//!            claim            start             answer            collect
//!   Free ──────────► Queued ─────────► Running ─────────► Answered ───────► Free
//!                       │ ▲               │  ▲               ▲
//!                       │ └─ answer ──────┼──┼───────────────┘   (refused, cancelled, expired)
//!                       └──── abandon ────┴──┴──► Free           (the caller went away)
//! ```
//!
//! (A request that was taken and could not begin goes back from `Running` to `Queued`.)
//!
//! A [`Key`] names one use of a slot: its generation goes up each time the slot is claimed, so a late
//! answer, a second answer, or an answer to a request whose caller has gone finds a key that no longer
//! fits and changes nothing. That makes "answered once" a property of the slot and not of whoever
//! answers; the slots outlive the instances that answer them.
//!
//! Most slots are laid aside at first, and not even made: they come into use when as many requests are open. A
//! lower bound lays slots aside again: those that are free at once, the rest when their requests end (they are
//! *owed* until then).
//!
//! The slots also are the gate: a closed one lets no claim through, and it is drained when no slot
//! holds an open request. There is no count that callers and instances would fight over. Instead a
//! claim is seen by whoever closes, or sees the close: each writes its own word first and reads the
//! other's then, sequentially consistent.

use std::task::{Context, Poll, Waker};

use crossbeam_utils::CachePadded;

use crate::sync::{
    ArrayQueue, AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard, OnceLock, Ordering, fence,
    publish,
};

/// One use of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The key as a number, which is not 0.
    pub fn bits(self) -> u64 {
        (u64::from(self.index) + 1) << 32 | u64::from(self.generation)
    }

    /// The key of that number, as [`bits`](Self::bits) gave it; `None` for 0.
    pub fn from_bits(bits: u64) -> Option<Self> {
        let [index, generation] = [bits >> 32, bits & u64::from(u32::MAX)];
        Some(Self {
            index: u32::try_from(index.checked_sub(1)?).ok()?,
            generation: u32::try_from(generation).ok()?,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Free,
    Queued,
    Running,
    Answered,
}

/// Why a slot was not claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unclaimed {
    /// None is free.
    Full,
    /// The gate is closed.
    Closed,
}

/// How far a request had got when its caller went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Abandoned {
    Queued,
    Running,
    /// It was answered already; the answer is dropped.
    Answered,
}

struct Cell<A> {
    generation: u32,
    phase: Phase,
    waker: Option<Waker>,
    answer: Option<A>,
}

struct Slot<A> {
    /// Generation and whether it is over, readable without the lock: for spinning and for asking
    /// whether work is still wanted. Written under the lock.
    hint: AtomicU64,
    /// When the request expires, in ticks of the port's owner; 0 is never.
    deadline: AtomicU64,
    cell: Mutex<Cell<A>>,
}

const OVER: u64 = 1;

fn hint(generation: u32, over: bool) -> u64 {
    u64::from(generation) << 1 | if over { OVER } else { 0 }
}

impl<A> Slot<A> {
    fn new() -> Self {
        let cell = Cell { generation: 0, phase: Phase::Free, waker: None, answer: None };
        Self { hint: AtomicU64::new(OVER), deadline: AtomicU64::new(0), cell: Mutex::new(cell) }
    }

    fn lock(&self) -> MutexGuard<'_, Cell<A>> {
        self.cell.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The cell, if the key still fits.
    fn open(&self, key: Key) -> Option<MutexGuard<'_, Cell<A>>> {
        let cell = self.lock();
        (cell.generation == key.generation && cell.phase != Phase::Free).then_some(cell)
    }

    fn finish(&self, cell: &Cell<A>) {
        publish(&self.hint, hint(cell.generation, true));
    }
}

/// So many slots are made, and put in use, at once.
const CHUNK: usize = 64;

/// Slots that lie together, made when the first of them is put in use.
type Chunk<A> = OnceLock<Box<[CachePadded<Slot<A>>]>>;

/// The slots of one port.
pub(crate) struct Slots<A> {
    chunks: Box<[Chunk<A>]>,
    /// Slots in use that are free.
    free: ArrayQueue<u32>,
    closed: CachePadded<AtomicBool>,
    /// Requests that ended while they were queued, and are still on their way to an instance.
    stale: CachePadded<AtomicUsize>,
    usage: CachePadded<Usage>,
    /// Slots that are not in use; those used last are the last.
    aside: Mutex<Vec<u32>>,
}

/// How many slots are in use and can be; written under the lock of those laid aside.
struct Usage {
    bound: AtomicUsize,
    /// More than the bound by those that are owed.
    in_use: AtomicUsize,
}

impl<A> Slots<A> {
    /// # Panics
    /// If `count` is 0 or not a `u32`.
    pub(crate) fn new(count: usize) -> Self {
        let last = u32::try_from(count).expect("invariant: the bound of a port is a u32");
        Self {
            chunks: (0..count.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect(),
            free: ArrayQueue::new(count),
            closed: CachePadded::new(AtomicBool::new(false)),
            stale: CachePadded::new(AtomicUsize::new(0)),
            usage: CachePadded::new(Usage {
                bound: AtomicUsize::new(count),
                in_use: AtomicUsize::new(0),
            }),
            aside: Mutex::new((0..last).rev().collect()),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.free.capacity()
    }

    /// How many requests may be open at once.
    pub(crate) fn bound(&self) -> usize {
        self.usage.bound.load(Ordering::Relaxed)
    }

    /// Sets how many requests may be open at once, between 1 and the number of slots. Those that are
    /// open stay so; while there are more than the bound none is let in.
    pub(crate) fn set_bound(&self, bound: usize) {
        let mut aside = self.aside();
        self.usage.bound.store(bound.clamp(1, self.count()), Ordering::Relaxed);
        while self.is_owed() {
            let Some(index) = self.free.pop() else { return };
            self.put_aside(&mut aside, index);
        }
    }

    fn aside(&self) -> MutexGuard<'_, Vec<u32>> {
        self.aside.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether more slots are in use than may be.
    fn is_owed(&self) -> bool {
        self.usage.in_use.load(Ordering::Acquire) > self.bound()
    }

    fn put_aside(&self, aside: &mut Vec<u32>, index: u32) {
        aside.push(index);
        self.usage.in_use.fetch_sub(1, Ordering::Release);
    }

    /// Slots that are not free: requests that are open, or answered and not yet collected.
    pub(crate) fn taken(&self) -> usize {
        self.usage.in_use.load(Ordering::Relaxed).saturating_sub(self.free.len())
    }

    fn slot(&self, key: Key) -> &Slot<A> {
        self.at(key.index)
    }

    fn at(&self, index: u32) -> &Slot<A> {
        let chunk = self.chunks[index as usize / CHUNK].get();
        &chunk.expect("invariant: slots in use are made")[index as usize % CHUNK]
    }

    /// A slot that is free, if there can be one.
    fn take_free(&self) -> Option<u32> {
        self.free.pop().or_else(|| {
            let may_be_more = || self.usage.in_use.load(Ordering::Acquire) < self.bound();
            // (Whoever puts more in use makes them free first: those seen in use are met by this.)
            if may_be_more() { self.use_more() } else { self.free.pop() }
        })
    }

    /// Puts more slots in use, and takes one of them.
    #[cold]
    fn use_more(&self) -> Option<u32> {
        let mut aside = self.aside();
        if let Some(index) = self.free.pop() {
            return Some(index);
        }
        let in_use = self.usage.in_use.load(Ordering::Relaxed);
        let more = self.bound().saturating_sub(in_use).min(CHUNK);
        let rest = aside.len().saturating_sub(more);
        let more = aside.split_off(rest);
        let (first, others) = more.split_last()?;
        more.iter().for_each(|index| self.make(*index));
        // Whoever closes the gate and then sees none of these slots is seen by each who claims one of them.
        fence(Ordering::SeqCst);
        others.iter().rev().for_each(|index| self.make_free(*index));
        self.usage.in_use.fetch_add(more.len(), Ordering::Release);
        Some(*first)
    }

    fn make(&self, index: u32) {
        let chunk = index as usize / CHUNK;
        let count = CHUNK.min(self.count() - chunk * CHUNK);
        self.chunks[chunk]
            .get_or_init(|| (0..count).map(|_| CachePadded::new(Slot::new())).collect());
    }

    /// The slots that are made, with their indices.
    fn made(&self) -> impl Iterator<Item = (usize, &Slot<A>)> {
        let chunks = self.chunks.iter().enumerate();
        chunks.filter_map(|(number, chunk)| Some((number * CHUNK, chunk.get()?))).flat_map(
            |(first, slots)| slots.iter().enumerate().map(move |(at, slot)| (first + at, &**slot)),
        )
    }

    /// Takes a slot for a request, if one is free and the gate is open. `waker` is woken when it is
    /// answered. (None is free either while as many are on their way in vain as there can be open requests.)
    pub(crate) fn claim(&self, deadline: u64, waker: &Waker) -> Result<Key, Unclaimed> {
        if self.stale.load(Ordering::Relaxed) >= self.count() {
            return Err(Unclaimed::Full);
        }
        let index = self.take_free().ok_or(Unclaimed::Full)?;
        let slot = self.at(index);
        let mut cell = slot.lock();
        debug_assert_eq!(cell.phase, Phase::Free, "invariant: a slot in the free queue is free");
        cell.generation = cell.generation.wrapping_add(1);
        cell.phase = Phase::Queued;
        cell.waker = Some(waker.clone());
        slot.deadline.store(deadline, Ordering::Relaxed);
        publish(&slot.hint, hint(cell.generation, false));
        let key = Key { index, generation: cell.generation };
        drop(cell);
        if self.is_closed() && self.withdraw(key) { Err(Unclaimed::Closed) } else { Ok(key) }
    }

    /// Takes a claim back that has met a closed gate. False if somebody who ends whatever is open was quicker: then
    /// it stands, with that answer, for it has been counted.
    #[cold]
    fn withdraw(&self, key: Key) -> bool {
        let cell = self.slot(key).open(key);
        let cell = cell.expect("invariant: nobody else frees a slot that is claimed");
        if cell.phase == Phase::Answered {
            return false;
        }
        self.vacate(key, cell);
        true
    }

    /// Frees a slot that is claimed, whatever is in it.
    fn vacate(&self, key: Key, mut cell: MutexGuard<'_, Cell<A>>) {
        cell.phase = Phase::Free;
        self.slot(key).finish(&cell);
        let (waker, answer) = (cell.waker.take(), cell.answer.take());
        drop(cell);
        self.release(key.index);
        // Outside the lock: dropping them may run anything.
        drop((waker, answer));
    }

    /// A request that was on its way in vain has arrived, and was passed over.
    pub(crate) fn passed_over(&self) {
        self.stale.fetch_sub(1, Ordering::Relaxed);
    }

    /// Lets no claim through any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Lets claims through again.
    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Whether the gate is closed and no request is open. Once true it stays so until the gate opens.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_closed()
            && self.made().all(|(_, slot)| slot.hint.load(Ordering::SeqCst) & OVER != 0)
    }

    /// The request is about to run. False if it is over already, and then it must not run.
    #[must_use]
    pub(crate) fn start(&self, key: Key) -> bool {
        let Some(mut cell) = self.slot(key).open(key) else { return false };
        let waiting = cell.phase == Phase::Queued;
        if waiting {
            cell.phase = Phase::Running;
        }
        waiting
    }

    /// A request that was started and did not begin waits again. False if it is over.
    pub(crate) fn put_back(&self, key: Key) -> bool {
        let Some(mut cell) = self.slot(key).open(key) else { return false };
        let running = cell.phase == Phase::Running;
        if running {
            cell.phase = Phase::Queued;
        }
        running
    }

    /// Answers a request, once: the answer comes back if somebody was quicker. On success the
    /// caller's waker.
    pub(crate) fn answer(&self, key: Key, answer: A) -> Result<Option<Waker>, A> {
        let slot = self.slot(key);
        let Some(mut cell) = slot.open(key) else { return Err(answer) };
        match cell.phase {
            Phase::Answered => return Err(answer),
            Phase::Queued => self.note_stale(),
            Phase::Running | Phase::Free => {}
        }
        cell.phase = Phase::Answered;
        cell.answer = Some(answer);
        slot.finish(&cell);
        Ok(cell.waker.take())
    }

    /// Takes the answer, or leaves another waker. The slot is free afterwards if there was one.
    pub(crate) fn collect(&self, key: Key, cx: &Context<'_>) -> Poll<A> {
        let slot = self.slot(key);
        let mut cell =
            slot.open(key).expect("invariant: the caller's key fits until it has collected");
        if let Some(answer) = cell.answer.take() {
            cell.phase = Phase::Free;
            drop(cell);
            self.release(key.index);
            return Poll::Ready(answer);
        }
        if !cell.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            cell.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The caller goes away without the answer.
    pub(crate) fn abandon(&self, key: Key) -> Abandoned {
        let cell = self.slot(key).open(key);
        let cell = cell.expect("invariant: the caller's key fits until it has abandoned");
        let before = match cell.phase {
            Phase::Queued => {
                self.note_stale();
                Abandoned::Queued
            }
            Phase::Running => Abandoned::Running,
            Phase::Answered | Phase::Free => Abandoned::Answered,
        };
        self.vacate(key, cell);
        before
    }

    /// A request has ended while it was queued.
    fn note_stale(&self) {
        self.stale.fetch_add(1, Ordering::Relaxed);
    }

    fn release(&self, index: u32) {
        if !self.is_owed() || !self.lay_aside(index) {
            self.make_free(index);
        }
    }

    /// Takes a slot out of use, if one is owed.
    #[cold]
    fn lay_aside(&self, index: u32) -> bool {
        let mut aside = self.aside();
        let owed = self.is_owed();
        if owed {
            self.put_aside(&mut aside, index);
        }
        owed
    }

    fn make_free(&self, index: u32) {
        self.free.push(index).expect("invariant: the queue is as long as there are slots");
    }

    /// Whether the request is answered or abandoned, without the lock.
    pub(crate) fn is_over(&self, key: Key) -> bool {
        self.slot(key).hint.load(Ordering::Acquire) != hint(key.generation, false)
    }

    /// Requests that wait or run and whose deadline is at or before `now`, and the next deadline.
    pub(crate) fn expired(&self, now: u64) -> (Vec<Key>, Option<u64>) {
        let mut expired = Vec::new();
        let mut next = None;
        for (key, deadline) in self.open_requests() {
            match deadline {
                0 => {}
                at if at <= now => expired.push(key),
                at => next = Some(next.map_or(at, |next: u64| next.min(at))),
            }
        }
        (expired, next)
    }

    /// Every request that waits or runs, with its deadline.
    pub(crate) fn open_requests(&self) -> impl Iterator<Item = (Key, u64)> {
        let open = |(index, slot): (usize, &Slot<A>)| {
            let hint = slot.hint.load(Ordering::Acquire);
            let key = Key {
                index: u32::try_from(index).ok()?,
                generation: u32::try_from(hint >> 1).ok()?,
            };
            (hint & OVER == 0).then(|| (key, slot.deadline.load(Ordering::Relaxed)))
        };
        self.made().filter_map(open)
    }

    /// Whether the request is in an instance's hands.
    pub(crate) fn is_running(&self, key: Key) -> bool {
        self.slot(key).open(key).is_some_and(|cell| cell.phase == Phase::Running)
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    fn claim<A>(slots: &Slots<A>, deadline: u64) -> Result<Key, Unclaimed> {
        slots.claim(deadline, Waker::noop())
    }

    fn collect<A>(slots: &Slots<A>, key: Key) -> Poll<A> {
        slots.collect(key, &Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_request_is_answered_once_and_its_slot_used_again() {
        let slots = Slots::new(1);
        let first = claim(&slots, 0).unwrap();
        assert_eq!(claim(&slots, 0), Err(Unclaimed::Full), "one slot, one request");
        assert!(slots.start(first) && !slots.start(first));
        assert_eq!(collect(&slots, first), Poll::Pending);
        assert!(slots.answer(first, "one").unwrap().is_some(), "the caller sleeps");
        assert_eq!(slots.answer(first, "two").unwrap_err(), "two");
        assert_eq!(collect(&slots, first), Poll::Ready("one"));

        let second = claim(&slots, 0).unwrap();
        assert_ne!(first, second);
        assert_eq!(
            slots.answer(first, "late").unwrap_err(),
            "late",
            "a late answer is not another's"
        );
        assert!(slots.is_over(first) && !slots.is_over(second) && !slots.start(first));
        slots.answer(second, "refused").unwrap();
        assert!(slots.is_over(second));
    }

    #[test]
    fn an_abandoned_request_does_not_start_and_its_answer_goes_nowhere() {
        let slots = Slots::new(2);
        let (waiting, running) = (claim(&slots, 0).unwrap(), claim(&slots, 0).unwrap());
        assert!(slots.start(running));
        assert_eq!(slots.abandon(waiting), Abandoned::Queued);
        assert_eq!(slots.abandon(running), Abandoned::Running);
        assert!(!slots.start(waiting) && slots.is_over(running));
        assert_eq!(slots.answer(running, 1).unwrap_err(), 1);
        let answered = claim(&slots, 0).unwrap();
        slots.answer(answered, 2).unwrap();
        assert_eq!(slots.abandon(answered), Abandoned::Answered);
        assert_eq!(slots.open_requests().count(), 0);
    }

    #[test]
    fn a_closed_gate_lets_no_claim_through_and_drains_with_the_last_request() {
        let slots = Slots::<()>::new(2);
        let open = claim(&slots, 0).unwrap();
        assert!(!slots.is_drained());
        slots.close();
        assert_eq!((claim(&slots, 0), slots.taken()), (Err(Unclaimed::Closed), 1));
        assert!(!slots.is_drained(), "one request is open");
        slots.answer(open, ()).unwrap();
        assert!(slots.is_drained(), "answered, if not yet collected");
        slots.open();
        assert!(!slots.is_drained() && claim(&slots, 0).is_ok());
    }

    #[test]
    fn a_lower_bound_is_kept_once_those_over_it_have_ended_and_a_higher_one_at_once() {
        let slots = Slots::new(4);
        let open = [0; 3].map(|_| claim(&slots, 0).unwrap());
        slots.set_bound(2);
        assert_eq!((slots.bound(), claim(&slots, 0)), (2, Err(Unclaimed::Full)));
        let end = |key| {
            slots.answer(key, ()).unwrap();
            assert_eq!(collect(&slots, key), Poll::Ready(()));
        };
        end(open[0]);
        assert_eq!(claim(&slots, 0), Err(Unclaimed::Full), "two are open");
        end(open[1]);
        let second = claim(&slots, 0).unwrap();
        assert_eq!((claim(&slots, 0), slots.taken()), (Err(Unclaimed::Full), 2));
        slots.set_bound(1);
        slots.set_bound(usize::MAX);
        assert_eq!((slots.bound(), slots.taken()), (4, 2));
        let more = [0; 2].map(|_| claim(&slots, 0).unwrap());
        assert_eq!(claim(&slots, 0), Err(Unclaimed::Full));
        [open[2], second].into_iter().chain(more).for_each(end);
        assert_eq!(slots.taken(), 0);
    }

    #[test]
    fn slots_are_made_when_as_many_requests_are_open() {
        let slots = Slots::<()>::new(CHUNK + 2);
        let made = || slots.made().count();
        assert_eq!(made(), 0);
        for _ in 0..1000 {
            let key = claim(&slots, 0).unwrap();
            assert!(slots.start(key) && slots.abandon(key) == Abandoned::Running);
        }
        assert_eq!((made(), slots.taken()), (CHUNK, 0));
        let open: Vec<_> = (0..CHUNK + 2).map(|_| claim(&slots, 0).unwrap()).collect();
        assert_eq!((made(), slots.taken()), (CHUNK + 2, CHUNK + 2));
        assert_eq!(
            (claim(&slots, 0), slots.open_requests().count()),
            (Err(Unclaimed::Full), CHUNK + 2)
        );
        assert!(open.iter().all(|key| !slots.is_over(*key)));
    }

    #[test]
    fn what_is_put_back_waits_again_and_what_is_over_is_not() {
        let slots = Slots::<()>::new(1);
        let key = claim(&slots, 0).unwrap();
        assert!(!slots.put_back(key), "it waits already");
        assert!(slots.start(key) && slots.put_back(key) && !slots.is_running(key));
        assert!(slots.start(key) && slots.is_running(key));
        slots.answer(key, ()).unwrap();
        assert!(!slots.put_back(key) && !slots.start(key));
    }

    #[test]
    fn a_key_is_the_number_that_it_was_made_from() {
        let slots = Slots::<()>::new(2);
        for key in [claim(&slots, 0).unwrap(), claim(&slots, 0).unwrap()] {
            assert_eq!(Key::from_bits(key.bits()), Some(key));
        }
        assert_eq!(Key::from_bits(0), None);
    }

    #[test]
    fn the_expired_are_found_and_the_next_deadline_told() {
        let slots = Slots::<()>::new(4);
        let [never, early, late] = [0, 10, 30].map(|deadline| claim(&slots, deadline).unwrap());
        assert_eq!(slots.expired(9), (vec![], Some(10)));
        assert_eq!(slots.expired(10), (vec![early], Some(30)));
        slots.answer(early, ()).unwrap();
        assert_eq!(slots.expired(29), (vec![], Some(30)));
        assert_eq!(slots.expired(30), (vec![late], None));
        slots.answer(never, ()).unwrap();
        assert!(slots.is_running(late) || slots.start(late));
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_tests {
    use super::*;
    use loom::future::block_on;
    use loom::sync::Arc;
    use loom::thread;
    use std::future::poll_fn;

    /// An instance, the reaper and the caller meet at one slot: exactly one answer arrives.
    #[test]
    fn loom_two_answers_race_and_the_caller_gets_one() {
        loom::model(|| {
            let slots = Arc::new(Slots::new(1));
            let key = slots.claim(0, Waker::noop()).unwrap();
            let answerers: Vec<_> = [1, 2]
                .map(|answer| {
                    let slots = slots.clone();
                    thread::spawn(move || match slots.answer(key, answer) {
                        Ok(waker) => {
                            waker.into_iter().for_each(Waker::wake);
                            true
                        }
                        Err(_) => false,
                    })
                })
                .into();
            let got = block_on(poll_fn(|cx| slots.collect(key, cx)));
            let won: Vec<bool> =
                answerers.into_iter().map(|answerer| answerer.join().unwrap()).collect();
            assert_eq!(won, [got == 1, got == 2]);
        });
    }

    /// The caller goes away while the request is started and answered: never both an answer delivered
    /// and a request given up, and the slot is free again.
    #[test]
    fn loom_an_answer_races_with_a_caller_that_goes_away() {
        loom::model(|| {
            let slots = Arc::new(Slots::new(1));
            let key = slots.claim(0, Waker::noop()).unwrap();
            let instance = thread::spawn({
                let slots = slots.clone();
                move || {
                    let started = slots.start(key);
                    if !started {
                        slots.passed_over();
                    }
                    (started, slots.answer(key, ()).is_ok())
                }
            });
            let abandoned = slots.abandon(key);
            let (started, answered) = instance.join().unwrap();
            assert_eq!(answered, abandoned == Abandoned::Answered);
            if abandoned == Abandoned::Running {
                assert!(started);
            }
            assert!(slots.is_over(key));
            assert_ne!(slots.claim(0, Waker::noop()).unwrap(), key);
        });
    }

    /// The caller goes away while the request is put back and taken again: it is given up once, and does not
    /// run after that.
    #[test]
    fn loom_a_request_is_put_back_while_its_caller_goes_away() {
        loom::model(|| {
            let slots = Arc::new(Slots::<()>::new(1));
            let key = slots.claim(0, Waker::noop()).unwrap();
            let instance = thread::spawn({
                let slots = slots.clone();
                move || slots.start(key) && slots.put_back(key) && slots.start(key)
            });
            let abandoned = slots.abandon(key);
            let runs = instance.join().unwrap();
            assert!(slots.is_over(key) && !slots.start(key));
            assert!(abandoned != Abandoned::Answered);
            assert!(!runs || abandoned == Abandoned::Running);
        });
    }

    /// Two claim while slots come into use: each gets one, as there are two.
    #[test]
    fn loom_no_claim_misses_slots_that_come_into_use() {
        loom::model(|| {
            let slots = Arc::new(Slots::<()>::new(2));
            let claim = |slots: &Slots<()>| slots.claim(0, Waker::noop()).unwrap();
            let other = thread::spawn({
                let slots = slots.clone();
                move || claim(&slots)
            });
            let one = claim(&slots);
            assert_ne!(one, other.join().unwrap());
        });
    }

    /// A claim against a close: the claim is refused, or whoever closed sees it until it is answered.
    #[test]
    fn loom_a_drain_misses_no_claim() {
        loom::model(|| {
            let slots = Arc::new(Slots::new(1));
            let caller = thread::spawn({
                let slots = slots.clone();
                move || slots.claim(0, Waker::noop())
            });
            slots.close();
            let drained = slots.is_drained();
            match caller.join().unwrap() {
                Ok(key) => {
                    assert!(!drained, "drained beside an admitted request");
                    slots.answer(key, ()).unwrap();
                }
                Err(why) => assert_eq!(why, Unclaimed::Closed),
            }
            assert!(slots.is_drained());
        });
    }

    /// A request is given up while it is queued, and passed over.
    fn end(slots: &Slots<()>, key: Key) -> bool {
        let queued = slots.abandon(key) == Abandoned::Queued;
        slots.passed_over();
        queued
    }

    /// A claim meets whoever closes the gate and ends what is open: it is withdrawn, or ended by that one, and never
    /// both.
    #[test]
    fn loom_a_claim_that_meets_a_closed_gate_is_withdrawn_or_ended() {
        loom::model(|| {
            let slots = Arc::new(Slots::new(1));
            let closer = thread::spawn({
                let slots = slots.clone();
                move || {
                    slots.close();
                    let open: Vec<Key> = slots.open_requests().map(|(key, _)| key).collect();
                    open.into_iter().filter(|key| slots.answer(*key, ()).is_ok()).count()
                }
            });
            let claimed = slots.claim(0, Waker::noop());
            let ended = closer.join().unwrap();
            assert_eq!(ended, usize::from(claimed.is_ok()));
            assert_eq!(slots.taken(), ended, "what was withdrawn is free again");
            assert!(slots.is_drained());
        });
    }

    /// A request ends while the bound is lowered: as many slots are left as there may be.
    #[test]
    fn loom_a_lower_bound_is_kept_while_requests_end() {
        loom::model(|| {
            let slots = Arc::new(Slots::<()>::new(2));
            let keys = [0; 2].map(|_| slots.claim(0, Waker::noop()).unwrap());
            let caller = thread::spawn({
                let slots = slots.clone();
                move || keys.into_iter().all(|key| end(&slots, key))
            });
            slots.set_bound(1);
            assert!(caller.join().unwrap());
            let claim = || slots.claim(0, Waker::noop()).ok();
            // (Those that came back before any was owed may be used once more.)
            for key in [claim(), claim()].into_iter().flatten() {
                assert!(end(&slots, key));
            }
            assert!(claim().is_some() && claim().is_none());
        });
    }

    /// The last answer against whoever waits for the drain: it looks after the answer, or is told.
    #[test]
    fn loom_a_drain_is_told_of_the_last_answer() {
        loom::model(|| {
            let slots = Arc::new(Slots::new(1));
            let key = slots.claim(0, Waker::noop()).unwrap();
            let instance = thread::spawn({
                let slots = slots.clone();
                move || {
                    slots.answer(key, ()).unwrap();
                    slots.is_closed()
                }
            });
            slots.close();
            let drained = slots.is_drained();
            let told = instance.join().unwrap();
            assert!(drained || told, "nobody would look again");
        });
    }
}
