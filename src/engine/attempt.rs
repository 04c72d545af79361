//! One attempt at a task, in a private directory that goes away with it: lay the inputs out, run the kind, take the
//! outputs into the store, write the action.
//!
//! The order of the commit is what makes `kill -9` harmless at any moment: files, then tree records, then the action.
//! Whatever is in the store without an action is merely not referred to. Results that took a second or more are forced
//! to the disk (`fdatasync`) before they get their name, so that a power cut cannot take away more than seconds of work;
//! for short tasks this would cost more than running them again, and the size check of every lookup finds what a
//! power cut truncated.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::action::{Action, MadeFrom, StoredOutput};
use super::digest::{ContentId, Digest, Key};
use super::disk::{self, Sync};
use super::error::CacheError;
use super::executor::{TaskDone, TaskEnv, TaskWatch};
use super::graph::label;
use super::job::TaskJob;
use super::record::InputRecord;
use super::stage::{Outcome, Progress, ProgressSink, Scores, StageError, StageKind, TaskContext};
use super::task_error::TaskError;
use super::wording::{known_name, with_known_names};

/// From this many seconds on a result is forced to the disk.
const WORTH_SYNCING: f64 = 1.0;
/// What an attempt leaves behind is removed at once if it is larger than this.
const LEFT_TO_THE_END: u64 = 64 << 10;
/// Less free space than this when a task fails: the full disk is the likely cause.
const NEARLY_FULL: u64 = 4 << 20;

/// What an attempt that ended well made, besides the files in `out/`.
pub(super) struct Made {
    outcome: Outcome,
    pub(super) seconds: f64,
    scores: BTreeMap<String, f64>,
}

/// One attempt at a task.
pub(super) struct Attempt<'a> {
    job: &'a TaskJob,
    env: &'a TaskEnv<'a>,
    key: Key,
    /// When the run's budget leaves the task no more time; the same for all attempts.
    deadline: Option<Instant>,
    dir: PathBuf,
    log: PathBuf,
    checkpoints: PathBuf,
    /// Its result is in the store, so that its directory can be used again.
    done: Cell<bool>,
}

impl<'a> Attempt<'a> {
    /// The first attempt.
    pub(super) fn new(job: &'a TaskJob, env: &'a TaskEnv<'a>, key: Key) -> Result<Self, CacheError> {
        let attempt = Self::start(job, env, key, job.deadline(), true)?;
        if job.force {
            // A forced task starts from nothing.
            disk::remove(&attempt.checkpoints)?;
        }
        Ok(attempt)
    }

    /// One that has nothing to do with the others: its checkpoints are its own.
    pub(super) fn apart(job: &'a TaskJob, env: &'a TaskEnv<'a>, key: Key) -> Result<Self, CacheError> {
        let mut attempt = Self::start(job, env, key, None, false)?;
        attempt.checkpoints = attempt.dir.join("checkpoints");
        Ok(attempt)
    }

    /// The next one. It goes on with the log, and with the checkpoints of a kind that leaves some; nothing else of this
    /// one is left to it.
    pub(super) fn again(&self) -> Result<Self, CacheError> {
        let next = Self::start(self.job, self.env, self.key, self.deadline, true)?;
        if self.log.exists() {
            disk::rename(&self.log, &next.log)?;
        }
        Ok(next)
    }

    fn start(
        job: &'a TaskJob,
        env: &'a TaskEnv<'a>,
        key: Key,
        deadline: Option<Instant>,
        used_before: bool,
    ) -> Result<Self, CacheError> {
        let dir = env.cache.desk(used_before)?;
        let (log, checkpoints) = (dir.join("log"), env.cache.checkpoint_dir(key));
        Ok(Self { job, env, key, deadline, log, checkpoints, dir, done: Cell::new(false) })
    }

    /// Runs it to its end and takes what it made into the store.
    pub(super) fn run(&self, kind: &dyn StageKind) -> Result<TaskDone, TaskError> {
        let made = self.make(kind)?;
        let done = self.commit(made)?;
        self.done.set(true);
        Ok(done)
    }

    /// Where it makes its outputs.
    pub(super) fn out_dir(&self) -> PathBuf {
        self.dir.join("out")
    }

    /// Runs the kind; what it made stays in `out/`.
    pub(super) fn make(&self, kind: &dyn StageKind) -> Result<Made, TaskError> {
        let inputs = self.lay_out_inputs()?;
        if kind.is_foreign() {
            disk::protect(&self.dir.join("in"))?;
        } else {
            // What is not our own code has none.
            self.env.cache.make_checkpoint_dir(self.key, &self.checkpoints)?;
        }
        let start = Instant::now();
        let scores = Scores::default();
        let outcome = self.call(kind, &inputs, &scores)?;
        let seconds = start.elapsed().as_secs_f64();
        if kind.is_foreign() {
            self.inputs_untouched()?;
        }
        self.sources_unchanged()?;
        self.outputs_present()?;
        Ok(Made { outcome, seconds, scores: scores.all() })
    }

