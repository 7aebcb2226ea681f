//! How the fast paths call the allocator: a flag and a wake-up, never a message.

use std::future::poll_fn;
use std::task::Poll;

use atomic_waker::AtomicWaker;

use super::sync::{AtomicBool, AtomicU8, Ordering};

/// Why the allocator is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Need {
    /// The committed bytes have left the band within which the pressure level is not looked at.
    Pressure = 1,
    /// Bytes came back while somebody waits for some.
    Room = 2,
    /// Blocks lie in a pool that should not keep them.
    Release = 4,
    /// A pool had to grow: some more now spares others the wait.
    Ahead = 8,
    /// The supervisor has set another pressure level.
    Level = 16,
}

/// Calls from the fast paths to the one allocator of a device.
#[derive(Debug, Default)]
pub struct Attention {
    needs: AtomicU8,
    waker: AtomicWaker,
    room_wanted: AtomicBool,
    attended: AtomicBool,
}

impl Attention {
    /// Calls the allocator. Cheap when the same call is already waiting.
    pub fn raise(&self, need: Need) {
        let before = self.needs.fetch_or(need as u8, Ordering::AcqRel);
        if before & need as u8 == 0 {
            self.waker.wake();
        }
    }

    /// Calls the allocator if it said that it waits for room.
    pub(crate) fn room(&self) {
        if self.room_wanted.load(Ordering::SeqCst) {
            self.raise(Need::Room);
        }
    }

    /// The allocator grants what fits; `grant` says whether somebody is left who waits for room. If so,
    /// it is called whenever bytes come back. It looks twice: what came back between the first look and
    /// saying so was told to nobody.
    pub fn serve_room(&self, mut grant: impl FnMut() -> bool) {
        let blocked = grant();
        self.want_room(blocked);
        if blocked {
            let blocked = grant();
            self.want_room(blocked);
        }
    }

    fn want_room(&self, wanted: bool) {
        self.room_wanted.store(wanted, Ordering::SeqCst);
    }

    /// Whether somebody waits for room. Who comes now has to wait behind them.
    pub fn is_room_wanted(&self) -> bool {
        self.room_wanted.load(Ordering::SeqCst)
    }

    /// An allocator says that it listens from now on, or no longer does.
    pub fn attend(&self, attended: bool) {
        self.attended.store(attended, Ordering::Release);
    }

    pub(crate) fn is_attended(&self) -> bool {
        self.attended.load(Ordering::Acquire)
    }

    /// Waits for a call; ready with a test for each [`Need`]. For the one allocator only.
    pub async fn called(&self) -> impl Fn(Need) -> bool + use<> {
        let needs = poll_fn(|cx| {
            self.waker.register(cx.waker());
            match self.needs.swap(0, Ordering::AcqRel) {
                0 => Poll::Pending,
                needs => Poll::Ready(needs),
            }
        })
        .await;
        move |need| needs & need as u8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_executor::block_on;
    use std::sync::Arc;

    #[test]
    fn calls_are_kept_until_they_are_answered() {
        let attention = Attention::default();
        attention.raise(Need::Pressure);
        attention.raise(Need::Release);
        attention.room();
        let called = block_on(attention.called());
        assert!(called(Need::Pressure) && called(Need::Release) && !called(Need::Room));
    }

    #[test]
    fn room_is_told_only_while_it_is_wanted() {
        let attention = Arc::new(Attention::default());
        attention.want_room(true);
        let caller = std::thread::spawn({
            let attention = attention.clone();
            move || attention.room()
        });
        assert!(block_on(attention.called())(Need::Room));
        caller.join().unwrap();
    }
}
