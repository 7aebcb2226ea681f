//! A kernel's places: which instance sits where, whether it is to serve, and who replaces one that hangs.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use rustkernel_gpu::memory::PressureLevel;
use rustkernel_gpu::{DeviceId, DeviceKind};
use rustkernel_port::Key;
use slog::{debug, o, warn};
use tokio::sync::oneshot;

use super::actor::{Hold, KernelActor};
use super::gate::Condition;
use super::shared::Shared;
use super::spec::DeviceChoice;
use super::{Devices, Kernel};
use crate::allocator::MemoryClient;
use crate::clock::{self, Instant};
use crate::error::{CallError, Cancellation, KernelResult, StartError};
use crate::instance::{Instance, Lane, Running, Seat, Untold, Wanted};
use crate::restart::{Cause, Circuit, Verdict};

/// How often open requests are looked at for their deadlines: how late an answer "too late" may be.
const REAP: Duration = Duration::from_millis(5);
/// The reaper sleeps after finding nothing open this often.
const REAP_IDLE: u32 = 200;
/// After how long a place that could not be taken is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The places of a kernel's instances, by their number.
pub(super) struct Places {
    places: Vec<Option<Place>>,
    /// Those whose instance has left and is not restarted: nobody sits there again.
    left: BTreeSet<usize>,
    /// Those for which there was no thread, or no device: that is tried again.
    to_try: BTreeSet<usize>,
}

/// An instance as its actor sees it.
struct Place {
    seat: Arc<Seat>,
    lane: Lane,
    client: MemoryClient,
    left: oneshot::Receiver<()>,
    /// The last question whether the lane responds was answered.
    responded: Arc<AtomicBool>,
    /// A request that it still runs although it is over, and since when.
    over: Option<(Key, Instant)>,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        let (left, to_try) = (BTreeSet::new(), BTreeSet::new());
        Self { places: (0..count).map(|_| None).collect(), left, to_try }
    }

    fn taken(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().flatten()
    }

    /// Whether nobody sits anywhere.
    pub(super) fn is_empty(&self) -> bool {
        self.taken().next().is_none()
    }
}

impl Place {
    fn device(&self) -> DeviceId {
        self.client.device().id()
    }

    fn concerns(&self, hold: Hold) -> bool {
        hold.concerns(self.device())
    }

    /// Since when it has run what is over, if it does; remembers that.
    fn overdue(&mut self, is_over: impl Fn(Key) -> bool, now: Instant) -> Duration {
        let key = match self.seat.running() {
            Running::Request(key) if is_over(key) => key,
            Running::Hook(until) => return now.saturating_duration_since(until),
            Running::Request(_) | Running::Nothing => {
                self.over = None;
                return Duration::ZERO;
            }
        };
        match self.over {
            Some((known, since)) if known == key => now.saturating_duration_since(since),
            _ => {
                self.over = Some((key, now));
                Duration::ZERO
            }
        }
    }
}

impl<K: Kernel> KernelActor<K> {
    // ---- devices

    /// The devices that instances may run on: those of the first kind that is there.
    pub(super) fn memories(&self) -> Result<Vec<MemoryClient>, StartError> {
        let healthy = |client: &&MemoryClient| client.device().health().is_ok();
        let all = self.environment.memories.iter().filter(healthy);
        let of = |wanted: &dyn Fn(DeviceId) -> bool| -> Vec<MemoryClient> {
            all.clone().filter(|client| wanted(client.device().id())).cloned().collect()
        };
        let found = match self.shared.parts.device {
            DeviceChoice::On(id) => of(&|other| other == id),
            DeviceChoice::Auto => {
                let kinds = [DeviceKind::Cuda, DeviceKind::Host].into_iter();
                let mut kinds = kinds
                    .filter(|kind| K::DEVICES.includes(*kind))
                    .map(|kind| of(&|id| id.kind() == kind));
                kinds.find(|found| !found.is_empty()).unwrap_or_default()
            }
        };
        if found.is_empty() { Err(self.no_device()) } else { Ok(found) }
    }

