//! One stage by itself: its keys, its kind, its parameters. How stages hang together is checked afterwards.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::raster::ClassTable;
use crate::spec::expect::one_of;
use crate::spec::kind::KindSpec;
use crate::spec::limits::Limits;
use crate::spec::model::{Axis, Bound, FileMatches};
use crate::spec::node::{Entry, Node};
use crate::spec::problem::Problem;
use crate::spec::scalar::{Atom, bool_advice};
use crate::spec::suggest::{did_you_mean, nearest};
use crate::spec::words::{NAME_RULE, STAGE_KEYS, TOP_KEYS, is_name};

use super::limits::limits;
use super::matrix::{Checked, parameters};
use super::outputs::outputs;

/// A stage whose connections are still text.
pub(super) struct Draft<'n> {
    pub(super) entry: &'n Entry,
    /// `None` when `uses` is missing or unknown, which has been noted.
    pub(super) kind: Option<&'static KindSpec>,
    pub(super) outputs: Vec<(String, PathBuf)>,
    pub(super) with: Map<String, Value>,
    pub(super) files: FileMatches,
    pub(super) matrix: Vec<Axis>,
    /// As in [`Stage`](crate::spec::Stage).
    pub(super) bound: Vec<Bound>,
    pub(super) joins: bool,
    pub(super) limits: Limits,
    /// Whether `with` and `outputs` can be relied on.
    pub(super) sound: bool,
}

impl Draft<'_> {
    pub(super) fn name(&self) -> &str {
        &self.entry.key
    }
}

/// What a stage is checked against.
pub(super) struct Surroundings<'a> {
    pub(super) kinds: &'a [&'static KindSpec],
    /// The project root; `None`: unknown, paths are not looked for.
    pub(super) root: Option<&'a Path>,
    pub(super) classes: &'a ClassTable,
}

/// Checks one entry of `stages:`.
pub(super) fn draft<'n>(entry: &'n Entry, around: &Surroundings<'_>, problems: &mut Vec<Problem>) -> Draft<'n> {
    let before = problems.len();
    stage_name(entry, problems);
    let kind = kind(entry, around.kinds, problems);
    let limits = limits(entry, problems);
    let mut draft = Draft {
        entry,
        kind,
        outputs: Vec::new(),
        with: Map::new(),
        files: Vec::new(),
        matrix: Vec::new(),
        bound: Vec::new(),
        joins: false,
        limits,
        sound: false,
    };
    if let Some(kind) = kind {
        stage_keys(entry, kind, problems);
        draft.outputs = outputs(entry, kind, problems);
        draft.joins = joins(entry, kind, problems);
        let Checked { matrix, bound } = parameters(entry, kind, around, problems);
        if let Some(first) = bound.first() {
            (draft.with, draft.files) = (first.with.clone(), first.files.clone());
        }
        draft.bound = if matrix.iter().all(Axis::is_seed) { Vec::new() } else { bound };
        draft.matrix = matrix;
    }
    draft.sound = kind.is_some() && problems.len() == before;
    draft
}

/// The entries of a map below a stage; nothing at all is an empty map.
pub(super) fn map_under<'n>(below: Option<&'n Entry>, stage: &Entry, problems: &mut Vec<Problem>) -> &'n [Entry] {
    let Some(below) = below.filter(|e| !e.value.is_null()) else { return &[] };
    below.value.entries().unwrap_or_else(|| {
        let message = format!("{}.{}: expected a map, found {}", stage.key, below.key, below.value.found());
        let example = match below.key.as_str() {
            "inputs" => "one line an input, such as `tiles: ingest`",
            "outputs" => "one line an output, such as `out: result.tif`",
            "matrix" => "one line a parameter with its values, such as `model.width: [16, 32]`",
            _ => "one line a parameter, such as `epochs: 40`",
        };
        problems.push(Problem::at(below.value.place, message).label("not a map").help(example));
        &[]
    })
}

