//! Results that somebody else may have: the remote is asked for them before their tasks are queued.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::thread::Scope;

use super::crew::Crew;
use super::{Report, Scheduler};
use crate::engine::event::TaskStatus;
use crate::engine::graph::TaskId;
use crate::engine::survey::State;

/// So many results are asked for at a time: mostly, that is waiting.
const SIDE_BY_SIDE: usize = 16;

impl<'a> Scheduler<'a> {
    /// Whether the remote is worth asking for a task's result.
    pub(super) fn may_be_remote(&self, id: TaskId) -> bool {
        let known = matches!(&self.survey.states[id], State::Must { key: Some(_), .. });
        self.around.reach.remote.is_some() && known && !self.survey.is_forced(id)
    }

    /// Asks for results that are yet to be asked for.
    pub(super) fn ask<'s>(&mut self, scope: &'s Scope<'s, '_>, askers: &mut Crew<'s>, sender: &Sender<Report>)
    where
        'a: 's,
    {
        let Some(remote) = self.around.reach.remote else { return };
        for id in std::mem::take(&mut self.to_ask) {
            let State::Must { key: Some(key), .. } = self.survey.states[id] else { continue };
            let (cache, cancel, sender) = (self.survey.cache, self.around.cancel, sender.clone());
            self.asking += 1;
            let question = move || {
                let found = !cancel.is_cancelled() && remote.fetch(key, cache, cancel);
                // The receiver outlives every thread.
                let _ = sender.send(Report::Asked(id, found));
            };
            // Without a thread to ask with, the task runs here.
            if askers.run(scope, self.asking.min(SIDE_BY_SIDE), Box::new(question)).is_err() {
                self.answered(id, false);
            }
        }
    }

    /// Takes an answer: the task's result is in the cache now, or the task has to run.
    pub(super) fn answered(&mut self, id: TaskId, found: bool) {
        self.asking -= 1;
        let state = if found { self.survey.record(id).map(|record| self.survey.look_up(id, &record)) } else { None };
        let Some(State::Made(made)) = state else { return self.queue(id) };
        self.tell_end(id, TaskStatus::Fetched, 0.0, Some(&made), None);
        self.survey.states[id] = State::Made(made);
        self.unpublished.push(id);
        let mut free = VecDeque::new();
        self.end(id, TaskStatus::Fetched, None, &mut free);
        self.settle(free);
    }
}
