//! The seam between the engine and the stage kinds: what a kind must be able to do, and what a task gets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cancel::Cancel;
use crate::spec::{KindSpec, Pipeline, Stage};

/// A stage kind: says what it is, splits a stage into tasks, runs one task.
pub trait StageKind: Send + Sync {
    /// Its definition.
    fn spec(&self) -> &'static KindSpec;

    /// Splits a stage into tasks, before anything runs. Must not read pixel data.
    ///
    /// # Errors
    /// A sentence for the user when the items on two ports do not fit together (a map without truth, say).
    fn expand(&self, stage: &ExpandContext<'_>) -> Result<Expansion, ExpandError>;

    /// Runs one task: reads `task.input(..)`, writes every declared output under `task.out_dir()`.
    ///
    /// # Errors
    /// Whatever went wrong, worded for the person at the terminal.
    fn run(&self, task: &TaskContext<'_>) -> Result<Outcome, StageError>;

    /// Whether it runs what is not part of this program, which may do to its inputs what it must not. Then inputs are
    /// protected where that is possible, and looked at afterwards.
    fn is_foreign(&self) -> bool {
        false
    }
}

/// All known kinds by name.
#[derive(Clone, Default)]
pub struct Registry {
    kinds: BTreeMap<&'static str, Arc<dyn StageKind>>,
}

impl Registry {
    /// Adds a kind under the name in its spec.
    pub fn register(&mut self, kind: Arc<dyn StageKind>) {
        self.kinds.insert(kind.spec().name, kind);
    }

    /// The kind with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn StageKind>> {
        self.kinds.get(name)
    }

    /// Every kind's definition, by name.
    pub fn specs(&self) -> Vec<&'static KindSpec> {
        self.kinds.values().map(|k| k.spec()).collect()
    }
}

/// What a kind sees when it splits a stage.
pub struct ExpandContext<'a> {
    /// The whole pipeline (classes, seed, root), with the seed and the parameters of the variant.
    pub pipeline: &'a Pipeline,
    /// The stage to split, with the parameters of the variant.
    pub stage: &'a Stage,
    /// Items on each input port, in order: source files by stem, or the upstream stage's items in the same variant, or
    /// in all variants where the stage joins.
    pub inputs: BTreeMap<String, Vec<Item>>,
}

impl ExpandContext<'_> {
    /// The items on a port; empty when nothing is connected.
    pub fn items(&self, port: &str) -> &[Item] {
        self.inputs.get(port).map_or(&[], Vec::as_slice)
    }
}

/// One named thing on an edge: a scene, a map, a model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Its name: the scene's stem, or empty where the output is a single thing. A stage that joins sees the variant's
    /// name for a single thing, `variant/name` otherwise; where two sources of a port have the same, `stage/` before it.
    pub name: String,
    /// Where it comes from.
    pub from: Origin,
    /// On inputs of a stage that joins: what the variant chose, by the names of the axes.
    pub axes: Vec<(String, Value)>,
}

impl Item {
    /// An item of no particular variant.
    pub fn new(name: impl Into<String>, from: Origin) -> Self {
        Self { name: name.into(), from, axes: Vec::new() }
    }
}

/// Where an item's bytes come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A source file outside the cache (absolute path); hashed.
    File(PathBuf),
    /// An output of a task of another stage.
    Task {
        /// Stage name.
        stage: String,
        /// Task name within the stage: as the kind planned it in its own [`Expansion`], with the variant before it on
        /// inputs.
        task: String,
        /// Declared output of that task.
        output: String,
    },
}

/// The result of splitting a stage.
#[derive(Default, Debug)]
pub struct Expansion {
    /// Tasks, names unique within the stage.
    pub tasks: Vec<TaskPlan>,
    /// For every output of the stage: its items, each pointing at a task of this stage (`stage` and `task` filled in).
    pub outputs: BTreeMap<String, Vec<Item>>,
}

impl Expansion {
    /// Of a stage that is one task, whose outputs are the stage's, each a single thing.
    #[must_use]
    pub fn of_one(stage: &str, task: TaskPlan) -> Self {
        let made = |output: &OutputDecl| {
            let from = Origin::Task { stage: stage.into(), task: task.name.clone(), output: output.name.clone() };
            (output.name.clone(), vec![Item::new("", from)])
        };
        Self { outputs: task.outputs.iter().map(made).collect(), tasks: vec![task] }
    }
}

/// One task before its inputs are known by digest.
#[derive(Clone, Debug)]
pub struct TaskPlan {
    /// Unique within the stage: the scene's name, or `""` where the stage is one task. In a [`Graph`](super::Graph) the
    /// variant stands before it.
    pub name: String,
    /// The parameters *that this task reads*, nothing else. Part of the key.
    pub params: Value,
    /// Seed, where the task uses one. Part of the key.
    pub seed: Option<u64>,
    /// Class table as JSON, as much of it as the task reads (no colours for training). Part of the key.
    pub classes: Option<Value>,
    /// Inputs by slot name, e.g. `model`, `tiles/val_scene_0`. Slot names are part of the key.
    pub inputs: Vec<(String, Origin)>,
    /// What the task must leave under its output directory.
    pub outputs: Vec<OutputDecl>,
    /// How many cores the task makes good use of: 1, or all for training.
    pub cores: Cores,
}

/// How much of the machine a task wants while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cores {
    /// One core: as many of these run side by side as `-j` allows.
    #[default]
    One,
    /// All cores: runs alone.
    All,
}

