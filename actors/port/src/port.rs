//! The port: what callers, instances and the kernel's actor share.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crossbeam_queue::SegQueue;
use crossbeam_utils::CachePadded;
use event_listener::{Event, EventListener};

use crate::answers::Answers;
use crate::books::Books;
use crate::idle::Idle;
use crate::outcome::{Ending, Refusal, Refused};
#[cfg(feature = "planted")]
use crate::planted::{self, Bug};
use crate::returned::Returned;
use crate::slot::{Abandoned, Key, Slots, Unclaimed};
use crate::spin::Spin;

/// How a port is made.
#[derive(Debug, Clone, Copy)]
pub struct PortOptions {
    /// Most requests that may be open at once, over all callers.
    pub bound: usize,
    /// How many instances take requests out.
    pub instances: usize,
    /// How long an instance looks for the next request, and a caller for an answer that is likely to
    /// come within that time, before they sleep. They do so only while it pays off.
    pub spin: Duration,
}

/// A request on its way to an instance.
#[derive(Debug)]
pub struct Envelope<Q> {
    /// Where its answer goes.
    pub key: Key,
    /// The request's number at this port, from 1.
    pub id: u64,
    /// When it expires, as its caller said; 0 is never.
    pub deadline: u64,
    /// The request.
    pub request: Q,
}

/// The data path of one kernel: `Q` comes in, one `A` goes back for each.
pub struct Port<Q, A> {
    slots: Slots<A>,
    /// Bounded by the slots: an envelope has one, or is one of as many that were given up on their way. So its
    /// memory can be that of what is there, and not of what may be.
    queue: SegQueue<Envelope<Q>>,
    returned: Returned<Q>,
    books: Books,
    idle: Idle,
    /// Told when a slot becomes free and somebody waits for one.
    room: Event,
    room_wanted: CachePadded<AtomicUsize>,
    /// Told when a request ends while the port is closed.
    ended: Event,
    stopped: AtomicBool,
    /// How long a request takes lately, in nanoseconds.
    pace: CachePadded<AtomicU64>,
    spin: Spin,
}

impl<Q, A> Port<Q, A> {
    /// A port that is open, with all its places made.
    pub fn new(options: PortOptions) -> Self {
        let bound = options.bound.max(1);
        #[cfg(feature = "planted")]
        let bound = if planted::is(Bug::UnboundedQueue) { 8 * bound } else { bound };
        Self {
            slots: Slots::new(bound),
            queue: SegQueue::new(),
            returned: Returned::new(),
            books: Books::default(),
            idle: Idle::new(options.instances.max(1)),
            room: Event::new(),
            room_wanted: CachePadded::new(AtomicUsize::new(0)),
            ended: Event::new(),
            stopped: AtomicBool::new(false),
            pace: CachePadded::new(AtomicU64::new(u64::MAX)),
            spin: Spin::new(options.spin),
        }
    }

    /// The books.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// Most requests that may be open at once.
    pub fn bound(&self) -> usize {
        self.slots.bound()
    }

    /// The most that [`bound`](Self::bound) can be: what the port was made with.
    pub fn capacity(&self) -> usize {
        self.slots.count()
    }

    /// Sets how many requests may be open at once, between 1 and the [`capacity`](Self::capacity). Those
    /// that are open stay so; while there are more than the bound none is let in.
    pub fn set_bound(&self, bound: usize) {
        self.slots.set_bound(bound);
        self.rouse_waiting();
    }

    /// Requests submitted and not ended.
    pub fn open_requests(&self) -> u64 {
        self.books.read().open()
    }

    // ---- callers