    fn no_device(&self) -> StartError {
        let name = |client: &MemoryClient| match client.device().health() {
            Ok(()) => client.device().id().to_string(),
            Err(_) => format!("{} (lost)", client.device().id()),
        };
        let there: Vec<String> = self.environment.memories.iter().map(name).collect();
        let wanted = match self.shared.parts.device {
            DeviceChoice::On(id) => id.to_string(),
            DeviceChoice::Auto if K::DEVICES == Devices::Host => "the host".to_owned(),
            DeviceChoice::Auto => "a CUDA device".to_owned(),
        };
        let reason = format!("it needs {wanted}, and this runtime has {}", there.join(", "));
        StartError::NoDevice { kernel: self.name(), reason }
    }

    /// Under critical pressure no new kernel is started.
    pub(super) fn check_pressure(&self, clients: &[MemoryClient]) -> Result<(), StartError> {
        let full =
            clients.iter().find(|client| client.memory().pressure() >= PressureLevel::Critical);
        match full {
            None => Ok(()),
            Some(client) => Err(StartError::UnderPressure {
                kernel: self.name(),
                device: client.device().id(),
                level: client.memory().pressure(),
            }),
        }
    }

    // ---- seating

    /// Puts every instance on its lane; the receivers are told how their starts went.
    pub(super) fn seat_all(
        &mut self,
        ctx: &mut Context<Self>,
    ) -> Result<Vec<oneshot::Receiver<KernelResult>>, StartError> {
        let memories = self.memories()?;
        self.check_pressure(&memories)?;
        let devices = memories.iter().cycle().take(self.shared.parts.instances).enumerate();
        let mut starts = Vec::new();
        for (index, client) in devices {
            let (started, start) = oneshot::channel();
            self.seat(index, client.clone(), Some(started), ctx)?;
            starts.push(start);
        }
        self.note_devices();
        Ok(starts)
    }

    fn note_devices(&self) {
        let devices = self.places.taken().map(Place::device).collect();
        let mut known = self.shared.counters.devices.lock().unwrap_or_else(PoisonError::into_inner);
        *known = devices;
    }

    fn seat(
        &mut self,
        index: usize,
        client: MemoryClient,
        started: Option<oneshot::Sender<KernelResult>>,
        ctx: &mut Context<Self>,
    ) -> Result<(), StartError> {
        let lane = self.environment.lanes.lane(&self.shared.parts.placement)?;
        let (leaving, left) = oneshot::channel();
        let device = client.device().id().to_string();
        let logger = self.logger.new(o!("instance" => index, "device" => device));
        let seat = Arc::new(Seat::new(index, self.wanted(index, client.device().id())));
        let (shared, inline, actor) = (Arc::clone(&self.shared), lane.is_own(), ctx.address());
        let instance = Instance {
            shared,
            seat: Arc::clone(&seat),
            client: client.clone(),
            inline,
            actor,
            logger,
            untold: Untold::default(),
        };
        let spawned = lane.arbiter().spawn_fn(move || {
            actix::spawn(async move {
                instance.run(started).await;
                leaving.send(()).ok();
            });
        });
        if !spawned {
            return Err(StartError::NoThread("the arbiter for it has stopped".into()));
        }
        let responded = Arc::new(AtomicBool::new(true));
        self.places.places[index] = Some(Place { seat, lane, client, left, responded, over: None });
        Ok(())
    }

    /// What is wanted of the instance of that number on that device.
    fn wanted(&self, index: usize, device: DeviceId) -> Wanted {
        let held = self.holds.iter().any(|hold| hold.concerns(device));
        let spared = self.shared.circuit() == Circuit::HalfOpen && !self.is_first(index);
        if held || spared { Wanted::Suspend } else { Wanted::Serve }
    }

    /// Whether no other instance comes before that one: it is the one that is tried after a quarantine.
    fn is_first(&self, index: usize) -> bool {
        self.places.places[..index].iter().all(Option::is_none)
    }

    // ---- having instances wait, and go on

    pub(super) fn hold(&mut self, hold: Hold) {
        if !self.holds.contains(&hold) {
            self.holds.push(hold);
        }
        self.want_all();
    }

