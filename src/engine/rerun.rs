//! Determinism on demand: runs cached tasks again, apart, and compares what they leave with what the cache has.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::action::{Action, Lookup, StoredOutput};
use super::cache::Cache;
use super::cancel::Cancel;
use super::digest::ContentId;
use super::error::{CacheError, EngineError, PlanError};
use super::event::{Event, Observer, TaskName, TaskStatus, Watch};
use super::executor::{TaskEnv, run_apart};
use super::graph::{Graph, TaskId, label};
use super::run::RunOptions;
use super::selection::Selection;
use super::stage::{Outcome, Registry};
use super::survey::{State, Survey};
use super::task_error::TaskError;
use super::tree::Tree;

/// What running tasks again has shown.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Again {
    /// Each task of the stage, in order.
    pub tasks: Vec<AgainTask>,
}

/// What running one task again has shown.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AgainTask {
    /// `stage/task`.
    pub name: String,
    /// Seconds that it took now; `None`: its result is not in the cache, so there is nothing to compare with.
    pub seconds: Option<f64>,
    /// Files with other bytes, in the order of outputs and paths; empty: all are the same.
    pub differing: Vec<Differing>,
    /// Why it could not be run to the end.
    pub failed: Option<String>,
}

/// A file that is not the same the second time.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Differing {
    /// Output name.
    pub output: String,
    /// The file within the output; empty where the output is one file.
    pub file: PathBuf,
    /// What the difference is, in words: only in one of the two, or what `explain` found.
    pub what: String,
}

impl AgainTask {
    /// Whether it was run and left the same bytes.
    pub fn is_same(&self) -> bool {
        self.failed.is_none() && self.differing.is_empty() && self.seconds.is_some()
    }
}

/// Runs the cached tasks of a stage again, one after the other, each in a place of its own; the cache stays as it is.
/// `explain` gets a stored file and the new one, and says what differs.
///
/// # Errors
/// [`EngineError`] when the stage is not known or the cache cannot be read.
pub fn rerun(
    (graph, registry): (&Graph, &Registry),
    cache: &Cache,
    stage: &str,
    options: &RunOptions,
    (observer, cancel): (&dyn Observer, &Cancel),
    explain: &dyn Fn(&Path, &Path) -> String,
) -> Result<Again, EngineError> {
    let selection = Selection { until: Some(stage.to_owned()), ..Selection::default() };
    let survey = Survey::make(graph, cache, &selection)?;
    // `resolve` has just found it.
    let Some(id) = graph.stage_id(stage) else { return Ok(Again { tasks: Vec::new() }) };
    let mut tasks = Vec::new();
    for task in graph.stages[id].tasks.clone() {
        tasks.push(one(&survey, registry, task, options, (observer, cancel), explain).map_err(PlanError::Cache)?);
    }
    Ok(Again { tasks })
}

fn one(
    survey: &Survey<'_>,
    registry: &Registry,
    id: TaskId,
    options: &RunOptions,
    (observer, cancel): (&dyn Observer, &Cancel),
    explain: &dyn Fn(&Path, &Path) -> String,
) -> Result<AgainTask, CacheError> {
    let (graph, cache) = (survey.graph, survey.cache);
    let node = &graph.tasks[id];
    let (stage, task) = (graph.stages[node.stage].name.as_str(), node.plan.name.as_str());
    let mut again = AgainTask { name: label(stage, task), seconds: None, differing: Vec::new(), failed: None };
    let State::Made(made) = &survey.states[id] else { return Ok(again) };
    let (Lookup::Hit(_), Some(mut job)) = (cache.lookup(made.key), survey.job(id)) else { return Ok(again) };
    let Some(before) = cache.action(made.key)?.filter(|a| a.outcome == Outcome::Complete) else { return Ok(again) };
    (job.device, job.gpu_memory) = (options.device, options.gpu_memory);
    (job.threads, job.force) = (options.threads.max(1), false);
    let name = TaskName { stage, task };
    let watch = Watch { observer, name };
    let logs = cache.runs_dir().join("again");
    let env = TaskEnv { cache, registry, cancel, watch: &watch, logs: &logs };
    let compared = run_apart(&job, &env, |out, seconds| (seconds, compare(cache, &before, out, explain)));
    let status = match compared {
        Ok((seconds, Ok(differing))) => {
            (again.seconds, again.differing) = (Some(seconds), differing);
            TaskStatus::Ran
        }
        Ok((_, Err(error))) => {
            again.failed = Some(error.to_string());
            TaskStatus::Failed
        }
        Err(failed) => {
            again.failed = Some(failed.error.to_string());
            if matches!(failed.error, TaskError::Cancelled) { TaskStatus::Cancelled } else { TaskStatus::Failed }
        }
    };
    let (seconds, error) = (again.seconds.unwrap_or(0.0), again.failed.as_deref());
    observer.event(&Event::TaskFinished { name, status, seconds, key: Some(made.key), outputs: &[], error });
    Ok(again)
}

/// The files that differ between a stored result and a folder of new outputs.
fn compare(
    cache: &Cache,
    before: &Action,
    out: &Path,
    explain: &dyn Fn(&Path, &Path) -> String,
) -> Result<Vec<Differing>, TaskError> {
    let mut differing = Vec::new();
    for StoredOutput { name, path, content, .. } in &before.outputs {
        let now = out.join(path);
        let (new, tree) = Cache::content_at(name, &now)?;
        let mut note = |file: &Path, what: String| {
            differing.push(Differing { output: name.clone(), file: file.to_path_buf(), what });
        };
        match (*content, new) {
            (old, new) if old == new => {}
            (ContentId::Tree(old), ContentId::Tree(_)) => {
                let old = cache.tree(old).unwrap_or_default();
                compare_trees(cache, &old, &tree, &now, explain, &mut note);
            }
            (ContentId::File(old), ContentId::File(_)) => note(Path::new(""), explain(&cache.file_path(old), &now)),
            (ContentId::Tree(_), _) => note(Path::new(""), "was a folder and is a file now".into()),
            (ContentId::File(_), _) => note(Path::new(""), "was a file and is a folder now".into()),
        }
    }
    Ok(differing)
}

fn compare_trees(
    cache: &Cache,
    old: &Tree,
    new: &Tree,
    now: &Path,
    explain: &dyn Fn(&Path, &Path) -> String,
    note: &mut dyn FnMut(&Path, String),
) {
    for entry in &old.entries {
        match new.find(&entry.path) {
            None => note(&entry.path, "is not there any more".into()),
            Some(other) if other.digest != entry.digest => {
                note(&entry.path, explain(&cache.file_path(entry.digest), &now.join(&entry.path)));
            }
            Some(other) if other.kind != entry.kind => note(&entry.path, "has another executable bit".into()),
            Some(_) => {}
        }
    }
    for entry in new.entries.iter().filter(|e| old.find(&e.path).is_none()) {
        note(&entry.path, "was not there before".into());
    }
}
