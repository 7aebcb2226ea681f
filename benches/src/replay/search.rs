//! The least capacity at which a trace finishes.
//!
//! With less room a policy decides otherwise, so it may fail at one capacity and finish at a smaller
//! one by luck. Luck is not what is asked for: the search goes down, first in coarse steps and then in
//! finer ones to single pages, and never below a capacity that failed. So every larger capacity that
//! was tried finishes.

use super::error::ReplayError;

/// Tries to get up to a capacity that suffices, each half as large again as the one before.
const RAISES: usize = 9;

/// The range to search.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// The least that could suffice: the peak of live bytes.
    pub floor: u64,
    /// Where to begin. Goes up from there if that is not enough.
    pub start: u64,
    /// Bytes of a page: every capacity tried is whole pages.
    pub page: u64,
}

/// The least capacity in bytes from which on every one that was tried finishes; none if not even
/// 38 times the start does.
///
/// # Errors
/// Those of `finishes`.
pub fn least_capacity(
    range: Range,
    mut finishes: impl FnMut(u64) -> Result<bool, ReplayError>,
) -> Result<Option<u64>, ReplayError> {
    let mut tried = |pages: u64| finishes(pages * range.page);
    let mut floor = range.floor.div_ceil(range.page).max(1);
    let mut best = range.start.div_ceil(range.page).max(floor);
    let mut raises = 0..RAISES;
    while !tried(best)? {
        if raises.next().is_none() {
            return Ok(None);
        }
        floor = best + 1;
        best = (best + best / 2).max(floor);
    }
    let mut step = ((best - floor) / 8).max(1);
    loop {
        while best >= floor + step {
            if tried(best - step)? {
                best -= step;
            } else {
                floor = best - step + 1;
            }
        }
        if step == 1 {
            return Ok(Some(best * range.page));
        }
        step = (step / 4).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(floor: u64, start: u64, finishes: impl Fn(u64) -> bool) -> (Option<u64>, Vec<u64>) {
        let mut tried = Vec::new();
        let range = Range { floor, start, page: 10 };
        let found = least_capacity(range, |capacity| {
            tried.push(capacity);
            Ok(finishes(capacity))
        });
        (found.unwrap(), tried)
    }

    #[test]
    fn every_edge_is_found() {
        for edge in 100..160 {
            let (found, tried) = search(995, 1500, |capacity| capacity >= edge * 10);
            assert_eq!(found, Some(edge * 10));
            assert!(tried.len() < 40, "{edge}: {}", tried.len());
        }
    }

    #[test]
    fn it_goes_up_where_the_start_is_not_enough() {
        assert_eq!(search(100, 150, |capacity| capacity >= 3330).0, Some(3330));
        assert_eq!(search(100, 150, |_| false).0, None);
        assert_eq!(search(0, 0, |_| true).0, Some(10));
    }

    #[test]
    fn every_larger_one_that_was_tried_finishes() {
        // Fails at random, the more often the less room there is.
        let finishes = |capacity: u64| {
            let luck = (capacity.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) % 1000;
            capacity >= 10_000 + luck * 5
        };
        let (found, tried) = search(10_000, 15_000, finishes);
        let found = found.unwrap();
        assert!(finishes(found));
        assert!(tried.iter().filter(|capacity| **capacity > found).all(|one| finishes(*one)));
        assert!(!finishes(found - 10));
    }

    #[test]
    fn errors_end_it() {
        let range = Range { floor: 10, start: 20, page: 1 };
        let failed = least_capacity(range, |_| Err(ReplayError::Memory("gone".into())));
        assert_eq!(failed.unwrap_err().to_string(), "gone");
    }
}