    /// No longer holds them for that; and replaces those that are gone.
    pub(super) fn release(&mut self, hold: Hold, ctx: &mut Context<Self>) {
        self.holds.retain(|other| *other != hold);
        self.settle(ctx);
    }

    /// Has every place that may serve do so.
    pub(super) fn settle(&mut self, ctx: &mut Context<Self>) {
        let replaceable = self.shared.condition() != Condition::Ended;
        let empty = self.places.places.iter().enumerate().filter(|(_, place)| place.is_none());
        let empty: Vec<usize> = empty.map(|(index, _)| index).collect();
        if replaceable {
            empty.into_iter().for_each(|index| self.reseat(index, ctx));
        }
        self.want_all();
    }

    fn want_all(&self) {
        for place in self.places.taken() {
            place.seat.want(self.wanted(place.seat.index(), place.device()));
        }
        self.shared.port.rouse_instances();
        // Whoever waits for one to be up that is now to wait has nothing more to wait for.
        self.shared.turned.notify_waiters();
    }

    /// Has those concerned give up what they run.
    pub(super) fn interrupt(&self, hold: Hold) {
        for place in self.places.taken().filter(|place| place.concerns(hold)) {
            place.seat.want(Wanted::SuspendNow);
        }
        self.shared.port.rouse_instances();
    }

    /// Ready once all concerned are down.
    pub(super) fn all_down(&self, hold: Hold) -> impl Future<Output = ()> + use<K> {
        let concerned = self.places.taken().filter(|place| place.concerns(hold));
        let seats: Vec<_> = concerned.map(|place| Arc::clone(&place.seat)).collect();
        turned(Arc::clone(&self.shared), move || seats.iter().all(|seat| seat.is_down()))
    }

    /// Ready once all are down, or are to serve again.
    pub(super) fn all_unloaded(&self) -> impl Future<Output = ()> + use<K> {
        let seats: Vec<_> = self.places.taken().map(|place| Arc::clone(&place.seat)).collect();
        let shared = Arc::clone(&self.shared);
        turned(Arc::clone(&self.shared), move || {
            !shared.is_unloaded() || seats.iter().all(|seat| seat.is_down())
        })
    }

    /// Ready once all are up that are wanted, or are wanted no more.
    pub(super) fn all_up(&self) -> impl Future<Output = ()> + use<K> {
        let seats: Vec<_> = self.places.taken().map(|place| Arc::clone(&place.seat)).collect();
        let there = |seat: &Arc<Seat>| seat.is_up() || seat.wanted() != Wanted::Serve;
        turned(Arc::clone(&self.shared), move || seats.iter().all(there))
    }

    /// Ready once all are up, or the one that is tried after a quarantine; or there is nothing to wait for.
    pub(super) fn serving(&self) -> impl Future<Output = ()> + use<K> {
        let seats: Vec<_> = self.places.taken().map(|place| Arc::clone(&place.seat)).collect();
        let shared = Arc::clone(&self.shared);
        turned(Arc::clone(&self.shared), move || match shared.circuit() {
            _ if shared.is_unloaded() => true,
            Circuit::Open => true,
            Circuit::HalfOpen => seats.iter().any(|seat| seat.is_up()),
            Circuit::Closed => seats.iter().all(|seat| seat.is_up()),
        })
    }

    /// The device does not come back: its instances are seated elsewhere, or the kernel ends.
    pub(super) fn move_from(&mut self, lost: DeviceId, ctx: &mut Context<Self>) -> usize {
        let concerned: Vec<usize> = self
            .places
            .taken()
            .filter(|place| place.device() == lost)
            .map(|place| place.seat.index())
            .collect();
        for index in &concerned {
            self.dismiss(*index, ctx);
        }
        self.holds.retain(|hold| *hold != Hold::Device(lost));
        match self.memories() {
            Ok(_) => self.settle(ctx),
            Err(_) if self.places.is_empty() => {
                self.left(Cause::DeviceLost(lost));
                return 0;
            }
            // Those on other devices serve for all.
            Err(_) => {}
        }
        self.note_devices();
        concerned.len()
    }

