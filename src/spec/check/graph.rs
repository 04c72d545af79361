//! Cycles among the stages.

use std::collections::VecDeque;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::spec::problem::Problem;
use crate::spec::text::Place;

use super::stage::Draft;

/// `to` uses or needs `from`, written at `place`. Stages by their index.
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) place: Place,
}

/// Notes every stage that refers to itself, and one shortest cycle for every knot of stages.
pub(super) fn cycles(drafts: &[Draft<'_>], edges: &[Edge], problems: &mut Vec<Problem>) {
    for edge in edges.iter().filter(|e| e.from == e.to) {
        let name = drafts[edge.to].name();
        problems.push(
            Problem::at(edge.place, format!("the stage `{name}` refers to itself: {name} -> {name}"))
                .label("its own output")
                .help("a stage can only use what other stages or files give"),
        );
    }
    let pairs = edges.iter().filter(|e| e.from != e.to).map(|e| (e.from as u32, e.to as u32));
    let mut graph = DiGraph::<(), ()>::from_edges(pairs);
    while graph.node_count() < drafts.len() {
        graph.add_node(());
    }
    let mut knots: Vec<Vec<usize>> =
        tarjan_scc(&graph).into_iter().map(|knot| knot.into_iter().map(NodeIndex::index).collect()).collect();
    knots.retain(|knot: &Vec<usize>| knot.len() > 1);
    for knot in &mut knots {
        knot.sort_unstable();
        if let Some(problem) = cycle_problem(drafts, edges, knot) {
            problems.push(problem);
        }
    }
}

fn cycle_problem(drafts: &[Draft<'_>], edges: &[Edge], knot: &[usize]) -> Option<Problem> {
    let cycle = shortest_cycle(edges, *knot.first()?)?;
    let mut names: Vec<&str> = cycle.iter().map(|e| drafts[e.from].name()).collect();
    names.push(names.first()?);
    let says = |edge: &Edge| format!("`{}` uses `{}`", drafts[edge.to].name(), drafts[edge.from].name());
    let (last, rest) = cycle.split_last()?;
    let message = format!("the stages form a cycle: {}", names.join(" -> "));
    let problem = Problem::at(last.place, message)
        .label(says(last))
        .help("`a -> b` means that `b` waits for `a`; remove one of these references");
    Some(rest.iter().fold(problem, |problem, edge| problem.also(edge.place, says(edge))))
}

/// The shortest way from a stage back to it, by breadth-first search.
fn shortest_cycle(edges: &[Edge], start: usize) -> Option<Vec<&Edge>> {
    let mut came_by: Vec<(usize, &Edge)> = Vec::new();
    let mut queue = VecDeque::from([start]);
    while let Some(stage) = queue.pop_front() {
        for edge in edges.iter().filter(|e| e.from == stage && e.from != e.to) {
            if edge.to == start {
                return Some(way_back(&came_by, start, edge));
            }
            if !came_by.iter().any(|(to, _)| *to == edge.to) {
                came_by.push((edge.to, edge));
                queue.push_back(edge.to);
            }
        }
    }
    None
}

fn way_back<'e>(came_by: &[(usize, &'e Edge)], start: usize, last: &'e Edge) -> Vec<&'e Edge> {
    let mut way = vec![last];
    let mut at = last.from;
    while at != start {
        let Some((_, edge)) = came_by.iter().find(|(to, _)| *to == at) else { break };
        way.push(edge);
        at = edge.from;
    }
    way.reverse();
    way
}
