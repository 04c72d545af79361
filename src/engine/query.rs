//! Questions about the cache: what is there, from what it was made, where it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::action::{Action, MadeFrom, StoredOutput};
use super::cache::Cache;
use super::digest::{ContentId, Key};
use super::error::{CacheError, QueryError};
use super::graph::{folder, label};
use super::selection::nearest;

/// A prefix of a key or digest must have this many digits: shorter ones could be a name.
const SHORTEST_PREFIX: usize = 6;
/// How many names an ambiguous one is answered with.
const MOST_CANDIDATES: usize = 20;

/// One output in the readable view.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Entry {
    /// Pipeline name.
    pub pipeline: String,
    /// Stage name.
    pub stage: String,
    /// The variant that the task belongs to; empty where the stage has none.
    pub variant: String,
    /// Task name, the variant before it; empty for the only task of a stage.
    pub task: String,
    /// Output name.
    pub output: String,
    /// Its place in the readable view, absolute.
    pub path: PathBuf,
    /// What it holds.
    pub content: ContentId,
    /// Bytes of all its files.
    pub bytes: u64,
    /// When it was made, UTC, RFC 3339.
    pub created: String,
    /// Seconds that making it took (all outputs of the task together).
    pub seconds: f64,
    /// Key of the task that made it.
    pub key: Key,
}

/// Everything about one task's result.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Shown {
    /// What is kept about it: record, outputs, times.
    pub action: Action,
    /// Where its outputs are in the store, in the order of `action.outputs`.
    pub stored: Vec<PathBuf>,
    /// Each input with what it holds and what made it, in the order of the record.
    pub made_from: Vec<Ancestor>,
    /// Results that were made from one of its outputs, by name and time.
    pub used_by: Vec<User>,
    /// The task's log.
    pub log: Option<String>,
}

/// A result that was made from another one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct User {
    /// `pipeline/stage/task` that ran.
    pub name: String,
    /// When, UTC, RFC 3339.
    pub created: String,
    /// Its key.
    pub key: Key,
    /// The slots on which it read the result.
    pub slots: Vec<String>,
}

/// One input of a result.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Ancestor {
    /// Slot name.
    pub slot: String,
    /// What it holds.
    pub content: ContentId,
    /// What made it, where that is known.
    pub from: Option<MadeFrom>,
    /// That task's own inputs; empty for source files and where the record is gone. A task that was listed before in
    /// the same lineage is not listed again.
    pub inputs: Vec<Ancestor>,
}

impl Cache {
    /// What the readable view holds, of one pipeline or of all; ordered by pipeline, stage, task, output.
    pub fn entries(&self, pipeline: Option<&str>) -> Vec<Entry> {
        let names = pipeline.map_or_else(|| self.pipelines(), |name| vec![name.to_owned()]);
        let mut entries = Vec::new();
        for pipeline in names {
            for (stage, tasks) in self.newest(&pipeline).stages {
                for (task, made) in tasks {
                    for StoredOutput { name, path, content, bytes } in made.outputs {
                        entries.push(Entry {
                            path: self.view_dir(&pipeline).join(folder(&stage, &made.variant)).join(path),
                            pipeline: pipeline.clone(),
                            stage: stage.clone(),
                            variant: made.variant.clone(),
                            task: task.clone(),
                            output: name,
                            content,
                            bytes,
                            created: made.created.clone(),
                            seconds: made.seconds,
                            key: made.key,
                        });
                    }
                }
            }
        }
        entries
    }

    /// Everything about the result with this name: `landcover/train/model`, `train`, `predict/val_scene_0.tif`, a path
    /// in the readable view, or a key or digest of which six digits or more are given.
    ///
    /// # Errors
    /// [`QueryError`] when nothing has the name, or several tasks have it.
    pub fn show(&self, name: &str) -> Result<Shown, QueryError> {
        let key = self.key_of(name)?;
        let Some(action) = self.action(key)? else { return Err(self.not_found(name)) };
        let log = action.log.and_then(|digest| fs::read(self.file_path(digest)).ok());
        let mut known = BTreeSet::new();
        Ok(Shown {
            stored: action.outputs.iter().map(|o| self.content_path(o.content)).collect(),
            made_from: self.ancestors(&action, &mut known)?,
            used_by: self.users(&action)?,
            log: log.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            action,
        })
    }