    /// An instance has left and is not restarted, also not with others.
    pub(super) fn leave(&mut self, index: usize, ctx: &mut Context<Self>) {
        self.places.left.insert(index);
        self.dismiss(index, ctx);
        if self.shared.circuit() == Circuit::HalfOpen {
            // If it was the one on trial, the next one is.
            self.want_all();
        }
    }

    /// An instance is to leave; its thread ends when it has.
    fn dismiss(&mut self, index: usize, ctx: &mut Context<Self>) {
        let Some(Place { seat, lane, left, .. }) = self.places.places[index].take() else { return };
        seat.want(Wanted::Leave);
        self.shared.port.rouse_instances();
        self.shared.turned.notify_waiters();
        let gone = async move { left.await.ok() }.into_actor(self);
        ctx.spawn(gone.map(|_, _, _| lane.end()));
    }

    /// Ends all; how many did not come back in time.
    pub(super) fn end_all(&mut self, grace: Duration) -> impl Future<Output = usize> + use<K> {
        let until = clock::now() + grace;
        let places: Vec<Place> = self.places.places.iter_mut().filter_map(Option::take).collect();
        // (The port is stopped, which has them close and leave. One that is told to leave does not close.)
        for place in &places {
            place.seat.ring();
        }
        async move {
            let mut abandoned = 0;
            for Place { seat, lane, left, .. } in places {
                // An instance that is gone without having said so has left as well.
                match tokio::time::timeout_at(until, left).await {
                    Ok(_) => lane.end(),
                    Err(_elapsed) => {
                        seat.want(Wanted::Leave);
                        lane.abandon();
                        abandoned += 1;
                    }
                }
            }
            abandoned
        }
    }

    // ---- watching

    /// Answers requests whose deadlines have passed, and looks after instances that hang, for as long as
    /// the actor lives.
    pub(super) fn reap(&self, ctx: &mut Context<Self>) {
        self.reap_again(0, ctx);
    }

    fn reap_again(&self, idle: u32, ctx: &mut Context<Self>) {
        let shared = Arc::clone(&self.shared);
        let wait = async move {
            if idle > REAP_IDLE {
                let busy = || shared.port.open_requests() > 0 || shared.port.room_is_wanted();
                shared.reaper.sleep(busy).await;
            }
            tokio::time::sleep(REAP).await;
        };
        ctx.spawn(wait.into_actor(self).map(move |(), actor, ctx| {
            if actor.shared.port.is_stopped() {
                return;
            }
            let busy = actor.expire() | actor.look_after_stuck(ctx);
            actor.reap_again(if busy { 0 } else { idle.saturating_add(1) }, ctx);
        }));
    }

    /// Answers what is too late. Whether anything is open.
    fn expire(&self) -> bool {
        let port = &self.shared.port;
        let late = |started| {
            Err(Box::new(CallError::Cancelled(Cancellation::DeadlineExceeded { started })))
        };
        let now = clock::ticks(clock::now());
        self.shared.reaper.set_ticks(now);
        port.expire(now, late);
        self.shared.refuse_waiting();
        let waiting = port.room_is_wanted();
        if waiting {
            port.rouse_waiting();
        }
        waiting || port.open_requests() > 0
    }

    /// Replaces instances that hang. Whether any runs something that is over.
    fn look_after_stuck(&mut self, ctx: &mut Context<Self>) -> bool {
        let (now, grace) = (clock::now(), self.shared.parts.restart.hang_grace);
        let (mut stuck, mut overdue) = (Vec::new(), false);
        let shared = &self.shared;
        for place in self.places.places.iter_mut().flatten() {
            let late = place.overdue(|key| shared.port.is_over(key), now);
            overdue |= place.over.is_some();
            if place.lane.is_stuck() || late > grace {
                stuck.push((place.seat.index(), late));
            }
        }
        for (index, late) in stuck {
            self.replace(index, late, ctx);
        }
        overdue
    }

    /// Those concerned that are not down are replaced. How many.
    pub(super) fn replace_stuck(&mut self, hold: Hold, ctx: &mut Context<Self>) -> usize {
        let concerned = self.places.taken().filter(|place| place.concerns(hold));
        let stuck = concerned.filter(|place| !place.seat.is_down()).map(|place| place.seat.index());
        let stuck: Vec<usize> = stuck.collect();
        for index in &stuck {
            self.replace(*index, self.shared.parts.restart.hang_grace, ctx);
        }
        stuck.len()
    }