    /// Brings a request, to be answered by `deadline` (in the ticks of [`expire`](Self::expire); 0
    /// is never). Does not wait. `waker` is that of whoever polls the call first. An instance that sleeps is woken when
    /// the call is [announced](Call::announce), at the latest when it is polled.
    ///
    /// # Errors
    /// The request comes back if the port is full or closed; it is not counted then.
    pub fn submit(
        &self,
        request: Q,
        deadline: u64,
        waker: &Waker,
    ) -> Result<Call<'_, Q, A>, Refused<Q>> {
        let key = match self.slots.claim(deadline, waker) {
            Ok(key) => key,
            Err(Unclaimed::Full) => return Err(Refused { request, refusal: Refusal::Full }),
            Err(Unclaimed::Closed) => {
                self.one_less();
                return Err(Refused { request, refusal: Refusal::Closed });
            }
        };
        // Counted before an instance can end it. (Who ends all that is open may be quicker by a moment.)
        let id = self.books.submit();
        self.queue.push(Envelope { key, id, deadline, request });
        Ok(Call { port: self, key, announced: false, collected: false })
    }

    /// Waits for room: listen, try once more, then await it.
    pub fn listen_for_room(&self) -> Room<'_> {
        self.room_wanted.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Room { wanted: &self.room_wanted, listener: self.room.listen() }
    }

    /// Whether callers wait for room.
    pub fn room_is_wanted(&self) -> bool {
        self.room_wanted.load(Ordering::SeqCst) > 0
    }

    /// Has every caller that waits for room look at its deadline.
    pub fn rouse_waiting(&self) {
        self.room.notify(usize::MAX);
    }

    /// A slot has become free, or one request less is on its way in vain.
    fn make_room(&self) {
        // Either this sees that room is wanted, or whoever wants it sees the slot.
        fence(Ordering::SeqCst);
        if self.room_is_wanted() {
            self.room.notify_additional(1);
        }
    }

    /// Answers come sooner than a sleeping thread wakes, an instance is free to give one, and no other
    /// call waits to be collected, whose caller this one's looking might keep from running.
    fn is_quick(&self) -> bool {
        self.slots.taken() <= self.idle.count()
            && self.spin.is_on()
            && u128::from(self.pace.load(Ordering::Relaxed)) < self.spin.limit().as_nanos()
    }

    fn give_up(&self, key: Key) {
        let before = self.slots.abandon(key);
        self.make_room();
        if before == Abandoned::Answered {
            return;
        }
        self.books.abandon();
        self.one_less();
        if before == Abandoned::Running {
            self.idle.call_all();
        }
    }

    // ---- instances

    /// Waits for a request. Ready when there may be one, the port is stopped, or the taker is `called`
    /// elsewhere (who calls it lets it know by [`rouse_instances`](Self::rouse_instances)). Wakes the callers
    /// in `answers` before it waits. `instance` is the taker's index.
    ///
    /// # Panics
    /// If there is no such instance.
    pub async fn wait(&self, instance: usize, answers: &mut Answers, called: impl Fn() -> bool) {
        let something = || {
            let waits = !self.queue.is_empty() || !self.returned.is_empty();
            waits || self.stopped.load(Ordering::Acquire) || called()
        };
        if something() {
            return;
        }
        answers.wake();
        if !self.spin.wait(something) {
            self.sleep(instance, something).await;
        }
    }

    /// Ready when there is something, or the instance was woken for any reason.
    async fn sleep(&self, instance: usize, something: impl Fn() -> bool) {
        let mut slept = false;
        poll_fn(|cx| {
            if !slept {
                slept = true;
                self.idle.fall_asleep(instance, cx.waker());
                if !something() {
                    return Poll::Pending;
                }
            }
            self.idle.wake_up(instance);
            Poll::Ready(())
        })
        .await;
    }

    /// The next request that is still wanted, if one is there. Those that are not go to `discard`: dropping
    /// them is the application's code.
    pub fn take(&self, discard: impl Fn(Envelope<Q>)) -> Option<Envelope<Q>> {
        loop {
            let envelope = self.any()?;
            if self.slots.start(envelope.key) {
                return Some(envelope);
            }
            self.slots.passed_over();
            self.make_room();
            discard(envelope);
        }
    }

    /// The next envelope, wanted or not.
    fn any(&self) -> Option<Envelope<Q>> {
        self.returned.take().or_else(|| self.queue.pop())
    }

    /// Puts a request back that was taken and has not begun, ahead of those that came after it.
    ///
    /// # Errors
    /// The envelope comes back if the request is over.
    pub fn put_back(&self, envelope: Envelope<Q>) -> Result<(), Envelope<Q>> {
        if !self.slots.put_back(envelope.key) {
            return Err(envelope);
        }
        self.returned.add(envelope);
        self.idle.call_one();
        Ok(())
    }

    /// Ends a request with its answer, once. The caller is woken with the next [`Answers::wake`].
    ///
    /// # Errors
    /// The answer comes back if the request has ended already.
    pub fn answer(
        &self,
        key: Key,
        ending: Ending,
        answer: A,
        answers: &mut Answers,
    ) -> Result<(), A> {
        #[cfg(feature = "planted")]
        if planted::is(Bug::LostAnswer) && self.books.read().submitted.is_multiple_of(16) {
            return Ok(());
        }
        let waker = self.slots.answer(key, answer)?;
        self.books.end(ending);
        #[cfg(feature = "planted")]
        if planted::is(Bug::DoubleAnswer) && self.books.read().submitted.is_multiple_of(16) {
            self.books.end(ending);
        }
        self.one_less();
        waker.into_iter().for_each(|waker| answers.hold(waker));
        Ok(())
    }

    /// An instance goes without looking for a request. It may have been woken for one: then another is.
    pub fn hand_on(&self) {
        if !self.queue.is_empty() || !self.returned.is_empty() {
            self.idle.call_one();
        }
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_over(&self, key: Key) -> bool {
        self.slots.is_over(key)
    }

    /// Has `waker` woken when a request that runs is given up. `instance` is the taker's index.
    ///
    /// # Panics
    /// If there is no such instance.
    pub fn wake_when_given_up(&self, instance: usize, waker: &Waker) {
        self.idle.register(instance, waker);
    }

    /// An instance tells how long a request takes lately, in nanoseconds.
    pub fn set_pace(&self, nanos: u64) {
        self.pace.store(nanos, Ordering::Relaxed);
    }

    // ---- the kernel's actor

    /// Answers every request whose deadline is at or before `now`, and returns the next deadline.
    /// `answer` is told whether the request has started.
    pub fn expire(&self, now: u64, mut answer: impl FnMut(bool) -> A) -> Option<u64> {
        let (expired, next) = self.slots.expired(now);
        self.end_all(expired, Ending::Cancelled, &mut answer);
        next
    }

    /// Answers every request that is open; how many there were. `answer` is told whether the request has
    /// started.
    pub fn cancel_all(&self, mut answer: impl FnMut(bool) -> A) -> usize {
        let open: Vec<Key> = self.slots.open_requests().map(|(key, _)| key).collect();
        let count = open.len();
        self.end_all(open, Ending::Cancelled, &mut answer);
        count
    }

    fn end_all(&self, keys: Vec<Key>, ending: Ending, answer: &mut dyn FnMut(bool) -> A) {
        let mut answers = Answers::default();
        let mut running = false;
        for key in keys {
            let started = self.slots.is_running(key);
            running |= started;
            // (An instance may be quicker; then its answer counts.)
            self.answer(key, ending, answer(started), &mut answers).ok();
        }
        if running {
            self.idle.call_all();
        }
    }

    /// Lets no request in any more. Those open are not touched.
    pub fn close(&self) {
        self.slots.close();
        self.rouse_waiting();
    }

    /// Lets requests in again.
    pub fn reopen(&self) {
        self.slots.open();
        self.rouse_waiting();
    }

    /// Whether no request is let in.
    pub fn is_closed(&self) -> bool {
        self.slots.is_closed()
    }

    /// Ready once the port is closed and every request has ended.
    pub async fn drained(&self) {
        loop {
            let ended = self.ended.listen();
            if self.slots.is_drained() {
                return;
            }
            ended.await;
        }
    }

    /// Has every instance's [`wait`](Self::wait) end, now and later.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.idle.call_all();
    }

    /// Has every instance look whether it is called elsewhere.
    pub fn rouse_instances(&self) {
        self.idle.call_all();
    }

    /// Whether the instances have been told to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Discards what is left: envelopes of requests that are over.
    pub fn clear(&self, discard: impl Fn(Envelope<Q>)) {
        while let Some(envelope) = self.take(&discard) {
            discard(envelope);
        }
    }

    /// A request is no longer open: whoever waits for a drain looks again.
    fn one_less(&self) {
        if self.slots.is_closed() {
            self.ended.notify(usize::MAX);
        }
    }
}

