//! A week of mixed load on the arena's bookkeeping: fragmentation stays flat.
//!
//! The load has a daily rhythm: requests with a few buffers each, more of them by day and larger ones by
//! night; sessions whose caches grow block by block and go at once; models that stay for hours until another
//! takes their place; bursts of small blocks; a training job each night. Streams work on for a while after
//! what they use was freed. The allocator's part is played as `actors/src/allocator` and the pool do it:
//! what is committed stays below nine tenths of the limit, and is there in whole pages; memory is mapped ahead of need, and once an hour all
//! that is idle is given back.
//!
//! `WEEK_REQUESTS=1000000 cargo test -p rustkernel-tests --test week` for more requests.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustkernel_gpu::memory::arena::{Arena, Block, Geometry, Manner, NoRoom, Provision, Terms};
use rustkernel_tests::simulated::{Clock, Use};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const PAGE: u64 = 2 * MIB;
const GEOMETRY: Geometry = Geometry { page: PAGE, grain: 512, span: 1 << 36 };

/// The clock's unit: so many pass between two requests, in the mean over a day.
const GAP: u64 = 1000;
/// A stream works on for less than this after what it uses was freed.
const LONGEST_USE: u64 = GAP / 2;
/// How long the allocator waits for another stream before it maps more instead.
const PATIENCE: u64 = GAP / 2;
const HOURS: u64 = 7 * 24;
const STREAMS: u32 = 4;
const MODELS: usize = 4;
const SESSIONS: usize = 8;
/// What one session may hold, in bytes.
const MOST_CACHED: u64 = 24 * MIB;
/// Hours between two changes of models.
const MODEL_HOURS: u64 = 3;

/// A block, and the stream that it is for.
struct Held {
    block: Block,
    stream: u32,
}

/// The arena with its allocator.
struct Memory {
    arena: Arena<Use>,
    limit: u64,
    clock: Arc<Clock>,
    /// Until when each stream is busy.
    busy: [u64; STREAMS as usize],
    /// What was promised: what is live, and what a request that came in has still to ask for.
    committed: u64,
    /// Requests that did not come in, because their bytes could not be committed.
    turned_away: u64,
    /// What was committed whenever one was turned away, with its own: the sum, in bytes.
    asked_in_vain: u64,
    /// The most that was mapped since the last sample.
    peak_mapped: u64,
}

impl Memory {
    fn new(limit: u64) -> Self {
        let (arena, clock) = (Arena::new(GEOMETRY), Arc::default());
        let (busy, committed, turned_away, peak_mapped) = ([0; STREAMS as usize], 0, 0, 0);
        let asked_in_vain = 0;
        Self { arena, limit, clock, busy, committed, turned_away, asked_in_vain, peak_mapped }
    }

    fn now(&self) -> u64 {
        self.clock.now()
    }

    fn advance(&self, to: u64) {
        self.clock.advance_to(to);
    }

    fn use_of(&self, stream: u32) -> Use {
        let over = self.busy[stream as usize];
        Use { stream, over, clock: Arc::clone(&self.clock) }
    }

    fn commit(&mut self, bytes: u64) -> bool {
        let most = self.arena.promisable(self.limit).min(self.limit / 10 * 9);
        let fits = self.committed + bytes <= most;
        if fits {
            self.committed += bytes;
        } else {
            self.turned_away += 1;
            self.asked_in_vain += self.committed + bytes;
        }
        fits
    }

    /// A block whose bytes were committed. What was committed is there.
    fn lease(&mut self, bytes: u64, stream: u32) -> Held {
        let home = self.use_of(stream);
        let block = self.arena.allocate(bytes, self.terms(), Some(&home));
        let block = block.unwrap_or_else(|| self.grow(bytes, &home));
        Held { block, stream }
    }

    fn terms(&self) -> Terms {
        Terms { limit: self.limit, promised: self.committed }
    }