    /// The instance of that number hangs, or another on its thread does: its thread is abandoned, and
    /// another takes its place if its policy allows.
    fn replace(&mut self, index: usize, late: Duration, ctx: &mut Context<Self>) {
        let Some(place) = self.places.places[index].take() else { return };
        let own_fault = place.over.is_some() || late > Duration::ZERO;
        place.seat.want(Wanted::Leave);
        self.shared.went_down(&place.seat);
        if let Running::Request(key) = place.seat.running() {
            self.shared.interrupted(key, Cause::Hung(late));
        }
        self.shared.turned.notify_waiters();
        place.lane.mark_stuck();
        self.environment.lanes.replace_stuck();
        self.abandon(place, ctx);
        if !own_fault {
            debug!(self.logger, "instance moved off a thread that hangs"; "instance" => index);
            return self.reseat(index, ctx);
        }
        self.shared.counters.hung.fetch_add(1, Ordering::AcqRel);
        let cause = Cause::Hung(late);
        let verdict = self.shared.ended(index, &cause);
        self.tell_end(index, &cause);
        match verdict {
            Verdict::Restart(wait) if !self.shared.shares_fate(&cause) => {
                ctx.run_later(wait, move |actor, ctx| actor.reseat(index, ctx));
            }
            verdict => {
                if verdict == Verdict::Leave {
                    self.leave(index, ctx);
                }
                self.ended(cause, verdict, ctx);
            }
        }
    }

    /// Counts a thread as lost until its instance comes back after all.
    fn abandon(&self, place: Place, ctx: &mut Context<Self>) {
        let Place { lane, left, .. } = place;
        self.shared.counters.abandoned.fetch_add(1, Ordering::AcqRel);
        let back = async move { left.await.ok() }.into_actor(self);
        ctx.spawn(back.map(|_, actor, _| {
            actor.shared.counters.abandoned.fetch_sub(1, Ordering::AcqRel);
            lane.end();
        }));
    }

    /// Puts an instance where none is. Where there is no thread for it, it is tried again.
    fn reseat(&mut self, index: usize, ctx: &mut Context<Self>) {
        let Places { places, left, .. } = &self.places;
        if self.shared.port.is_stopped() || places[index].is_some() || left.contains(&index) {
            return;
        }
        let seated = self.memories().and_then(|memories| {
            let client = memories[index % memories.len()].clone();
            self.seat(index, client, None, ctx)
        });
        match seated {
            Ok(()) => self.note_devices(),
            Err(error) => {
                warn!(self.logger, "an instance cannot be replaced now"; "instance" => index, "error" => %error);
                if self.places.to_try.insert(index) {
                    ctx.run_later(TRY_AGAIN, move |actor, ctx| {
                        actor.places.to_try.remove(&index);
                        actor.reseat(index, ctx);
                    });
                }
            }
        }
    }

    /// Asks each lane to say that it responds, and counts those that have not since the last time; and has
    /// each instance check its health.
    pub(super) fn check(&self) -> usize {
        let silent = |place: &&Place| !place.responded.swap(false, Ordering::AcqRel);
        let silent = self.places.taken().filter(silent).count();
        for place in self.places.taken() {
            let responded = Arc::clone(&place.responded);
            place.lane.arbiter().spawn_fn(move || responded.store(true, Ordering::Release));
            place.seat.want_check();
        }
        self.shared.port.rouse_instances();
        self.shared.counters.unresponsive.store(silent, Ordering::Release);
        if silent > 0 {
            debug!(self.logger, "instances busy or hung since the last check"; "instances" => silent);
        }
        silent
    }
}

/// Ready once that is so; it is looked at each time that an instance goes up or down, or is wanted otherwise.
async fn turned<K: Kernel>(shared: Arc<Shared<K>>, is_so: impl Fn() -> bool) {
    loop {
        // (Told of every turn from here on, also before it is awaited.)
        let turn = shared.turned.notified();
        if is_so() {
            return;
        }
        turn.await;
    }
}
