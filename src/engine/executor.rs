//! Runs one task: lock, look again, lay the inputs out, run the kind, take the outputs into the store, write the action.
//!
//! The order of the commit is what makes `kill -9` harmless at any moment: files, then tree records, then the action.
//! Whatever is in the store without an action is merely not referred to. Results that took a second or more are forced
//! to the disk (`fdatasync`) before they get their name, so that a power cut cannot take away more than seconds of work;
//! for short tasks this would cost more than running them again, and the size check of every lookup finds what a
//! power cut truncated.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::action::{Action, Done, Lookup, MadeFrom, StoredOutput};
use super::cache::Cache;
use super::digest::{ContentId, Digest, Key};
use super::disk::{self, Sync};
use super::error::{CacheError, TaskError};
use super::graph::label;
use super::job::TaskJob;
use super::record::InputRecord;
use super::stage::{Cancel, Outcome, Progress, ProgressSink, Registry, Scores, StageError, StageKind, TaskContext};
use super::wording::with_known_names;

/// From this many seconds on a result is forced to the disk.
const WORTH_SYNCING: f64 = 1.0;
/// What an attempt leaves behind is removed at once if it is larger than this.
const LEFT_TO_THE_END: u64 = 64 << 10;
/// Less free space than this when a task fails: the full disk is the likely cause.
const NEARLY_FULL: u64 = 4 << 20;

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
/// number of processes: one of them runs it.
///
/// # Errors
/// [`TaskFailed`]; nothing of the attempt stays but its log and its checkpoints.
pub fn run_task(job: &TaskJob, env: &TaskEnv<'_>) -> Result<TaskDone, TaskFailed> {
    let early = |error| TaskFailed { error, log: None };
    let (kind, key) = job.resolve(env.registry).map_err(early)?;
    let lock = env.cache.lock_action(key, env.cancel, || env.watch.waiting()).map_err(|e| early(e.into()))?;
    let Some(_lock) = lock else { return Err(early(TaskError::Cancelled)) };
    env.cache.retire(key);
    if !job.force
        && let Lookup::Hit(done) = env.cache.lookup(key)
    {
        let Done { outputs, seconds, created, outcome, scores, .. } = done;
        return Ok(TaskDone { key, outputs, seconds, created, outcome, scores, ran: false });
    }
    env.watch.started(key);
    let attempt = Attempt::new(job, env, key).map_err(|e| early(e.into()))?;
    attempt.run(kind).map_err(|error| TaskFailed { log: attempt.keep_log(&error), error })
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
    let dir = disk::fresh(env.cache.scratch().map_err(|e| early(e.into()))?, "again");
    let checkpoints = dir.join("checkpoints");
    let attempt = Attempt::in_dir(job, env, key, dir, checkpoints).map_err(|e| early(e.into()))?;
    let made = attempt.make(kind).map_err(|error| TaskFailed { log: attempt.keep_log(&error), error });
    made.map(|(_, seconds, _)| look(&attempt.dir.join("out"), seconds))
}

/// One attempt at a task, in a private directory that goes away with it.
struct Attempt<'a> {
    job: &'a TaskJob,
    env: &'a TaskEnv<'a>,
    key: Key,
    dir: PathBuf,
    log: PathBuf,
    checkpoints: PathBuf,
}

impl<'a> Attempt<'a> {
    fn new(job: &'a TaskJob, env: &'a TaskEnv<'a>, key: Key) -> Result<Self, CacheError> {
        let dir = disk::fresh(env.cache.scratch()?, "task");
        Self::in_dir(job, env, key, dir, env.cache.checkpoint_dir(key))
    }

    fn in_dir(
        job: &'a TaskJob,
        env: &'a TaskEnv<'a>,
        key: Key,
        dir: PathBuf,
        checkpoints: PathBuf,
    ) -> Result<Self, CacheError> {
        let attempt = Self { job, env, key, log: dir.join("log"), checkpoints, dir };
        for name in ["in", "out", "work"] {
            disk::make_dir(&attempt.dir.join(name))?;
        }
        if job.force {
            // A forced task starts from nothing.
            disk::remove(&attempt.checkpoints)?;
        }
        disk::make_dir(&attempt.checkpoints)?;
        Ok(attempt)
    }

