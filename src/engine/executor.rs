//! Runs one task: lock, look again, then one attempt after another until one ends well or there are no more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::action::{Done, Lookup, StoredOutput};
use super::attempt::Attempt;
use super::cache::Cache;
use super::cancel::Cancel;
use super::digest::Key;
use super::job::TaskJob;
use super::stage::{Outcome, ProgressSink, Registry};
use super::task_error::TaskError;

/// Hears of a task's life.
pub trait TaskWatch: ProgressSink {
    /// Another process or thread is running this very task; its result will be taken.
    fn waiting(&self) {}
    /// It runs now.
    fn started(&self, _key: Key) {}
}

/// What a task needs around it.
pub struct TaskEnv<'a> {
    /// The cache.
    pub cache: &'a Cache,
    /// The stage kinds.
    pub registry: &'a Registry,
    /// Asks the task to stop.
    pub cancel: &'a Cancel,
    /// Hears of it.
    pub watch: &'a dyn TaskWatch,
    /// Folder for the log of a failed task.
    pub logs: &'a Path,
}

/// A task that ended well.
#[derive(Clone, PartialEq, Debug)]
pub struct TaskDone {
    /// Its key.
    pub key: Key,
    /// Its outputs, all in the store.
    pub outputs: Vec<StoredOutput>,
    /// Seconds that it took (when it ran).
    pub seconds: f64,
    /// When it ended (when it ran), UTC.
    pub created: String,
    /// Whether it was done in full.
    pub outcome: Outcome,
    /// Numbers that it reported about its result.
    pub scores: BTreeMap<String, f64>,
    /// `false`: the result was in the cache, or somebody else made it meanwhile.
    pub ran: bool,
}

impl TaskDone {
    /// What was in the cache.
    pub(super) fn found(key: Key, done: Done) -> Self {
        let Done { outputs, seconds, created, outcome, scores, .. } = done;
        Self { key, outputs, seconds, created, outcome, scores, ran: false }
    }
}

/// A task that did not end well.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct TaskFailed {
    /// What happened.
    pub error: TaskError,
    /// Its log, if it wrote one.
    pub log: Option<PathBuf>,
}

/// Runs one task, or takes its result from the cache. May be called for the same job any number of times, from any
/// number of processes: one of them runs it. Where its stage asks for retries, a task that fails is tried again, from
/// nothing but its checkpoints.
///
/// # Errors
/// [`TaskFailed`]; nothing of the attempt stays but its log and its checkpoints.
pub fn run_task(job: &TaskJob, env: &TaskEnv<'_>) -> Result<TaskDone, TaskFailed> {
    let early = |error| TaskFailed { error, log: None };
    let job = &*job.completed(env.cache).map_err(early)?;
    let done = match run_or_take(job, env) {
        Ok(done) => done,
        // Where there are no locks another process may have made it meanwhile, and cleared away what this one needed.
        Err(failed) => made_meanwhile(job, env).ok_or(failed)?,
    };
    if let Some(ticket) = job.ticket {
        env.cache.stamp(ticket, done.key).map_err(|e| early(e.into()))?;
    }
    Ok(done)
}

fn made_meanwhile(job: &TaskJob, env: &TaskEnv<'_>) -> Option<TaskDone> {
    let key = job.resolve(env.registry).ok()?.1;
    match env.cache.lookup(key) {
        Lookup::Hit(done) if !job.force => Some(TaskDone::found(key, done)),
        _ => None,
    }
}

fn run_or_take(job: &TaskJob, env: &TaskEnv<'_>) -> Result<TaskDone, TaskFailed> {
    let early = |error| TaskFailed { error, log: None };
    let (kind, key) = job.resolve(env.registry).map_err(early)?;
    let lock = env.cache.lock_action(key, env.cancel, || env.watch.waiting()).map_err(|e| early(e.into()))?;
    let Some(_lock) = lock else { return Err(early(TaskError::Cancelled)) };
    if !job.force
        && let Lookup::Hit(done) = env.cache.lookup(key)
    {
        return Ok(TaskDone::found(key, done));
    }
    env.watch.started(key);
    let attempts = job.retries.saturating_add(1);
    let mut number = 1;
    let mut attempt = Attempt::new(job, env, key).map_err(|e| early(e.into()))?;
    loop {
        let mut error = match attempt.run(kind) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if number < attempts && error.may_pass() && !env.cancel.is_cancelled() {
            attempt.tell(format!("attempt {number} of {attempts} failed: {error}"));
            match attempt.again() {
                Ok(next) => {
                    attempt = next;
                    number += 1;
                    continue;
                }
                Err(cache) => error = cache.into(),
            }
        }
        let error = error.after(number);
        return Err(TaskFailed { log: attempt.keep_log(&error), error });
    }
}

/// Runs a task in a place of its own, beside its result in the cache and with none of its checkpoints; `look` gets the
/// folder with what it made and the seconds that it took. Nothing of it stays.
pub(super) fn run_apart<T>(
    job: &TaskJob,
    env: &TaskEnv<'_>,
    look: impl FnOnce(&Path, f64) -> T,
) -> Result<T, TaskFailed> {
    let early = |error| TaskFailed { error, log: None };
    let (kind, key) = job.resolve(env.registry).map_err(early)?;
    env.watch.started(key);
    let attempt = Attempt::apart(job, env, key).map_err(|e| early(e.into()))?;
    match attempt.make(kind) {
        Ok(made) => Ok(look(&attempt.out_dir(), made.seconds)),
        Err(error) => Err(TaskFailed { log: attempt.keep_log(&error), error }),
    }
}
