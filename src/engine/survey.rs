//! Looks every selected task up: the common first half of planning and running.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::path::Path;

use rayon::prelude::*;

use super::action::{Done, Lookup, MadeFrom, Miss, RanAs, StoredOutput};
use super::cache::Cache;
use super::digest::{ContentId, Digest, Key};
use super::error::PlanError;
use super::graph::{Graph, TaskId, TaskInput, TaskSource};
use super::job::TaskJob;
use super::newest::Newest;
use super::reason::{Reason, differences};
use super::record::{InputRecord, TaskRecord};
use super::selection::{Selected, Selection};
use super::ticket::{Awaited, Ticket};

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
        let inputs = &self.graph.tasks[id].inputs;
        let inputs: Option<Vec<InputRecord>> = inputs.iter().map(|input| self.input(input)).collect();
        Some(self.record_with(id, inputs?))
    }

    fn record_with(&self, id: TaskId, inputs: Vec<InputRecord>) -> TaskRecord {
        let node = &self.graph.tasks[id];
        let plan = &node.plan;
        let kind = &self.graph.stages[node.stage].kind;
        TaskRecord::new(
            (kind, node.version),
            (&plan.params, plan.seed, plan.classes.as_ref()),
            inputs,
            plan.outputs.clone(),
        )
    }

    /// What an input holds, if that is known.
    fn input(&self, input: &TaskInput) -> Option<InputRecord> {
        let content = match &input.from {
            TaskSource::File(path) => ContentId::File(*self.sources.get(path.as_os_str())?),
            TaskSource::Task { task, output } => {
                let State::Made(made) = &self.states[*task] else { return None };
                let name = &self.graph.tasks[*task].plan.outputs[*output].name;
                made.outputs.iter().find(|o| o.name == *name)?.content
            }
        };
        Some(InputRecord { slot: input.slot.clone(), ext: input.ext.clone(), content })
    }

    /// Where an input comes from, if it is made.
    fn made_from(&self, input: &TaskInput) -> Option<MadeFrom> {
        match &input.from {
            TaskSource::File(path) => Some(MadeFrom::File { path: path.clone() }),
            TaskSource::Task { task, output } => {
                let State::Made(made) = &self.states[*task] else { return None };
                let (stage, task, output) = self.output_names(*task, *output);
                Some(MadeFrom::Task { stage, task, output, key: made.key })
            }
        }
    }

    /// Stage, task and output by name.
    fn output_names(&self, task: TaskId, output: usize) -> (String, String, String) {
        let node = &self.graph.tasks[task];
        (self.graph.stages[node.stage].name.clone(), node.plan.name.clone(), node.plan.outputs[output].name.clone())
    }

    /// The job of a task, if all its inputs are known.
    pub(super) fn job(&self, id: TaskId) -> Option<TaskJob> {
        self.job_awaiting(id, &[])
    }

    /// The job of a task. Inputs that are not made yet it awaits by the tickets of the tasks that make them; `None` where
    /// one of those has none.
    pub(super) fn job_awaiting(&self, id: TaskId, tickets: &[Option<Ticket>]) -> Option<TaskJob> {
        let node = &self.graph.tasks[id];
        let (mut inputs, mut made_from, mut awaits) = (Vec::new(), BTreeMap::new(), Vec::new());
        for input in &node.inputs {
            match (self.input(input), self.made_from(input), &input.from) {
                (Some(record), Some(from), _) => {
                    inputs.push(record);
                    made_from.insert(input.slot.clone(), from);
                }
                (_, _, TaskSource::Task { task, output }) => {
                    let ticket = (*tickets.get(*task)?)?;
                    let (stage, task, output) = self.output_names(*task, *output);
                    awaits.push(Awaited {
                        slot: input.slot.clone(),
                        ext: input.ext.clone(),
                        ticket,
                        stage,
                        task,
                        output,
                    });
                }
                _ => return None,
            }
        }
        let stage = &self.graph.stages[node.stage];
        let ran_as =
            RanAs { pipeline: self.graph.pipeline.clone(), stage: stage.name.clone(), task: node.plan.name.clone() };
        let mut job = TaskJob::new(ran_as, self.record_with(id, inputs), made_from);
        job.awaits = awaits;
        job.force = self.is_forced(id);
        job.timeout_seconds = stage.limits.timeout.map(|t| t.as_secs_f64());
        job.retries = stage.limits.retries;
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
