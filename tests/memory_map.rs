//! The map of a device's memory against its statistics, and against who holds what.
//!
//! `cargo test -p rustkernel-tests --test memory_map -- --ignored` on a real GPU.

use std::collections::BTreeMap;

use fake_cuda::{Fault, Point, inject};
use futures_executor::block_on;
use rustkernel_gpu::memory::{Lease, MapRange, MemoryKind, MemoryMap, RangeState};
use rustkernel_gpu::{Buffer, LaunchConfig, arguments};
use rustkernel_tests::fake;
use rustkernel_tests::rig::{Rig, conformance_module};

const KINDS: [MemoryKind; 2] = [MemoryKind::Device, MemoryKind::Staging];
const MIB: usize = 1 << 20;

fn map(rig: &Rig, kind: MemoryKind) -> MemoryMap {
    rig.memory.map(kind).expect("the memory is one range of addresses")
}

/// The sums are those of the books. (Nothing happens meanwhile.)
fn agree(rig: &Rig) {
    for kind in KINDS {
        let (map, stats) = (map(rig, kind), rig.memory.stats(kind));
        assert_eq!((map.live + map.lost, map.parked), (stats.live, stats.parked), "{kind}");
        assert_eq!(map.quarantined, stats.quarantined, "{kind}");
        assert_eq!(map.parked + map.quarantined + map.free, stats.cached, "{kind}");
        assert_eq!(map.mapped() + map.lost, stats.mapped, "{kind}");
    }
}

fn of_state(map: &MemoryMap, state: RangeState) -> Vec<(u64, u64)> {
    let ranges = map.ranges.iter().filter(|range| range.state == state);
    ranges.map(|MapRange { start, bytes, .. }| (*start, *bytes)).collect()
}

/// Leases as ranges from the lowest address on; those that touch are one.
fn places(leases: &[Lease]) -> Vec<(u64, u64)> {
    let leases: BTreeMap<u64, u64> =
        leases.iter().map(|lease| (lease.address(), lease.bytes() as u64)).collect();
    let first = *leases.keys().next().unwrap();
    let mut places: Vec<(u64, u64)> = Vec::new();
    for (address, bytes) in leases {
        match places.last_mut() {
            Some((start, so_far)) if *start + *so_far == address - first => *so_far += bytes,
            _ => places.push((address - first, bytes)),
        }
    }
    places
}

fn what_is_held_is_where_it_is_held(rig: &Rig) {
    let stream = rig.stream().unwrap();
    agree(rig);
    assert_eq!(map(rig, MemoryKind::Device).ranges, []);
    let sizes = [3 * MIB, MIB, 5 * MIB / 2, 300 << 10, 4 * MIB, 2 * MIB];
    let lease = |bytes: &usize| rig.lease(MemoryKind::Device, *bytes, &stream).unwrap();
    let mut leases: Vec<Lease> = sizes.iter().map(lease).collect();
    for which in [1, 2, 0] {
        leases.remove(which);
        let map = map(rig, MemoryKind::Device);
        let live = of_state(&map, RangeState::Live);
        let first = live[0].0;
        let live: Vec<(u64, u64)> =
            live.iter().map(|(start, bytes)| (start - first, *bytes)).collect();
        assert_eq!(live, places(&leases));
        agree(rig);
    }
}

fn what_a_stream_keeps_is_told_as_that(rig: &Rig) {
    let mut stream = rig.stream().unwrap();
    let small: Vec<Lease> =
        (0..3).map(|_| rig.lease(MemoryKind::Device, 4096, &stream).unwrap()).collect();
    let held = small.iter().map(|lease| lease.bytes() as u64).sum::<u64>();
    assert_eq!(map(rig, MemoryKind::Device).live, held);
    drop(small);
    let kept = map(rig, MemoryKind::Device);
    assert_eq!((kept.live, kept.parked >= held), (0, true), "{kept:?}");
    let sum: u64 = of_state(&kept, RangeState::Parked).iter().map(|(_, bytes)| bytes).sum();
    assert_eq!(sum, kept.parked);
    agree(rig);

    // What is dropped while the stream works on it waits for the stream.
    let spin = rig.device.load_module(&conformance_module()).unwrap().function("spin").unwrap();
    let waited = (0..20).any(|_| {
        let mut out: Buffer<u32> = rig.buffer(1, &stream).unwrap();
        let used = rig.lease(MemoryKind::Device, 3 * MIB, &stream).unwrap();
        let launch = LaunchConfig::new(1, 1);
        stream.launch(&spin, launch, arguments![300_000u32, &mut out]).unwrap();
        let bytes = used.bytes() as u64;
        drop(used);
        let map = map(rig, MemoryKind::Device);
        let waits = of_state(&map, RangeState::Quarantined);
        assert!(waits.is_empty() || waits.iter().any(|(_, waiting)| *waiting >= bytes), "{map:?}");
        !waits.is_empty()
    });
    assert!(waited, "a stream that spins has been seen to");
    block_on(stream.completion().unwrap()).unwrap();
    assert_eq!(map(rig, MemoryKind::Device).quarantined, 0);
    agree(rig);
}

fn both(rig: &Rig) {
    what_is_held_is_where_it_is_held(rig);
    what_a_stream_keeps_is_told_as_that(rig);
}

#[test]
fn host() {
    both(&Rig::host());
}

#[test]
fn fake_cuda_in_pages() {
    both(&Rig::paged(rustkernel_gpu::cuda::open(fake::claim()).unwrap()));
}

#[test]
#[ignore = "needs a GPU"]
fn cuda_in_pages() {
    both(&Rig::paged(rustkernel_gpu::cuda::open(0).unwrap()));
}

#[test]
fn blocks_without_a_range_of_addresses_have_no_map() {
    let rig = fake::rig();
    let stream = rig.stream().unwrap();
    let held = rig.lease(MemoryKind::Device, MIB, &stream).unwrap();
    assert_eq!(KINDS.map(|kind| rig.memory.map(kind)), [None, None]);
    drop(held);
}

#[test]
fn what_is_held_of_a_lost_epoch_is_a_sum_alone() {
    let ordinal = fake::claim();
    let rig = Rig::paged(rustkernel_gpu::cuda::open(ordinal).unwrap());
    let stream = rig.stream().unwrap();
    let held = rig.lease(MemoryKind::Device, 3 * MIB, &stream).unwrap();
    inject(Fault::at(Point::AnyCall, 719).sticky().on_device(ordinal as usize));
    rig.device.memory_info().unwrap_err();
    rig.device.recover().unwrap();
    rig.memory.trim();
    let stream = rig.stream().unwrap();
    let fresh = rig.lease(MemoryKind::Device, MIB, &stream).unwrap();
    let map = map(&rig, MemoryKind::Device);
    assert_eq!((map.lost, map.live), (held.bytes() as u64, fresh.bytes() as u64));
    agree(&rig);
    drop(held);
    assert_eq!(rig.memory.map(MemoryKind::Device).unwrap().lost, 0);
}