    /// The stored file with this name: an artefact that is one file, or a path in the readable view.
    ///
    /// # Errors
    /// [`QueryError`] when nothing has the name, several things have it, it is a directory, or its bytes are gone.
    pub fn file(&self, name: &str) -> Result<PathBuf, QueryError> {
        let path = match self.path(name) {
            Ok(path) => path,
            // `train/model/model.json`: a file within an artefact.
            Err(QueryError::NotFound { .. }) => self.file_within(name)?,
            Err(other) => return Err(other),
        };
        match fs::metadata(&path) {
            Ok(meta) if meta.is_file() => Ok(path),
            Ok(_) => {
                let mut files: Vec<String> = fs::read_dir(&path)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|e| format!("{}/{}", name.trim_end_matches('/'), e.file_name().to_string_lossy()))
                    .collect();
                files.sort();
                files.truncate(MOST_CANDIDATES);
                Err(QueryError::IsFolder { name: name.to_owned(), files })
            }
            Err(_) => Err(QueryError::Gone { name: name.to_owned() }),
        }
    }

    fn file_within(&self, name: &str) -> Result<PathBuf, QueryError> {
        for (at, _) in name.rmatch_indices('/') {
            if let Ok(folder) = self.path(&name[..at]) {
                let path = folder.join(&name[at + 1..]);
                if path.exists() {
                    return Ok(path);
                }
            }
        }
        Err(self.not_found(name))
    }

    /// Results that were made from an output of this one.
    fn users(&self, of: &Action) -> Result<Vec<User>, CacheError> {
        let mut users = Vec::new();
        for key in self.keys() {
            let Some(action) = self.action(key)? else { continue };
            let reads =
                |slot: &str| matches!(action.made_from.get(slot), Some(MadeFrom::Task { key, .. }) if *key == of.key);
            let same = |content: ContentId| of.outputs.iter().any(|o| o.content == content);
            let inputs = action.record.inputs.iter().filter(|i| reads(&i.slot) && same(i.content));
            let slots: Vec<String> = inputs.map(|i| i.slot.clone()).collect();
            if !slots.is_empty() {
                let name = format!("{}/{}", action.ran_as.pipeline, label(&action.ran_as.stage, &action.ran_as.task));
                users.push(User { name, created: action.created, key, slots });
            }
        }
        users.sort();
        users.dedup();
        Ok(users)
    }

    /// The key of the only result with this name.
    pub(super) fn key_of(&self, name: &str) -> Result<Key, QueryError> {
        match self.find(name)?.as_slice() {
            [] => self.find_key(name),
            [first, rest @ ..] if rest.iter().all(|e| e.key == first.key) => Ok(first.key),
            several => {
                // `evaluate` is the task that sums up, not those of its scenes.
                let mut own: Vec<Key> = several.iter().filter(|e| e.task.is_empty()).map(|e| e.key).collect();
                own.dedup();
                match own.as_slice() {
                    [key] => Ok(*key),
                    _ => Err(ambiguous(name, several.iter().map(full_name))),
                }
            }
        }
    }

    /// Where the output, or the folder of the stage or of one of its variants, with this name is in the readable view.
    ///
    /// # Errors
    /// [`QueryError`] when nothing has the name, or several outputs have it.
    pub fn path(&self, name: &str) -> Result<PathBuf, QueryError> {
        let found = self.find(name)?;
        match found.as_slice() {
            [] => Err(self.not_found(name)),
            [one] => Ok(one.path.clone()),
            [first, rest @ ..] => {
                let view = self.view_dir(&first.pipeline);
                for variant in ["", &first.variant] {
                    let whole = folder(&first.stage, variant);
                    let path = view.join(&whole);
                    if Path::new(name).ends_with(&whole) && rest.iter().all(|e| e.path.starts_with(&path)) {
                        return Ok(path);
                    }
                }
                Err(ambiguous(name, found.iter().map(full_name)))
            }
        }
    }

    /// The entries with a name; the most specific way to read it wins.
    fn find(&self, name: &str) -> Result<Vec<Entry>, QueryError> {
        let entries = self.entries(None);
        if let Some(path) = self.view_path(name) {
            return Ok(entries.into_iter().filter(|e| path == e.path || path.starts_with(&e.path)).collect());
        }
        let name = name.trim_end_matches('/');
        let readings: [fn(&Entry, &str) -> bool; 5] = [
            |e, name| name == full_name(e) || name == view_name(e),
            |e, name| {
                let (full, view) = (full_name(e), view_name(e));
                let tail = |whole: &str| whole.split_once('/').is_some_and(|(_, tail)| tail == name);
                tail(&full) || tail(&view) || name == format!("{}/{}", e.stage, e.output)
            },
            |e, name| {
                name == e.stage || name == format!("{}/{}", e.pipeline, e.stage) || name == label(&e.stage, &e.task)
            },
            |e, name| {
                let variant = label(&e.stage, &e.variant);
                name == variant || name == format!("{}/{variant}", e.pipeline)
            },
            |e, name| e.path.ends_with(name),
        ];
        for reads in readings {
            let found: Vec<Entry> = entries.iter().filter(|e| reads(e, name)).cloned().collect();
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// The name as a path into the readable view, if it is one.
    fn view_path(&self, name: &str) -> Option<PathBuf> {
        let path = std::path::absolute(Path::new(name)).ok()?;
        (path.starts_with(self.root()) && path.symlink_metadata().is_ok()).then_some(path)
    }

    /// The only key that begins so, or that has an output whose digest does.
    fn find_key(&self, name: &str) -> Result<Key, QueryError> {
        let prefix = name.strip_prefix("file:").or_else(|| name.strip_prefix("tree:")).unwrap_or(name);
        let is_hex = prefix.len() >= SHORTEST_PREFIX && prefix.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_hex {
            return Err(self.not_found(name));
        }
        let keys = self.keys();
        let mut found: Vec<Key> = keys.iter().filter(|k| k.0.hex().starts_with(prefix)).copied().collect();
        if found.is_empty() {
            let holds = |key: &Key| -> Result<bool, CacheError> {
                let action = self.action(*key)?;
                let outputs = action.into_iter().flat_map(|a| a.outputs);
                Ok(outputs.into_iter().any(|o| o.content.digest().hex().starts_with(prefix)))
            };
            for key in keys {
                if holds(&key)? {
                    found.push(key);
                }
            }
        }
        found.sort();
        found.dedup();
        match found.as_slice() {
            [] => Err(self.not_found(name)),
            [key] => Ok(*key),
            several => Err(ambiguous(name, several.iter().map(ToString::to_string))),
        }
    }

    /// The inputs of a result, back to the source files.
    fn ancestors(&self, action: &Action, known: &mut BTreeSet<Key>) -> Result<Vec<Ancestor>, CacheError> {
        let mut inputs = Vec::new();
        for input in &action.record.inputs {
            let from = action.made_from.get(&input.slot).cloned();
            let maker = match &from {
                Some(MadeFrom::Task { key, .. }) if known.insert(*key) => self.action(*key)?,
                _ => None,
            };
            let above = maker.map(|maker| self.ancestors(&maker, known)).transpose()?.unwrap_or_default();
            inputs.push(Ancestor { slot: input.slot.clone(), content: input.content, from, inputs: above });
        }
        Ok(inputs)
    }

    fn not_found(&self, name: &str) -> QueryError {
        let names: Vec<String> =
            self.entries(None).iter().flat_map(|e| [full_name(e), view_name(e), e.stage.clone()]).collect();
        QueryError::NotFound { name: name.to_owned(), nearest: nearest(name, &names) }
    }
}

/// `pipeline/stage[/task]/output`.
fn full_name(entry: &Entry) -> String {
    format!("{}/{}/{}", entry.pipeline, label(&entry.stage, &entry.task), entry.output)
}

/// `pipeline/stage/path`, as in the readable view.
fn view_name(entry: &Entry) -> String {
    let below = entry.path.ancestors().find(|dir| dir.ends_with(Path::new(&entry.pipeline).join(&entry.stage)));
    let file = below.and_then(|dir| entry.path.strip_prefix(dir).ok()).unwrap_or(&entry.path);
    format!("{}/{}/{}", entry.pipeline, entry.stage, file.display())
}

fn ambiguous(name: &str, candidates: impl Iterator<Item = String>) -> QueryError {
    let mut candidates: Vec<String> = candidates.collect();
    candidates.sort();
    candidates.dedup();
    candidates.truncate(MOST_CANDIDATES);
    QueryError::Ambiguous { name: name.to_owned(), candidates }
}
