//! What each task of a pipeline left last: for "why does it run?", for estimates of time, and for the readable view.
//!
//! One JSON file a pipeline, written only when it changed. It is a convenience, not the truth: without it nothing runs
//! that would not run with it.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

use super::action::StoredOutput;
use super::cache::Cache;
use super::digest::Key;
use super::disk::Sync;
use super::error::CacheError;

const INDEX: &str = "s2pipe.newest/1";

/// The newest results of a pipeline, by stage and task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Newest {
    index: String,
    /// Boxed: most stages have one task, and a map's node has room for eleven.
    pub(super) stages: BTreeMap<String, BTreeMap<String, Box<NewestTask>>>,
}

/// The newest result of a task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct NewestTask {
    /// The variant that the task belongs to: a folder in the readable view.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) variant: String,
    pub(super) key: Key,
    pub(super) created: String,
    pub(super) seconds: f64,
    pub(super) outputs: Vec<StoredOutput>,
}

impl Default for Newest {
    fn default() -> Self {
        Self { index: INDEX.to_owned(), stages: BTreeMap::new() }
    }
}

impl Newest {
    pub(super) fn task(&self, stage: &str, task: &str) -> Option<&NewestTask> {
        self.stages.get(stage)?.get(task).map(|task| &**task)
    }
}

impl Cache {
    /// The index of a pipeline; a missing, damaged or foreign one is empty.
    pub(super) fn newest(&self, pipeline: &str) -> Newest {
        fs::read(self.newest_file(pipeline))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .filter(|newest: &Newest| newest.index == INDEX)
            .unwrap_or_default()
    }

    /// Writes the index of a pipeline. The caller holds [`Cache::lock_newest`].
    pub(super) fn write_newest(&self, pipeline: &str, newest: &Newest) -> Result<(), CacheError> {
        let path = self.newest_file(pipeline);
        let bytes = serde_json::to_vec(newest).map_err(|e| CacheError::at("write", &path, std::io::Error::other(e)))?;
        self.write(&path, &bytes, Sync::Lazy)
    }

    /// The names of all pipelines that have run in this cache, ascending.
    pub(super) fn pipelines(&self) -> Vec<String> {
        let files = fs::read_dir(self.newest_dir()).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            files.filter_map(|f| f.file_name().to_str()?.strip_suffix(".json").map(str::to_owned)).collect();
        names.sort();
        names
    }
}
