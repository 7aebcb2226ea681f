//! Actors of the application's, supervised beside kernels.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::ThreadId;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;
use rustkernel_core::kernel::{Condition, KernelStats};
use rustkernel_core::prelude::{
    ActorSpec, Placement, RestartPolicy, Runtime, RuntimeBuilder, Strategy,
};
use rustkernel_core::runtime::LookupError;
use rustkernel_tests::{builder, eventually, tireless, within_a_minute};

use super::child::{self, Child, World, stop, take};

/// As supervised kernels do, it does as it is asked, and keeps a diary.
struct Member {
    name: &'static str,
    count: u64,
    /// Whether it lets itself be stopped.
    stops: bool,
    world: Arc<World>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "u64")]
enum Do {
    /// Says how many messages this state has handled, this one included.
    Count,
    Panic,
    /// Panics in a future, a moment later.
    PanicLater,
    /// Asks for its end.
    Stop,
    /// Sends itself the same message again, for ever.
    Flood,
    /// Holds its thread for a moment, and writes that into the diary.
    Note,
    /// Goes on when it is told to stop.
    Refuse,
}

/// Asks an actor for its own address, and the thread where it lives.
#[derive(Message)]
#[rtype(result = "(Addr<Member>, ThreadId)")]
struct WhoAreYou;

impl Actor for Member {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        assert!(!take(&self.world.open_failures), "while starting");
        self.world.write(format!("+{}", self.name));
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        if self.stops { Running::Stop } else { Running::Continue }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.world.write(format!("-{}", self.name));
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.world.write(format!("{} dropped while its thread unwinds", self.name));
        }
    }
}

impl Handler<Do> for Member {
    type Result = u64;

    fn handle(&mut self, message: Do, ctx: &mut Self::Context) -> u64 {
        self.count += 1;
        match message {
            Do::Count => {}
            Do::Panic => panic!("as asked"),
            Do::PanicLater => {
                ctx.run_later(Duration::from_millis(1), |_, _| panic!("later"));
            }
            Do::Stop => ctx.stop(),
            Do::Flood => ctx.address().try_send(Do::Flood).expect("there is room for one"),
            Do::Note => {
                child::block_for(1);
                self.world.write(self.count.to_string());
            }
            Do::Refuse => self.stops = false,
        }
        self.count
    }
}

impl Handler<WhoAreYou> for Member {
    type Result = MessageResult<WhoAreYou>;

    fn handle(&mut self, _: WhoAreYou, ctx: &mut Self::Context) -> Self::Result {
        MessageResult((ctx.address(), std::thread::current().id()))
    }
}

fn member(name: &'static str, world: &Arc<World>) -> ActorSpec<Member> {
    let world = Arc::clone(world);
    ActorSpec::new(name, move || Member { name, count: 0, stops: true, world: Arc::clone(&world) })
        .restart(tireless())
}

async fn start(builder: RuntimeBuilder) -> Runtime {
    let runtime = builder.build().unwrap();
    runtime.start().await.unwrap();
    runtime
}

/// A runtime with one such actor, `member`.
async fn running(
    of: impl FnOnce(ActorSpec<Member>) -> ActorSpec<Member>,
) -> (Runtime, Addr<Member>, Arc<World>) {
    let world = Arc::<World>::default();
    let runtime = start(builder().with_actor(of(member("member", &world)))).await;
    let address = runtime.actor("member").unwrap();
    (runtime, address, world)
}

async fn ask(address: &Addr<Member>, message: Do) -> Result<u64, MailboxError> {
    within_a_minute(address.send(message)).await
}

fn stats(runtime: &Runtime, name: &str) -> KernelStats {
    runtime.stats().kernels.into_iter().find(|kernel| kernel.name == name).unwrap()
}

async fn becomes(runtime: &Runtime, condition: Condition) {
    eventually(&format!("{condition:?}"), || stats(runtime, "member").condition == condition).await;
}

/// Semantics: S46.
#[tokio::test]
async fn of_a_thousand_messages_the_one_that_panics_is_lost_and_no_other() {
    let (runtime, address, _) = running(|spec| spec.mailbox(1000)).await;
    let sent: Vec<_> = (1..=1000)
        .map(|number| address.send(if number == 51 { Do::Panic } else { Do::Count }))
        .collect();
    let answers = within_a_minute(join_all(sent)).await;
    let counts: Vec<u64> =
        answers.iter().filter_map(|answer| answer.as_ref().ok()).copied().collect();
    assert_eq!(counts, (1..=50).chain(1..=949).collect::<Vec<_>>(), "by fresh state");
    assert_eq!(answers[50], Err(MailboxError::Closed));
    let stats = stats(&runtime, "member");
    assert_eq!((stats.panics, stats.restarts, stats.running), (1, 1, 1), "{stats:?}");
    assert!(stats.history[0].what.contains("as asked"), "{stats:?}");
    stop(runtime).await;
}

