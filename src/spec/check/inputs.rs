//! `inputs:` and `needs:`: what each text refers to, and whether it fits the port.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::spec::kind::{Artefact, InputSpec, KindSpec, OutputSpec};
use crate::spec::model::{Input, Source};
use crate::spec::node::{Entry, Node, NodeKind};
use crate::spec::problem::Problem;
use crate::spec::suggest::{did_you_mean, nearest};
use crate::spec::words::{TAKEN_VARIABLES, is_variable};

use super::files;
use super::graph::Edge;
use super::stage::{Draft, map_under};

/// Resolves the connections of all stages.
pub(super) struct Wiring<'a, 'n> {
    pub(super) drafts: &'a [Draft<'n>],
    /// Where each name stands in `drafts`, the first where it stands twice.
    pub(super) positions: HashMap<&'a str, usize>,
    /// The project root; `None`: unknown, paths are not looked for.
    pub(super) root: Option<&'a Path>,
    pub(super) problems: &'a mut Vec<Problem>,
    /// What the stages refer to, for the search for cycles.
    pub(super) edges: Vec<Edge>,
}

/// An output that a reference can mean.
struct Candidate<'a> {
    name: &'a str,
    artefact: Artefact,
    /// The parameter that must be given for it to be there, when it is not.
    lacks: Option<&'static str>,
}

impl Wiring<'_, '_> {
    /// The inputs of a stage: in the order of the kind's ports; free ones by name.
    pub(super) fn inputs(&mut self, consumer: usize) -> Vec<Input> {
        let draft = &self.drafts[consumer];
        let Some(kind) = draft.kind else { return Vec::new() };
        let below = draft.entry.value.get("inputs");
        let entries = map_under(below, draft.entry, self.problems);
        let mut inputs = Vec::new();
        for entry in entries {
            let port = kind.inputs.iter().find(|p| p.name == entry.key);
            match port {
                None if kind.free_inputs => self.check_variable(draft, entry),
                None => {
                    let names: Vec<&str> = kind.inputs.iter().map(|p| p.name).collect();
                    let none = format!("`{}` takes no inputs", kind.name);
                    let message = format!("{}: `{}` has no input `{}`", draft.name(), kind.name, entry.key);
                    self.problems.push(
                        Problem::at(entry.key_place, message)
                            .label("unknown input")
                            .help(did_you_mean(&entry.key, &names, "inputs").unwrap_or(none)),
                    );
                    continue;
                }
                Some(_) => {}
            }
            let sources = self.sources(consumer, entry, port);
            inputs.push(Input { port: entry.key.clone(), sources });
        }
        for port in kind.inputs.iter().filter(|p| p.required && !entries.iter().any(|e| e.key == p.name)) {
            // What is only misspelt, or not a map, has been noted already.
            let stage_keys = draft.entry.value.entries().unwrap_or_default();
            let misspelt = entries.iter().any(|e| nearest(&e.key, [port.name]).is_some() && !is_port(kind, &e.key))
                || (below.is_none() && stage_keys.iter().any(|e| nearest(&e.key, ["inputs"]).is_some()))
                || below.is_some_and(|e| !e.value.is_null() && e.value.entries().is_none());
            if misspelt {
                continue;
            }
            let place = below.unwrap_or(draft.entry).key_place;
            let what = accepted(port);
            self.problems.push(
                Problem::at(place, format!("{}: the input `{}` is missing: expected {what}", draft.name(), port.name))
                    .label(format!("has no `{}`", port.name))
                    .help(format!("`{}`: {}", port.name, port.doc)),
            );
        }
        let place_of = |input: &Input| kind.inputs.iter().position(|p| p.name == input.port);
        inputs.sort_by(|a, b| place_of(a).cmp(&place_of(b)).then_with(|| a.port.cmp(&b.port)));
        inputs
    }

