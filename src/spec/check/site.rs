//! `executor:`, `slurm:` and `remote:`, of a pipeline or of a personal file.

use crate::spec::expect::one_of;
use crate::spec::kind::KindSpec;
use crate::spec::node::{Entry, Node};
use crate::spec::problem::Problem;
use crate::spec::scalar::Atom;
use crate::spec::site::{ExecutorName, Site};
use crate::spec::suggest::did_you_mean;

use super::remote::remote;
use super::slurm::slurm;

/// What settings by kind and by stage may be for.
pub(in crate::spec) struct Known<'a> {
    /// The stage kinds.
    pub(in crate::spec) kinds: &'a [&'static KindSpec],
    /// The stages of the pipeline; `None` in a personal file, which knows no pipeline.
    pub(in crate::spec) stages: Option<Vec<&'a str>>,
}

/// Reads the three keys. Other keys are not looked at.
pub(in crate::spec) fn site(tree: &Node, known: &Known<'_>, problems: &mut Vec<Problem>) -> Site {
    let given = |key: &str| tree.get(key).map(|e| &e.value);
    Site {
        executor: given("executor").and_then(|node| executor(node, problems)),
        slurm: given("slurm").map(|node| slurm(node, known, problems)).unwrap_or_default(),
        remote: given("remote").map(|node| remote(node, problems)).unwrap_or_default(),
    }
}

fn executor(node: &Node, problems: &mut Vec<Problem>) -> Option<ExecutorName> {
    choice(node, "executor", &ExecutorName::ALL.map(|e| (e.word(), e)), "executors", problems)
}

/// One of some words; `noun` is what they are, for the help.
pub(super) fn choice<T: Copy>(
    node: &Node,
    path: &str,
    words: &[(&str, T)],
    noun: &str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    if let Some((_, value)) = words.iter().find(|(word, _)| node.text() == Some(*word)) {
        return Some(*value);
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let written = node.scalar().map_or("", |s| s.text.as_str());
    let message = format!("{path}: expected {}, found {}", one_of(names.iter().copied()), node.found());
    problems.push(
        Problem::at(node.place, message).label("not one of these").maybe_help(did_you_mean(written, &names, noun)),
    );
    None
}

/// The entries of a map, which may be empty; `path` begins the message, `example` is its help.
pub(super) fn entries<'n>(node: &'n Node, path: &str, example: &str, problems: &mut Vec<Problem>) -> &'n [Entry] {
    if node.is_null() {
        return &[];
    }
    node.entries().unwrap_or_else(|| {
        problems.push(
            Problem::at(node.place, format!("{path}: expected a map, found {}", node.found()))
                .label("not a map")
                .help(format!("for example `{example}`")),
        );
        &[]
    })
}

/// A text of one line that is not empty; `path` begins the message.
pub(super) fn line<'n>(node: &'n Node, path: &str, example: &str, problems: &mut Vec<Problem>) -> Option<&'n str> {
    let text = text(node, path, example, problems)?;
    if text.chars().any(char::is_control) {
        problems.push(
            Problem::at(node.place, format!("{path}: expected one line of text, found {}", node.found()))
                .label("has line breaks or control characters"),
        );
        return None;
    }
    Some(text)
}

/// A text that is not empty; `path` begins the message.
pub(super) fn text<'n>(node: &'n Node, path: &str, example: &str, problems: &mut Vec<Problem>) -> Option<&'n str> {
    let text = node.text().filter(|text| !text.trim().is_empty());
    if text.is_none() {
        let other = node.scalar().filter(|s| !matches!(s.atom, Atom::Null | Atom::Text));
        let help = other.map_or_else(
            || format!("for example `{example}`"),
            |scalar| format!("quotes make it text: \"{}\"", scalar.text),
        );
        problems.push(
            Problem::at(node.place, format!("{path}: expected a text, found {}", node.found()))
                .label("not a text")
                .help(help),
        );
    }
    text
}