/// Semantics: S45.
#[tokio::test]
async fn every_address_is_that_of_all_lives() {
    let (runtime, address, _) = running(|spec| spec).await;
    let (own, _) = address.send(WhoAreYou).await.unwrap();
    assert!(ask(&own, Do::Panic).await.is_err());
    assert!(own == address && own == runtime.actor("member").unwrap());
    assert_eq!((ask(&own, Do::Count).await, ask(&address, Do::Count).await), (Ok(1), Ok(2)));
    stop(runtime).await;
}

/// Semantics: S47.
#[tokio::test]
async fn a_panic_in_a_future_of_the_actors_ends_it_too() {
    let (runtime, address, world) = running(|spec| spec).await;
    assert_eq!(ask(&address, Do::PanicLater).await, Ok(1));
    eventually("it is restarted", || stats(&runtime, "member").restarts == 1).await;
    assert_eq!(ask(&address, Do::Count).await, Ok(1));
    assert_eq!(world.read(), ["+member", "+member"], "no hook runs after a panic");
    stop(runtime).await;
}

/// Semantics: S47.
#[tokio::test]
async fn an_actor_that_panics_while_it_starts_fails_the_start_or_counts_as_a_restart() {
    let world = Arc::<World>::default();
    world.open_failures.store(1, Ordering::SeqCst);
    let runtime = builder().with_actor(member("member", &world)).build().unwrap();
    let error = runtime.start().await.unwrap_err();
    assert!(error.to_string().contains("while starting"), "{error}");

    let limited = RestartPolicy::permanent().limit(3, Duration::from_secs(60));
    let (runtime, address, world) = running(|spec| spec.restart(limited)).await;
    world.open_failures.store(2, Ordering::SeqCst);
    ask(&address, Do::Panic).await.unwrap_err();
    assert_eq!(ask(&address, Do::Count).await, Ok(1), "messages wait for the third restart");
    assert_eq!(stats(&runtime, "member").panics, 3);
    stop(runtime).await;
}

/// Semantics: S47.
#[tokio::test]
async fn an_actor_that_stops_itself_or_panics_is_restarted_as_its_type_says() {
    for (policy, message, comes_back) in [
        (RestartPolicy::permanent(), Do::Stop, true),
        (RestartPolicy::transient(), Do::Stop, false),
        (RestartPolicy::temporary(), Do::Stop, false),
        (RestartPolicy::permanent(), Do::Panic, true),
        (RestartPolicy::transient(), Do::Panic, true),
        (RestartPolicy::temporary(), Do::Panic, false),
    ] {
        let (runtime, address, world) = running(|spec| spec.restart(policy)).await;
        // (Sent before it ends, so that it waits.)
        let (end, behind) = (address.send(message), address.send(Do::Count));
        assert_eq!(within_a_minute(end).await.is_ok(), message == Do::Stop);
        let behind = within_a_minute(behind).await;
        let mut expected = vec!["+member"];
        expected.extend((message == Do::Stop).then_some("-member"));
        expected.extend(comes_back.then_some("+member"));
        if comes_back {
            assert_eq!(behind, Ok(1));
        } else {
            assert_eq!(behind, Err(MailboxError::Closed));
            becomes(&runtime, Condition::Ended).await;
            assert!(!address.connected());
        }
        assert_eq!(world.read(), expected, "{policy:?} {message:?}");
        stop(runtime).await;
    }
}

/// Semantics: S46, S47.
#[tokio::test]
async fn past_its_limit_it_is_quarantined_and_one_message_handled_proves_it() {
    let policy = RestartPolicy::permanent()
        .limit(0, Duration::from_secs(60))
        .quarantine(Duration::from_millis(50));
    let (runtime, address, _) = running(|spec| spec.restart(policy)).await;
    ask(&address, Do::Panic).await.unwrap_err();
    becomes(&runtime, Condition::OnTrial).await;
    ask(&address, Do::Panic).await.unwrap_err();
    // It waits in the mailbox until the second, longer quarantine is over.
    assert_eq!(ask(&address, Do::Count).await, Ok(1));
    becomes(&runtime, Condition::Serving).await;
    assert_eq!(stats(&runtime, "member").panics, 2);
    stop(runtime).await;
}

/// Semantics: S47.
#[tokio::test]
async fn a_group_of_an_actor_and_a_kernel_is_restarted_together() {
    let world = Arc::<World>::default();
    let runtime = builder()
        .with_group("siblings", Strategy::OneForAll)
        .with_actor(member("actor", &world).group("siblings"))
        .with_kernel(child::spec("kernel", &world).group("siblings"));
    let runtime = start(runtime).await;
    let actor = runtime.actor::<Member>("actor").unwrap();
    let kernel = runtime.kernel::<Child>("kernel").unwrap();
    assert_eq!(world.read(), ["+actor", "+kernel"]);
    assert_eq!((ask(&actor, Do::Count).await, child::count(&kernel).await), (Ok(1), 1));

    child::call(&kernel, child::Do::Panic).await.unwrap_err();
    assert_eq!(child::count(&kernel).await, 1);
    assert_eq!(world.read(), ["-actor", "+actor", "+kernel"]);
    assert_eq!(ask(&actor, Do::Count).await, Ok(1), "of fresh state");

    ask(&actor, Do::Panic).await.unwrap_err();
    assert_eq!(ask(&actor, Do::Count).await, Ok(1));
    eventually("the kernel is back", || stats(&runtime, "kernel").restarts == 2).await;
    assert_eq!(world.read(), ["-kernel", "+actor", "+kernel"]);
    stop(runtime).await;
}