    fn run(&self, kind: &dyn StageKind) -> Result<TaskDone, TaskError> {
        let (outcome, seconds, scores) = self.make(kind)?;
        self.commit(outcome, seconds, scores.all())
    }

    /// Runs the kind; what it made is in `out/`.
    fn make(&self, kind: &dyn StageKind) -> Result<(Outcome, f64, Scores), TaskError> {
        let inputs = self.lay_out_inputs()?;
        let start = Instant::now();
        let scores = Scores::default();
        let outcome = self.call(kind, &inputs, &scores, start)?;
        let seconds = start.elapsed().as_secs_f64();
        self.sources_unchanged()?;
        self.outputs_present()?;
        Ok((outcome, seconds, scores))
    }

    /// Makes `in/<slot>` for every input: a link to the file, or a directory of links.
    fn lay_out_inputs(&self) -> Result<BTreeMap<String, PathBuf>, TaskError> {
        let below = self.dir.join("in");
        let mut paths = BTreeMap::new();
        for input in &self.job.record.inputs {
            let path = below.join(input.link_name());
            if let Some(parent) = path.parent().filter(|p| *p != below && !p.exists()) {
                disk::make_dir(parent)?;
            }
            if let Some(file) = self.source_file(input) {
                self.source_unchanged(file, input.content)?;
                disk::link(file, &path)?;
            } else if !self.env.cache.materialise(input.content, &path)? {
                return Err(TaskError::InputGone { slot: input.slot.clone() });
            }
            paths.insert(input.slot.clone(), path);
        }
        Ok(paths)
    }

    fn source_file(&self, input: &InputRecord) -> Option<&Path> {
        match self.job.made_from.get(&input.slot)? {
            MadeFrom::File { path } => Some(path),
            MadeFrom::Task { .. } => None,
        }
    }

    fn source_unchanged(&self, path: &Path, content: ContentId) -> Result<(), TaskError> {
        let digest = self.env.cache.sources().digest(path);
        let digest = digest.map_err(|source| TaskError::Source { path: path.to_path_buf(), source })?;
        if ContentId::File(digest) == content {
            return Ok(());
        }
        Err(TaskError::SourceChanged { path: path.to_path_buf() })
    }

    /// The key speaks of the bytes that were hashed; the task must have read the same.
    fn sources_unchanged(&self) -> Result<(), TaskError> {
        for input in &self.job.record.inputs {
            if let Some(path) = self.source_file(input) {
                self.source_unchanged(path, input.content)?;
            }
        }
        Ok(())
    }

