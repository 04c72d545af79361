//! Looks every selected task up: the common first half of planning and running.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::path::Path;

use rayon::prelude::*;

use super::action::{Done, Lookup, MadeFrom, Miss, RanAs, StoredOutput};
use super::cache::Cache;
use super::digest::{ContentId, Digest, Key};
use super::error::PlanError;
use super::graph::{Graph, TaskId, TaskNode, TaskSource};
use super::job::TaskJob;
use super::newest::Newest;
use super::reason::{Reason, differences};
use super::record::{InputRecord, TaskRecord};
use super::selection::{Selected, Selection};

/// Fewer tasks than this are looked up one after the other: starting threads would cost more.
const PARALLEL_FROM: usize = 64;

/// A task whose outputs are known.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Made {
    pub(super) key: Key,
    pub(super) outputs: Vec<StoredOutput>,
    pub(super) seconds: f64,
    pub(super) created: String,
    pub(super) scores: BTreeMap<String, f64>,
}

/// What is known about a task before or during a run.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum State {
    /// Not selected.
    Out,
    /// Its outputs are in the store.
    Made(Made),
    /// It has to run, whatever happens to other tasks.
    Must { key: Option<Key>, reasons: Vec<Reason> },
    /// It runs if one of the tasks that it reads leaves something new.
    May,
}

/// The graph with what the cache knows about it.
pub(super) struct Survey<'a> {
    pub(super) graph: &'a Graph,
    pub(super) cache: &'a Cache,
    pub(super) newest: Newest,
    pub(super) selected: Selected,
    pub(super) states: Vec<State>,
    sources: HashMap<&'a OsStr, Digest>,
}

impl<'a> Survey<'a> {
    /// Hashes the sources and looks all tasks up.
    pub(super) fn make(graph: &'a Graph, cache: &'a Cache, selection: &Selection) -> Result<Self, PlanError> {
        let selected = selection.resolve(graph)?;
        let sources = hash_sources(graph, cache, &selected)?;
        let newest = cache.newest(&graph.pipeline);
        let states = vec![State::Out; graph.tasks.len()];
        let mut survey = Self { graph, cache, newest, selected, states, sources };
        for level in levels(graph) {
            let look = |id: &TaskId| (*id, survey.first_look(*id));
            let found: Vec<(TaskId, State)> = if level.len() < PARALLEL_FROM {
                level.iter().map(look).collect()
            } else {
                level.par_iter().map(look).collect()
            };
            for (id, state) in found {
                survey.states[id] = state;
            }
        }
        Ok(survey)
    }