/// A declared output of a task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OutputDecl {
    /// Output name, unique within the task.
    pub name: String,
    /// File or directory relative to the output directory. Also its place in the readable view, below
    /// `cache/<pipeline>/<stage>/[<variant>/]`; therefore unique within the stage, e.g. `val_scene_0.tif`.
    pub path: PathBuf,
}

/// The device that training and prediction use. Never part of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum DeviceChoice {
    /// CUDA where this build and this machine have it, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA device by ordinal.
    Cuda(usize),
}

/// What a running task tells the terminal.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// `done` of `total` units (epochs, steps, windows, rows …), with a short remark such as `loss 0.41  hold-out 0.62`.
    Step {
        /// Unit, plural: "epochs", "windows".
        unit: &'static str,
        /// Finished so far.
        done: u64,
        /// Out of.
        total: u64,
        /// Short remark; may be empty.
        note: String,
    },
    /// A line for the log and, with `-v`, for the terminal.
    Message(String),
    /// A line for the log and the terminal: what a person has asked to be told.
    Notice(String),
}

/// Receives a running task's progress. Cheap to call; called at most some tens of times a second.
pub trait ProgressSink: Send + Sync {
    /// One piece of news.
    fn progress(&self, news: Progress);
}

/// Numbers that a task reports about its result, by name: a mean Jaccard, an area. They are kept with the result and shown
/// beside the run; no key depends on them.
#[derive(Debug, Default)]
pub struct Scores(Mutex<BTreeMap<String, f64>>);

impl Scores {
    /// Reports a number. A number that is none (NaN, infinite) has no spelling in JSON and is left out.
    pub fn report(&self, name: impl Into<String>, value: f64) {
        if value.is_finite() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.into(), value);
        }
    }

    /// What has been reported.
    pub(super) fn all(&self) -> BTreeMap<String, f64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Everything a task has while it runs.
pub struct TaskContext<'a> {
    /// The parameters of its [`TaskPlan`].
    pub params: &'a Value,
    /// The seed of its plan.
    pub seed: Option<u64>,
    /// The class table of its plan, as JSON.
    pub classes: Option<&'a Value>,
    /// Slot name -> readable path (a file, or a directory of links). Never to be written to.
    pub inputs: &'a BTreeMap<String, PathBuf>,
    /// Declared outputs, to be made under [`TaskContext::out_dir`].
    pub outputs: &'a [OutputDecl],
    /// Fresh, empty, private directory on the cache's file system.
    pub out_dir: &'a Path,
    /// Private directory for other temporary files, removed afterwards.
    pub scratch_dir: &'a Path,
    /// Directory that outlives a failed or interrupted attempt at this very task (same key): checkpoints.
    /// Removed when the task has been committed. Not there for kinds that are foreign.
    pub checkpoint_dir: &'a Path,
    /// Device asked for.
    pub device: DeviceChoice,
    /// Bytes of GPU memory that it may use at most; `None`: what the GPU has. Never part of a key.
    pub gpu_memory: Option<u64>,
    /// Threads that the task may use.
    pub threads: usize,
    /// GPUs that the task holds, by ordinal; empty where its stage asks for none.
    pub gpus: &'a [u32],
    /// When the run's budget leaves this task no more time.
    pub deadline: Option<Instant>,
    /// To be looked at often; then return [`StageError::Cancelled`].
    pub cancel: &'a Cancel,
    /// Where news go.
    pub progress: &'a dyn ProgressSink,
    /// The task's log file, to append to (shell output, warnings).
    pub log: &'a Path,
    /// Where numbers about the result are reported.
    pub scores: &'a Scores,
}

impl TaskContext<'_> {
    /// The path of an input slot.
    ///
    /// # Errors
    /// [`StageError::Failed`] when the record has no such slot: a record made by another version.
    pub fn input(&self, slot: &str) -> Result<&Path, StageError> {
        self.inputs.get(slot).map(PathBuf::as_path).ok_or_else(|| {
            StageError::failed(format!(
                "the task record has no input {slot:?}: it was made by another version of s2pipe"
            ))
        })
    }

    /// The slots `port/<item>` with their item names, in slot order.
    pub fn items(&self, port: &str) -> Vec<(&str, &Path)> {
        self.inputs
            .iter()
            .filter_map(|(slot, path)| slot.strip_prefix(port)?.strip_prefix('/').map(|item| (item, path.as_path())))
            .collect()
    }

    /// Absolute path where the declared output `name` must be written.
    ///
    /// # Errors
    /// [`StageError::Failed`] when no such output is declared.
    pub fn output(&self, name: &str) -> Result<PathBuf, StageError> {
        self.outputs.iter().find(|o| o.name == name).map(|o| self.out_dir.join(&o.path)).ok_or_else(|| {
            StageError::failed(format!(
                "the task record has no output {name:?}: it was made by another version of s2pipe"
            ))
        })
    }
}

/// How a task ended well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of it was done.
    Complete,
    /// The deadline cut it short (training stopped at its best checkpoint). Used by what follows in this run,
    /// never served from the cache as the full result.
    CutShort,
}

/// Why a stage could not be split into tasks.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ExpandError {
    /// What is wrong, for the user.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// Why a task did not end well.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// It was asked to stop; it left a checkpoint where it could.
    #[error("stopped on request")]
    Cancelled,
    /// It failed. `message` names the file or input, what was expected and what was found; `help` says what to do.
    #[error("{message}")]
    Failed {
        /// What went wrong.
        message: String,
        /// What to do about it.
        help: Option<String>,
    },
}

impl StageError {
    /// A failure without advice.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), help: None }
    }

    /// A failure with advice.
    pub fn with_help(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), help: Some(help.into()) }
    }
}
