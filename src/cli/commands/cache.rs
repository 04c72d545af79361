//! `s2pipe cache`: what is there, from what it was made, where it is.

use std::collections::BTreeMap;

use crate::cli::args::CacheDir;
use crate::cli::failure::Failure;
use crate::cli::output::{Align, Table, bytes, print, print_bytes, print_json};
use crate::cli::project::standalone_cache;
use crate::engine::{Ancestor, Entry, Key, MadeFrom, QueryError, Shown};

/// Lists what the readable view holds.
pub(in crate::cli) fn cache_ls(name: Option<&str>, dir: &CacheDir, json: bool) -> Result<(), Failure> {
    let cache = standalone_cache(dir)?;
    let entries: Vec<Entry> =
        cache.entries(None).into_iter().filter(|entry| name.is_none_or(|name| is_called(entry, name))).collect();
    if let (Some(name), []) = (name, entries.as_slice()) {
        return Err(Failure::failed(format!("nothing in {} is called {name:?}", cache.root().display()))
            .help("`s2pipe cache ls` without a name lists everything".to_owned()));
    }
    if json {
        return print_json(&entries);
    }
    let mut table = Table::new([
        ("artefact", Align::Left),
        ("output", Align::Left),
        ("size", Align::Right),
        ("seconds", Align::Right),
        ("made", Align::Left),
        ("digest", Align::Left),
    ]);
    for entry in &entries {
        let digest = entry.content.to_string();
        table.row([
            full_name(entry),
            entry.output.clone(),
            bytes(entry.bytes),
            format!("{:.1}", entry.seconds),
            entry.created.clone(),
            digest.chars().take(SHOWN_DIGITS).collect(),
        ]);
    }
    print(&table.render(""))
}

/// Shows one artefact with its lineage.
pub(in crate::cli) fn cache_show(name: &str, dir: &CacheDir, json: bool) -> Result<(), Failure> {
    let shown = standalone_cache(dir)?.show(name).map_err(not_found)?;
    if json { print_json(&shown) } else { print(&as_text(&shown)) }
}

/// Prints where an artefact is.
pub(in crate::cli) fn cache_path(name: &str, dir: &CacheDir) -> Result<(), Failure> {
    let path = standalone_cache(dir)?.path(name).map_err(not_found)?;
    print(&format!("{}\n", path.display()))
}

/// Prints the bytes of an artefact that is one file.
pub(in crate::cli) fn cache_cat(name: &str, dir: &CacheDir) -> Result<(), Failure> {
    let path = standalone_cache(dir)?.file(name).map_err(not_found)?;
    let file = std::fs::File::open(&path).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
    print_bytes(file)
}

/// Digits of a digest that are shown: enough to name it to `cache show`.
pub(super) const SHOWN_DIGITS: usize = 15;

pub(super) fn not_found(error: QueryError) -> Failure {
    let help = error.help();
    Failure::failed(error).help(help)
}

fn full_name(entry: &Entry) -> String {
    let task = if entry.task.is_empty() { String::new() } else { format!("/{}", entry.task) };
    format!("{}/{}{task}", entry.pipeline, entry.stage)
}

/// `landcover`, `landcover/train`, `train`, `predict/val_scene_0`: whole parts of the full name, from either start.
pub(in crate::cli) fn is_called(entry: &Entry, name: &str) -> bool {
    let starts = |full: &str| full == name || full.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
    let with_output = format!("{}/{}", full_name(entry), entry.output);
    let below = with_output.split_once('/').map_or("", |(_, below)| below);
    starts(&with_output) || starts(below)
}

fn as_text(shown: &Shown) -> String {
    let action = &shown.action;
    let mut facts = Table::new([("", Align::Left), ("", Align::Left)]);
    let mut fact = |name: &str, value: String| facts.row([name.to_owned(), value]);
    let ran_as = &action.ran_as;
    let task = if ran_as.task.is_empty() { String::new() } else { format!("/{}", ran_as.task) };
    fact("made by", format!("{}/{}{task}", ran_as.pipeline, ran_as.stage));
    fact("kind", format!("{}, code version {}", action.record.kind, action.record.version));
    fact("made", format!("{} in {:.1} s, s2pipe {}", action.created, action.seconds, action.s2pipe));
    fact("key", action.key.to_string());
    if let Some(seed) = action.record.seed {
        fact("seed", seed.to_string());
    }
    let mut parameters = BTreeMap::new();
    flatten("", &action.record.params, &mut parameters);
    let mut text = facts.render("");
    if !parameters.is_empty() {
        text += "\nparameters\n";
        let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
        parameters.into_iter().for_each(|(name, value)| table.row([name, value]));
        text += &table.render("  ");
    }
    text += "\noutputs\n";
    let mut table = Table::new([("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    for (output, path) in action.outputs.iter().zip(&shown.stored) {
        table.row([output.name.clone(), bytes(output.bytes), path.display().to_string()]);
    }
    text += &table.render("  ");
    if !action.scores.is_empty() {
        text += "\nscores\n";
        let mut table = Table::new([("", Align::Left), ("", Align::Right)]);
        action.scores.iter().for_each(|(name, value)| table.row([name.clone(), format!("{value:.4}")]));
        text += &table.render("  ");
    }
    text += "\nmade from\n";
    lineage(&shown.made_from, "  ", &mut text);
    text += "\nused by\n";
    if shown.used_by.is_empty() {
        text += "  nothing\n";
    }
    for user in &shown.used_by {
        text += &format!("  {} as {}  {}, {}\n", user.name, user.slots.join(", "), user.created, short(&user.key));
    }
    if let Some(log) = shown.log.as_deref().filter(|log| !log.is_empty()) {
        text += "\nlog\n";
        log.lines().for_each(|line| text += &format!("  {line}\n"));
    }
    text
}

/// The first digits of a key.
fn short(key: &Key) -> String {
    key.to_string().chars().take(SHOWN_DIGITS).collect()
}

/// `{"model":{"width":16}}` -> `model.width 16`.
fn flatten(prefix: &str, value: &serde_json::Value, into: &mut BTreeMap<String, String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, value, into);
            }
        }
        serde_json::Value::Null => {}
        other if !prefix.is_empty() => {
            into.insert(prefix.to_owned(), other.to_string());
        }
        other => {
            into.insert("value".to_owned(), other.to_string());
        }
    }
}

/// One line an input, its own inputs indented below it.
fn lineage(ancestors: &[Ancestor], indent: &str, text: &mut String) {
    for ancestor in ancestors {
        let digest: String = ancestor.content.to_string().chars().take(SHOWN_DIGITS).collect();
        let from = match &ancestor.from {
            Some(MadeFrom::File { path }) => path.display().to_string(),
            Some(MadeFrom::Task { stage, task, output, .. }) => {
                let task = if task.is_empty() { String::new() } else { format!("/{task}") };
                format!("{stage}{task} ({output})")
            }
            None => "unknown".to_owned(),
        };
        *text += &format!("{indent}{}: {from}  {digest}\n", ancestor.slot);
        lineage(&ancestor.inputs, &format!("{indent}  "), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_named_with_dots() {
        let mut all = BTreeMap::new();
        flatten("", &serde_json::json!({"model": {"width": 16, "kind": "unet"}, "clip": null}), &mut all);
        let all: Vec<_> = all.into_iter().collect();
        assert_eq!(all, [("model.kind".into(), "\"unet\"".into()), ("model.width".into(), "16".into())]);
    }
}