    /// The source files that selected tasks read, with their digests.
    pub(super) fn sources(&self) -> &HashMap<&'a OsStr, Digest> {
        &self.sources
    }

    fn first_look(&self, id: TaskId) -> State {
        if !self.selected.included[self.graph.tasks[id].stage] {
            return State::Out;
        }
        match self.record(id) {
            Some(record) => self.look_up(id, &record),
            None if self.is_forced(id) => State::Must { key: None, reasons: vec![Reason::Forced] },
            None => State::May,
        }
    }

    /// Whether the task runs even when its result is in the cache.
    pub(super) fn is_forced(&self, id: TaskId) -> bool {
        self.selected.forced[self.graph.tasks[id].stage]
    }

    /// Looks up a task whose inputs are known.
    pub(super) fn look_up(&self, id: TaskId, record: &TaskRecord) -> State {
        // A record that cannot be spelt was refused when the graph was made.
        let Ok(key) = record.key() else { return State::Must { key: None, reasons: vec![Reason::Unknown] } };
        if self.is_forced(id) {
            return State::Must { key: Some(key), reasons: vec![Reason::Forced] };
        }
        match self.cache.lookup(key) {
            Lookup::Hit(done) => {
                let Done { outputs, seconds, created, scores, .. } = done;
                State::Made(Made { key, outputs, seconds, created, scores })
            }
            Lookup::Miss(miss) => State::Must { key: Some(key), reasons: self.reasons(id, key, record, miss) },
        }
    }

    fn reasons(&self, id: TaskId, key: Key, record: &TaskRecord, miss: Miss) -> Vec<Reason> {
        let node = &self.graph.tasks[id];
        match miss {
            Miss::Evicted { output } => return vec![Reason::Evicted { output: Some(output) }],
            Miss::Damaged { output } => return vec![Reason::Damaged { output }],
            Miss::CutShort => return vec![Reason::CutShort],
            Miss::Unknown => {}
        }
        let Some(last) = self.newest.task(&self.graph.stages[node.stage].name, &node.plan.name) else {
            return vec![Reason::NeverRun];
        };
        if last.key == key {
            return vec![Reason::Evicted { output: None }];
        }
        let Ok(Some(action)) = self.cache.action(last.key) else { return vec![Reason::Unknown] };
        let source = |slot: &str| {
            node.inputs.iter().find(|i| i.slot == slot).map(|i| match &i.from {
                TaskSource::File(path) => path.display().to_string(),
                TaskSource::Task { task, output } => self.graph.output_label(*task, *output),
            })
        };
        differences(&action.record, record, source)
    }

    /// The task's record, if all its inputs are known.
    pub(super) fn record(&self, id: TaskId) -> Option<TaskRecord> {
        let node = &self.graph.tasks[id];
        let inputs: Option<Vec<InputRecord>> = node
            .inputs
            .iter()
            .map(|input| {
                let content = match &input.from {
                    TaskSource::File(path) => ContentId::File(*self.sources.get(path.as_os_str())?),
                    TaskSource::Task { task, output } => {
                        let State::Made(made) = &self.states[*task] else { return None };
                        let name = &self.graph.tasks[*task].plan.outputs[*output].name;
                        made.outputs.iter().find(|o| o.name == *name)?.content
                    }
                };
                Some(InputRecord { slot: input.slot.clone(), ext: input.ext.clone(), content })
            })
            .collect();
        let plan = &node.plan;
        let kind = &self.graph.stages[node.stage].kind;
        Some(TaskRecord::new(
            (kind, node.version),
            (&plan.params, plan.seed, plan.classes.as_ref()),
            inputs?,
            plan.outputs.clone(),
        ))
    }

    /// The job of a task, if all its inputs are known.
    pub(super) fn job(&self, id: TaskId) -> Option<TaskJob> {
        let node = &self.graph.tasks[id];
        let stage_of = |task: &TaskNode| self.graph.stages[task.stage].name.clone();
        let made_from: Option<BTreeMap<String, MadeFrom>> = node
            .inputs
            .iter()
            .map(|input| {
                let from = match &input.from {
                    TaskSource::File(path) => MadeFrom::File { path: path.clone() },
                    TaskSource::Task { task, output } => {
                        let State::Made(made) = &self.states[*task] else { return None };
                        let up = &self.graph.tasks[*task];
                        MadeFrom::Task {
                            stage: stage_of(up),
                            task: up.plan.name.clone(),
                            output: up.plan.outputs[*output].name.clone(),
                            key: made.key,
                        }
                    }
                };
                Some((input.slot.clone(), from))
            })
            .collect();
        let ran_as =
            RanAs { pipeline: self.graph.pipeline.clone(), stage: stage_of(node), task: node.plan.name.clone() };
        let mut job = TaskJob::new(ran_as, self.record(id)?, made_from?);
        job.force = self.is_forced(id);
        let limits = &self.graph.stages[node.stage].limits;
        job.timeout_seconds = limits.timeout.map(|t| t.as_secs_f64());
        job.retries = limits.retries;
        Some(job)
    }
}

/// Digests of all source files that selected tasks read, each file once, in parallel.
fn hash_sources<'a>(
    graph: &'a Graph,
    cache: &Cache,
    selected: &Selected,
) -> Result<HashMap<&'a OsStr, Digest>, PlanError> {
    // By text: hashing a path by its components takes several times as long.
    let mut wanted: HashMap<&OsStr, TaskId> = HashMap::new();
    for (id, node) in graph.tasks.iter().enumerate().filter(|(_, n)| selected.included[n.stage]) {
        for input in &node.inputs {
            if let TaskSource::File(path) = &input.from {
                wanted.entry(path.as_os_str()).or_insert(id);
            }
        }
    }
    let memory = cache.sources();
    let digests = wanted
        .into_par_iter()
        .map(|(path, task)| {
            let digest = memory.digest(Path::new(path)).map_err(|source| PlanError::Source {
                stage: graph.stages[graph.tasks[task].stage].name.clone(),
                path: path.into(),
                source,
            })?;
            Ok((path, digest))
        })
        .collect();
    // What was learnt is kept even when a file is missing. A memory that cannot be written is only slower.
    if let Err(error) = memory.save() {
        tracing::debug!("digests of source files are not remembered: {error}");
    }
    digests
}

/// Tasks by the length of the longest way to them: all tasks of a level can be looked up at once.
fn levels(graph: &Graph) -> Vec<Vec<TaskId>> {
    let mut depth = vec![0; graph.tasks.len()];
    let mut levels: Vec<Vec<TaskId>> = Vec::new();
    for (id, node) in graph.tasks.iter().enumerate() {
        depth[id] = node.reads.iter().map(|up| depth[*up] + 1).max().unwrap_or(0);
        if levels.len() <= depth[id] {
            levels.resize_with(depth[id] + 1, Vec::new);
        }
        levels[depth[id]].push(id);
    }
    levels
}
