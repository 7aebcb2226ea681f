//! A device's primary context, from the first retain to its reset or last release.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::Device;
use super::handle::{Kind, Table};
use crate::code::{Answer, Code};
use crate::memory::space::Space;
use crate::memory::{device_of, host, transfer};
use crate::module::{Function, Module};
use crate::sim::{AddressSpace, Segment};
use crate::stream::capture::{Capture, Graph};
use crate::stream::event::Event;
use crate::stream::progress::Progress;
use crate::stream::{Barrier, Stream, Work};

/// Everything that goes when the context does.
pub(crate) struct Context {
    pub(crate) device: &'static Device,
    /// Different for every context that there ever was.
    pub(crate) number: u64,
    pub(crate) progress: Arc<Progress>,
    pub(crate) streams: Table<Stream>,
    pub(crate) events: Table<Event>,
    pub(crate) modules: Table<Module>,
    pub(crate) functions: Table<Function>,
    pub(crate) graphs: Table<Mutex<Graph>>,
    pub(crate) graph_execs: Table<Graph>,
    pub(crate) graph_nodes: Table<(u64, usize)>,
    pub(crate) limits: Mutex<HashMap<u32, u64>>,
    pub(crate) peers: Mutex<BTreeSet<usize>>,
    space: Mutex<Space>,
    /// The first failure of device work; it stays.
    broken: AtomicU32,
    destroyed: AtomicBool,
    legacy: Mutex<Option<Arc<Stream>>>,
    /// Every stream that may still have work, destroyed or not.
    working: Mutex<Vec<Arc<Stream>>>,
    captures: Mutex<Vec<Arc<Capture>>>,
}

impl Context {
    pub(crate) fn new(device: &'static Device) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let ordinal = device.ordinal;
        Arc::new(Self {
            device,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            progress: Arc::default(),
            streams: Table::new(Kind::Stream, ordinal),
            events: Table::new(Kind::Event, ordinal),
            modules: Table::new(Kind::Module, ordinal),
            functions: Table::new(Kind::Function, ordinal),
            graphs: Table::new(Kind::Graph, ordinal),
            graph_execs: Table::new(Kind::GraphExec, ordinal),
            graph_nodes: Table::new(Kind::GraphNode, ordinal),
            limits: Mutex::default(),
            peers: Mutex::default(),
            space: Mutex::new(std::mem::take(&mut *device.kept.lock())),
            broken: AtomicU32::new(0),
            destroyed: AtomicBool::new(false),
            legacy: Mutex::default(),
            working: Mutex::default(),
            captures: Mutex::default(),
        })
    }

    pub(crate) fn space(&self) -> MutexGuard<'_, Space> {
        self.space.lock()
    }
}

/// Its state: in order, broken for good by device work, or destroyed.
impl Context {
    pub(crate) fn is_destroyed(&self) -> bool {
        self.destroyed.load(Ordering::SeqCst)
    }

    /// Set when the context is destroyed, for kernels to look at.
    pub(crate) fn destroyed(&self) -> &AtomicBool {
        &self.destroyed
    }

    /// What every call in this context answers, if it is not in order.
    pub(crate) fn status(&self) -> Answer {
        match self.broken.load(Ordering::SeqCst) {
            0 if self.is_destroyed() => Err(Code::CONTEXT_IS_DESTROYED),
            0 => Ok(()),
            code => Err(Code(code)),
        }
    }

    /// Device work has failed: the context is of no use any more.
    pub(crate) fn fail(&self, code: Code) {
        if self.is_destroyed() {
            return;
        }
        let order = Ordering::SeqCst;
        let _first = self.broken.compare_exchange(0, code.0, order, order);
        self.progress.ring();
    }

    /// Ends everything: kernels stop, queues run dry, handles and memory go. What outlives the context.
    pub(crate) fn destroy(&self) -> Space {
        self.destroyed.store(true, Ordering::SeqCst);
        self.progress.ring();
        let streams = self.working.lock().clone();
        for stream in &streams {
            stream.close();
        }
        // copies must be over before the program takes its memory back; functions of the program
        // are not waited for: they may be waiting for the thread that is here
        self.progress.wait_until(|| !streams.iter().any(|stream| stream.is_in_device_work()));
        self.streams.clear();
        self.events.clear();
        self.modules.clear();
        self.functions.clear();
        self.graphs.clear();
        self.graph_execs.clear();
        self.graph_nodes.clear();
        self.captures.lock().clear();
        *self.legacy.lock() = None;
        let space = std::mem::take(&mut *self.space.lock());
        host::forget(self.number);
        space.without_context()
    }
}

