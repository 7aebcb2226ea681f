//! Which instances sleep, and how exactly one of them is woken for a request.
//!
//! A bit for each instance. An instance that finds nothing sets its bit and looks once more; a caller
//! that has brought a request looks for a bit and clears it. Both orders are sequentially consistent,
//! so one of the two sees the other: no request waits while an instance sleeps. Wakers are woken
//! outside of any lock, because whom they wake may run before they return.

use std::task::Waker;

use atomic_waker::AtomicWaker;

use crate::sync::{AtomicU64, Ordering, fence};

const BITS: usize = u64::BITS as usize;

#[derive(Debug)]
pub(crate) struct Idle {
    /// Bit `i % 64` of word `i / 64`: instance `i` is about to sleep or sleeps.
    asleep: Box<[AtomicU64]>,
    wakers: Box<[AtomicWaker]>,
}

impl Idle {
    pub(crate) fn new(instances: usize) -> Self {
        Self {
            asleep: (0..instances.div_ceil(BITS)).map(|_| AtomicU64::new(0)).collect(),
            wakers: (0..instances).map(|_| AtomicWaker::new()).collect(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.wakers.len()
    }

    /// The instance will sleep unless it finds something when it now looks once more.
    pub(crate) fn fall_asleep(&self, instance: usize, waker: &Waker) {
        self.wakers[instance].register(waker);
        self.asleep[instance / BITS].fetch_or(1 << (instance % BITS), Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The instance found something after all, or was woken.
    pub(crate) fn wake_up(&self, instance: usize) {
        self.asleep[instance / BITS].fetch_and(!(1 << (instance % BITS)), Ordering::SeqCst);
    }

    /// Something was brought: wakes one sleeping instance, if there is one.
    pub(crate) fn call_one(&self) {
        fence(Ordering::SeqCst);
        for (word, asleep) in self.asleep.iter().enumerate() {
            let mut bits = asleep.load(Ordering::SeqCst);
            while bits != 0 {
                let bit = bits.trailing_zeros() as usize;
                let before = asleep.fetch_and(!(1 << bit), Ordering::SeqCst);
                if before & 1 << bit != 0 {
                    return self.wakers[word * BITS + bit].wake();
                }
                bits = before & !(1 << bit);
            }
        }
    }

    /// Has the instance woken when its request is given up.
    pub(crate) fn register(&self, instance: usize, waker: &Waker) {
        self.wakers[instance].register(waker);
    }

    /// Wakes every instance.
    pub(crate) fn call_all(&self) {
        self.wakers.iter().for_each(AtomicWaker::wake);
    }
}

#[cfg(all(test, not(feature = "loom")))]
pub(crate) mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    /// How often it was woken.
    #[derive(Default)]
    pub(crate) struct Count(pub(crate) AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    #[test]
    fn each_call_wakes_another_sleeper_and_none_is_woken_twice() {
        let idle = Idle::new(130);
        let counts: Vec<Arc<Count>> = (0..130).map(|_| Arc::default()).collect();
        for (instance, count) in counts.iter().enumerate() {
            idle.fall_asleep(instance, &count.clone().into());
        }
        idle.wake_up(64);
        for _ in 0..200 {
            idle.call_one();
        }
        let woken = |instance: usize| counts[instance].0.load(std::sync::atomic::Ordering::SeqCst);
        assert!((0..130).all(|instance| woken(instance) == usize::from(instance != 64)));
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// A caller brings something while an instance goes to sleep: the instance finds it, or is called.
    #[test]
    fn loom_nothing_waits_while_its_instance_sleeps() {
        loom::model(|| {
            let idle = Arc::new(Idle::new(1));
            let brought = Arc::new(AtomicU64::new(0));
            let caller = thread::spawn({
                let (idle, brought) = (idle.clone(), brought.clone());
                move || {
                    brought.store(1, Ordering::Release);
                    idle.call_one();
                }
            });
            idle.fall_asleep(0, Waker::noop());
            let found = brought.load(Ordering::Acquire) == 1;
            caller.join().unwrap();
            let called = idle.asleep[0].load(Ordering::SeqCst) == 0;
            assert!(found || called, "asleep beside a request");
        });
    }
}