    fn check_variable(&mut self, draft: &Draft<'_>, entry: &Entry) {
        let why = if !is_variable(&entry.key) {
            "expected letters, digits and `_`, not beginning with a digit"
        } else if TAKEN_VARIABLES.contains(&entry.key.as_str()) {
            "the command itself needs that variable"
        } else {
            return;
        };
        self.problems.push(
            Problem::at(
                entry.key_place,
                format!("{}: the input `{}` cannot become an environment variable: {why}", draft.name(), entry.key),
            )
            .label("not a variable name")
            .help("each input of a command is an environment variable that holds its path"),
        );
    }

    fn sources(&mut self, consumer: usize, entry: &Entry, port: Option<&InputSpec>) -> Vec<Source> {
        let nodes = match &entry.value.kind {
            NodeKind::List(nodes) if !nodes.is_empty() => nodes.as_slice(),
            NodeKind::Scalar(_) if !entry.value.is_null() => std::slice::from_ref(&entry.value),
            _ => {
                let what = port.map_or_else(|| "a stage or a path".to_owned(), accepted);
                let message = format!(
                    "{}.inputs.{}: expected {what}, found {}",
                    self.drafts[consumer].name(),
                    entry.key,
                    if matches!(entry.value.kind, NodeKind::List(_)) {
                        "an empty list".to_owned()
                    } else {
                        entry.value.found()
                    },
                );
                self.problems.push(Problem::at(entry.value.place, message).label("no source"));
                return Vec::new();
            }
        };
        let mut sources: Vec<Source> = Vec::new();
        for node in nodes {
            let Some(source) = self.source(consumer, entry, node, port) else { continue };
            if sources.contains(&source) {
                let message =
                    format!("{}.inputs.{}: the same source is given twice", self.drafts[consumer].name(), entry.key);
                self.problems.push(Problem::at(node.place, message).label("again here"));
            } else {
                sources.push(source);
            }
        }
        sources
    }

    fn source(&mut self, consumer: usize, entry: &Entry, node: &Node, port: Option<&InputSpec>) -> Option<Source> {
        let label = format!("{}.inputs.{}", self.drafts[consumer].name(), entry.key);
        let Some(text) = node.scalar().map(|s| s.text.as_str()).filter(|text| !text.is_empty()) else {
            let message = format!("{label}: expected a stage or a path, found {}", node.found());
            self.problems.push(Problem::at(node.place, message).label("not a source"));
            return None;
        };
        if files::looks_like_path(text) {
            return self.files(&label, node, text, port);
        }
        let is_file = self.root.is_some_and(|root| root.join(text).is_file());
        let (stage, output) = text.split_once('.').map_or((text, None), |(stage, output)| (stage, Some(output)));
        match self.positions.get(stage).copied() {
            Some(producer) if is_file => {
                let message = format!("{label}: `{text}` is a file and `{stage}` is a stage");
                let outputs = candidates(&self.drafts[producer]);
                let meant =
                    outputs.first().map_or(stage.to_owned(), |o| format!("{stage}.{}", output.unwrap_or(o.name)));
                let stage_way = if meant == text { String::new() } else { format!(", `{meant}` for the stage") };
                self.problems.push(
                    Problem::at(node.place, message)
                        .label("could be both")
                        .help(format!("write `./{text}` for the file{stage_way}")),
                );
                None
            }
            Some(producer) => {
                self.edges.push(Edge { from: producer, to: consumer, place: node.place });
                self.output(&label, node, producer, output, port)
            }
            None if is_file => self.files(&label, node, text, port),
            None => {
                let stages: Vec<&str> = self.drafts.iter().map(Draft::name).collect();
                let message = format!("{label}: `{text}` is neither a stage nor a file");
                self.problems.push(
                    Problem::at(node.place, message)
                        .label("not known")
                        .maybe_help(did_you_mean(stage, &stages, "stages")),
                );
                None
            }
        }
    }