    /// Makes `in/<slot>` for every input: a link to the file, or a directory of links.
    fn lay_out_inputs(&self) -> Result<BTreeMap<String, PathBuf>, TaskError> {
        let below = self.dir.join("in");
        let kept = self.env.cache.keep_links(&below, |name| self.target(name))?;
        let mut paths = BTreeMap::new();
        for input in &self.job.record.inputs {
            let path = below.join(input.link_name());
            if let Some(parent) = path.parent().filter(|p| *p != below && !p.exists()) {
                disk::make_dir(parent)?;
            }
            if let Some(file) = self.source_file(input) {
                self.source_unchanged(file, input.content)?;
                if !kept.contains(&path) {
                    disk::link(file, &path)?;
                }
            } else if !self.env.cache.materialise(input.content, &path, kept.contains(&path))? {
                return Err(TaskError::InputGone { slot: input.slot.clone() });
            }
            paths.insert(input.slot.clone(), path);
        }
        Ok(paths)
    }

    /// Where the link of this name among the inputs must lead; `None`: there is none, or it is no plain link.
    fn target(&self, name: &str) -> Option<PathBuf> {
        let input = self.job.record.inputs.iter().find(|input| input.link_name() == name)?;
        match (self.source_file(input), input.content) {
            (Some(file), _) => Some(file.to_path_buf()),
            (None, ContentId::File(digest)) => Some(self.env.cache.file_path(digest)),
            (None, ContentId::Tree(_)) => None,
        }
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

    /// What is not our own code may have written through the links to its inputs.
    fn inputs_untouched(&self) -> Result<(), TaskError> {
        for input in &self.job.record.inputs {
            let same = match self.source_file(input) {
                Some(file) => self.source_unchanged(file, input.content).is_ok(),
                None => self.env.cache.is_untouched(input.content),
            };
            if !same {
                let (stage, made_from) = (self.job.ran_as.stage.clone(), self.job.made_from.get(&input.slot));
                let input = made_from.map_or_else(|| input.slot.clone(), known_name);
                return Err(TaskError::InputWritten { stage, input });
            }
        }
        Ok(())
    }

    fn call(
        &self,
        kind: &dyn StageKind,
        inputs: &BTreeMap<String, PathBuf>,
        scores: &Scores,
    ) -> Result<Outcome, TaskError> {
        let record = &self.job.record;
        let (out_dir, scratch_dir) = (self.out_dir(), self.dir.join("work"));
        let progress = Logged { watch: self.env.watch, log: &self.log };
        let cancel = self.job.cancel(self.env.cancel);
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
            gpu_memory: self.job.gpu_memory,
            threads: self.job.threads.max(1),
            gpus: &self.job.gpus,
            deadline: self.deadline,
            cancel: &cancel,
            progress: &progress,
            log: &self.log,
            scores,
        };
        // What a panicking kind leaves behind is its private directory, which is thrown away.
        let ended = catch_unwind(AssertUnwindSafe(|| kind.run(&context)));
        match ended {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(StageError::Cancelled)) => match self.job.timeout_seconds {
                Some(seconds) if !self.env.cancel.is_cancelled() => Err(TaskError::TimedOut { seconds }),
                _ => Err(TaskError::Cancelled),
            },
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

    fn outputs_present(&self) -> Result<(), TaskError> {
        let out = self.out_dir();
        match self.job.record.outputs.iter().find(|o| !out.join(&o.path).exists()) {
            Some(missing) => Err(TaskError::MissingOutput { name: missing.name.clone(), path: missing.path.clone() }),
            None => Ok(()),
        }
    }

    fn commit(&self, Made { outcome, seconds, scores }: Made) -> Result<TaskDone, TaskError> {
        let sync = if seconds < WORTH_SYNCING { Sync::Lazy } else { Sync::Now };
        let record = &self.job.record;
        let out = self.out_dir();
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

    /// Writes a line to the log and tells it to whoever watches.
    pub(super) fn tell(&self, text: String) {
        Logged { watch: self.env.watch, log: &self.log }.progress(Progress::Message(text));
    }

    /// Moves the log of a failed attempt to where a person finds it.
    pub(super) fn keep_log(&self, error: &TaskError) -> Option<PathBuf> {
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
        // Little things go when the process's scratch directory goes; making files right after deleting some is slow on some file systems.
        if self.done.get() && self.env.cache.clear_desk(&self.dir) {
            return;
        }
        if disk::bytes_below(&self.dir) > LEFT_TO_THE_END {
            let _ = disk::remove_tree(&self.dir);
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
        if let Progress::Message(text) | Progress::Notice(text) = &news {
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
