//! actix's own supervisor: of actors that panic, and of actors that stop themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::prelude::*;

use crate::measure::{Ask, Failed, Limits, Peer, Place, QUEUE, World};

struct Worker {
    starts: Arc<AtomicU64>,
}

/// What a crash is.
#[derive(Clone, Copy)]
enum Crash {
    Panic,
    Stop,
}

struct Question(Ask, Crash);

impl Message for Question {
    type Result = Result<(), ()>;
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.starts.fetch_add(1, Ordering::AcqRel);
    }
}

impl Supervised for Worker {}

impl Handler<Question> for Worker {
    type Result = Result<(), ()>;

    fn handle(&mut self, Question(ask, crash): Question, ctx: &mut Self::Context) -> Self::Result {
        match (ask, crash) {
            (Ask::Work, _) => Ok(()),
            (Ask::Crash, Crash::Panic) => panic!("as asked"),
            (Ask::Crash, Crash::Stop) => {
                ctx.stop();
                Err(())
            }
        }
    }
}

/// Supervised, on this thread or on that of an arbiter of its own. The arbiter ends with its system.
fn start(place: Place, starts: &Arc<AtomicU64>) -> Addr<Worker> {
    let starts = Arc::clone(starts);
    let make = move |ctx: &mut Context<Worker>| {
        ctx.set_mailbox_capacity(QUEUE);
        Worker { starts }
    };
    match place {
        Place::Same => Supervisor::start(make),
        Place::Across => Supervisor::start_in_arbiter(&Arbiter::new().handle(), make),
    }
}

fn world(place: Place) -> World<Addr<Worker>> {
    let starts = Arc::default();
    let (worker, neighbour) = (start(place, &starts), start(place, &Arc::default()));
    World { worker, neighbour, starts }
}

async fn ask(worker: &Addr<Worker>, question: Question) -> Result<(), Failed> {
    worker.send(question).await.map_err(|_| Failed::Gone)?.map_err(|()| Failed::Gone)
}

/// Its crash is a panic.
#[derive(Clone)]
pub(crate) struct Panicking(Addr<Worker>);

impl Peer for Panicking {
    async fn up(place: Place, _: Limits, _: &tokio::runtime::Runtime) -> World<Self> {
        let World { worker, neighbour, starts } = world(place);
        World { worker: Self(worker), neighbour: Self(neighbour), starts }
    }

    async fn ask(&self, question: Ask) -> Result<(), Failed> {
        ask(&self.0, Question(question, Crash::Panic)).await
    }
}

/// Its crash is that it stops itself.
#[derive(Clone)]
pub(crate) struct Stopping(Addr<Worker>);

impl Peer for Stopping {
    async fn up(place: Place, _: Limits, _: &tokio::runtime::Runtime) -> World<Self> {
        let World { worker, neighbour, starts } = world(place);
        World { worker: Self(worker), neighbour: Self(neighbour), starts }
    }

    async fn ask(&self, question: Ask) -> Result<(), Failed> {
        ask(&self.0, Question(question, Crash::Stop)).await
    }
}