impl<Q, A> fmt::Debug for Port<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("books", &self.books.read()).finish_non_exhaustive()
    }
}

/// A caller's wait for room; ready when there may be some.
#[derive(Debug)]
#[must_use = "room is waited for only if this is awaited"]
pub struct Room<'a> {
    wanted: &'a AtomicUsize,
    listener: EventListener,
}

impl Future for Room<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.listener).poll(cx)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.wanted.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A request that was taken: ready with its answer. Dropping it gives the request up.
#[must_use = "dropping a call gives its request up"]
pub struct Call<'a, Q, A> {
    port: &'a Port<Q, A>,
    key: Key,
    announced: bool,
    collected: bool,
}

impl<Q, A> Call<'_, Q, A> {
    /// Wakes an instance for it, once, if one sleeps.
    pub fn announce(&mut self) {
        if !std::mem::replace(&mut self.announced, true) {
            self.port.idle.call_one();
        }
    }

    /// Whether no other request is open, or answered and not yet collected.
    pub fn is_alone(&self) -> bool {
        self.port.slots.taken() <= 1
    }

    /// Looks for the answer for a moment, if it is likely to come within one. Whether it is there.
    pub fn look(&self) -> bool {
        self.port.is_quick() && self.port.spin.look(|| self.port.is_over(self.key))
    }
}

