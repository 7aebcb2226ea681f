//! kameo's supervision.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kameo::actor::{Actor, ActorRef, Spawn};
use kameo::error::{Infallible, SendError};
use kameo::mailbox;
use kameo::message::{Context, Message};

use crate::measure::{Ask, Failed, Limits, Peer, Place, QUEUE, World};

struct Boss;

impl Actor for Boss {
    type Args = ();
    type Error = Infallible;

    async fn on_start((): (), _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(Self)
    }
}

#[derive(Clone)]
struct Worker {
    starts: Arc<AtomicU64>,
}

impl Actor for Worker {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(worker: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        worker.starts.fetch_add(1, Ordering::AcqRel);
        Ok(worker)
    }
}

impl Message<Ask> for Worker {
    type Reply = ();

    async fn handle(&mut self, ask: Ask, _: &mut Context<Self, ()>) {
        assert!(ask == Ask::Work, "as asked");
    }
}

/// What is asked, and its supervisor.
#[derive(Clone)]
pub(crate) struct Kameo {
    worker: ActorRef<Worker>,
    _boss: ActorRef<Boss>,
}

async fn up(limits: Limits) -> World<Kameo> {
    let boss = Boss::spawn(());
    let start = async |starts: &Arc<AtomicU64>| {
        let builder = Worker::supervise(&boss, Worker { starts: Arc::clone(starts) });
        let builder = match limits {
            Limits::None => builder.restart_limit(u32::MAX, Duration::from_secs(1)),
            Limits::Default => builder,
        };
        let worker = builder.spawn_with_mailbox(mailbox::bounded(QUEUE)).await;
        Kameo { worker, _boss: boss.clone() }
    };
    let starts = Arc::default();
    World { worker: start(&starts).await, neighbour: start(&Arc::default()).await, starts }
}

impl Peer for Kameo {
    async fn up(place: Place, limits: Limits, server: &tokio::runtime::Runtime) -> World<Self> {
        match place {
            Place::Same => up(limits).await,
            Place::Across => server.spawn(up(limits)).await.unwrap(),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<(), Failed> {
        self.worker.ask(ask).await.map_err(|error| match error {
            SendError::ActorRestarting(_)
            | SendError::ActorNotRunning(_)
            | SendError::MailboxFull(_) => Failed::HandedBack,
            _ => Failed::Gone,
        })
    }
}