    /// As the pool grows: pages move only if nothing else helps, and it waits for others once.
    fn grow(&mut self, bytes: u64, home: &Use) -> Block {
        let mut wait = true;
        loop {
            let terms = self.terms();
            let provide = |arena: &mut Arena<Use>, remap| {
                arena.provide(bytes, terms, Manner { wait, remap }, Some(home))
            };
            let provided =
                provide(&mut self.arena, false).or_else(|_| provide(&mut self.arena, true));
            match provided {
                Ok(Provision { block, map, rest, .. }) => {
                    if let Some(rest) = rest {
                        self.arena.free(rest, None).unwrap();
                    }
                    if map.is_some() {
                        self.grow_ahead();
                    }
                    self.peak_mapped = self.peak_mapped.max(self.arena.mapped());
                    return block;
                }
                Err(NoRoom::Busy(user)) => {
                    let over = if wait { user.over.min(self.now() + PATIENCE) } else { user.over };
                    self.advance(over);
                    wait = false;
                }
                Err(NoRoom::Full) => panic!("{bytes} bytes were committed and refused: {self}"),
            }
        }
    }

    /// Memory ahead of need, while there is no pressure.
    fn grow_ahead(&mut self) {
        if self.committed > self.limit / 10 * 7 {
            return;
        }
        let headroom = self.arena.headroom();
        if let Some(Provision { block, .. }) = self.arena.extend(headroom, self.limit) {
            self.arena.free(block, None).unwrap();
        }
    }

    /// Takes a block back; its stream works on for a while.
    fn free(&mut self, Held { block, stream }: Held, time: u64) {
        let busy = &mut self.busy[stream as usize];
        *busy = (*busy).max(self.clock.now()) + time;
        let last_use = self.use_of(stream);
        self.committed -= block.bytes();
        self.arena.free(block, Some(last_use)).unwrap();
    }

    fn sample(&self) -> Sample {
        let (live, mapped) = (self.arena.live(), self.arena.mapped());
        Sample { hours: 1, live, mapped, stranded: self.arena.stranded() }
    }

    /// Once the peak of the load has shown, a quarter more than that is enough. (In its first minutes so
    /// little is live that one large block is more.)
    fn check_peak(&mut self, hour: u64) {
        let peak_mapped = std::mem::take(&mut self.peak_mapped);
        let enough = self.arena.peak_live() / 4 * 5 + PAGE;
        let first = hour == 1;
        assert!(first || peak_mapped <= enough, "{peak_mapped} bytes were mapped: {self}");
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (live, mapped) = (self.arena.live(), self.arena.mapped());
        let (peak, stranded) = (self.arena.peak_live(), self.arena.stranded());
        let limit = self.limit;
        write!(f, "live {live}, peak {peak}, mapped {mapped}, stranded {stranded}, limit {limit}")
    }
}

/// What held at some hours, summed; in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    hours: u64,
    live: u64,
    mapped: u64,
    stranded: u64,
}

impl Sample {
    fn plus(self, other: Self) -> Self {
        Self {
            hours: self.hours + other.hours,
            live: self.live + other.live,
            mapped: self.mapped + other.mapped,
            stranded: self.stranded + other.stranded,
        }
    }

    /// The part of the mapped bytes that is free and of use to nobody else.
    fn fragmentation(&self) -> f64 {
        self.stranded as f64 / self.mapped as f64
    }

    fn mapped_over_live(&self) -> f64 {
        self.mapped as f64 / self.live as f64
    }
}

/// How a week went, hour by hour.
struct Outcome {
    samples: Vec<Sample>,
    turned_away: u64,
    asked_in_vain: u64,
}

/// What happens at some time.
enum Event {
    Request,
    Free(Vec<Held>),
    Model(u64),
    /// A step of the training job that ends at some time.
    Training {
        end: u64,
    },
    Hour(u64),
}

/// The load, and whom it is put on.
struct Week {
    memory: Memory,
    random: ChaCha8Rng,
    hour: u64,
    /// By time, and then by number.
    events: BTreeMap<(u64, u64), Event>,
    number: u64,
    models: [Vec<Held>; MODELS],
    sessions: [Vec<Held>; SESSIONS],
    /// What the training job keeps from step to step.
    trained: Vec<Held>,
    samples: Vec<Sample>,
}

impl Week {
    fn new(limit: u64, seed: u64) -> Self {
        let mut week = Self {
            memory: Memory::new(limit),
            random: ChaCha8Rng::seed_from_u64(seed),
            hour: requests() * GAP / HOURS,
            events: BTreeMap::new(),
            number: 0,
            models: Default::default(),
            sessions: Default::default(),
            trained: Vec::new(),
            samples: Vec::new(),
        };
        week.after(0, Event::Request);
        week.after(0, Event::Model(0));
        week.after(week.hour, Event::Hour(1));
        week
    }

