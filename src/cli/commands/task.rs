//! `s2pipe task run`: tasks from their records alone, on whatever machine.

use std::path::Path;

use serde_json::Value;

use super::run::stop_on_signals;
use crate::cli::exit;
use crate::cli::failure::Failure;
use crate::cli::output::print;
use crate::cli::project::open_cache;
use crate::engine::{Cache, Cancel, Progress, ProgressSink, TaskEnv, TaskError, TaskJob, TaskWatch, run_task};
use crate::slurm::{ElementEnv, Pack, run_pack};
use crate::stages::registry;

/// Tells nothing but warnings.
struct Quiet;

impl ProgressSink for Quiet {
    fn progress(&self, news: Progress) {
        if let Progress::Message(text) | Progress::Notice(text) = news {
            tracing::info!("{text}");
        }
    }
}

impl TaskWatch for Quiet {}

/// Runs the task, or the tasks of a pack, and commits their outputs to the cache.
pub(in crate::cli) fn task_run(record: &Path, cache: &Path, report: Option<&Path>) -> Result<(), Failure> {
    let text = std::fs::read(record).map_err(|e| Failure::failed(format!("{}: {e}", record.display())))?;
    let wrong = |e: serde_json::Error| Failure::usage(format!("{}: is not a task record: {e}", record.display()));
    let value: Value = serde_json::from_slice(&text).map_err(wrong)?;
    let cache = open_cache(cache.to_owned())?;
    let cancel = Cancel::default();
    stop_on_signals(&cancel)?;
    if value.get("pack").is_some() {
        let pack: Pack = serde_json::from_value(value).map_err(wrong)?;
        return run_all(&pack, &cache, report, &cancel);
    }
    let job: TaskJob = serde_json::from_value(value).map_err(wrong)?;
    use_threads(job.threads);
    let logs = cache.runs_dir().join("tasks");
    let env = TaskEnv { cache: &cache, registry: &registry(), cancel: &cancel, watch: &Quiet, logs: &logs };
    let done = run_task(&job, &env).map_err(|failed| {
        let log = failed.log.map_or_else(String::new, |log| format!(" (log: {})", log.display()));
        failure(&failed.error, &format!("{}{log}", failed.error))
    })?;
    print(&format!("{} {}\n", if done.ran { "ran" } else { "cached" }, done.key))
}

fn run_all(pack: &Pack, cache: &Cache, report: Option<&Path>, cancel: &Cancel) -> Result<(), Failure> {
    if !pack.is_current() {
        return Err(Failure::usage(format!("{}: this s2pipe cannot run such packs", pack.pack)));
    }
    use_threads(pack.tasks.iter().map(|task| task.job.threads).max().unwrap_or(1) * pack.side_by_side.max(1));
    let registry = registry();
    let beside = report.and_then(|report| Some(report.parent()?.parent()?.join("logs")));
    let logs = beside.unwrap_or_else(|| cache.runs_dir().join("tasks"));
    let report = report.map(Path::to_path_buf);
    run_pack(pack, &ElementEnv { cache, registry: &registry, cancel, logs: &logs, report }).map_err(|(task, error)| {
        let name = if task.is_empty() { String::new() } else { format!("{task}: ") };
        failure(&error, &format!("{name}{error}"))
    })
}

fn failure(error: &TaskError, message: &str) -> Failure {
    let failure = Failure::failed(message).help(error.help());
    if matches!(error, TaskError::Cancelled) { Failure { code: exit::INTERRUPTED, ..failure } } else { failure }
}

/// Everything that computes in parallel shares one pool. It exists already only in tests.
fn use_threads(threads: usize) {
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
}
