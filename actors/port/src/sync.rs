//! Synchronisation types come through here, so that loom can replace them.

#[cfg(not(feature = "loom"))]
mod chosen {
    pub(crate) use crossbeam_queue::ArrayQueue;
    pub(crate) use std::sync::OnceLock;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use std::sync::{Mutex, MutexGuard};
}

#[cfg(feature = "loom")]
mod chosen {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use loom::sync::{Mutex, MutexGuard};

    use std::collections::VecDeque;

    /// What loom knows of the queue: who takes something sees what was done before it was put there.
    pub(crate) struct ArrayQueue<T> {
        capacity: usize,
        queue: Mutex<VecDeque<T>>,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(capacity: usize) -> Self {
            Self { capacity, queue: Mutex::new(VecDeque::new()) }
        }

        pub(crate) fn push(&self, value: T) -> Result<(), T> {
            let mut queue = self.queue.lock().unwrap();
            if queue.len() == self.capacity {
                return Err(value);
            }
            queue.push_back(value);
            Ok(())
        }

        pub(crate) fn pop(&self) -> Option<T> {
            self.queue.lock().unwrap().pop_front()
        }

        pub(crate) fn len(&self) -> usize {
            self.queue.lock().unwrap().len()
        }

        pub(crate) fn capacity(&self) -> usize {
            self.capacity
        }
    }

    /// And of what is made once, here always by one thread at a time: who sees it sees all of it, and who does not
    /// synchronise with its maker need not see it.
    pub(crate) struct OnceLock<T> {
        made: AtomicBool,
        value: std::sync::OnceLock<T>,
    }

    impl<T> OnceLock<T> {
        pub(crate) fn new() -> Self {
            Self { made: AtomicBool::new(false), value: std::sync::OnceLock::new() }
        }

        pub(crate) fn get(&self) -> Option<&T> {
            self.made.load(Ordering::Acquire).then(|| self.value.get())?
        }

        pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            let value = self.value.get_or_init(make);
            self.made.store(true, Ordering::Release);
            value
        }
    }
}

pub(crate) use chosen::*;

/// Writes a word before reads of other words that follow: of two threads that each publish a word
/// and then read the other's, at least one sees the other's.
///
/// A sequentially consistent exchange does that, where the reads are sequentially consistent too.
/// loom knows no such exchange (it takes it for acquire and release), only the fence.
#[inline]
pub(crate) fn publish(word: &AtomicU64, value: u64) {
    #[cfg(not(feature = "loom"))]
    word.swap(value, Ordering::SeqCst);
    #[cfg(feature = "loom")]
    {
        word.store(value, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }
}
