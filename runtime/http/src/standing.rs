//! Connections that stand still are closed.
//!
//! The server has clocks of its own for a request's head and for its body. It has none for what else a client may do to
//! keep a connection and not use it: begin a further request and not go on, send a body in chunks that does not end
//! although it was answered, not read its answer. So each connection has somebody who looks from time to time
//! whether it has moved, and shuts its socket down if it has not for too long.

use std::any::Any;
use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::HttpMessage as _;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::http::header::CONNECTION;
use actix_web::rt::net::TcpStream;
use actix_web::rt::task::JoinHandle;
use actix_web::web::Bytes;
use rustix::net::{Shutdown, shutdown};
use rustkernel_core::config::HttpConfig;
use tokio::time::Instant;

use crate::security::Pending;

/// An answer is handed to the server in such pieces, in bytes: so a large one takes no more memory than itself, and
/// each that was sent is a move.
const PIECE: usize = 256 << 10;
/// Connections are looked at this often, or twice in the shortest time that one may stand still.
const LOOKS: Duration = Duration::from_secs(5);

/// How long a connection may stand still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Before it has made a request.
    waiting: Duration,
    /// Before it has taken a piece of its answer.
    answering: Duration,
    /// Behind its last answer.
    leaving: Duration,
}

/// What a connection does.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Waiting,
    Serving,
    Answering,
    Leaving,
}

/// A connection that is watched, of one thread.
struct Moves {
    /// The same socket as the connection's, so that it can be shut down by another.
    socket: OwnedFd,
    stage: Cell<Stage>,
    count: Cell<u64>,
}

/// Somebody who looks after a connection, for as long as it has this.
struct Watch {
    moves: Rc<Moves>,
    looks: JoinHandle<()>,
}

/// A request that is served, and its answer; while it is there its connection does not wait for another.
pub(crate) struct Served {
    moves: Option<Rc<Moves>>,
    last: bool,
    /// Its caller has it open until it is sent.
    pending: Option<Pending>,
}

/// The body of an answer.
pub(crate) struct Answer<B> {
    body: B,
    rest: Bytes,
    served: Served,
}

impl Patience {
    pub(crate) fn of(config: &HttpConfig) -> Self {
        let &HttpConfig { keep_alive, header_timeout, body_timeout, .. } = config;
        let waiting = keep_alive.saturating_add(header_timeout);
        Self { waiting, answering: body_timeout, leaving: header_timeout }
    }

    fn looks(&self) -> Duration {
        let shortest = self.waiting.min(self.answering).min(self.leaving);
        (shortest / 2).clamp(Duration::from_millis(10), LOOKS)
    }

    /// A request that is served has a deadline of its own.
    fn with(&self, stage: Stage) -> Option<Duration> {
        match stage {
            Stage::Waiting => Some(self.waiting),
            Stage::Serving => None,
            Stage::Answering => Some(self.answering),
            Stage::Leaving => Some(self.leaving),
        }
    }

    /// Has a connection be looked after; for [`HttpServer::on_connect`](actix_web::HttpServer::on_connect).
    pub(crate) fn watch(self, connection: &dyn Any, extensions: &mut Extensions) {
        // (None where the process may have no more descriptors.)
        let Some(socket) = socket(connection) else { return };
        let moves =
            Rc::new(Moves { socket, stage: Cell::new(Stage::Waiting), count: Cell::new(0) });
        let looks = actix_web::rt::spawn(self.look_after(Rc::downgrade(&moves)));
        extensions.insert(Watch { moves, looks });
    }

    async fn look_after(self, connection: Weak<Moves>) {
        let (mut count, mut since) = (0, Instant::now());
        loop {
            tokio::time::sleep(self.looks()).await;
            let Some(moves) = connection.upgrade() else { return };
            if moves.count.get() != count {
                (count, since) = (moves.count.get(), Instant::now());
            } else if self.with(moves.stage.get()).is_some_and(|most| since.elapsed() >= most) {
                // (It may have gone by itself.)
                shutdown(&moves.socket, Shutdown::Both).ok();
                return;
            }
        }
    }
}

fn socket(connection: &dyn Any) -> Option<OwnedFd> {
    let plain = connection.downcast_ref::<TcpStream>();
    let stream = plain.or_else(|| {
        let secured = connection.downcast_ref::<TlsStream<TcpStream>>()?;
        Some(secured.get_ref().0)
    });
    stream?.as_fd().try_clone_to_owned().ok()
}

impl Moves {
    fn go(&self, stage: Stage) {
        self.stage.set(stage);
        self.count.set(self.count.get().wrapping_add(1));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.looks.abort();
    }
}

impl Served {
    /// A request has come.
    pub(crate) fn begin(request: &ServiceRequest) -> Self {
        let moves = request.conn_data::<Watch>().map(|watch| Rc::clone(&watch.moves));
        let served = Self { moves, last: false, pending: None };
        served.go(Stage::Serving);
        served
    }

    /// It is answered once the body is sent.
    pub(crate) fn answer<B>(mut self, response: ServiceResponse<B>) -> ServiceResponse<Answer<B>> {
        self.last = response.headers().get(CONNECTION).is_some_and(|value| value == "close");
        self.pending = response.request().extensions_mut().remove();
        response.map_body(|_, body| Answer { body, rest: Bytes::new(), served: self })
    }

    fn go(&self, stage: Stage) {
        self.moves.iter().for_each(|moves| moves.go(stage));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.go(if self.last { Stage::Leaving } else { Stage::Waiting });
    }
}

impl<B: MessageBody + Unpin> MessageBody for Answer<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        let this = self.get_mut();
        this.served.go(Stage::Answering);
        if this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_next(cx) {
                Poll::Ready(Some(Ok(bytes))) => this.rest = bytes,
                other => return other,
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(piece)))
    }
}
