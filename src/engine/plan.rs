//! What a run would do, and why, without doing it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::cache::Cache;
use super::digest::Key;
use super::error::PlanError;
use super::graph::{Graph, TaskId};
use super::reason::Reason;
use super::selection::Selection;
use super::survey::{State, Survey};
use super::ticket::Ticket;

/// What a run with a given selection would do.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Plan {
    /// Pipeline name.
    pub pipeline: String,
    /// Every selected task, in topological order.
    pub tasks: Vec<PlannedTask>,
}

/// What would become of one task.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PlannedTask {
    /// Stage name.
    pub stage: String,
    /// Task name; empty for the only task of a stage.
    pub task: String,
    /// Its key, where all its inputs are known.
    pub key: Option<Key>,
    /// What would become of it.
    pub state: TaskState,
    /// How long it took last time, where that is known.
    pub seconds: Option<f64>,
    /// By what a cluster knows it.
    pub ticket: Option<Ticket>,
}

/// What would become of a task.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TaskState {
    /// Its result is in the cache.
    Cached,
    /// It runs.
    WillRun {
        /// Why; at least one.
        reasons: Vec<Reason>,
    },
    /// It runs unless the tasks before it leave the same bytes as before.
    MayRun {
        /// The stages that have to run first.
        depends_on: Vec<String>,
    },
}

/// How many tasks are in which state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PlanCounts {
    /// From the cache.
    pub cached: usize,
    /// Run for sure.
    pub will_run: usize,
    /// Run if something before them changes.
    pub may_run: usize,
}

impl Plan {
    /// Counts by state.
    pub fn counts(&self) -> PlanCounts {
        let mut counts = PlanCounts::default();
        for task in &self.tasks {
            match task.state {
                TaskState::Cached => counts.cached += 1,
                TaskState::WillRun { .. } => counts.will_run += 1,
                TaskState::MayRun { .. } => counts.may_run += 1,
            }
        }
        counts
    }

    /// Whether nothing would run.
    pub fn is_current(&self) -> bool {
        self.tasks.iter().all(|t| t.state == TaskState::Cached)
    }
}

/// Looks up what a run would do. Reads the cache and the source files, changes nothing but the memory of digests.
///
/// # Errors
/// [`PlanError`] for unknown stage names and unreadable source files.
pub fn plan(graph: &Graph, cache: &Cache, selection: &Selection) -> Result<Plan, PlanError> {
    let survey = Survey::make(graph, cache, selection)?;
    let tickets = survey.tickets();
    let tasks = (0..graph.tasks.len()).filter_map(|id| planned(&survey, id, tickets[id])).collect();
    Ok(Plan { pipeline: graph.pipeline.clone(), tasks })
}

fn planned(survey: &Survey<'_>, id: TaskId, ticket: Option<Ticket>) -> Option<PlannedTask> {
    let node = &survey.graph.tasks[id];
    let stage = &survey.graph.stages[node.stage].name;
    let (key, state) = match &survey.states[id] {
        State::Out => return None,
        State::Made(made) => (Some(made.key), TaskState::Cached),
        State::Must { key, reasons } => (*key, TaskState::WillRun { reasons: reasons.clone() }),
        State::May => (None, TaskState::MayRun { depends_on: unfinished(survey, id) }),
    };
    let seconds = survey.newest.task(stage, &node.plan.name).map(|t| t.seconds);
    Some(PlannedTask { stage: stage.clone(), task: node.plan.name.clone(), key, state, seconds, ticket })
}

/// The stages, in order, that a task reads and that have to run first.
fn unfinished(survey: &Survey<'_>, id: TaskId) -> Vec<String> {
    let graph = survey.graph;
    let stages: BTreeSet<usize> = graph.tasks[id]
        .reads
        .iter()
        .filter(|up| !matches!(survey.states[**up], State::Made(_)))
        .map(|up| graph.tasks[*up].stage)
        .collect();
    stages.into_iter().map(|s| graph.stages[s].name.clone()).collect()
}
