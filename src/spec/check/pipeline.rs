//! The order of the checks.

use std::path::Path;

use crate::raster::ClassTable;
use crate::spec::kind::KindSpec;
use crate::spec::model::{Pipeline, Stage};
use crate::spec::node::{Entry, Node};
use crate::spec::problem::Problem;
use crate::spec::site::Site;

use super::classes::classes;
use super::graph::cycles;
use super::inputs::Wiring;
use super::site::{Known, site};
use super::stage::{Surroundings, draft};
use super::top;
use super::variants::{ask_kinds, count_variants};

/// Checks a whole pipeline. `file` and `folder` (where it stands) are absolute. A pipeline comes back only when no
/// problem was noted, here or before.
pub(in crate::spec) fn check(
    tree: &Node,
    file: &Path,
    folder: &Path,
    kinds: &[&'static KindSpec],
    problems: &mut Vec<Problem>,
) -> Option<Pipeline> {
    let Some(entries) = tree.entries() else {
        problems.push(not_a_map(tree));
        return None;
    };
    top::top_keys(entries, problems);
    let root = top::root(tree.get("root"), folder, problems);
    let mut pipeline = Pipeline {
        name: top::name(tree.get("name"), file, problems),
        seed: top::seed(tree.get("seed"), problems),
        budget: tree.get("budget").and_then(|e| top::budget(Some(e), problems)),
        allow_overlap: top::allow_overlap(tree.get("allow_overlap"), problems),
        root: root.clone().unwrap_or_default(),
        file: file.to_owned(),
        classes: classes(tree.get("classes"), problems),
        stages: Vec::new(),
        site: Site::default(),
    };
    let entries = stage_entries(tree, problems);
    let names = entries.iter().map(|e| e.key.as_str()).collect();
    pipeline.site = site(tree, &Known { kinds, stages: Some(names) }, problems);
    pipeline.stages = stages(entries, root.as_deref(), &pipeline.classes, kinds, problems);
    if problems.is_empty() {
        count_variants(&pipeline, entries, problems);
    }
    if problems.is_empty() {
        ask_kinds(&pipeline, entries, kinds, problems);
    }
    problems.is_empty().then_some(pipeline)
}

fn not_a_map(tree: &Node) -> Problem {
    let help = "a pipeline has at least `stages:`, with one stage below it";
    if tree.is_null() {
        return Problem::whole("the file is empty").help(help);
    }
    Problem::at(tree.place, format!("expected a map with `stages`, found {}", tree.found()))
        .label("not a map")
        .help(help)
}

fn stage_entries<'n>(tree: &'n Node, problems: &mut Vec<Problem>) -> &'n [Entry] {
    let example = "one stage is `ingest:` and, indented below it, `uses: ingest`";
    let problem = match tree.get("stages") {
        None => Problem::whole("the pipeline has no `stages`").help(example),
        Some(entry) => match entry.value.entries() {
            Some(entries) if !entries.is_empty() => return entries,
            _ => {
                let found =
                    if entry.value.entries().is_some() { "an empty map".to_owned() } else { entry.value.found() };
                Problem::at(entry.value.place, format!("stages: expected a map of stages, found {found}"))
                    .label("no stages")
                    .help(example)
            }
        },
    };
    problems.push(problem);
    &[]
}

fn stages(
    entries: &[Entry],
    root: Option<&Path>,
    classes: &ClassTable,
    kinds: &[&'static KindSpec],
    problems: &mut Vec<Problem>,
) -> Vec<Stage> {
    let around = Surroundings { kinds, root, classes };
    let drafts: Vec<_> = entries.iter().map(|entry| draft(entry, &around, problems)).collect();
    let positions = drafts.iter().enumerate().rev().map(|(at, draft)| (draft.name(), at)).collect();
    let mut wiring = Wiring { drafts: &drafts, positions, root, problems, edges: Vec::new() };
    let wires: Vec<_> = (0..drafts.len()).map(|index| (wiring.inputs(index), wiring.needs(index))).collect();
    let edges = wiring.edges;
    cycles(&drafts, &edges, problems);
    drafts
        .into_iter()
        .zip(wires)
        .map(|(draft, (inputs, needs))| Stage {
            name: draft.name().to_owned(),
            uses: draft.kind.map_or("", |k| k.name).to_owned(),
            inputs,
            outputs: draft.outputs,
            needs,
            with: draft.with,
            files: draft.files,
            matrix: draft.matrix,
            bound: draft.bound,
            joins: draft.joins,
            limits: draft.limits,
        })
        .collect()
}
