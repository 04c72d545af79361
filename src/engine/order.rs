//! The order of the stages: each after what it waits for.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::error::GraphError;
use crate::spec::{Pipeline, Source, Stage};

/// The stages so that each comes after what it waits for; otherwise in the order of the file.
pub(super) fn topological(pipeline: &Pipeline) -> Result<Vec<&Stage>, GraphError> {
    let position: HashMap<&str, usize> =
        pipeline.stages.iter().enumerate().map(|(i, s)| (s.name.as_str(), i)).collect();
    let mut edges: DiGraph<(), ()> = DiGraph::new();
    let nodes: Vec<NodeIndex> = pipeline.stages.iter().map(|_| edges.add_node(())).collect();
    for (i, stage) in pipeline.stages.iter().enumerate() {
        let mut seen = HashSet::new();
        for upstream in read_names(stage).chain(stage.needs.iter().map(String::as_str)) {
            let &from = position
                .get(upstream)
                .ok_or_else(|| GraphError::NoSuchOutput { stage: stage.name.clone(), wanted: upstream.to_owned() })?;
            if seen.insert(from) {
                edges.add_edge(nodes[from], nodes[i], ());
            }
        }
    }
    let mut waiting: Vec<usize> =
        nodes.iter().map(|n| edges.neighbors_directed(*n, petgraph::Incoming).count()).collect();
    let mut ready: BinaryHeap<Reverse<usize>> =
        waiting.iter().enumerate().filter(|(_, n)| **n == 0).map(|(i, _)| Reverse(i)).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(i)) = ready.pop() {
        order.push(&pipeline.stages[i]);
        for next in edges.neighbors(nodes[i]) {
            waiting[next.index()] -= 1;
            if waiting[next.index()] == 0 {
                ready.push(Reverse(next.index()));
            }
        }
    }
    if order.len() < nodes.len() { Err(cycle(pipeline, &edges)) } else { Ok(order) }
}

/// The stages that a stage reads.
pub(super) fn read_names(stage: &Stage) -> impl Iterator<Item = &str> {
    stage.inputs.iter().flat_map(|i| &i.sources).filter_map(|s| match s {
        Source::Output { stage, .. } => Some(stage.as_str()),
        Source::Files { .. } => None,
    })
}

/// One cycle, whole. There is at least one: the topological order was incomplete.
fn cycle(pipeline: &Pipeline, edges: &DiGraph<(), ()>) -> GraphError {
    let knot: HashSet<NodeIndex> = tarjan_scc(edges)
        .into_iter()
        .find(|scc| scc.len() > 1 || scc.iter().any(|n| edges.contains_edge(*n, *n)))
        .unwrap_or_default()
        .into_iter()
        .collect();
    // Within a strongly connected component every walk comes back to where it has been.
    let mut walk: Vec<NodeIndex> = knot.iter().min().copied().into_iter().collect();
    while let Some(next) = walk.last().and_then(|n| edges.neighbors(*n).find(|next| knot.contains(next))) {
        if let Some(start) = walk.iter().position(|n| *n == next) {
            walk.drain(..start);
            walk.push(next);
            break;
        }
        walk.push(next);
    }
    GraphError::Cycle { stages: walk.iter().map(|n| pipeline.stages[n.index()].name.clone()).collect() }
}