/// Its streams.
impl Context {
    /// The legacy stream, which the synchronous calls use.
    pub(crate) fn legacy(self: &Arc<Self>) -> Arc<Stream> {
        let mut legacy = self.legacy.lock();
        let stream = legacy.get_or_insert_with(|| {
            let stream = Stream::new(Arc::clone(self), 0, 0, 0);
            self.working.lock().push(Arc::clone(&stream));
            stream
        });
        Arc::clone(stream)
    }

    pub(crate) fn new_stream(self: &Arc<Self>, flags: u32, priority: i32) -> u64 {
        let handle = self.streams.handle();
        let stream = Stream::new(Arc::clone(self), handle, flags, priority);
        self.working.lock().push(Arc::clone(&stream));
        self.streams.insert(handle, stream);
        handle
    }

    /// Every stream that may have work, the destroyed ones too.
    pub(crate) fn streams(&self) -> Vec<Arc<Stream>> {
        self.working.lock().clone()
    }

    /// A stream's work is done, and no more can come.
    pub(crate) fn forget_stream(&self, stream: &Arc<Stream>) {
        self.working.lock().retain(|known| !Arc::ptr_eq(known, stream));
    }

    /// What work in `stream` comes after: the legacy stream and those that were not made
    /// non-blocking wait for each other.
    pub(crate) fn barriers(&self, stream: &Stream) -> Vec<Barrier> {
        if !stream.blocks() {
            return Vec::new();
        }
        let is_legacy = stream.handle == 0;
        let waits_for = |other: &Arc<Stream>| {
            other.blocks() && (other.handle == 0) != is_legacy && !other.is_idle()
        };
        let others = self.streams().into_iter().filter(waits_for);
        others.map(|other| (Arc::clone(&other), other.tail())).collect()
    }

    /// Gives `stream` work, after what it must wait for.
    pub(crate) fn enqueue(&self, stream: &Arc<Stream>, work: Work) -> Answer {
        self.status()?;
        stream.push(self.barriers(stream), work)
    }

    /// Waits for all work.
    pub(crate) fn synchronize(&self) -> Answer {
        for stream in self.streams() {
            stream.wait();
        }
        self.status()
    }

    /// Waits for what the legacy stream waits for, and for itself, as a synchronous call does.
    pub(crate) fn wait_as_legacy(self: &Arc<Self>) -> Answer {
        let legacy = self.legacy();
        let after = self.barriers(&legacy);
        legacy.wait();
        for (stream, work) in after {
            stream.wait_for(work);
        }
        self.status()
    }
}

/// Its captures.
impl Context {
    pub(crate) fn begin_capture(&self, capture: Arc<Capture>) {
        self.captures.lock().push(capture);
    }

    pub(crate) fn end_capture(&self, capture: &Arc<Capture>) {
        self.captures.lock().retain(|known| !Arc::ptr_eq(known, capture));
    }

    pub(crate) fn captures(&self) -> Vec<Arc<Capture>> {
        self.captures.lock().clone()
    }

    /// Refuses the use of the legacy stream while a stream captures that would have to wait for it.
    pub(crate) fn refuse_implicit(&self) -> Answer {
        for stream in self.streams().iter().filter(|stream| stream.blocks()) {
            if let Some(capturing) = &*stream.capturing.lock() {
                return capturing.capture.refuse(Code::STREAM_CAPTURE_IMPLICIT);
            }
        }
        Ok(())
    }
}

/// What a kernel of this context can reach: its own memory, that of peers, and the host's.
impl AddressSpace for Context {
    fn find(&self, address: u64) -> Option<Segment> {
        match device_of(address) {
            Some(ordinal) if ordinal == self.device.ordinal => self.space().segment(address),
            Some(ordinal) if !self.peers.lock().contains(&ordinal) => None,
            _ => transfer::segment(address),
        }
    }

    fn generation(&self) -> u64 {
        crate::memory::generation()
    }
}