    fn after(&mut self, time: u64, event: Event) {
        self.number += 1;
        self.events.insert((self.memory.now() + time, self.number), event);
    }

    /// To the end of the last hour; what is held by then is given back.
    fn run(mut self) -> Outcome {
        while self.samples.len() < HOURS as usize {
            let ((time, _), event) = self.events.pop_first().expect("hours go on");
            self.memory.advance(time);
            self.happens(event);
        }
        self.end()
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Request => self.request(),
            Event::Free(held) => self.free(held),
            Event::Model(number) => self.change_model(number),
            Event::Training { end } => self.train(end),
            Event::Hour(number) => self.hour(number),
        }
    }

    fn hour(&mut self, number: u64) {
        self.samples.push(self.memory.sample());
        self.memory.check_peak(number);
        self.memory.arena.trim(self.memory.arena.live());
        self.after(self.hour, Event::Hour(number + 1));
        if number % 24 == 1 {
            let end = self.memory.now() + 3 * self.hour;
            self.after(0, Event::Training { end });
        }
    }

    /// How far the day is from its midnight: 0 then, 1 at noon.
    fn daylight(&self) -> f64 {
        let day = (24 * self.hour) as f64;
        let turn = self.memory.now() as f64 / day * std::f64::consts::PI;
        turn.sin() * turn.sin()
    }

    /// All blocks of these sizes, or none.
    fn lease_all(&mut self, sizes: &[u64], stream: u32) -> Option<Vec<Held>> {
        let blocks = sizes.iter().map(|bytes| self.memory.arena.block_bytes(*bytes).unwrap());
        if !self.memory.commit(blocks.sum()) {
            return None;
        }
        Some(sizes.iter().map(|bytes| self.memory.lease(*bytes, stream)).collect())
    }

    fn free(&mut self, held: Vec<Held>) {
        for held in held {
            let time = self.random.random_range(0..LONGEST_USE / 8);
            self.memory.free(held, time);
        }
    }

    fn sizes(&mut self, count: u64, least: u64, most: u64) -> Vec<u64> {
        (0..count).map(|_| size(&mut self.random, least, most)).collect()
    }

    /// A few buffers for a while; now and then many small ones; some are of a session.
    fn request(&mut self) {
        let daylight = self.daylight();
        let rate = 0.25 + 1.5 * daylight;
        let gap = self.random.random_range(0.0..2.0) * GAP as f64 / rate;
        self.after(gap as u64, Event::Request);
        let stream = self.random.random_range(0..STREAMS);
        let largest = ((8.0 - 6.0 * daylight) * MIB as f64) as u64;
        if self.random.random_ratio(1, 100) {
            let sizes = self.sizes(300, 512, 16 * KIB);
            self.work(&sizes, stream, 40 * GAP);
        } else {
            let count = self.random.random_range(2..8);
            let sizes = self.sizes(count, 4 * KIB, largest);
            self.work(&sizes, stream, 8 * GAP);
        }
        if self.random.random_ratio(1, 2) {
            self.extend_session(stream);
        }
    }

    /// Buffers that are freed one by one, in any order, within some time.
    fn work(&mut self, sizes: &[u64], stream: u32, time: u64) {
        let Some(held) = self.lease_all(sizes, stream) else { return };
        for block in held {
            let time = self.random.random_range(0..time);
            self.after(time, Event::Free(vec![block]));
        }
    }

    /// A cache grows by a few blocks; when it is full, or nothing more is to be had, it is dropped.
    fn extend_session(&mut self, stream: u32) {
        let which = self.random.random_range(0..SESSIONS);
        let sizes = self.sizes(4, 16 * KIB, 512 * KIB);
        let cached: u64 = self.sessions[which].iter().map(|held| held.block.bytes()).sum();
        match self.lease_all(&sizes, stream) {
            Some(held) if cached < MOST_CACHED => self.sessions[which].extend(held),
            more => {
                let dropped = std::mem::take(&mut self.sessions[which]);
                self.free(dropped);
                self.free(more.unwrap_or_default());
            }
        }
    }

    /// The next model is loaded before the one in its place goes.
    fn change_model(&mut self, number: u64) {
        self.after(MODEL_HOURS * self.hour, Event::Model(number + 1));
        let mut sizes = self.sizes(16, MIB / 2, 6 * MIB);
        sizes.extend(self.sizes(48, KIB, 64 * KIB));
        let stream = self.random.random_range(0..STREAMS);
        if let Some(model) = self.lease_all(&sizes, stream) {
            let before = std::mem::replace(&mut self.models[number as usize % MODELS], model);
            self.free(before);
        }
    }

    /// Activations pile up and go in the reverse order; the job keeps its state to its end.
    fn train(&mut self, end: u64) {
        let stream = 0;
        if self.memory.now() >= end {
            let trained = std::mem::take(&mut self.trained);
            return self.free(trained);
        }
        self.after(2 * GAP, Event::Training { end });
        if self.trained.is_empty() {
            let sizes = self.sizes(40, MIB / 4, 12 * MIB);
            self.trained = self.lease_all(&sizes, stream).unwrap_or_default();
        }
        let sizes = self.sizes(40, 64 * KIB, 16 * MIB);
        let mut activations = self.lease_all(&sizes, stream).unwrap_or_default();
        activations.reverse();
        self.free(activations);
    }

    fn end(mut self) -> Outcome {
        let events = std::mem::take(&mut self.events).into_values();
        let mut held: Vec<Held> = events.flat_map(held_by).collect();
        held.extend(
            self.models.iter_mut().chain(&mut self.sessions).flat_map(|held| held.drain(..)),
        );
        held.append(&mut self.trained);
        self.free(held);
        self.memory.advance(u64::MAX);
        self.memory.arena.trim(0);
        assert_eq!((self.memory.arena.live(), self.memory.arena.mapped()), (0, 0));
        let Memory { turned_away, asked_in_vain, .. } = self.memory;
        Outcome { samples: self.samples, turned_away, asked_in_vain }
    }
}