fn stage_name(entry: &Entry, problems: &mut Vec<Problem>) {
    let name = &entry.key;
    if TOP_KEYS.contains(&name.as_str()) {
        problems.push(
            Problem::at(entry.key_place, format!("a stage cannot be called `{name}`: that is a key of the pipeline"))
                .label("reserved")
                .help(format!("`--set {name}=…` could mean both; choose another name")),
        );
    } else if !is_name(name) {
        problems.push(
            Problem::at(entry.key_place, format!("a stage cannot be called `{name}`: expected {NAME_RULE}"))
                .label("not a stage name")
                .help("the name is part of references and of a folder's name"),
        );
    }
}

fn kind(entry: &Entry, kinds: &[&'static KindSpec], problems: &mut Vec<Problem>) -> Option<&'static KindSpec> {
    let names: Vec<&str> = kinds.iter().map(|k| k.name).collect();
    let name = &entry.key;
    let problem = match (entry.value.entries(), entry.value.get("uses")) {
        (None, _) => {
            let message = format!("stage `{name}`: expected a map with `uses`, found {}", entry.value.found());
            Problem::at(entry.value.place, message)
                .label("not a map")
                .help("the lines of a stage are indented below it")
        }
        (Some(_), None) => Problem::at(entry.key_place, format!("stage `{name}` does not say what it `uses`"))
            .label("has no `uses`")
            .help({
                let kind = nearest(name, names.iter().copied()).or(names.first().copied()).unwrap_or_default();
                format!("for example `uses: {kind}`; the kinds are {}", one_of(names.iter().copied()))
            }),
        (Some(_), Some(uses)) => {
            let text = uses.value.scalar().map_or("", |s| s.text.as_str());
            if let Some(kind) = kinds.iter().find(|k| k.name == text) {
                return Some(kind);
            }
            let message = format!("stage `{name}`: expected a stage kind, found {}", uses.value.found());
            Problem::at(uses.value.place, message).label("unknown kind").maybe_help(did_you_mean(text, &names, "kinds"))
        }
    };
    problems.push(problem);
    None
}

/// `join:`, as the kind has it by default. Kinds with typed inputs work on one variant at a time.
fn joins(stage: &Entry, kind: &KindSpec, problems: &mut Vec<Problem>) -> bool {
    let Some(entry) = stage.value.get("join") else { return kind.joins };
    let (message, help) = match entry.value.scalar().map(|s| s.atom) {
        Some(Atom::Bool(joins)) if joins == kind.joins || kind.free_inputs => return joins,
        Some(Atom::Bool(true)) => (
            format!("{}: `{}` works on one variant at a time and cannot join them", stage.key, kind.name),
            Some("`compare` and `shell` can; remove `join`, and the stage varies with what it reads".to_owned()),
        ),
        Some(Atom::Bool(false)) => (
            format!("{}: `{}` always receives all variants at once", stage.key, kind.name),
            Some("remove `join`".to_owned()),
        ),
        _ => (
            format!("{}.join: expected `true` or `false`, found {}", stage.key, entry.value.found()),
            entry.value.scalar().and_then(bool_advice),
        ),
    };
    problems.push(Problem::at(entry.value.place, message).label("cannot be so").maybe_help(help));
    kind.joins
}

fn stage_keys(entry: &Entry, kind: &KindSpec, problems: &mut Vec<Problem>) {
    for key in entry.value.entries().unwrap_or_default() {
        if STAGE_KEYS.contains(&key.key.as_str()) {
            continue;
        }
        let under = if kind.params.iter().any(|p| p.name == key.key) {
            Some("with")
        } else if kind.inputs.iter().any(|i| i.name == key.key) {
            Some("inputs")
        } else {
            None
        };
        let help = under
            .map(|under| format!("`{}` belongs under `{under}:`", key.key))
            .or_else(|| did_you_mean(&key.key, &STAGE_KEYS, "keys"));
        problems.push(
            Problem::at(key.key_place, format!("`{}` is not a key of a stage", key.key))
                .label("unknown key")
                .maybe_help(help),
        );
    }
}

/// The node at a path below a stage, or the nearest one above it.
pub(super) fn node_at<'n>(stage: &'n Entry, path: &[String]) -> &'n Node {
    let mut node = &stage.value;
    for key in path {
        let next = match &node.kind {
            crate::spec::node::NodeKind::List(items) => key.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => node.get(key).map(|e| &e.value),
        };
        match next {
            Some(next) => node = next,
            None => break,
        }
    }
    node
}
