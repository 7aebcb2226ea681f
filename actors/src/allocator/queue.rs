//! Reservations that wait: by priority, then by arrival, and with age.
//!
//! A reservation rises one class for each [`AGING`] that it waits, so that none starves behind those of
//! higher priority. The first is not overtaken by smaller ones that would fit, so that a large one does
//! not starve either. Those of low priority are passed over while the pressure level asks for it,
//! whatever their age.

use std::time::Duration;

use rustkernel_gpu::memory::{Need, PressureLevel, Reservation};
use tokio::sync::oneshot;

use super::{Refused, Reserve};
use crate::clock::Instant;
use crate::kernel::Priority;

/// How long a reservation waits before it rises one class.
pub(super) const AGING: Duration = Duration::from_secs(1);

/// What a waiting request is told.
pub(crate) type Reply = oneshot::Sender<Result<Reservation, Refused>>;

/// A reservation that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) number: u64,
    pub(super) need: Need,
    pub(super) priority: Priority,
    pub(super) since: Instant,
    deadline: Option<Instant>,
    /// It is no request but a restart: it waits for a lower level, not for room.
    pub(super) restart: bool,
    pub(super) reply: Reply,
}

impl Waiting {
    fn class(&self, now: Instant) -> Priority {
        let steps = now.saturating_duration_since(self.since).as_secs() / AGING.as_secs();
        self.priority.raised(u32::try_from(steps).unwrap_or(u32::MAX / 2))
    }
}

/// Whether a reservation of that priority is deferred at that level.
pub(super) fn is_deferred(priority: Priority, level: PressureLevel) -> bool {
    priority == Priority::Low && level >= PressureLevel::Warning
}

/// The reservations that wait. Each instance waits for one at a time, which bounds them.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// In the order of arrival.
    waiting: Vec<Waiting>,
    arrivals: u64,
}

impl Queue {
    /// Takes one in.
    pub(super) fn push(&mut self, asked: Reserve, since: Instant) {
        self.arrivals += 1;
        let number = self.arrivals;
        let Reserve { need, priority, deadline, restart, reply } = asked;
        self.waiting.push(Waiting { number, need, priority, since, deadline, restart, reply });
    }

    /// The number and the need of the next to be served at that level.
    pub(super) fn first(&self, level: PressureLevel, now: Instant) -> Option<(u64, Need)> {
        let waits = |one: &Waiting| match one.restart {
            true => level >= PressureLevel::Critical,
            false => is_deferred(one.priority, level),
        };
        let eligible = self.waiting.iter().filter(|one| !waits(one));
        // (Of equals `min_by_key` takes the first to arrive.)
        let first = eligible.min_by_key(|one| std::cmp::Reverse(one.class(now)));
        first.map(|first| (first.number, first.need))
    }

    /// Takes out the one of that number, if it still waits.
    pub(super) fn remove(&mut self, number: u64) -> Option<Waiting> {
        let index = self.waiting.iter().position(|one| one.number == number)?;
        Some(self.waiting.remove(index))
    }

    /// Takes out those whose requests were given up.
    pub(super) fn forget_given_up(&mut self) {
        self.waiting.retain(|one| !one.reply.is_closed());
    }

    /// When the next of them is too late.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|one| one.deadline).min()
    }

    /// Takes out those that are too late.
    pub(super) fn remove_expired(&mut self, now: Instant) -> Vec<Waiting> {
        let expired = |one: &mut Waiting| one.deadline.is_some_and(|deadline| deadline <= now);
        self.waiting.extract_if(.., expired).collect()
    }

    /// Takes out those of low priority.
    pub(super) fn remove_low(&mut self) -> Vec<Waiting> {
        let given_up = |one: &mut Waiting| one.priority == Priority::Low && !one.restart;
        self.waiting.extract_if(.., given_up).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Priority::{High, Low, Normal};
    use super::*;
    use crate::clock;

    /// A queue with those waiting, and what keeps them wanted.
    fn queue(
        waiting: &[(Priority, Instant)],
    ) -> (Queue, Vec<oneshot::Receiver<Result<Reservation, Refused>>>) {
        let mut queue = Queue::default();
        let wanted = waiting.iter().map(|(priority, since)| {
            let (reply, answer) = oneshot::channel();
            let asked = Reserve {
                need: Need::device(1),
                priority: *priority,
                deadline: Some(*since + 3 * AGING),
                restart: false,
                reply,
            };
            queue.push(asked, *since);
            answer
        });
        let wanted = wanted.collect();
        (queue, wanted)
    }

    fn order(mut queue: Queue, level: PressureLevel, now: Instant) -> Vec<u64> {
        let next = || {
            let (number, _) = queue.first(level, now)?;
            queue.remove(number).map(|one| one.number)
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn the_order_is_priority_then_arrival() {
        let now = clock::now();
        let all = [Low, Normal, High, Low, High, Normal].map(|priority| (priority, now));
        let (queue, _wanted) = queue(&all);
        assert_eq!(order(queue, PressureLevel::Normal, now), [3, 5, 2, 6, 1, 4]);
    }

    #[test]
    fn whoever_has_waited_rises_and_is_served_before_those_that_come_later() {
        let start = clock::now();
        let later = start + AGING;
        let latest = start + 2 * AGING;
        let (queue, _wanted) =
            queue(&[(Low, start), (Normal, start), (Normal, later), (High, latest)]);
        assert_eq!(queue.first(PressureLevel::Normal, start).unwrap().0, 4);
        // After two steps the low one is as high as those that come now, and was there first.
        assert_eq!(order(queue, PressureLevel::Normal, latest), [1, 2, 3, 4]);
    }

    #[test]
    fn low_ones_are_passed_over_from_warning_on_however_old() {
        let now = clock::now();
        for level in PressureLevel::ALL {
            let (queue, _wanted) = queue(&[(Low, now), (Normal, now)]);
            let expected: &[u64] = if level == PressureLevel::Normal { &[1, 2] } else { &[2] };
            assert_eq!(order(queue, level, now + 10 * AGING), expected, "{level}");
        }
    }

    #[test]
    fn those_that_are_too_late_are_taken_out_and_the_next_deadline_is_told() {
        let start = clock::now();
        let (mut queue, _wanted) = queue(&[(Low, start), (High, start + AGING), (Low, start)]);
        let expired = |queue: &mut Queue, now| {
            queue.remove_expired(now).iter().map(|one| one.number).collect::<Vec<_>>()
        };
        let first = start + 3 * AGING;
        assert_eq!(queue.next_deadline(), Some(first));
        assert_eq!(expired(&mut queue, first - AGING / 2), []);
        assert_eq!(expired(&mut queue, first), [1, 3]);
        assert_eq!(queue.next_deadline(), Some(first + AGING));
        assert_eq!(expired(&mut queue, first + AGING), [2]);
        assert_eq!(queue.next_deadline(), None);
    }

    #[test]
    fn those_given_up_and_those_of_low_priority_can_be_taken_out() {
        let now = clock::now();
        let (mut queue, mut wanted) = queue(&[(Low, now), (High, now), (Low, now)]);
        wanted.remove(1);
        queue.forget_given_up();
        let low: Vec<u64> = queue.remove_low().iter().map(|one| one.number).collect();
        assert_eq!((low, queue.waiting.len()), (vec![1, 3], 0));
    }
}
