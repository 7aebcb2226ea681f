//! Graphs: recorded work that is launched again and again.

use std::ffi::{c_char, c_uint, c_ulonglong};
use std::sync::Arc;

use cust_raw::{
    CUDA_KERNEL_NODE_PARAMS, CUfunc_st, CUgraph, CUgraphExec, CUgraphExec_st, CUgraphNode,
    CUgraphNodeType, CUgraphNode_st, CUgraph_st, CUstream_st,
};
use parking_lot::Mutex;

use super::launches::parameters;
use super::modules::find_function;
use super::{stream, submit};
use crate::abi::{Handle, In, Out, OutRaw};
use crate::code::{Answer, Code};
use crate::device::context::Context;
use crate::device::current;
use crate::device::handle::Kind;
use crate::module::launch::{Geometry, Prepared};
use crate::stream::Stream;
use crate::stream::capture::{Action, Graph, Node};

type OfGraph = Handle<CUgraph_st>;
type OfNode = Handle<CUgraphNode_st>;
type OfExec = Handle<CUgraphExec_st>;

/// Gives a graph and its nodes their handles.
pub(super) fn add(context: &Context, mut graph: Graph) -> u64 {
    let handle = context.graphs.handle();
    for (i, node) in graph.nodes.iter_mut().enumerate() {
        node.handle = context.graph_nodes.add((handle, i));
    }
    context.graphs.insert(handle, Arc::new(Mutex::new(graph)));
    handle
}

fn graph(handle: OfGraph) -> Answer<(Arc<Context>, Arc<Mutex<Graph>>)> {
    let handle = handle.value();
    current::find_handle(Kind::Graph, handle, |context| {
        Ok((Arc::clone(context), context.graphs.get(handle)?))
    })
}

pub(crate) fn create(to: Out<CUgraph>, flags: c_uint) -> Answer {
    let context = current::in_order()?;
    if flags != 0 || to.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    to.put(OfGraph::of(add(&context, Graph::default())))
}

pub(crate) fn destroy(handle: OfGraph) -> Answer {
    let (context, _) = graph(handle)?;
    context.graphs.remove(handle.value())?;
    context.graph_nodes.retain(|(of, _)| *of != handle.value());
    Ok(())
}

pub(crate) fn add_kernel_node(
    to: Out<CUgraphNode>,
    into: OfGraph,
    after: In<CUgraphNode>,
    count: usize,
    node: In<CUDA_KERNEL_NODE_PARAMS>,
) -> Answer {
    let (context, graph) = graph(into)?;
    let node = node.get()?;
    let mut dependencies = Vec::new();
    for i in 0..count {
        let dependency = after.get_at(i)?.addr() as u64;
        let of = context.graph_nodes.get(dependency)?;
        if of.0 != into.value() {
            return Err(Code::INVALID_VALUE);
        }
        dependencies.push(of.1);
    }
    let action = kernel(&context, &node)?;
    let mut graph = graph.lock();
    let handle = context.graph_nodes.add((into.value(), graph.nodes.len()));
    graph.nodes.push(Node { action, after: dependencies, handle });
    to.put(OfNode::of(handle))
}

fn kernel(context: &Context, node: &CUDA_KERNEL_NODE_PARAMS) -> Answer<Action> {
    let function = find_function(Handle::<CUfunc_st>::from_pointer(node.func))?;
    let geometry = Geometry {
        grid: [node.gridDimX, node.gridDimY, node.gridDimZ],
        block: [node.blockDimX, node.blockDimY, node.blockDimZ],
        shared: node.sharedMemBytes,
    };
    let arguments = (Out::at(node.kernelParams), Out::at(node.extra));
    let parameters = parameters(&function.entry, (&arguments.0, &arguments.1))?;
    let prepared = Prepared::new(context, function, geometry, parameters)?;
    Ok(Action::Kernel(Arc::new(move |stream: &Stream| {
        prepared.run(stream, prepared.fault(&stream.context))
    })))
}

/// How many there are; or, into a place for so many, those that fit.
fn put_list<T: Copy>(all: &[T], to: &Out<T>, count: &Out<usize>) -> Answer {
    if to.is_null() {
        return count.put(all.len());
    }
    let room = count.get()?;
    for (i, item) in all.iter().take(room).enumerate() {
        to.put_at(i, *item)?;
    }
    count.put(all.len().min(room))
}

pub(crate) fn nodes(of: OfGraph, to: Out<CUgraphNode>, count: Out<usize>) -> Answer {
    let (_, graph) = graph(of)?;
    let nodes: Vec<_> = graph.lock().nodes.iter().map(|node| OfNode::of(node.handle)).collect();
    put_list(&nodes, &to, &count)
}

pub(crate) fn edges(
    of: OfGraph,
    from: Out<CUgraphNode>,
    to: Out<CUgraphNode>,
    count: Out<usize>,
) -> Answer {
    let (_, graph) = graph(of)?;
    let graph = graph.lock();
    let handle = |node: usize| OfNode::of(graph.nodes[node].handle);
    let edges = graph.nodes.iter().flat_map(|node| {
        node.after.iter().map(move |before| (handle(*before), OfNode::of(node.handle)))
    });
    let (befores, afters): (Vec<_>, Vec<_>) = edges.unzip();
    let room = if from.is_null() { 0 } else { count.get()? };
    put_list(&befores, &from, &count)?;
    if !to.is_null() && !from.is_null() {
        count.put(room)?;
        put_list(&afters, &to, &count)?;
    }
    Ok(())
}

pub(crate) fn node_type(node: OfNode, to: OutRaw<CUgraphNodeType>) -> Answer {
    let handle = node.value();
    let kind = current::find_handle(Kind::GraphNode, handle, |context| {
        let (graph, index) = *context.graph_nodes.get(handle)?;
        let graph = context.graphs.get(graph)?;
        let graph = graph.lock();
        Ok(graph.nodes[index].action.kind())
    })?;
    to.put(kind)
}

pub(crate) fn instantiate(
    to: Out<CUgraphExec>,
    of: OfGraph,
    error: Out<CUgraphNode>,
    _log: *mut c_char,
    _room: usize,
) -> Answer {
    error.put_if_wanted(std::ptr::null_mut());
    instantiate_with_flags(to, of, 0)
}

pub(crate) fn instantiate_with_flags(
    to: Out<CUgraphExec>,
    of: OfGraph,
    flags: c_ulonglong,
) -> Answer {
    let (context, graph) = graph(of)?;
    if flags > 1 {
        return Err(Code::INVALID_VALUE);
    }
    let executable = graph.lock().clone();
    to.put(OfExec::of(context.graph_execs.add(executable)))
}

/// The nodes are carried out one after another in the stream: an order that the graph allows.
pub(crate) fn launch(handle: OfExec, on: Handle<CUstream_st>) -> Answer {
    let (stream, value) = (stream(on.value())?, handle.value());
    let graph =
        current::find_handle(Kind::GraphExec, value, |context| context.graph_execs.get(value))?;
    submit(&stream, Action::Child(graph))
}

pub(crate) fn destroy_exec(handle: OfExec) -> Answer {
    let handle = handle.value();
    let removed = current::find_handle(Kind::GraphExec, handle, |context| {
        context.graph_execs.remove(handle)
    });
    removed.map(drop)
}
