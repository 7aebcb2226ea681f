//! Capture: the work of streams is recorded as a graph instead of being carried out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ThreadId;

use parking_lot::Mutex;

use super::queue::{Stream, Task};
use crate::code::{Answer, Code};

/// Which calls a capture forbids, other than in its own streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Unsafe calls of any thread.
    Global,
    /// Unsafe calls of the thread that began it.
    ThreadLocal,
    Relaxed,
}

impl Mode {
    pub(crate) fn numbered(number: u32) -> Option<Self> {
        [Self::Global, Self::ThreadLocal, Self::Relaxed].get(number as usize).copied()
    }
}

/// What a node does, with the driver's number for its kind.
#[derive(Clone)]
pub(crate) enum Action {
    Kernel(Task),
    Copy(Task),
    Fill(Task),
    Host(Arc<dyn Fn() + Send + Sync>),
    /// Another graph.
    Child(Arc<Graph>),
}

impl Action {
    pub(crate) fn kind(&self) -> u32 {
        match self {
            Self::Kernel(_) => 0,
            Self::Copy(_) => 1,
            Self::Fill(_) => 2,
            Self::Host(_) => 3,
            Self::Child(_) => 4,
        }
    }
}

/// A piece of recorded work, and the nodes that it comes after.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) action: Action,
    pub(crate) after: Vec<usize>,
    /// Its handle, once the graph has one.
    pub(crate) handle: u64,
}

/// Recorded work. Nodes come after those that they depend on.
#[derive(Clone, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
}

impl Graph {
    /// The actions in order, those of inner graphs among them.
    pub(crate) fn actions(&self) -> Vec<Action> {
        let actions = self.nodes.iter().flat_map(|node| match &node.action {
            Action::Child(graph) => graph.actions(),
            action => vec![action.clone()],
        });
        actions.collect()
    }
}

/// A capture under way.
pub(crate) struct Capture {
    /// The handle of the stream that it was begun in.
    origin: u64,
    mode: Mode,
    thread: ThreadId,
    broken: AtomicBool,
    graph: Mutex<Graph>,
}

/// A stream's part in a capture: its next node comes after `tails`.
#[derive(Clone)]
pub(crate) struct Capturing {
    pub(crate) capture: Arc<Capture>,
    tails: Vec<usize>,
}

impl Capture {
    fn break_off(&self) {
        self.broken.store(true, Ordering::Release);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// A call that may not be made: the capture is lost.
    pub(crate) fn refuse<T>(&self, code: Code) -> Answer<T> {
        self.break_off();
        Err(code)
    }

    /// Whether a call that waits for the device, or allocates, may be made by this thread.
    pub(crate) fn forbids_unsafe_calls(&self, own: Mode) -> bool {
        match own {
            Mode::Relaxed => false,
            Mode::Global => {
                self.mode == Mode::Global
                    || self.mode == Mode::ThreadLocal
                        && self.thread == std::thread::current().id()
            }
            Mode::ThreadLocal => {
                self.mode != Mode::Relaxed && self.thread == std::thread::current().id()
            }
        }
    }
}

impl Capturing {
    /// Adds a node to the stream's part.
    pub(crate) fn add(&mut self, action: Action) -> Answer {
        if self.capture.is_broken() {
            return Err(Code::STREAM_CAPTURE_INVALIDATED);
        }
        let mut graph = self.capture.graph.lock();
        let node = graph.nodes.len();
        let after = std::mem::replace(&mut self.tails, vec![node]);
        graph.nodes.push(Node { action, after, handle: 0 });
        Ok(())
    }

    /// Takes `stream` into the capture, or brings it what an event of another stream comes after.
    pub(crate) fn joined_by(&self, stream: &Stream) -> Answer {
        let mut capturing = stream.capturing.lock();
        match &mut *capturing {
            None if stream.handle == 0 => self.capture.refuse(Code::STREAM_CAPTURE_IMPLICIT),
            None => {
                *capturing = Some(self.clone());
                Ok(())
            }
            Some(own) if Arc::ptr_eq(&own.capture, &self.capture) => {
                for tail in &self.tails {
                    if !own.tails.contains(tail) {
                        own.tails.push(*tail);
                    }
                }
                Ok(())
            }
            Some(own) => {
                own.capture.break_off();
                self.capture.refuse(Code::STREAM_CAPTURE_MERGE)
            }
        }
    }
}

/// Begins a capture in `stream`.
pub(crate) fn begin(stream: &Stream, mode: Mode) -> Answer {
    let mut capturing = stream.capturing.lock();
    if capturing.is_some() {
        return Err(Code::ILLEGAL_STATE);
    }
    let capture = Arc::new(Capture {
        origin: stream.handle,
        mode,
        thread: std::thread::current().id(),
        broken: AtomicBool::new(false),
        graph: Mutex::default(),
    });
    stream.context.begin_capture(Arc::clone(&capture));
    *capturing = Some(Capturing { capture, tails: Vec::new() });
    Ok(())
}

/// Ends the capture that was begun in `stream`.
pub(crate) fn end(stream: &Stream) -> Answer<Graph> {
    let Some(own) = stream.capturing.lock().clone() else { return Err(Code::ILLEGAL_STATE) };
    let capture = &own.capture;
    if capture.origin != stream.handle {
        return Err(Code::STREAM_CAPTURE_UNMATCHED);
    }
    stream.context.end_capture(capture);
    for other in stream.context.streams() {
        let mut capturing = other.capturing.lock();
        if capturing.as_ref().is_some_and(|part| Arc::ptr_eq(&part.capture, capture)) {
            *capturing = None;
        }
    }
    if capture.is_broken() {
        return Err(Code::STREAM_CAPTURE_INVALIDATED);
    }
    let graph = std::mem::take(&mut *capture.graph.lock());
    if is_joined(&graph, own.tails) { Ok(graph) } else { Err(Code::STREAM_CAPTURE_UNJOINED) }
}

/// Whether the end comes after every node.
fn is_joined(graph: &Graph, end: Vec<usize>) -> bool {
    let mut before = vec![false; graph.nodes.len()];
    let mut left = end;
    while let Some(node) = left.pop() {
        if !std::mem::replace(&mut before[node], true) {
            left.extend(&graph.nodes[node].after);
        }
    }
    before.into_iter().all(|is_before| is_before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_nothing_waits_for_is_unjoined() {
        let node = |after: &[usize]| Node {
            action: Action::Host(Arc::new(|| ())),
            after: after.to_vec(),
            handle: 0,
        };
        let graph = Graph { nodes: vec![node(&[]), node(&[0]), node(&[0]), node(&[1, 2])] };
        assert!(is_joined(&graph, vec![3]));
        assert!(is_joined(&graph, vec![1, 2, 3]));
        assert!(!is_joined(&graph, vec![1]));
        assert!(is_joined(&Graph::default(), vec![]));
        let outer = Node { action: Action::Child(Arc::new(graph)), after: vec![], handle: 0 };
        assert_eq!(Graph { nodes: vec![node(&[]), outer] }.actions().len(), 5);
    }
}
