//! `s2pipe task run`: tasks from their records alone, on whatever machine. Where `srun` starts it several times, training is
//! shared out among the processes: rank 0 runs the task, the others take part.

use std::path::Path;

use serde_json::Value;

use super::run::stop_on_signals;
use crate::cli::exit;
use crate::cli::failure::Failure;
use crate::cli::output::print;
use crate::cli::project::open_cache;
use crate::engine::{
    Beside, Cache, Cancel, Progress, ProgressSink, Registry, StageError, TaskEnv, TaskError, TaskJob, TaskWatch,
    run_task,
};
use crate::net::count_gpus;
use crate::slurm::{ElementEnv, Pack, run_pack};
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

/// Runs the task, or the tasks of a pack, and commits their outputs to the cache.
pub(in crate::cli) fn task_run(record: &Path, cache: &Path, report: Option<&Path>) -> Result<(), Failure> {
    let text = std::fs::read(record).map_err(|e| Failure::failed(format!("{}: {e}", record.display())))?;
    let wrong = |e: serde_json::Error| Failure::usage(format!("{}: is not a task record: {e}", record.display()));
    let value: Value = serde_json::from_slice(&text).map_err(wrong)?;
    let cache = open_cache(cache.to_owned())?;
    let cancel = Cancel::default();
    stop_on_signals(&cancel)?;
    let span = Span::from_slurm(&|name| std::env::var(name).ok()).map_err(Failure::usage)?;
    if value.get("pack").is_some() {
        let pack: Pack = serde_json::from_value(value).map_err(wrong)?;
        if !pack.is_current() {
            return Err(Failure::usage(format!("{}: this s2pipe cannot run such packs", pack.pack)));
        }
        return match span.as_ref().filter(|span| span.rank > 0) {
            Some(span) => pack.tasks.iter().try_for_each(|task| take_part(&task.job, &cache, span)),
            None => run_all(&pack, &cache, report, &cancel, &registry_among(span)),
        };
    }
    let job: TaskJob = serde_json::from_value(value).map_err(wrong)?;
    if let Some(span) = span.as_ref().filter(|span| span.rank > 0) {
        return take_part(&job, &cache, span);
    }
    use_threads(job.threads);
    let logs = cache.runs_dir().join("tasks");
    let registry = registry_among(span);
    let env = TaskEnv { cache: &cache, registry: &registry, cancel: &cancel, watch: &Quiet, logs: &logs };
    let done = run_task(&job, &env).map_err(|failed| {
        let log = failed.log.map_or_else(String::new, |log| format!(" (log: {})", log.display()));
        failure(&failed.error, &format!("{}{log}", failed.error))
    })?;
    print(&format!("{} {}\n", if done.ran { "ran" } else { "cached" }, done.key))
}

fn run_all(
    pack: &Pack,
    cache: &Cache,
    report: Option<&Path>,
    cancel: &Cancel,
    registry: &Registry,
) -> Result<(), Failure> {
    use_threads(pack.tasks.iter().map(|task| task.job.threads).max().unwrap_or(1) * pack.side_by_side.max(1));
    let beside = report.and_then(|report| Some(report.parent()?.parent()?.join("logs")));
    let logs = beside.unwrap_or_else(|| cache.runs_dir().join("tasks"));
    let report = report.map(Path::to_path_buf);
    run_pack(pack, &ElementEnv { cache, registry, cancel, logs: &logs, report }).map_err(|(task, error)| {
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