impl<Q, A> Future for Call<'_, Q, A> {
    type Output = A;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A> {
        let Poll::Ready(answer) = self.port.slots.collect(self.key, cx) else {
            self.announce();
            return Poll::Pending;
        };
        self.collected = true;
        self.port.make_room();
        Poll::Ready(answer)
    }
}

impl<Q, A> Drop for Call<'_, Q, A> {
    fn drop(&mut self) {
        if !self.collected {
            self.port.give_up(self.key);
        }
    }
}

impl<Q, A> fmt::Debug for Call<'_, Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use crate::idle::tests::Count;
    use std::sync::Arc;

    /// Semantics: S8, S10.
    #[test]
    fn what_is_put_back_is_taken_first_in_its_order() {
        let port: Port<u32, ()> =
            Port::new(PortOptions { bound: 4, instances: 2, spin: Duration::ZERO });
        let calls = [1, 2, 3, 4].map(|number| port.submit(number, 0, Waker::noop()).unwrap());
        let take = || port.take(drop);
        let [first, second] = [(); 2].map(|()| take().unwrap());
        assert_eq!((first.request, second.request), (1, 2));
        port.put_back(second).unwrap();
        port.put_back(first).unwrap();
        let third = take().map(|envelope| envelope.request);
        drop(calls);
        assert_eq!((third, take().is_none()), (Some(1), true), "what is over is not taken");
    }

    #[test]
    fn an_instance_is_woken_when_a_caller_waits_for_it_and_once_a_call() {
        let port: Port<u32, u32> =
            Port::new(PortOptions { bound: 4, instances: 1, spin: Duration::ZERO });
        let count = Arc::<Count>::default();
        let (waker, woken) = (count.clone().into(), || count.0.load(Ordering::SeqCst));
        let poll = |call: &mut Call<'_, u32, u32>| {
            Pin::new(call).poll(&mut Context::from_waker(Waker::noop()))
        };
        let wait = || async { port.wait(0, &mut Answers::default(), || false).await };
        let mut instance = std::pin::pin!(wait());
        assert!(instance.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let mut calls = [1, 2].map(|number| port.submit(number, 0, Waker::noop()).unwrap());
        assert!(!calls[0].is_alone() && woken() == 0);
        for call in &mut calls {
            assert!(poll(call).is_pending());
            assert_eq!(woken(), 1);
        }
        drop(calls);

        // One that is answered when its caller first looks wakes nobody.
        let mut call = port.submit(3, 0, Waker::noop()).unwrap();
        let Envelope { key, request, .. } = port.take(drop).unwrap();
        let mut instance = std::pin::pin!(wait());
        assert!(instance.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        port.answer(key, Ending::Completed, request, &mut Answers::default()).unwrap();
        assert_eq!((poll(&mut call), woken()), (Poll::Ready(3), 1));
        drop(call);
        assert!(port.submit(3, 0, Waker::noop()).unwrap().is_alone());
    }

    #[test]
    fn an_instance_that_goes_has_another_woken_for_what_waits() {
        let port: Port<u32, ()> =
            Port::new(PortOptions { bound: 4, instances: 2, spin: Duration::ZERO });
        let counts = [0, 1].map(|_| Arc::<Count>::default());
        let woken = || counts.each_ref().map(|count| count.0.load(Ordering::SeqCst));
        for (instance, count) in counts.iter().enumerate() {
            port.idle.fall_asleep(instance, &count.clone().into());
        }
        port.hand_on();
        assert_eq!(woken(), [0, 0], "nothing waits");
        let mut call = port.submit(1, 0, Waker::noop()).unwrap();
        call.announce();
        assert_eq!(woken(), [1, 0]);
        port.hand_on();
        assert_eq!(woken(), [1, 1]);
    }

    /// Requests that are given up while they are queued bring no more memory into use than open ones: callers that
    /// come and go while no instance takes anything are refused in the end, and let in once they are passed over.
    ///
    /// Semantics: S11.
    #[test]
    fn what_is_given_up_on_its_way_counts_until_it_is_passed_over() {
        let port: Port<u32, ()> =
            Port::new(PortOptions { bound: 100, instances: 1, spin: Duration::ZERO });
        let come_and_go =
            || (0..1000).filter(|n| port.submit(*n, 0, Waker::noop()).is_ok()).count();
        assert_eq!(come_and_go(), 100);
        let room = port.listen_for_room();
        assert!(port.take(drop).is_none(), "all are over");
        futures_executor::block_on(room);
        assert_eq!(come_and_go(), 100);
        assert!(port.books().read().is_balanced());
    }
}
