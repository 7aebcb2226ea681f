//! Instances and their allocator, each with a thread, under shuttle: whoever waits for room is served when
//! there is some, whatever the interleaving, and every byte comes back.
//!
//! The books, the calls and the look for room are the real ones; the allocator's mailbox and the instances'
//! requests are as small as they can be. `cargo test -p rustkernel-gpu --features shuttle --lib shuttle`

use std::collections::VecDeque;
use std::sync::Arc;

use shuttle::sync::Mutex;
use shuttle::sync::mpsc::{Receiver, Sender, channel};
use shuttle::{future, rand, thread};

use rand::Rng;

use super::attention::{Attention, Need as Call};
use super::class::BlockSizes;
use super::ledger::Ledger;
use super::reservation::{Need, Reservation, Shortage};

const LIMIT: u64 = 1 << 20;
const INSTANCES: usize = 3;
const REQUESTS: usize = 2;

/// One that waits: what it needs, and where its reservation goes.
type Waiting = (Need, Sender<Reservation>);

struct Model {
    device: Arc<Ledger>,
    staging: Arc<Ledger>,
    attention: Arc<Attention>,
    mailbox: Mutex<VecDeque<Option<Waiting>>>,
}

impl Model {
    fn new() -> Self {
        let attention = Arc::new(Attention::default());
        let ledger = || {
            let (sizes, attention) = (BlockSizes::classes(1), Arc::clone(&attention));
            Arc::new(Ledger::new(LIMIT, sizes, None, attention))
        };
        let (device, staging, mailbox) = (ledger(), ledger(), Mutex::default());
        Self { device, staging, attention, mailbox }
    }

    fn try_reserve(&self, need: Need) -> Result<Reservation, Shortage> {
        Reservation::try_new(need, &self.device, &self.staging)
    }

    /// A message, None to stop, and what has the mailbox looked into.
    fn send(&self, message: Option<Waiting>) {
        self.mailbox.lock().expect("nobody panics").push_back(message);
        self.attention.raise(Call::Ahead);
    }

    /// As `MemoryClient::reserve`: on the spot if nobody waits, else by message.
    fn reserve(&self, need: Need) -> Result<Reservation, Receiver<Reservation>> {
        if !self.attention.is_room_wanted() {
            match self.try_reserve(need) {
                Ok(reservation) => return Ok(reservation),
                Err(shortage) => assert!(matches!(shortage, Shortage::NotNow { .. })),
            }
        }
        let (reply, answer) = channel();
        self.send(Some((need, reply)));
        Err(answer)
    }

    /// An instance: reserves, holds, gives back; sometimes gives up while it waits.
    fn instance(&self) {
        for _ in 0..REQUESTS {
            // (What is granted is a little more than what is asked for.)
            let quarters = rand::thread_rng().gen_range(1..4);
            let (device, staging) = (LIMIT / 4 * quarters, LIMIT / 4 * (4 - quarters));
            let need = Need { device, staging };
            let held = match self.reserve(need) {
                Ok(reservation) => Some(reservation),
                Err(_given_up) if rand::thread_rng().gen_bool(0.2) => None,
                Err(answer) => Some(answer.recv().expect("an answer, whatever happens")),
            };
            thread::yield_now();
            drop(held);
        }
    }

    /// As `AllocatorActor`: each call has it look at messages and at who waits.
    fn allocator(&self) {
        let (mut queue, mut stopped) = (VecDeque::<Waiting>::new(), false);
        while !stopped {
            let _calls = future::block_on(self.attention.called());
            for message in std::mem::take(&mut *self.mailbox.lock().expect("nobody panics")) {
                match message {
                    Some(waiting) => queue.push_back(waiting),
                    None => stopped = true,
                }
            }
            self.attention.serve_room(|| {
                while let Some((need, reply)) = queue.front() {
                    match self.try_reserve(*need) {
                        // (Whose instance has given up ends here.)
                        Ok(reservation) => drop(reply.send(reservation)),
                        Err(_) => return true,
                    }
                    queue.pop_front();
                }
                false
            });
        }
    }
}

fn run() {
    let model = Arc::new(Model::new());
    let instances = (0..INSTANCES).map(|_| {
        let model = Arc::clone(&model);
        thread::spawn(move || model.instance())
    });
    let instances: Vec<_> = instances.collect();
    let allocator = Arc::clone(&model);
    let allocator = thread::spawn(move || allocator.allocator());
    // (Nothing but what comes back may call the allocator to the last of those that wait.)
    instances.into_iter().for_each(|instance| instance.join().expect("nobody panics"));
    model.send(None);
    allocator.join().expect("nobody panics");
    // What nobody waited for any more may be left in the queue; then it had no bytes.
    assert_eq!((model.device.committed(), model.staging.committed()), (0, 0));
}

#[test]
fn shuttle_whoever_waits_is_served_and_every_byte_comes_back() {
    shuttle::check_random(run, 10_000);
}
