//! The queue of reservations, through the actor and its timers, on a clock that stands still.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::System;
use rustkernel_gpu::memory::{Need, PressureLevel};
use tokio::task::JoinHandle;

use super::Refused;
use super::queue::AGING;
use crate::clock;
use crate::error::{Cancellation, Rejection};
use crate::kernel::Priority::{self, High, Low, Normal};
use crate::supervisor::world::{PAGE, World};

/// In the order in which they were granted.
type Granted = Rc<RefCell<Vec<&'static str>>>;

/// Reserves thousandths of the limit (and an eighth and 128 more for rounding), keeps them a while, and gives them back.
fn reserve(
    world: &World,
    name: &'static str,
    (priority, thousandths): (Priority, u64),
    granted: &Granted,
) -> JoinHandle<Result<(), Refused>> {
    let (client, granted) = (world.client.clone(), Rc::clone(granted));
    let deadline = clock::now() + Duration::from_secs(30);
    actix::spawn(async move {
        let need = Need::device(thousandths * PAGE);
        let _reservation = client.reserve(need, priority, Some(deadline)).await?;
        granted.borrow_mut().push(name);
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    })
}

/// Half of the memory is in use, and a large one that does not fit waits, with a small one behind it that would.
async fn blocked(world: &mut World, granted: &Granted) -> [JoinHandle<Result<(), Refused>>; 2] {
    world.hold(500, 1).await;
    let large = reserve(world, "large", (Normal, 400), granted);
    world.hold(500, 1).await;
    let small = reserve(world, "small", (Normal, 10), granted);
    world.hold(500, 10).await;
    assert!(granted.borrow().is_empty(), "the first blocks");
    [large, small]
}

#[test]
fn a_large_one_is_not_overtaken_by_small_ones_that_would_fit() {
    System::new().block_on(async {
        let (mut world, granted) = (World::start().await, Granted::default());
        let [large, small] = blocked(&mut world, &granted).await;
        assert_eq!(world.client.allocator_stats().waiting, 2);
        world.hold(100, 10).await;
        assert!(large.await.unwrap().is_ok() && small.await.unwrap().is_ok());
        assert_eq!(*granted.borrow(), ["large", "small"]);
        assert_eq!(world.client.allocator_stats().waiting, 0);
    });
}

/// Whoever gives up while he waits keeps nobody behind him waiting.
///
/// Semantics: S7.
#[test]
fn one_that_is_given_up_does_not_block_those_behind_it() {
    System::new().block_on(async {
        let (mut world, granted) = (World::start().await, Granted::default());
        let [large, small] = blocked(&mut world, &granted).await;
        large.abort();
        world.hold(500, 10).await;
        assert_eq!(*granted.borrow(), ["small"]);
        small.await.unwrap().unwrap();
        assert_eq!(world.client.allocator_stats().waiting, 0);
    });
}

#[test]
fn high_goes_before_normal_before_low() {
    System::new().block_on(async {
        let (mut world, granted) = (World::start().await, Granted::default());
        world.hold(300, 1).await;
        let low = reserve(&world, "low", (Low, 600), &granted);
        world.hold(300, 1).await;
        let normal = reserve(&world, "normal", (Normal, 600), &granted);
        world.hold(300, 1).await;
        let high = reserve(&world, "high", (High, 600), &granted);
        world.hold(300, 1).await;
        world.hold(50, 200).await;
        for each in [high, normal, low] {
            each.await.unwrap().unwrap();
        }
        assert_eq!(*granted.borrow(), ["high", "normal", "low"]);
    });
}

#[test]
fn whoever_has_waited_long_goes_before_those_of_higher_priority() {
    for (waited, order) in [(AGING / 2, ["high", "normal"]), (2 * AGING, ["normal", "high"])] {
        System::new().block_on(async {
            let (mut world, granted) = (World::start().await, Granted::default());
            world.hold(300, 1).await;
            let normal = reserve(&world, "normal", (Normal, 600), &granted);
            tokio::time::sleep(waited).await;
            let high = reserve(&world, "high", (High, 600), &granted);
            world.hold(300, 1).await;
            world.hold(50, 200).await;
            for each in [high, normal] {
                each.await.unwrap().unwrap();
            }
            assert_eq!(*granted.borrow(), order);
        });
    }
}

