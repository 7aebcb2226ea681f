//! ractor's linked actors. A supervisor there is told of an end; what follows is its own code, so the
//! restart is written here, as its documentation shows it: the same name is spawned again, and callers look
//! the name up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ractor::rpc::CallResult;
use ractor::{
    Actor, ActorProcessingErr, ActorRef, MessagingErr, RpcReplyPort, SupervisionEvent, registry,
};

use crate::measure::{Ask, Failed, Limits, Peer, Place, World};

struct Worker;

struct Question(Ask, RpcReplyPort<()>);

impl Actor for Worker {
    type Msg = Question;
    type State = ();
    type Arguments = Arc<AtomicU64>;

    async fn pre_start(
        &self,
        _: ActorRef<Question>,
        starts: Arc<AtomicU64>,
    ) -> Result<(), ActorProcessingErr> {
        starts.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Question>,
        Question(ask, reply): Question,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        assert!(ask == Ask::Work, "as asked");
        reply.send(()).ok();
        Ok(())
    }
}

/// Restarts its two workers.
struct Boss;

/// Their names, and what counts their starts.
type Children = [(String, Arc<AtomicU64>); 2];

struct Order;

async fn spawn(
    myself: &ActorRef<Order>,
    (name, starts): &(String, Arc<AtomicU64>),
) -> Result<(), ActorProcessingErr> {
    Actor::spawn_linked(Some(name.clone()), Worker, Arc::clone(starts), myself.get_cell()).await?;
    Ok(())
}

impl Actor for Boss {
    type Msg = Order;
    type State = Children;
    type Arguments = Children;

    async fn pre_start(
        &self,
        myself: ActorRef<Order>,
        children: Children,
    ) -> Result<Children, ActorProcessingErr> {
        for child in &children {
            spawn(&myself, child).await?;
        }
        Ok(children)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Order>,
        event: SupervisionEvent,
        children: &mut Children,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(dead, _) = event {
            let name = dead.get_name();
            for child in children.iter().filter(|child| Some(&child.0) == name.as_ref()) {
                spawn(&myself, child).await?;
            }
        }
        Ok(())
    }
}

/// The name of who is asked.
#[derive(Clone)]
pub(crate) struct Ractor {
    name: String,
}

/// Names are those of the whole process.
static WORLDS: AtomicU64 = AtomicU64::new(0);

async fn up() -> World<Ractor> {
    let world = WORLDS.fetch_add(1, Ordering::Relaxed);
    let (worker, neighbour) = (format!("worker-{world}"), format!("neighbour-{world}"));
    let starts = Arc::default();
    let children = [(worker.clone(), Arc::clone(&starts)), (neighbour.clone(), Arc::default())];
    Actor::spawn(None, Boss, children).await.unwrap();
    World { worker: Ractor { name: worker }, neighbour: Ractor { name: neighbour }, starts }
}

impl Peer for Ractor {
    async fn up(place: Place, _: Limits, server: &tokio::runtime::Runtime) -> World<Self> {
        match place {
            Place::Same => up().await,
            Place::Across => server.spawn(up()).await.unwrap(),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<(), Failed> {
        let worker = registry::where_is(self.name.clone()).ok_or(Failed::HandedBack)?;
        let worker = ActorRef::<Question>::from(worker);
        match worker.call(|reply| Question(ask, reply), None).await {
            Ok(CallResult::Success(())) => Ok(()),
            Err(MessagingErr::SendErr(_)) => Err(Failed::HandedBack),
            Ok(_) | Err(_) => Err(Failed::Gone),
        }
    }
}
