//! `s2pipe task run`: one task from its record alone. Where `srun` starts it several times, training is shared out among the
//! processes: rank 0 runs the task, the others take part.

use std::path::Path;

use crate::cli::failure::Failure;
use crate::cli::output::print;
use crate::cli::project::open_cache;
use crate::engine::{Beside, Cache, Cancel, Progress, ProgressSink, StageError, TaskEnv, TaskJob, TaskWatch, run_task};
use crate::net::count_gpus;
use crate::stages::train::{Span, take_part_elsewhere};
use crate::stages::{registry, registry_among};

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
    let span = Span::from_slurm(&|name| std::env::var(name).ok()).map_err(Failure::usage)?;
    if let Some(span) = span.as_ref().filter(|span| span.rank > 0) {
        return take_part(&job, &cache, span);
    }
    let logs = cache.runs_dir().join("tasks");
    let registry = registry_among(span);
    let env = TaskEnv { cache: &cache, registry: &registry, cancel: &Cancel::default(), watch: &Quiet, logs: &logs };
    let done = run_task(&job, &env).map_err(|failed| {
        let help = failed.error.help();
        let log = failed.log.map_or_else(String::new, |log| format!(" (log: {})", log.display()));
        Failure::failed(format!("{}{log}", failed.error)).help(help)
    })?;
    print(&format!("{} {}\n", if done.ran { "ran" } else { "cached" }, done.key))
}

/// What another rank than 0 does: all that is to be done of a training, and nothing of other tasks.
fn take_part(job: &TaskJob, cache: &Cache, span: &Span) -> Result<(), Failure> {
    let beside = Beside::new(job, cache, &registry()).map_err(|error| {
        let help = error.help();
        Failure::usage(error).help(help)
    })?;
    if job.record.kind != "train" {
        return print(&format!("rank {} has nothing to do for a task of kind {}\n", span.rank, job.record.kind));
    }
    take_part_elsewhere(span, beside.checkpoints(), count_gpus(), &|| beside.is_done()).map_err(of_stage)?;
    print(&format!("rank {} took part\n", span.rank))
}

/// An error of a rank as that of the command.
pub(super) fn of_stage(error: StageError) -> Failure {
    match error {
        StageError::Cancelled => Failure::failed(error),
        StageError::Failed { message, help } => Failure::failed(message).help(help),
    }
}