fn held_by(event: Event) -> Vec<Held> {
    match event {
        Event::Free(held) => held,
        _ => Vec::new(),
    }
}

/// Each doubling as often as any other.
fn size(random: &mut impl Rng, least: u64, most: u64) -> u64 {
    let doublings = random.random_range(0.0..(most as f64 / least as f64).log2());
    (least as f64 * doublings.exp2()) as u64
}

fn requests() -> u64 {
    let asked = std::env::var("WEEK_REQUESTS").ok();
    asked.map_or(40_000, |asked| asked.parse().unwrap())
}

/// The days of several weeks, laid over each other.
fn days(weeks: &[Outcome]) -> Vec<Sample> {
    let hours = |day: usize| weeks.iter().flat_map(move |week| &week.samples[24 * day..][..24]);
    (0..7).map(|day| hours(day).copied().fold(Sample::default(), Sample::plus)).collect()
}

fn table(days: &[Sample]) -> String {
    let mut table = String::from("day  live MiB  mapped MiB  mapped/live  stranded/mapped\n");
    for (day, sample) in (1..).zip(days) {
        let [live, mapped] = [sample.live, sample.mapped].map(|bytes| bytes / sample.hours / MIB);
        let (over, fragmentation) = (sample.mapped_over_live(), sample.fragmentation());
        writeln!(table, "{day:3}  {live:8}  {mapped:10}  {over:11.3}  {fragmentation:15.3}")
            .unwrap();
    }
    table
}

#[test]
fn fragmentation_stays_flat() {
    let weeks: Vec<Outcome> = (0..6).map(|seed| Week::new(1 << 30, seed).run()).collect();
    let days = days(&weeks);
    let (second, last) = (days[1], days[6]);
    let flat = last.fragmentation() < second.fragmentation() + 0.03
        && last.mapped_over_live() < second.mapped_over_live() + 0.06;
    assert!(flat, "{}", table(&days));
}

#[test]
fn what_is_committed_is_there_at_a_limit_that_is_reached() {
    let limit = 512 << 20;
    for seed in 0..6 {
        let week = Week::new(limit, seed).run();
        assert!(week.turned_away > 0, "the limit was reached");
        let mean = week.asked_in_vain / week.turned_away;
        assert!(mean > limit / 10 * 9, "requests were turned away at {mean} bytes of {limit}");
    }
}