/// Semantics: S48.
#[tokio::test]
async fn a_runtime_that_stops_has_actors_handle_what_waits_and_stop_in_reverse() {
    let world = Arc::<World>::default();
    let runtime = builder()
        .with_actor(member("first", &world).mailbox(20))
        .with_kernel(child::spec("second", &world))
        .with_actor(member("third", &world));
    let runtime = start(runtime).await;
    let [first, third] = ["first", "third"].map(|name| runtime.actor::<Member>(name).unwrap());
    let waiting = join_all((0..20).map(|_| first.send(Do::Note)));
    stop(runtime).await;
    let counts: Vec<_> = within_a_minute(waiting).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(counts, (1..=20).collect::<Vec<_>>());
    let diary = world.read();
    let (notes, hooks): (Vec<_>, Vec<_>) =
        diary.iter().partition(|line| line.parse::<u64>().is_ok());
    assert_eq!(notes.len(), 20);
    assert_eq!(hooks, ["+first", "+second", "+third", "-third", "-second", "-first"]);
    assert_eq!(diary.last().unwrap(), "-first", "after its messages");
    assert!(!first.connected() && !third.connected());
    assert_eq!(ask(&first, Do::Count).await, Err(MailboxError::Closed));
}

/// Semantics: S48.
#[tokio::test]
async fn an_actor_that_refuses_to_stop_does_not_keep_the_runtime() {
    let (runtime, address, world) = running(|spec| spec).await;
    assert_eq!(ask(&address, Do::Refuse).await, Ok(1));
    stop(runtime).await;
    assert_eq!(world.read(), ["+member"], "it is dropped as it is");
    assert!(!address.connected());
}

/// Semantics: S49.
#[tokio::test]
async fn an_actor_flooded_on_a_shared_thread_leaves_it_to_others() {
    let world = Arc::<World>::default();
    let runtime = builder()
        .with_worker_threads(1)
        .with_actor(member("member", &world).placement(Placement::Shared))
        .with_kernel(child::spec("neighbour", &world).placement(Placement::Shared));
    let runtime = start(runtime).await;
    let (address, kernel) =
        (runtime.actor::<Member>("member").unwrap(), runtime.kernel("neighbour").unwrap());
    assert_eq!(ask(&address, Do::Flood).await, Ok(1));
    // With a mailbox of actix's own the thread would never come back to the neighbour.
    assert_eq!(child::count(&kernel).await, 1);
    assert!(ask(&address, Do::Count).await.unwrap() > 1);
    stop(runtime).await;
}

#[actix::test]
async fn an_actor_lives_on_the_thread_that_its_placement_names() {
    let world = Arc::<World>::default();
    let own = Arbiter::current();
    let runtime = builder()
        .with_worker_threads(1)
        .with_actor(member("dedicated", &world))
        .with_actor(member("shared", &world).placement(Placement::Shared))
        .with_actor(member("neighbour", &world).placement(Placement::Shared))
        .with_actor(member("on", &world).placement(Placement::On(own)));
    let runtime = start(runtime).await;
    let mut threads = Vec::new();
    for name in ["dedicated", "shared", "neighbour", "on"] {
        let address = runtime.actor::<Member>(name).unwrap();
        let (_, before) = within_a_minute(address.send(WhoAreYou)).await.unwrap();
        ask(&address, Do::Panic).await.unwrap_err();
        let (_, after) = within_a_minute(address.send(WhoAreYou)).await.unwrap();
        assert_eq!(before, after, "{name} comes back where it was");
        threads.push(after);
    }
    assert_eq!((threads[1], threads[3]), (threads[2], std::thread::current().id()));
    assert!(threads[0] != threads[1] && threads[0] != threads[3] && threads[1] != threads[3]);
    stop(runtime).await;
}

#[tokio::test]
async fn actors_are_looked_up_by_name_and_type_and_checked_before_they_start() {
    let (runtime, _, world) = running(|spec| spec).await;
    assert!(matches!(runtime.actor::<Member>("nobody"), Err(LookupError::Unknown { .. })));
    assert!(matches!(runtime.kernel::<Child>("member"), Err(LookupError::OtherType(_))));
    runtime.add_kernel(child::spec("kernel", &world)).await.unwrap();
    assert!(matches!(runtime.actor::<Member>("kernel"), Err(LookupError::OtherType(_))));
    runtime.add_actor(member("added", &world)).await.unwrap();
    let added = runtime.actor::<Member>("added").unwrap();
    assert_eq!(ask(&added, Do::Count).await, Ok(1));
    stop(runtime).await;
    let unbounded = builder().with_actor(member("member", &world).mailbox(0)).build();
    assert!(unbounded.unwrap_err().to_string().contains("its mailbox holds 0 messages"));
}
