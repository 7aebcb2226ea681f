//! The checks of the simulation, checked: each planted bug is found within a hundred seeds.
//!
//! `cargo test -p rustkernel-tests --features planted --test planted`

use rustkernel_actors::planted::Bug::{IllegalTransition, LateAdmission, RestartPastLimit};
use rustkernel_gpu::planted::Bug::{DoubleFree, LateCritical, LeakOnPanic, StaleHandle};
use rustkernel_port::planted::Bug::{DoubleAnswer, LostAnswer, UnboundedQueue};
use rustkernel_tests::simulation::planted::{Bug, plant};
use rustkernel_tests::simulation::run;

const SEEDS: u64 = 100;
const REQUESTS: u32 = 500;

/// The bug is found within the seeds, by a check that says so; without it nothing is.
fn is_found(bug: Bug, says: &str) {
    let found = (0..SEEDS).find_map(|seed| {
        plant(Some(bug));
        let planted = run(seed, REQUESTS);
        plant(None);
        let told = planted.violations.iter().any(|violation| violation.contains(says));
        told.then_some((seed, planted.violations))
    });
    let (seed, violations) = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
    println!("{bug:?}: seed {seed}: {violations:?}");
    let without = run(seed, REQUESTS);
    assert!(without.violations.is_empty(), "{:?}", without.violations);
}

#[test]
fn a_lost_answer_is_found() {
    is_found(Bug::Port(LostAnswer), "stuck");
}

#[test]
fn an_answer_counted_twice_is_found() {
    is_found(Bug::Port(DoubleAnswer), "its callers");
}

#[test]
fn a_queue_without_its_bound_is_found() {
    is_found(Bug::Port(UnboundedQueue), "requests are open at a queue of");
}

#[test]
fn a_lease_forgotten_by_a_panic_is_found() {
    is_found(Bug::Memory(LeakOnPanic), "memory at the end");
}

#[test]
fn bytes_that_come_back_twice_are_found() {
    is_found(Bug::Memory(DoubleFree), "more bytes came back");
}

#[test]
fn a_threshold_that_is_off_by_one_byte_is_found() {
    is_found(Bug::Memory(LateCritical), "not critical");
}

#[test]
fn a_handle_used_after_its_device_was_lost_is_found() {
    is_found(Bug::Memory(StaleHandle), "handles of a lost context reached the driver");
}

#[test]
fn a_transition_that_is_not_on_the_table_is_found() {
    is_found(Bug::Actors(IllegalTransition), "the lifecycle went from");
}

#[test]
fn a_request_let_in_while_draining_is_found() {
    is_found(Bug::Actors(LateAdmission), "made while draining");
}

#[test]
fn a_restart_past_the_limit_is_found() {
    is_found(Bug::Actors(RestartPastLimit), "the limit is");
}
