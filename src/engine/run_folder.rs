//! The folder of a run, `runs/<id>/`: what was asked for, what happened, what came of it.
//!
//! `pipeline.json` and `tasks.json` of a run that changed nothing are the same bytes as those of the run before. They are
//! kept once, in `parts/`, and linked into each run's folder: a pipeline of ten thousand tasks that is run every hour
//! would fill the disk otherwise. A folder stays whole when it is copied elsewhere.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::action::StoredOutput;
use super::cache::Cache;
use super::digest::{Digest, Key};
use super::disk::{self, Sync};
use super::error::CacheError;
use super::graph::Graph;
use super::summary::RunSummary;
use super::survey::{State, Survey};

const TASKS: &str = "s2pipe.tasks/1";
pub(super) const PIPELINE_FILE: &str = "pipeline.json";
pub(super) const TASKS_FILE: &str = "tasks.json";
pub(super) const EVENTS_FILE: &str = "events.jsonl";
pub(super) const SUMMARY_FILE: &str = "summary.json";

/// What a run read and what each of its tasks left; `tasks.json` of its folder. Stays readable when the results are gone.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskList {
    /// `s2pipe.tasks/1`.
    pub tasks: String,
    /// Every source file by its absolute path.
    pub sources: BTreeMap<String, Digest>,
    /// Every task whose result was there at the end, in topological order.
    pub made: Vec<MadeTask>,
}

/// A task's result, as a run found or made it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MadeTask {
    /// Stage name.
    pub stage: String,
    /// Task name; empty for the only task of a stage.
    pub task: String,
    /// Its key.
    pub key: Key,
    /// When it was made, UTC, RFC 3339.
    pub created: String,
    /// Seconds that making it took, in whichever run that was.
    pub seconds: f64,
    /// What it left.
    pub outputs: Vec<StoredOutput>,
}

/// A [`TaskList`] that is about to be written.
#[derive(Serialize)]
struct Tasks<'a> {
    tasks: &'static str,
    sources: BTreeMap<Cow<'a, str>, Digest>,
    made: Vec<MadeRef<'a>>,
}

#[derive(Serialize)]
struct MadeRef<'a> {
    stage: &'a str,
    task: &'a str,
    key: Key,
    created: &'a str,
    seconds: f64,
    outputs: &'a [StoredOutput],
}

impl<'a> Tasks<'a> {
    /// What is known at the end of a run.
    fn of(survey: &'a Survey<'_>) -> Self {
        let graph = survey.graph;
        let made = graph.tasks.iter().zip(&survey.states).filter_map(|(node, state)| {
            let State::Made(made) = state else { return None };
            Some(MadeRef {
                stage: &graph.stages[node.stage].name,
                task: &node.plan.name,
                key: made.key,
                created: &made.created,
                seconds: made.seconds,
                outputs: &made.outputs,
            })
        });
        let sources = survey.sources().iter().map(|(path, digest)| (path.to_string_lossy(), *digest)).collect();
        Self { tasks: TASKS, sources, made: made.collect() }
    }
}

impl TaskList {
    /// Reads a list; `None` where there is none of this version.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let list: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (list.tasks == TASKS).then_some(list)
    }
}

/// The folder of a run in progress.
#[derive(Debug)]
pub(super) struct RunFolder<'c> {
    cache: &'c Cache,
    pub(super) id: String,
    pub(super) dir: PathBuf,
}

impl<'c> RunFolder<'c> {
    /// Makes the folder, named by time and a few random-looking digits, with the resolved pipeline in it.
    pub(super) fn create(cache: &'c Cache, graph: &Graph, started: jiff::Timestamp) -> Result<Self, CacheError> {
        let runs = cache.runs_dir();
        disk::make_dir(&runs)?;
        let time = started.strftime("%Y%m%d-%H%M%S");
        for attempt in 0_u32.. {
            let seed = format!("{} {} {attempt}", std::process::id(), started.as_nanosecond());
            let id = format!("{time}-{}", &Digest::of(seed.as_bytes()).hex()[..4]);
            let dir = runs.join(&id);
            match fs::create_dir(&dir) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other.map_err(|e| CacheError::at("create the folder", &dir, e))?,
            }
            let folder = Self { cache, id, dir };
            folder.write_part(PIPELINE_FILE, format!("{}\n", graph.resolved).as_bytes())?;
            return Ok(folder);
        }
        // 2^32 runs in one second: the counter ended. Nothing sensible is left to try.
        Err(CacheError::at("create a folder in", &runs, io::Error::other("too many runs in this second")))
    }

    /// Writes what the run read and left.
    pub(super) fn write_tasks(&self, survey: &Survey<'_>) -> Result<(), CacheError> {
        let path = self.dir.join(TASKS_FILE);
        let bytes =
            serde_json::to_vec(&Tasks::of(survey)).map_err(|e| CacheError::at("write", &path, io::Error::other(e)))?;
        self.write_part(TASKS_FILE, &bytes)
    }

    /// Writes how it went; the last file of a run that was not killed.
    pub(super) fn write_summary(&self, summary: &RunSummary) -> Result<(), CacheError> {
        let path = self.dir.join(SUMMARY_FILE);
        let mut bytes = serde_json::to_vec(summary).map_err(|e| CacheError::at("write", &path, io::Error::other(e)))?;
        bytes.push(b'\n');
        disk::write_atomic(&self.dir.join("summary.json.new"), &path, &bytes, Sync::Lazy)
    }

    /// Puts bytes into the folder: as a link to an earlier run's equal file where that works.
    fn write_part(&self, name: &str, bytes: &[u8]) -> Result<(), CacheError> {
        let path = self.dir.join(name);
        let part = self.cache.parts_dir().join(Digest::of(bytes).hex());
        // A part of another length was cut off by a crash.
        let is_whole = fs::metadata(&part).is_ok_and(|m| m.len() == bytes.len() as u64);
        if is_whole && fs::hard_link(&part, &path).is_ok() {
            return Ok(());
        }
        fs::write(&path, bytes).map_err(|e| CacheError::at("write", &path, e))?;
        // Where links cannot be made the folder's own copy is all there is.
        let _ = fs::create_dir_all(self.cache.parts_dir());
        if !is_whole {
            let _ = fs::remove_file(&part);
        }
        let _ = fs::hard_link(&path, &part);
        Ok(())
    }
}
