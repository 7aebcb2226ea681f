//! What one caller may ask at most: how often, and how much at once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use rustkernel_core::config::CallerConfig;
use rustkernel_core::kernel::Instant;

use super::denial::Denial;

/// Callers that are remembered before it is looked who can be forgotten.
const FEW: usize = 1024;

/// The callers of late. Without limits nobody is remembered.
#[derive(Debug)]
pub(super) struct Callers {
    /// Whether there is any limit; else nothing is locked.
    limited: AtomicBool,
    limits: Mutex<Limits>,
    open: Arc<Open>,
}

#[derive(Debug)]
struct Limits {
    config: CallerConfig,
    rates: Option<Rates>,
    /// How many callers are remembered when it is next looked who can be forgotten.
    full: usize,
}

/// How often each has asked, by the generic cell rate algorithm (ITU-T I.371): one number for each.
type Rates =
    RateLimiter<Arc<str>, HashMapStateStore<Arc<str>>, SinceStart, NoOpMiddleware<Duration>>;

/// How many requests each has open, of those who have any.
type Open = Mutex<HashMap<Arc<str>, u32>>;

impl Callers {
    /// Nobody yet, under these limits.
    pub(super) fn new(config: CallerConfig) -> Self {
        Self {
            limited: AtomicBool::new(is_any(config)),
            limits: Mutex::new(Limits::new(config)),
            open: Arc::default(),
        }
    }

    /// Has other limits hold from now on. What is open counts on.
    pub(super) fn limit(&self, config: CallerConfig) {
        let mut limits = locked(&self.limits);
        if limits.config != config {
            *limits = Limits::new(config);
            self.limited.store(is_any(config), Ordering::Relaxed);
        }
    }

    /// Whether there is any limit.
    pub(super) fn are_limited(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }

    /// Lets a request of that caller in, which counts as open until the permit is dropped.
    ///
    /// # Errors
    /// [`Denial::TooMany`] or [`Denial::TooOften`] if it is more than they may ask.
    pub(super) fn enter(&self, name: &str) -> Result<Option<Permit>, Denial> {
        if !self.are_limited() {
            return Ok(None);
        }
        let name = Arc::from(name);
        let mut limits = locked(&self.limits);
        let permit = Permit::of(&self.open, &name, limits.config.concurrent)?;
        limits.asked(&name)?;
        Ok(Some(permit))
    }
}

impl Default for Callers {
    fn default() -> Self {
        Self::new(CallerConfig::default())
    }
}

/// The name of a caller who has none: an address, and of version 6 the network of its first 64 bits, of which one
/// may have all.
pub(super) fn address(source: Option<SocketAddr>) -> String {
    match source.map(|source| source.ip().to_canonical()) {
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("address:{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        Some(address) => format!("address:{address}"),
        None => "unix".into(),
    }
}

fn is_any(config: CallerConfig) -> bool {
    config.requests_per_second > 0 || config.concurrent > 0
}

impl Limits {
    fn new(config: CallerConfig) -> Self {
        let rates = NonZeroU32::new(config.requests_per_second).map(|rate| {
            let burst = NonZeroU32::new(config.burst).unwrap_or(rate);
            let quota = Quota::per_second(rate).allow_burst(burst);
            RateLimiter::new(quota, HashMapStateStore::default(), SinceStart(Instant::now()))
        });
        Self { config, rates, full: FEW }
    }

    /// Counts a request.
    fn asked(&mut self, name: &Arc<str>) -> Result<(), Denial> {
        let Some(rates) = &self.rates else { return Ok(()) };
        if rates.len() >= self.full {
            // Who could ask as much as at first has nothing to be remembered for; that leaves those who asked within
            // the time in which a burst is earned again.
            rates.retain_recent();
            self.full = FEW.max(rates.len() * 2);
        }
        rates.check_key(name).map_err(|early| {
            let wait = early.wait_time_from(rates.clock().now());
            Denial::TooOften { most: self.config.requests_per_second, wait }
        })
    }
}

/// A request that counts as open until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    open: Arc<Open>,
    name: Arc<str>,
}