#[test]
fn with_age_one_that_fits_is_granted_although_nothing_has_come_back() {
    System::new().block_on(async {
        let (mut world, granted) = (World::start().await, Granted::default());
        world.hold(450, 1).await;
        let _fits = reserve(&world, "fits", (Normal, 400), &granted);
        tokio::time::sleep(AGING / 2).await;
        let _blocks = reserve(&world, "blocks", (High, 600), &granted);
        world.hold(450, 1).await;
        world.hold(350, 1).await;
        assert!(granted.borrow().is_empty(), "the first blocks");
        tokio::time::sleep(AGING / 2).await;
        assert_eq!(*granted.borrow(), ["fits"]);
    });
}

#[test]
fn emergency_cancels_what_waits_and_is_of_low_priority_and_nothing_else() {
    System::new().block_on(async {
        let (mut world, granted) = (World::start().await, Granted::default());
        world.hold(750, 1).await;
        assert_eq!(world.client.pressure(), PressureLevel::Warning);
        let low = reserve(&world, "low", (Low, 1), &granted);
        let normal = reserve(&world, "normal", (Normal, 200), &granted);
        world.hold(960, 1).await;
        let device = world.client.device().id();
        let cancelled = Refused::Cancelled(Cancellation::MemoryPressure { device });
        assert_eq!(low.await.unwrap(), Err(cancelled));
        assert!(!normal.is_finished());
        let level = PressureLevel::Emergency;
        let new = reserve(&world, "new", (High, 1), &granted).await.unwrap();
        assert_eq!(new, Err(Refused::Rejected(Rejection::UnderPressure { device, level })));
        world.hold(100, 10).await;
        normal.await.unwrap().unwrap();
        let stats = world.client.allocator_stats();
        assert_eq!((stats.deferred, stats.cancelled, stats.waiting), (1, 1, 0));
    });
}

/// Semantics: S23.
#[test]
fn restarts_that_wait_for_a_lower_level_are_let_go_by_priority() {
    System::new().block_on(async {
        let (mut world, let_go) = (World::start().await, Granted::default());
        world.hold(900, 1).await;
        let restarts =
            [("low", Low), ("normal", Normal), ("high", High)].map(|(name, priority)| {
                let (client, let_go) = (world.client.clone(), Rc::clone(&let_go));
                actix::spawn(async move {
                    client.calm(priority).await;
                    let_go.borrow_mut().push(name);
                })
            });
        world.hold(900, 10).await;
        assert!(let_go.borrow().is_empty());
        world.hold(100, 200).await;
        for restart in restarts {
            restart.await.unwrap();
        }
        assert_eq!(*let_go.borrow(), ["high", "normal", "low"]);
    });
}

#[test]
fn what_never_fits_is_refused_at_once_at_any_level() {
    System::new().block_on(async {
        let (mut world, granted) = (World::start().await, Granted::default());
        for (held, level) in [(0, PressureLevel::Normal), (750, PressureLevel::Warning), (900, PressureLevel::Critical)] {
            world.hold(held, 1).await;
            assert_eq!(world.client.pressure(), level);
            for priority in [Low, Normal, High] {
                let refused = reserve(&world, "never", (priority, 1000), &granted).await.unwrap();
                let limit = 1000 * PAGE;
                assert!(
                    matches!(refused, Err(Refused::Rejected(Rejection::NeverFits { limit: told, .. })) if told == limit),
                    "{refused:?}"
                );
            }
        }
    });
}

#[test]
fn a_deferred_one_is_refused_at_its_deadline_and_says_why() {
    System::new().block_on(async {
        let (mut world, granted) = (World::start().await, Granted::default());
        world.hold(750, 1).await;
        let low = reserve(&world, "low", (Low, 1), &granted);
        world.hold(750, 29_000).await;
        assert!(!low.is_finished());
        world.hold(750, 1_000).await;
        let (device, level) = (world.client.device().id(), PressureLevel::Warning);
        let refused = Refused::Rejected(Rejection::UnderPressure { device, level });
        assert_eq!(low.await.unwrap(), Err(refused));
    });
}
