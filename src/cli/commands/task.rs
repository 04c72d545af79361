//! `s2pipe task run`: one task from its record alone.

use std::path::Path;

use crate::cli::failure::Failure;
use crate::cli::output::print;
use crate::cli::project::open_cache;
use crate::engine::{Cancel, Progress, ProgressSink, TaskEnv, TaskJob, TaskWatch, run_task};
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

/// Runs the task and commits its outputs to the cache.
pub(in crate::cli) fn task_run(record: &Path, cache: &Path) -> Result<(), Failure> {
    let text = std::fs::read(record).map_err(|e| Failure::failed(format!("{}: {e}", record.display())))?;
    let job: TaskJob = serde_json::from_slice(&text)
        .map_err(|e| Failure::usage(format!("{}: is not a task record: {e}", record.display())))?;
    let cache = open_cache(cache.to_owned())?;
    let logs = cache.runs_dir().join("tasks");
    let env = TaskEnv { cache: &cache, registry: &registry(), cancel: &Cancel::default(), watch: &Quiet, logs: &logs };
    let done = run_task(&job, &env).map_err(|failed| {
        let help = failed.error.help();
        let log = failed.log.map_or_else(String::new, |log| format!(" (log: {})", log.display()));
        Failure::failed(format!("{}{log}", failed.error)).help(help)
    })?;
    print(&format!("{} {}\n", if done.ran { "ran" } else { "cached" }, done.key))
}