    fn call(
        &self,
        kind: &dyn StageKind,
        inputs: &BTreeMap<String, PathBuf>,
        scores: &Scores,
        start: Instant,
    ) -> Result<Outcome, TaskError> {
        let record = &self.job.record;
        let (out_dir, scratch_dir) = (self.dir.join("out"), self.dir.join("work"));
        let progress = Logged { watch: self.env.watch, log: &self.log };
        let left = self.job.seconds_left.map(|s| Duration::try_from_secs_f64(s.max(0.0)).unwrap_or(Duration::MAX));
        let context = TaskContext {
            params: &record.params,
            seed: record.seed,
            classes: record.classes.as_ref(),
            inputs,
            outputs: &record.outputs,
            out_dir: &out_dir,
            scratch_dir: &scratch_dir,
            checkpoint_dir: &self.checkpoints,
            device: self.job.device,
            threads: self.job.threads.max(1),
            deadline: left.and_then(|left| start.checked_add(left)),
            cancel: self.env.cancel,
            progress: &progress,
            log: &self.log,
            scores,
        };
        // What a panicking kind leaves behind is its private directory, which is thrown away.
        let ended = catch_unwind(AssertUnwindSafe(|| kind.run(&context)));
        match ended {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(StageError::Cancelled)) => Err(TaskError::Cancelled),
            // A task that breaks because its child was interrupted, too, has not failed.
            Ok(Err(StageError::Failed { .. })) if self.env.cancel.is_cancelled() => Err(TaskError::Cancelled),
            Ok(Err(StageError::Failed { message, help })) => {
                let known = |text: String| with_known_names(&text, inputs, &self.job.made_from);
                Err(TaskError::Failed { message: known(message), help: self.advice(help.map(known)) })
            }
            Err(panic) => {
                Err(TaskError::Panicked { stage: self.job.ran_as.stage.clone(), message: panic_message(&*panic) })
            }
        }
    }

    /// A full disk explains most failures that happen on one.
    fn advice(&self, help: Option<String>) -> Option<String> {
        let root = self.env.cache.root();
        match disk::free_bytes(root) {
            Some(free) if free < NEARLY_FULL => Some(format!(
                "the disk that holds {} has only {} kB left: free some space, or choose another disk with \
                 `--cache DIR`, and run again; nothing that was finished is lost",
                root.display(),
                free / 1000
            )),
            _ => help,
        }
    }

    fn commit(&self, outcome: Outcome, seconds: f64, scores: BTreeMap<String, f64>) -> Result<TaskDone, TaskError> {
        let sync = if seconds < WORTH_SYNCING { Sync::Lazy } else { Sync::Now };
        let record = &self.job.record;
        let out = self.dir.join("out");
        let mut action = Action::new(self.key, record.clone(), self.job.ran_as.clone(), outcome, seconds);
        for output in &record.outputs {
            let (content, bytes) = self.env.cache.put(&output.name, &out.join(&output.path), sync)?;
            let path = output.path.to_string_lossy().into_owned();
            action.outputs.push(StoredOutput { name: output.name.clone(), path, content, bytes });
        }
        action.log = self.store_log()?;
        action.scores = scores;
        action.made_from = self.job.made_from.clone();
        if self.job.force {
            self.compare_with_before(&action);
        }
        self.env.cache.commit(&action, sync)?;
        let Action { outputs, created, scores, .. } = action;
        Ok(TaskDone { key: self.key, outputs, seconds, created, outcome, scores, ran: true })
    }

    fn outputs_present(&self) -> Result<(), TaskError> {
        let out = self.dir.join("out");
        match self.job.record.outputs.iter().find(|o| !out.join(&o.path).exists()) {
            Some(missing) => Err(TaskError::MissingOutput { name: missing.name.clone(), path: missing.path.clone() }),
            None => Ok(()),
        }
    }

    /// Running a task again must give the same bytes; if not, say so.
    fn compare_with_before(&self, action: &Action) {
        let Ok(Some(before)) = self.env.cache.action(self.key) else { return };
        let comparable = before.outcome == Outcome::Complete && action.outcome == Outcome::Complete;
        if comparable && before.outputs != action.outputs {
            let name = label(&self.job.ran_as.stage, &self.job.ran_as.task);
            self.env.watch.progress(Progress::Message(format!(
                "{name}: run again with the same inputs, it left other bytes than before: it is not deterministic"
            )));
        }
    }

    fn store_log(&self) -> Result<Option<Digest>, TaskError> {
        if fs::metadata(&self.log).map_or(0, |m| m.len()) == 0 {
            return Ok(None);
        }
        self.env.cache.put("log", &self.log, Sync::Lazy).map(|(content, _)| Some(content.digest()))
    }

    /// Moves the log of a failed attempt to where a person finds it.
    fn keep_log(&self, error: &TaskError) -> Option<PathBuf> {
        append(&self.log, &format!("error: {error}"));
        let ran_as = &self.job.ran_as;
        let name = label(&ran_as.stage, &ran_as.task).replace('/', "-");
        let kept = self.env.logs.join(format!("{name}.log"));
        // Without the log the failure is still reported; losing it must not hide the failure.
        fs::create_dir_all(self.env.logs).and_then(|()| fs::copy(&self.log, &kept)).ok().map(|_| kept)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        // Little things go when the process's scratch directory goes; see `Cache::retire` for the reason.
        if disk::bytes_below(&self.dir) > LEFT_TO_THE_END {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Passes news on and writes messages to the task's log.
struct Logged<'a> {
    watch: &'a dyn TaskWatch,
    log: &'a Path,
}

impl ProgressSink for Logged<'_> {
    fn progress(&self, news: Progress) {
        if let Progress::Message(text) = &news {
            append(self.log, text);
        }
        self.watch.progress(news);
    }
}

/// Appends a line to a log. A log that cannot be written must not fail the task.
fn append(log: &Path, text: &str) {
    let _ = fs::OpenOptions::new().create(true).append(true).open(log).and_then(|mut f| writeln!(f, "{text}"));
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown panic".to_owned())
}
