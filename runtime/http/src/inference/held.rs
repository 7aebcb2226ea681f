//! Bytes of bodies that are held at once, over all requests: no more than may be.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Fault, Reason};

/// Bytes of a body that are held whatever others hold: as many as a connection has room for anyway.
const FREE: u64 = 64 << 10;

/// How many bytes there may be, and how many there are.
#[derive(Debug)]
pub(crate) struct Room {
    most: u64,
    held: AtomicU64,
}

impl Room {
    pub(crate) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { most, held: AtomicU64::new(0) })
    }

    fn take(&self, bytes: u64) -> Result<(), Fault> {
        let with = |held: u64| held.checked_add(bytes).filter(|all| *all <= self.most);
        let taken = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with);
        taken.map(drop).map_err(|held| {
            let most = self.most;
            let error = format!(
                "the bodies of other requests take {held} of {most} bytes (http.max_held_bytes); send it later"
            );
            Fault::new(Reason::BodiesFull, error)
        })
    }

    fn give_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What one request holds. Dropped when it is answered.
#[derive(Debug)]
pub(crate) struct Held {
    room: Option<Arc<Room>>,
    bytes: u64,
}

impl Held {
    /// Nothing.
    pub(super) fn none() -> Self {
        Self { room: None, bytes: 0 }
    }

    /// So many bytes, whatever it was before.
    ///
    /// # Errors
    /// If that is more than there is room for; then it is what it was.
    pub(super) fn set(&mut self, room: &Arc<Room>, bytes: usize) -> Result<(), Fault> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let counted = if bytes <= FREE { 0 } else { bytes };
        match counted.cmp(&self.bytes) {
            // (So it is of small bodies: they touch nothing that requests share.)
            Equal => {}
            Less => room.give_back(self.bytes - counted),
            Greater => {
                room.take(counted - self.bytes)?;
                self.room.get_or_insert_with(|| Arc::clone(room));
            }
        }
        self.bytes = counted;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.give_back(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_share_the_room_and_small_ones_need_none() {
        let room = Room::new(1 << 20);
        let held = |bytes: usize| {
            let mut held = Held::none();
            held.set(&room, bytes).map(|()| held)
        };
        let mut first = held(700 << 10).unwrap();
        assert_eq!(held(400 << 10).unwrap_err().reason, Reason::BodiesFull);
        held(64 << 10).unwrap();
        first.set(&room, 1 << 20).unwrap();
        assert_eq!(first.set(&room, (1 << 20) + 1).unwrap_err().reason, Reason::BodiesFull);
        first.set(&room, 500 << 10).unwrap();
        let second = held(524 << 10).unwrap();
        drop((first, second));
        assert_eq!(room.held.load(Ordering::Relaxed), 0);
        held(1 << 20).unwrap();
    }
}
