//! What became of a run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What became of a run; `summary.json` of its folder.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunSummary {
    /// `s2pipe.run/2`; version 1 had no scores.
    pub summary: String,
    /// Run id: `20261122-094208-3fa1`, UTC.
    pub run: String,
    /// Pipeline name.
    pub pipeline: String,
    /// When it began, UTC, RFC 3339.
    pub started: String,
    /// Whether all selected tasks ended well.
    pub ok: bool,
    /// Whether it was cancelled.
    pub interrupted: bool,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Every selected stage, in topological order.
    pub stages: Vec<StageSummary>,
    /// What failed, in the order of events.
    pub failures: Vec<Failure>,
    /// Why each task that had to run had to, by `stage/task`: `model.width 24 -> 32`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub why: BTreeMap<String, Vec<String>>,
    /// Tasks that the budget cut short, as `stage/task`.
    pub cut_short: Vec<String>,
}

/// What became of a stage.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StageSummary {
    /// Stage name.
    pub name: String,
    /// How it went.
    pub status: StageStatus,
    /// Its tasks.
    pub tasks: TaskCounts,
    /// Wall-clock seconds from the start of its first task to the end of its last one; 0 where none ran.
    pub seconds: f64,
    /// Numbers that its tasks reported about their results: task name -> score -> value. Only tasks that reported any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, BTreeMap<String, f64>>,
    /// Where its outputs are in the readable view, absolute: `output`, or `output/item` where it has several items. Only
    /// those that are there.
    pub outputs: BTreeMap<String, PathBuf>,
}

/// How a stage went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageStatus {
    /// At least one task ran, and all ended well.
    Ran,
    /// All results were in the cache, or came from the remote.
    Cached,
    /// A task failed.
    Failed,
    /// A task was not run or was interrupted.
    Skipped,
}

/// How many tasks ended how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TaskCounts {
    /// Ran and ended well.
    pub ran: usize,
    /// Taken from the cache.
    pub cached: usize,
    /// Fetched from the remote.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fetched: usize,
    /// Failed.
    pub failed: usize,
    /// Not run, or interrupted.
    pub skipped: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl TaskCounts {
    /// How a stage with these counts went.
    pub fn status(&self) -> StageStatus {
        if self.failed > 0 {
            StageStatus::Failed
        } else if self.skipped > 0 {
            StageStatus::Skipped
        } else if self.ran > 0 {
            StageStatus::Ran
        } else {
            StageStatus::Cached
        }
    }
}

/// A task that failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// Stage name.
    pub stage: String,
    /// Task name; empty for the only task of a stage.
    pub task: String,
    /// What went wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The whole log.
    pub log: Option<PathBuf>,
    /// Its last lines.
    pub tail: Vec<String>,
}
