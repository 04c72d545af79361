//! The graph of stages as text, Graphviz and Mermaid.

use std::fmt::Write as _;

use super::graph::{Graph, StageId, StageNode};

/// A line a stage, in the order in which they run: its kind, its tasks, its variants (`x6`), what it reads.
pub fn graph_text(graph: &Graph) -> String {
    let width = graph.stages.iter().map(|s| s.name.chars().count()).max().unwrap_or(0);
    let kinds = graph.stages.iter().map(|s| s.kind.chars().count()).max().unwrap_or(0);
    let mut text = format!("{}\n", graph.pipeline);
    for stage in &graph.stages {
        let count = match stage.tasks.len() {
            1 => "1 task".to_owned(),
            n => format!("{n} tasks"),
        };
        let mut waits = Vec::new();
        if !stage.reads.is_empty() {
            waits.push(format!("reads {}", names(graph, &stage.reads)));
        }
        if !stage.needs.is_empty() {
            waits.push(format!("after {}", names(graph, &stage.needs)));
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "  {:width$}  {:kinds$}  {count:>9}", stage.name, stage.kind);
        if !stage.variants.is_empty() {
            let _ = write!(text, "  x{}", stage.variants.len());
        }
        if !waits.is_empty() {
            let _ = write!(text, "  {}", waits.join(", "));
        }
        text.push('\n');
    }
    text
}

fn names(graph: &Graph, stages: &[StageId]) -> String {
    stages.iter().map(|id| graph.stages[*id].name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Graphviz: `s2pipe graph --dot | dot -Tsvg`.
pub fn graph_dot(graph: &Graph) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = format!("digraph {} {{\n  rankdir=LR;\n  node [shape=box];\n", quote(&graph.pipeline));
    for stage in &graph.stages {
        let label = quote(&node_label(stage));
        let _ = writeln!(text, "  {} [label={label}];", quote(&stage.name));
    }
    for (from, to, data) in edges(graph) {
        let style = if data { "" } else { " [style=dashed]" };
        let _ = writeln!(text, "  {} -> {}{style};", quote(&graph.stages[from].name), quote(&graph.stages[to].name));
    }
    text.push_str("}\n");
    text
}

/// Mermaid, as Markdown pages show it.
pub fn graph_mermaid(graph: &Graph) -> String {
    let mut text = String::from("graph LR\n");
    for (id, stage) in graph.stages.iter().enumerate() {
        let label = node_label(stage).replace('"', "#quot;");
        let _ = writeln!(text, "  s{id}[\"{label}\"]");
    }
    for (from, to, data) in edges(graph) {
        let _ = writeln!(text, "  s{from} {} s{to}", if data { "-->" } else { "-.->" });
    }
    text
}

/// `train (train, 6) x6`: kind, tasks, variants.
fn node_label(stage: &StageNode) -> String {
    let variants = match stage.variants.len() {
        0 => String::new(),
        n => format!(" x{n}"),
    };
    format!("{} ({}, {}){variants}", stage.name, stage.kind, stage.tasks.len())
}

/// All edges: from, to, and whether data flows along it.
fn edges(graph: &Graph) -> impl Iterator<Item = (StageId, StageId, bool)> {
    graph.stages.iter().enumerate().flat_map(|(to, stage)| {
        let data = stage.reads.iter().map(move |from| (*from, to, true));
        let order = stage.needs.iter().filter(|id| !stage.reads.contains(id)).map(move |from| (*from, to, false));
        data.chain(order)
    })
}