    fn files(&mut self, label: &str, node: &Node, pattern: &str, port: Option<&InputSpec>) -> Option<Source> {
        if let Some(port) = port.filter(|p| !p.accepts_files) {
            let stages = self.producers_for(port);
            let message = format!("{label}: expected {}, found the path `{pattern}`", accepted(port));
            self.problems.push(
                Problem::at(node.place, message).label("paths cannot stand here").maybe_help(
                    (!stages.is_empty())
                        .then(|| format!("stages that make {}: {}", words(port.accepts), stages.join(", "))),
                ),
            );
            return None;
        }
        let Some(root) = self.root else {
            return Some(Source::Files { pattern: pattern.to_owned(), files: Vec::new() });
        };
        match files::find(root, pattern) {
            Ok(files) => Some(Source::Files { pattern: pattern.to_owned(), files }),
            Err(miss) => {
                let message = format!("{label}: {}", miss.message);
                self.problems.push(Problem::at(node.place, message).label("no such file").maybe_help(miss.help));
                None
            }
        }
    }

    fn output(
        &mut self,
        label: &str,
        node: &Node,
        producer: usize,
        output: Option<&str>,
        port: Option<&InputSpec>,
    ) -> Option<Source> {
        let draft = &self.drafts[producer];
        draft.kind?;
        let all = candidates(draft);
        let chosen = match output {
            Some(name) => named(&all, name, draft),
            None => unnamed(&all, port, draft),
        };
        let problem = match chosen {
            Ok(found) => match found.lacks.filter(|_| draft.sound) {
                Some(param) => missing_output(found.name, param, draft),
                None if port.is_none_or(|port| fits(port, found.artefact)) => {
                    return Some(Source::Output { stage: draft.name().to_owned(), output: found.name.to_owned() });
                }
                None => {
                    let port = port?;
                    let makers = self.producers_for(port);
                    let message = format!(
                        "expected {}, but `{}.{}` gives {}",
                        accepted(port),
                        draft.name(),
                        found.name,
                        found.artefact
                    );
                    (
                        message,
                        (!makers.is_empty())
                            .then(|| format!("stages that make {}: {}", words(port.accepts), makers.join(", "))),
                    )
                }
            },
            // Broken outputs have been noted where they are declared.
            Err(_) if !draft.sound && draft.kind.is_some_and(|k| k.free_outputs) => return None,
            Err(problem) => problem,
        };
        let (message, help) = problem;
        self.problems
            .push(Problem::at(node.place, format!("{label}: {message}")).label("does not fit").maybe_help(help));
        None
    }

    /// References to outputs in this pipeline that a port would take.
    fn producers_for(&self, port: &InputSpec) -> Vec<String> {
        self.drafts
            .iter()
            .flat_map(|draft| {
                let fitting = candidates(draft).into_iter().filter(|c| c.lacks.is_none() && fits(port, c.artefact));
                fitting.map(|c| format!("`{}.{}`", draft.name(), c.name)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// `needs:` of a stage: names of stages, each once.
    pub(super) fn needs(&mut self, consumer: usize) -> Vec<String> {
        let draft = &self.drafts[consumer];
        let Some(entry) = draft.entry.value.get("needs").filter(|e| !e.value.is_null()) else { return Vec::new() };
        let nodes = match &entry.value.kind {
            NodeKind::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(&entry.value),
        };
        let mut needs = Vec::new();
        for node in nodes {
            let text = node.scalar().map_or("", |s| s.text.as_str());
            match self.positions.get(text).copied() {
                Some(producer) => {
                    self.edges.push(Edge { from: producer, to: consumer, place: node.place });
                    if !needs.iter().any(|n| n == text) {
                        needs.push(text.to_owned());
                    }
                }
                None => {
                    let stages: Vec<&str> = self.drafts.iter().map(Draft::name).collect();
                    let whole = text.split('.').next().filter(|stage| *stage != text && stages.contains(stage));
                    let help = whole.map(|stage| format!("`needs` takes whole stages: write `{stage}`"));
                    self.problems.push(
                        Problem::at(
                            node.place,
                            format!("{}.needs: expected a stage, found {}", draft.name(), node.found()),
                        )
                        .label("not a stage")
                        .maybe_help(help.or_else(|| did_you_mean(text, &stages, "stages"))),
                    );
                }
            }
        }
        needs
    }
}

type Trouble = (String, Option<String>);

fn named<'a>(all: &'a [Candidate<'a>], name: &str, draft: &Draft<'_>) -> Result<&'a Candidate<'a>, Trouble> {
    all.iter().find(|c| c.name == name).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|c| c.name).collect();
        let none = format!("`{}` declares no outputs", draft.name());
        let help = did_you_mean(name, &names, &format!("outputs of `{}`", draft.name())).unwrap_or(none);
        (format!("the stage `{}` has no output `{name}`", draft.name()), Some(help))
    })
}

/// What a bare stage name means: its first output that is there, unless the port takes only another one.
fn unnamed<'a>(
    all: &'a [Candidate<'a>],
    port: Option<&InputSpec>,
    draft: &Draft<'_>,
) -> Result<&'a Candidate<'a>, Trouble> {
    let there: Vec<&Candidate<'_>> = all.iter().filter(|c| c.lacks.is_none()).collect();
    let pool = if there.is_empty() { all.iter().collect() } else { there };
    let Some(first) = pool.first().copied() else {
        return Err((format!("the stage `{}` has no outputs", draft.name()), None));
    };
    let Some(port) = port.filter(|port| !fits(port, first.artefact)) else { return Ok(first) };
    let fitting: Vec<&Candidate<'_>> = pool.iter().copied().filter(|c| fits(port, c.artefact)).collect();
    match fitting.as_slice() {
        [only] => Ok(only),
        [] => Ok(all.iter().find(|c| fits(port, c.artefact)).unwrap_or(first)),
        several => {
            let names: Vec<String> = several.iter().map(|c| format!("`{}.{}`", draft.name(), c.name)).collect();
            Err((
                format!("`{}` has several outputs that fit", draft.name()),
                Some(format!("write which one: {}", names.join(" or "))),
            ))
        }
    }
}

