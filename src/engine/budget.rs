//! The time budget of a run: how long a task may take so that what follows it still fits in.

use std::time::{Duration, Instant};

use super::graph::{Graph, StageId, TaskId};
use super::newest::Newest;
use super::selection::downstream;
use super::stage::Cores;
use super::survey::{State, Survey};

/// What a stage takes when nothing is known about it: this share of the budget.
const UNKNOWN_SHARE: f64 = 0.05;
/// What is known is allowed to take this much longer than last time.
const MARGIN: f64 = 1.2;
/// At most this share of the budget is kept for what follows.
const MOST_KEPT: f64 = 0.5;

/// Divides the time of one run.
#[derive(Debug)]
pub(super) struct Budget {
    limit: Option<(Instant, f64)>,
    /// Expected seconds of each stage, if it runs.
    expected: Vec<f64>,
}

impl Budget {
    /// `budget` counts from `start`.
    pub(super) fn new(survey: &Survey<'_>, start: Instant, budget: Option<Duration>, jobs: usize) -> Self {
        let Some(budget) = budget else { return Self { limit: None, expected: Vec::new() } };
        let total = budget.as_secs_f64();
        let graph = survey.graph;
        let expected = (0..graph.stages.len())
            .map(|stage| {
                let runs = |id: &TaskId| matches!(survey.states[*id], State::Must { .. } | State::May);
                let tasks: Vec<TaskId> = graph.stages[stage].tasks.clone().filter(runs).collect();
                expected_seconds(graph, &survey.newest, stage, &tasks, jobs).unwrap_or(total * UNKNOWN_SHARE)
            })
            .collect();
        Self { limit: Some((start, total)), expected }
    }

    /// Whether there is a budget at all.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Seconds that a task starting now may take. `None`: no budget.
    ///
    /// From what is left the expected time of all stages behind it is kept back. Other tasks that use all cores and
    /// still have to run beside it (`pending`) get an equal share.
    pub(super) fn seconds_left(&self, graph: &Graph, task: TaskId, pending: &[TaskId]) -> Option<f64> {
        let (start, total) = self.limit?;
        let stage = graph.tasks[task].stage;
        let behind = downstream(graph, stage);
        let follows = |id: StageId| id != stage && behind[id];
        let kept: f64 = (0..graph.stages.len()).filter(|id| follows(*id)).map(|id| self.expected[id]).sum();
        let kept = (kept * MARGIN).min(total * MOST_KEPT);
        let beside = pending.iter().filter(|id| **id != task && !follows(graph.tasks[**id].stage)).count();
        let left = total - start.elapsed().as_secs_f64() - kept;
        Some((left / (1 + beside) as f64).max(0.0))
    }
}

/// How long the tasks of a stage took last time, run `jobs` at a time; `None` where that is not known.
fn expected_seconds(graph: &Graph, newest: &Newest, stage: StageId, tasks: &[TaskId], jobs: usize) -> Option<f64> {
    let mut seconds = 0.0;
    for &id in tasks {
        let plan = &graph.tasks[id].plan;
        let last = newest.task(&graph.stages[stage].name, &plan.name)?.seconds;
        seconds += if plan.cores == Cores::All { last } else { last / jobs.min(tasks.len()) as f64 };
    }
    Some(seconds)
}
