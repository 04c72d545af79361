//! The static graph of a pipeline's tasks.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache::Cache;
use super::error::GraphError;
use super::expand::Expander;
use super::order::topological;
use super::resolved::resolved;
use super::stage::{Registry, TaskPlan};
use crate::spec::{Limits, Pipeline};

/// Position of a stage in [`Graph::stages`].
pub type StageId = usize;
/// Position of a task in [`Graph::tasks`].
pub type TaskId = usize;

/// All tasks of a pipeline and what they wait for.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The pipeline's name.
    pub pipeline: String,
    /// The pipeline's file.
    pub file: PathBuf,
    /// The pipeline as it was understood, as JSON, for the run's folder.
    pub resolved: String,
    /// Time for the whole run.
    pub budget: Option<Duration>,
    /// Stages in topological order; among stages that are free to go, in the order of the file.
    pub stages: Vec<StageNode>,
    /// Tasks in topological order, stage by stage.
    pub tasks: Vec<TaskNode>,
}

/// One stage of a [`Graph`].
#[derive(Clone, Debug)]
pub struct StageNode {
    /// Its name.
    pub name: String,
    /// The kind it uses.
    pub kind: String,
    /// Names of its variants, `width=16,lr=0.001`; empty where no axis of a matrix reaches it.
    pub variants: Vec<String>,
    /// Its tasks, variant by variant.
    pub tasks: Range<TaskId>,
    /// Stages whose outputs it reads, ascending.
    pub reads: Vec<StageId>,
    /// Stages it waits for without reading them (`needs:`), ascending.
    pub needs: Vec<StageId>,
    /// Its outputs with their items: what the stages after it may refer to.
    pub outputs: BTreeMap<String, Vec<OutputItem>>,
    /// Time and machine that each of its tasks may use.
    pub limits: Limits,
}

/// One item of a stage's output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutputItem {
    /// The item's name; empty where the output is a single thing. The variant stands before it.
    pub item: String,
    /// The task that makes it.
    pub task: TaskId,
    /// Position among the task's outputs.
    pub output: usize,
}

/// One task of a [`Graph`].
#[derive(Clone, Debug)]
pub struct TaskNode {
    /// The stage it belongs to.
    pub stage: StageId,
    /// The variant that it belongs to, a folder between the stage and its outputs in the readable view; empty where the
    /// stage has no variants. Never part of the key: variants with equal records share one result.
    pub variant: String,
    /// What the stage kind planned. Its `inputs` are resolved in [`TaskNode::inputs`].
    pub plan: TaskPlan,
    /// Code version of the stage kind.
    pub version: u32,
    /// Inputs, in the order of the plan.
    pub inputs: Vec<TaskInput>,
    /// Tasks whose outputs it reads, ascending, each once.
    pub reads: Vec<TaskId>,
}

/// One resolved input of a task.
#[derive(Clone, Debug)]
pub struct TaskInput {
    /// Slot name.
    pub slot: String,
    /// Extension of the name under which the task sees it.
    pub ext: String,
    /// Where it comes from.
    pub from: TaskSource,
}

/// Where a task's input comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TaskSource {
    /// A source file, absolute.
    File(PathBuf),
    /// An output of another task.
    Task {
        /// The task.
        task: TaskId,
        /// Position among its outputs.
        output: usize,
    },
}

impl Graph {
    /// Splits every stage into its tasks.
    ///
    /// # Errors
    /// [`GraphError`] naming the stage: a kind that objects, references that lead nowhere, names that clash.
    pub fn expand(pipeline: &Pipeline, registry: &Registry) -> Result<Self, GraphError> {
        if !Cache::is_pipeline_name(&pipeline.name) {
            return Err(GraphError::BadPipelineName(pipeline.name.clone()));
        }
        let mut graph = Self {
            pipeline: pipeline.name.clone(),
            file: pipeline.file.clone(),
            resolved: resolved(pipeline),
            budget: pipeline.budget,
            stages: Vec::new(),
            tasks: Vec::new(),
        };
        let mut expander = Expander::new(pipeline);
        for stage in topological(pipeline)? {
            expander.add(&mut graph, stage, registry)?;
        }
        Ok(graph)
    }

    /// The stage with this name.
    pub fn stage_id(&self, name: &str) -> Option<StageId> {
        self.stages.iter().position(|s| s.name == name)
    }

    /// Where the outputs of a task stand below the folder of its pipeline in the readable view: `stage` or
    /// `stage/variant`.
    pub(super) fn folder(&self, task: TaskId) -> PathBuf {
        let node = &self.tasks[task];
        folder(&self.stages[node.stage].name, &node.variant)
    }

    /// `stage/task`, or `stage` where the stage is one task.
    pub fn label(&self, task: TaskId) -> String {
        let node = &self.tasks[task];
        label(&self.stages[node.stage].name, &node.plan.name)
    }

    /// `stage.output` or `stage/task.output`; without the output where the task has one only.
    pub(super) fn output_label(&self, task: TaskId, output: usize) -> String {
        match self.tasks[task].plan.outputs.as_slice() {
            [_] => self.label(task),
            outputs => format!("{}.{}", self.label(task), outputs[output].name),
        }
    }

    /// The stages that wait for a stage, by data or by `needs`.
    pub fn stage_dependents(&self) -> Vec<Vec<StageId>> {
        let mut dependents = vec![Vec::new(); self.stages.len()];
        for (id, stage) in self.stages.iter().enumerate() {
            for &upstream in stage.reads.iter().chain(&stage.needs) {
                dependents[upstream].push(id);
            }
        }
        dependents
    }
}

/// `stage/task`, or `stage` for the only task of a stage.
pub fn label(stage: &str, task: &str) -> String {
    if task.is_empty() { stage.to_owned() } else { format!("{stage}/{task}") }
}

/// `stage`, or `stage/variant`.
pub(super) fn folder(stage: &str, variant: &str) -> PathBuf {
    if variant.is_empty() { PathBuf::from(stage) } else { Path::new(stage).join(variant) }
}
