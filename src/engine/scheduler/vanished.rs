//! Results that were in the cache when the run began and are gone when a task wants them: what made them runs again.

use std::collections::VecDeque;

use super::Scheduler;
use crate::engine::action::Lookup;
use crate::engine::graph::TaskId;
use crate::engine::reason::Reason;
use crate::engine::survey::State;

/// A task whose inputs vanish this often while it waits for them fails: somebody is emptying the cache.
const MOST_AGAIN: u8 = 3;

impl Scheduler<'_> {
    /// A task found an input gone that was in the cache before (collected, removed by hand): what made it runs again and
    /// the task waits for that. `false`: nothing is missing after all, or this has been tried too often.
    pub(super) fn make_again(&mut self, id: TaskId, free: &mut VecDeque<TaskId>) -> bool {
        let graph = self.survey.graph;
        let is_gone = |up: &TaskId| match &self.survey.states[*up] {
            State::Made(made) => !matches!(self.survey.cache.lookup(made.key), Lookup::Hit(_)),
            _ => self.ends[*up].is_none(),
        };
        let gone: Vec<TaskId> = graph.tasks[id].reads.iter().copied().filter(is_gone).collect();
        self.again[id] += 1;
        if gone.is_empty() || self.again[id] > MOST_AGAIN {
            return false;
        }
        for &up in &gone {
            // Another task may have missed it first.
            let State::Made(made) = &self.survey.states[up] else { continue };
            let (key, reasons) = (Some(made.key), vec![Reason::Evicted { output: None }]);
            self.survey.states[up] = State::Must { key, reasons };
            self.open[graph.tasks[up].stage] += 1;
            self.ends[up] = None;
            if !self.wait_for_inputs(up) {
                free.push_back(up);
            }
        }
        self.wait_for_inputs(id);
        true
    }

    /// Makes a task wait for those that it reads and that are not made (any more). `false`: there are none.
    pub(super) fn wait_for_inputs(&mut self, id: TaskId) -> bool {
        let made = |up: &TaskId| matches!(self.survey.states[*up], State::Made(_));
        let unmade: Vec<TaskId> = self.survey.graph.tasks[id].reads.iter().copied().filter(|up| !made(up)).collect();
        self.waits[id] += unmade.len();
        for up in &unmade {
            self.readers[*up].push(id);
        }
        !unmade.is_empty()
    }
}