impl Permit {
    /// One more of that caller's, of at most so many; 0 is no limit.
    fn of(open: &Arc<Open>, name: &Arc<str>, most: u32) -> Result<Self, Denial> {
        let mut callers = locked(open);
        let count = callers.get(name).copied().unwrap_or_default();
        if most > 0 && count >= most {
            return Err(Denial::TooMany { most });
        }
        callers.insert(Arc::clone(name), count + 1);
        Ok(Self { open: Arc::clone(open), name: Arc::clone(name) })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut callers = locked(&self.open);
        match callers.get_mut(&self.name) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(callers.remove(&self.name)),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A clock that tests can pause.
#[derive(Debug, Clone)]
struct SinceStart(Instant);

impl Clock for SinceStart {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn callers(requests_per_second: u32, burst: u32, concurrent: u32) -> Callers {
        Callers::new(CallerConfig { requests_per_second, burst, concurrent })
    }

    fn often(callers: &Callers, name: &str) -> usize {
        (0..1000).filter(|_| callers.enter(name).is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn each_may_ask_a_burst_and_then_as_often_as_it_is_earned() {
        let callers = callers(10, 20, 0);
        assert_eq!((often(&callers, "a"), often(&callers, "b")), (20, 20));
        let denied = callers.enter("a").unwrap_err();
        assert_eq!(denied, Denial::TooOften { most: 10, wait: Duration::from_millis(100) });
        advance(Duration::from_millis(1500)).await;
        assert_eq!((often(&callers, "a"), often(&callers, "a")), (15, 0));
        advance(Duration::from_secs(60)).await;
        assert_eq!(often(&callers, "a"), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_a_second_s_requests_where_none_is_said() {
        assert_eq!(often(&callers(7, 0, 0), "a"), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn each_may_have_so_many_open() {
        let callers = callers(0, 0, 2);
        let (first, second) = (callers.enter("a").unwrap(), callers.enter("a").unwrap());
        assert_eq!(callers.enter("a").unwrap_err(), Denial::TooMany { most: 2 });
        assert!(callers.enter("b").is_ok());
        drop(first);
        let third = callers.enter("a").unwrap();
        assert!(callers.enter("a").is_err());
        drop((second, third));
        assert!(locked(&callers.open).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_denied_leaves_nothing_open() {
        let callers = callers(1, 1, 1);
        assert!(callers.enter("a").is_ok());
        assert!(matches!(callers.enter("a"), Err(Denial::TooOften { .. })));
        assert!(locked(&callers.open).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn other_limits_hold_at_once_and_what_is_open_counts_on() {
        let callers = callers(0, 0, 0);
        assert!(callers.enter("a").unwrap().is_none());
        callers.limit(CallerConfig { concurrent: 1, ..CallerConfig::default() });
        let open = callers.enter("a").unwrap();
        callers.limit(CallerConfig { requests_per_second: 5, concurrent: 1, burst: 0 });
        assert_eq!(callers.enter("a").unwrap_err(), Denial::TooMany { most: 1 });
        drop(open);
        assert_eq!(often(&callers, "a"), 5);
        callers.limit(CallerConfig::default());
        assert_eq!(often(&callers, "a"), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_ask_any_more_is_forgotten() {
        let callers = callers(10, 10, 0);
        for caller in 0..10 * FEW {
            drop(callers.enter(&caller.to_string()));
            advance(Duration::from_millis(1)).await;
        }
        // (A request is earned again within 100 of them.)
        let known = locked(&callers.limits).rates.as_ref().unwrap().len();
        assert!(known <= FEW + 100, "{known}");
    }

    #[test]
    fn callers_without_a_name_are_told_by_their_address() {
        let name = |text: &str| address(Some(text.parse().unwrap()));
        assert_eq!(name("10.0.0.1:80"), "address:10.0.0.1");
        assert_eq!(name("[::ffff:10.0.0.1]:80"), "address:10.0.0.1");
        assert_eq!(name("[2001:db8:1:2:3:4:5:6]:80"), "address:2001:db8:1:2::/64");
        assert_eq!(address(None), "unix");
    }
}
