//! The keys of a pipeline: `name`, `seed`, `budget`, `allow_overlap`, `root`.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::spec::duration::parse_seconds;
use crate::spec::node::{Entry, Node};
use crate::spec::problem::Problem;
use crate::spec::scalar::{Atom, int_advice};
use crate::spec::suggest::did_you_mean;
use crate::spec::words::{MAX_NAME, TOP_KEYS, is_pipeline_name};

/// Notes the keys that a map must not have. `owner` follows "of": "of a class".
pub(in crate::spec) fn unknown_keys(entries: &[Entry], known: &[&str], owner: &str, problems: &mut Vec<Problem>) {
    for entry in entries.iter().filter(|e| !known.contains(&e.key.as_str())) {
        problems.push(
            Problem::at(entry.key_place, format!("`{}` is not a key of {owner}", entry.key))
                .label("unknown key")
                .maybe_help(did_you_mean(&entry.key, known, "keys")),
        );
    }
}

/// Notes unknown keys of the pipeline; a stage that stands at the margin is told where it belongs.
pub(super) fn top_keys(entries: &[Entry], problems: &mut Vec<Problem>) {
    for entry in entries {
        if entry.value.get("uses").is_some() && !TOP_KEYS.contains(&entry.key.as_str()) {
            problems.push(
                Problem::at(entry.key_place, format!("`{}` is not a key of a pipeline", entry.key))
                    .label("looks like a stage")
                    .help("stages stand under `stages:`, indented"),
            );
        } else {
            unknown_keys(std::slice::from_ref(entry), &TOP_KEYS, "a pipeline", problems);
        }
    }
}

/// `name:`, else the file's stem.
pub(super) fn name(entry: Option<&Entry>, file: &Path, problems: &mut Vec<Problem>) -> String {
    let rule =
        format!("expected letters, digits, `.`, `_` or `-`, beginning with a letter or digit, at most {MAX_NAME}");
    let Some(entry) = entry else {
        let stem = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        if !is_pipeline_name(&stem) {
            problems.push(
                Problem::whole(format!(
                    "the pipeline has no `name`, and its file's name `{stem}` cannot serve: {rule}"
                ))
                .help("add a line such as `name: landcover`; it names the folder of the results"),
            );
        }
        return stem;
    };
    match text(entry, problems) {
        Some(name) if is_pipeline_name(name) => return name.to_owned(),
        Some(name) => problems.push(
            Problem::at(entry.value.place, format!("`{name}` cannot be the name of a pipeline: {rule}"))
                .label("names a folder"),
        ),
        None => {}
    }
    String::new()
}

/// `seed:`, 0 by default.
pub(super) fn seed(entry: Option<&Entry>, problems: &mut Vec<Problem>) -> u64 {
    let Some(entry) = entry else { return 0 };
    let scalar = entry.value.scalar();
    let seed = scalar.and_then(|s| if let Atom::Int(i) = s.atom { u64::try_from(i).ok() } else { None });
    seed.unwrap_or_else(|| {
        problems.push(
            Problem::at(
                entry.value.place,
                format!("seed: expected a whole number from 0 to 2^64 - 1, found {}", entry.value.found()),
            )
            .label("not a seed")
            .maybe_help(scalar.and_then(int_advice)),
        );
        0
    })
}

/// `budget:`.
pub(super) fn budget(entry: Option<&Entry>, problems: &mut Vec<Problem>) -> Option<Duration> {
    let entry = entry?;
    let seconds = duration(&entry.value, "budget", problems)?;
    if seconds == 0 {
        problems.push(
            Problem::at(entry.value.place, "budget: expected more than no time at all")
                .help("remove `budget` for a run without limit"),
        );
    }
    Some(Duration::from_secs(seconds))
}

/// `allow_overlap:`, `false` by default.
pub(super) fn allow_overlap(entry: Option<&Entry>, problems: &mut Vec<Problem>) -> bool {
    let Some(entry) = entry else { return false };
    match entry.value.scalar().map(|s| &s.atom) {
        Some(Atom::Bool(allowed)) => *allowed,
        _ => {
            problems.push(
                Problem::at(
                    entry.value.place,
                    format!("allow_overlap: expected `true` or `false`, found {}", entry.value.found()),
                )
                .label("not a truth value"),
            );
            false
        }
    }
}

/// A duration in seconds; `path` begins the message.
pub(super) fn duration(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<u64> {
    let help = match node.scalar().filter(|s| s.atom != Atom::Null) {
        Some(scalar) => match parse_seconds(&scalar.text) {
            Ok(seconds) => return Some(seconds),
            Err(help) => help,
        },
        None => "for example `4h`".to_owned(),
    };
    problems.push(
        Problem::at(
            node.place,
            format!("{path}: expected a duration such as `90s` or `1h30m`, found {}", node.found()),
        )
        .label("not a duration")
        .help(help),
    );
    None
}

/// The project root: `root:` relative to the file's folder, else the parent of `pipelines/`, else the file's folder.
/// `None` when there is no such folder, which has been noted.
pub(super) fn root(entry: Option<&Entry>, folder: &Path, problems: &mut Vec<Problem>) -> Option<PathBuf> {
    let Some(entry) = entry else {
        let inside = folder.file_name().is_some_and(|name| name == "pipelines");
        return Some(folder.parent().filter(|_| inside).unwrap_or(folder).to_owned());
    };
    let root = folder.join(text(entry, problems)?);
    if root.is_dir() {
        return Some(std::fs::canonicalize(&root).unwrap_or(root));
    }
    problems.push(
        Problem::at(entry.value.place, format!("root: there is no folder {}", lexically_clean(&root).display()))
            .label("not a folder")
            .help("`root` is relative to the folder of the pipeline file"),
    );
    None
}

/// The path without `.` and `..`, for showing.
fn lexically_clean(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut clean, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(clean.pop()),
            part => clean.push(part),
        }
        clean
    })
}

/// The text of an entry that must have one.
pub(super) fn text<'n>(entry: &'n Entry, problems: &mut Vec<Problem>) -> Option<&'n str> {
    let text = entry.value.text().filter(|text| !text.is_empty());
    if text.is_none() {
        let scalar = entry.value.scalar().filter(|s| s.atom != Atom::Null && !s.text.is_empty());
        problems.push(
            Problem::at(entry.value.place, format!("{}: expected a text, found {}", entry.key, entry.value.found()))
                .label("not a text")
                .maybe_help(scalar.map(|s| format!("quotes make it text: \"{}\"", s.text))),
        );
    }
    text
}