fn missing_output(output: &str, param: &str, draft: &Draft<'_>) -> Trouble {
    (
        format!(
            "`{}.{output}` is not made, because `{}` is not given its parameter `{param}`",
            draft.name(),
            draft.name()
        ),
        Some(format!("give `{}.with.{param}`", draft.name())),
    )
}

/// All outputs that a stage can have.
fn candidates<'a>(draft: &'a Draft<'_>) -> Vec<Candidate<'a>> {
    let Some(kind) = draft.kind else { return Vec::new() };
    if kind.free_outputs {
        let declared = draft.outputs.iter();
        return declared.map(|(name, _)| Candidate { name, artefact: Artefact::Any, lacks: None }).collect();
    }
    kind.outputs
        .iter()
        .map(|o| Candidate { name: o.name, artefact: o.artefact, lacks: o.when.filter(|_| !is_made(o, draft)) })
        .collect()
}

/// Whether every variant of the stage makes the output.
fn is_made(output: &OutputSpec, draft: &Draft<'_>) -> bool {
    let given = |with: &Map<String, Value>, param| with.get(param).is_some_and(|value| *value != Value::Bool(false));
    output.when.is_none_or(|param| given(&draft.with, param) && draft.bound.iter().all(|b| given(&b.with, param)))
}

fn is_port(kind: &KindSpec, name: &str) -> bool {
    kind.inputs.iter().any(|p| p.name == name)
}

/// Whether a port takes an artefact. What a command leaves is a file like any other: it fits where files do.
fn fits(port: &InputSpec, artefact: Artefact) -> bool {
    port.accepts.contains(&artefact)
        || port.accepts.contains(&Artefact::Any)
        || (artefact == Artefact::Any && port.accepts_files)
}

/// "tiles from a stage, or a path": to follow "expected".
fn accepted(port: &InputSpec) -> String {
    match (port.accepts.is_empty(), port.accepts_files) {
        (false, true) => format!("{} from a stage, or a path", words(port.accepts)),
        (false, false) => format!("{} from a stage", words(port.accepts)),
        (true, _) => "a path".to_owned(),
    }
}

fn words(artefacts: &[Artefact]) -> String {
    artefacts.iter().map(|a| a.word()).collect::<Vec<_>>().join(" or ")
}
