//! The memory of runs: which there were, what each was asked to do, what it read and what came of it.
//!
//! All of it stands in the run's own folder, so an old run can be looked at when its results are long gone.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;

use super::cache::Cache;
use super::error::QueryError;
use super::lock::Locking;
use super::run_folder::{EVENTS_FILE, PIPELINE_FILE, SUMMARY_FILE, TASKS_FILE, TaskList};
use super::scratch::DEAD_AFTER;
use super::selection::nearest;
use super::summary::RunSummary;

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// It has not: its process is alive.
    Running,
    /// Its process died before it could write a summary.
    Killed,
    /// All selected tasks ended well.
    Ok,
    /// A task failed.
    Failed,
    /// It was stopped on request.
    Interrupted,
}

impl RunEnd {
    /// One word for a table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Killed => "killed",
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A run as a list shows it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RunInfo {
    /// Run id.
    pub run: String,
    /// Pipeline name; empty where its folder does not tell any more.
    pub pipeline: String,
    /// How it ended.
    pub end: RunEnd,
    /// Whether `cache pin` protects its results.
    pub pinned: bool,
    /// Its summary, unless it is running or was killed.
    pub summary: Option<RunSummary>,
}

/// Everything that is kept about a run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RunRecord {
    /// The run.
    pub info: RunInfo,
    /// Its folder, absolute.
    pub folder: PathBuf,
    /// The pipeline as it was understood (`s2pipe.pipeline/1`), where it can still be read.
    pub pipeline: Option<Value>,
    /// What it read and what its tasks left; `None` for runs that were killed or made by a version before it was kept.
    pub tasks: Option<TaskList>,
}

impl Cache {
    /// The newest `limit` runs, newest first; of one pipeline or of all.
    pub fn runs(&self, pipeline: Option<&str>, limit: usize) -> Vec<RunInfo> {
        let ids = self.run_ids().into_iter().rev();
        let infos = ids.map(|id| self.run_info(&id)).filter(|run| pipeline.is_none_or(|name| run.pipeline == name));
        infos.take(limit).collect()
    }

    /// A run by its id, the beginning or the end of it, or `latest`; `latest~2` is the second before it.
    ///
    /// # Errors
    /// [`QueryError`] when there is none, or several are meant.
    pub fn run_record(&self, name: &str) -> Result<RunRecord, QueryError> {
        let id = self.run_id(name)?;
        let folder = self.runs_dir().join(&id);
        Ok(RunRecord {
            info: self.run_info(&id),
            pipeline: fs::read(folder.join(PIPELINE_FILE)).ok().and_then(|b| serde_json::from_slice(&b).ok()),
            tasks: TaskList::read(&folder.join(TASKS_FILE)),
            folder,
        })
    }

    /// The id that a name stands for.
    pub(super) fn run_id(&self, name: &str) -> Result<String, QueryError> {
        let ids = self.run_ids();
        let not_found = || QueryError::NoRun { name: name.to_owned(), nearest: nearest(name, &ids) };
        if let Some(rest) = name.strip_prefix("latest") {
            let back = match rest.strip_prefix('~') {
                None if rest.is_empty() => Some(0),
                None => None,
                Some(number) => number.parse::<usize>().ok(),
            };
            return back.and_then(|n| ids.iter().rev().nth(n)).cloned().ok_or_else(not_found);
        }
        let meant: Vec<&String> =
            ids.iter().filter(|id| !name.is_empty() && (id.starts_with(name) || id.ends_with(name))).collect();
        match meant.as_slice() {
            [] => Err(not_found()),
            [one] => Ok((*one).clone()),
            several => match several.iter().find(|id| **id == name) {
                Some(whole) => Ok((*whole).clone()),
                None => Err(QueryError::Ambiguous {
                    name: name.to_owned(),
                    candidates: several.iter().map(|id| (*id).clone()).collect(),
                }),
            },
        }
    }

    /// The ids of all runs, oldest first. (They begin with the time.)
    pub(super) fn run_ids(&self) -> Vec<String> {
        let entries = fs::read_dir(self.runs_dir()).into_iter().flatten().flatten();
        let names = entries.filter_map(|e| e.file_name().into_string().ok());
        let mut ids: Vec<String> = names.filter(|n| n.starts_with(|c: char| c.is_ascii_digit())).collect();
        ids.sort();
        ids
    }

    fn run_info(&self, id: &str) -> RunInfo {
        let folder = self.runs_dir().join(id);
        let summary = fs::read(folder.join(SUMMARY_FILE)).ok();
        let summary: Option<RunSummary> = summary.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let end = match &summary {
            Some(s) if s.ok => RunEnd::Ok,
            Some(s) if s.interrupted => RunEnd::Interrupted,
            Some(_) => RunEnd::Failed,
            None if is_alive(&folder, self.locking) => RunEnd::Running,
            None => RunEnd::Killed,
        };
        let pipeline = match &summary {
            Some(s) => s.pipeline.clone(),
            None => pipeline_name(&folder).unwrap_or_default(),
        };
        RunInfo { run: id.to_owned(), pipeline, end, pinned: self.is_pinned(id), summary }
    }
}

fn pipeline_name(folder: &Path) -> Option<String> {
    let pipeline: Value = serde_json::from_slice(&fs::read(folder.join(PIPELINE_FILE)).ok()?).ok()?;
    Some(pipeline.get("name")?.as_str()?.to_owned())
}

/// Whether the process that writes this run's journal is alive: it holds a lock on it, or, where locks are not relied on,
/// has written to it of late.
pub(super) fn is_alive(folder: &Path, locking: Locking) -> bool {
    let Ok(journal) = File::open(folder.join(EVENTS_FILE)) else { return false };
    if locking == Locking::Off {
        let written = journal.metadata().and_then(|meta| meta.modified());
        return written.is_ok_and(|at| SystemTime::now().duration_since(at).map_or(true, |age| age < DEAD_AFTER));
    }
    matches!(journal.try_lock_shared(), Err(TryLockError::WouldBlock))
}
