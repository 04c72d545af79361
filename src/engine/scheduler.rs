//! Runs the tasks of a graph on threads, in dependency order.
//!
//! One thread (the caller's) decides; each running task has a thread of its own. Which tasks run side by side never
//! changes what they leave.

mod afar;
mod ask;
mod crew;
mod launch;
mod vanished;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;
use std::time::Instant;

use self::afar::Afar;
use self::crew::Crew;
use super::budget::Budget;
use super::cancel::Cancel;
use super::digest::Key;
use super::event::{Event, Observer, TaskName, TaskStatus};
use super::executor::{TaskDone, TaskFailed};
use super::graph::{Graph, StageId, TaskId};
use super::reach::{News, Reach};
use super::reason::Reason;
use super::resources::Pool;
use super::run::RunOptions;
use super::stage::{Cores, Outcome, Registry};
use super::survey::{Made, State, Survey};
use super::task_error::TaskError;
use super::ticket::Ticket;
use super::view::Publisher;

/// What a run has around it.
pub(super) struct Around<'a> {
    pub(super) registry: &'a Registry,
    pub(super) options: &'a RunOptions,
    pub(super) observer: &'a dyn Observer,
    pub(super) cancel: &'a Cancel,
    pub(super) budget: Budget,
    pub(super) logs: PathBuf,
    pub(super) reach: Reach<'a>,
    /// Id of the run.
    pub(super) run: String,
}

/// How a task ended, as the summary needs it.
#[derive(Clone, Debug)]
pub(super) struct TaskEnd {
    pub(super) status: TaskStatus,
    /// When it began and ended, for tasks that ran.
    pub(super) span: Option<(Instant, Instant)>,
}

/// What the deciding thread hears from the others.
enum Report {
    /// A task is over; since when it ran.
    Ended(TaskId, Instant, Result<TaskDone, TaskFailed>),
    /// The remote was asked for a task's result; whether that is in the cache now.
    Asked(TaskId, bool),
    /// News of tasks that run on a cluster.
    Afar(Vec<(Ticket, News)>),
}

/// The state of a run. See the module.
pub(super) struct Scheduler<'a> {
    pub(super) survey: Survey<'a>,
    pub(super) ends: Vec<Option<TaskEnd>>,
    pub(super) failures: Vec<(TaskId, TaskFailed)>,
    /// What had to run, and why, in the order in which that was found out.
    pub(super) why: Vec<(TaskId, Vec<String>)>,
    around: &'a Around<'a>,
    publisher: Publisher,
    /// Made, and not yet in the readable view.
    unpublished: Vec<TaskId>,
    /// Per task: how many of the tasks that it reads are not over.
    waits: Vec<usize>,
    /// Per task: the tasks that read it.
    readers: Vec<Vec<TaskId>>,
    /// Per stage: how many of its tasks are not over.
    open: Vec<usize>,
    /// Per stage: how many of the stages that it `needs` are not over.
    gates: Vec<usize>,
    /// Per stage: the stages that need it.
    needed_by: Vec<Vec<StageId>>,
    /// Per task and per stage: something that it waited for did not end well.
    spoilt: Vec<bool>,
    spoilt_stages: Vec<bool>,
    /// Unfinished tasks that want all cores.
    all_cores: Vec<TaskId>,
    ready: BTreeSet<TaskId>,
    /// Tasks whose results the remote is to be asked for before they are ready.
    to_ask: Vec<TaskId>,
    /// How many it is being asked for.
    asking: usize,
    /// Tasks that run on a cluster.
    afar: Afar,
    /// Nothing is going on any more.
    over: Arc<AtomicBool>,
    pool: Pool,
    running: usize,
    stopped: bool,
    /// Per task: how often an input of it was found gone.
    again: Vec<u8>,
}

impl<'a> Scheduler<'a> {
    pub(super) fn new(survey: Survey<'a>, pool: Pool, around: &'a Around<'a>) -> Self {
        let graph = survey.graph;
        let unfinished = |id: TaskId| matches!(survey.states[id], State::Must { .. } | State::May);
        let mut readers = vec![Vec::new(); graph.tasks.len()];
        let mut waits = vec![0; graph.tasks.len()];
        for (id, node) in graph.tasks.iter().enumerate().filter(|(id, _)| unfinished(*id)) {
            for &up in node.reads.iter().filter(|up| unfinished(**up)) {
                readers[up].push(id);
                waits[id] += 1;
            }
        }
        let open: Vec<usize> =
            graph.stages.iter().map(|s| s.tasks.clone().filter(|id| unfinished(*id)).count()).collect();
        let mut needed_by = vec![Vec::new(); graph.stages.len()];
        let mut gates = vec![0; graph.stages.len()];
        for (id, stage) in graph.stages.iter().enumerate() {
            for &up in stage.needs.iter().filter(|up| open[**up] > 0) {
                needed_by[up].push(id);
                gates[id] += 1;
            }
        }
        Self {
            ends: vec![None; graph.tasks.len()],
            failures: Vec::new(),
            why: Vec::new(),
            publisher: Publisher::new(),
            unpublished: Vec::new(),
            waits,
            readers,
            open,
            gates,
            needed_by,
            spoilt: vec![false; graph.tasks.len()],
            spoilt_stages: vec![false; graph.stages.len()],
            all_cores: (0..graph.tasks.len())
                .filter(|id| unfinished(*id) && graph.tasks[*id].plan.cores == Cores::All)
                .collect(),
            ready: BTreeSet::new(),
            to_ask: Vec::new(),
            asking: 0,
            afar: Afar::default(),
            over: Arc::default(),
            pool,
            running: 0,
            stopped: false,
            again: vec![0; graph.tasks.len()],
            survey,
            around,
        }
    }

    /// Runs everything that has to run. What was found in the cache has been told by [`Scheduler::report_cached`].
    /// `on_their_way`: what an earlier run has handed over.
    pub(super) fn run(&mut self, on_their_way: &HashSet<Ticket>) {
        let graph = self.survey.graph;
        self.follow(on_their_way);
        let mut free: VecDeque<TaskId> = VecDeque::new();
        for id in (0..graph.tasks.len()).filter(|id| self.is_free(*id)) {
            free.push_back(id);
        }
        self.settle(free);
        let (sender, reports) = channel();
        std::thread::scope(|scope| {
            self.drive(scope, &sender, &reports);
            self.over.store(true, Ordering::SeqCst);
        });
        self.give_up();
        self.publisher.finish(&self.survey);
    }

    fn drive<'s>(&mut self, scope: &'s Scope<'s, '_>, sender: &Sender<Report>, reports: &Receiver<Report>)
    where
        'a: 's,
    {
        self.listen(scope, sender);
        let (mut crew, mut askers) = (Crew::new(), Crew::new());
        loop {
            self.ask(scope, &mut askers, sender);
            match self.around.reach.cluster {
                Some(cluster) => self.hand_over(cluster),
                None => {
                    while let Some(id) = self.next() {
                        self.launch(scope, &mut crew, sender, id);
                    }
                }
            }
            // Shown when what waited for it is on its way.
            for id in std::mem::take(&mut self.unpublished) {
                self.publisher.made(&self.survey, id);
            }
            if self.running + self.asking == 0 {
                return;
            }
            // The sender lives as long as this loop, so there is always a report to come.
            match reports.recv() {
                Ok(Report::Ended(id, begun, result)) => self.take((id, begun, result)),
                Ok(Report::Asked(id, found)) => self.answered(id, found),
                Ok(Report::Afar(news)) => self.hear(news),
                Err(_) => return,
            }
        }
    }

    /// Tells what was found in the cache.
    pub(super) fn report_cached(&self) {
        for (id, state) in self.survey.states.iter().enumerate() {
            if let State::Made(made) = state {
                self.tell_end(id, TaskStatus::Cached, 0.0, Some(made), None);
            }
        }
    }

    /// Whether a task is still to be looked at and waits for nothing.
    fn is_free(&self, id: TaskId) -> bool {
        let stage = self.survey.graph.tasks[id].stage;
        let undecided = matches!(self.survey.states[id], State::Must { .. } | State::May) && self.ends[id].is_none();
        undecided && self.waits[id] == 0 && self.gates[stage] == 0
    }

    /// Decides about tasks that wait for nothing: queued, taken from the cache, or skipped; then about what that frees.
    fn settle(&mut self, mut free: VecDeque<TaskId>) {
        while let Some(id) = free.pop_front() {
            let stage = self.survey.graph.tasks[id].stage;
            if self.is_afar(id) {
                if self.spoilt[id] || self.spoilt_stages[stage] {
                    self.skip(id)
                } else {
                    self.catch_up(id)
                }
                continue;
            }
            if self.spoilt[id] || self.spoilt_stages[stage] {
                self.end(id, TaskStatus::Skipped, None, &mut free);
                self.tell_end(id, TaskStatus::Skipped, 0.0, None, None);
                continue;
            }
            if self.survey.states[id] == State::May {
                let state = self.survey.record(id).map(|record| self.survey.look_up(id, &record));
                // All that it reads is made, so there is a record.
                self.survey.states[id] = state.unwrap_or(State::Must { key: None, reasons: vec![Reason::Unknown] });
            }
            if let State::Made(made) = &self.survey.states[id] {
                self.tell_end(id, TaskStatus::Cached, 0.0, Some(made), None);
                self.end(id, TaskStatus::Cached, None, &mut free);
            } else if self.may_be_remote(id) {
                self.to_ask.push(id);
            } else {
                self.queue(id);
            }
        }
    }

    /// A task has to run and can.
    fn queue(&mut self, id: TaskId) {
        if let State::Must { reasons, .. } = &self.survey.states[id] {
            self.around.observer.event(&Event::TaskQueued { name: name(self.survey.graph, id), reasons });
            self.why.push((id, reasons.iter().map(ToString::to_string).collect()));
        }
        self.ready.insert(id);
    }

    /// Marks a task as over and collects what it frees.
    fn end(&mut self, id: TaskId, status: TaskStatus, span: Option<(Instant, Instant)>, free: &mut VecDeque<TaskId>) {
        let well = matches!(status, TaskStatus::Cached | TaskStatus::Fetched | TaskStatus::Ran | TaskStatus::CutShort);
        self.ends[id] = Some(TaskEnd { status, span });
        for reader in std::mem::take(&mut self.readers[id]) {
            self.spoilt[reader] |= !well;
            self.waits[reader] -= 1;
            if self.is_free(reader) {
                free.push_back(reader);
            }
        }
        let stage = self.survey.graph.tasks[id].stage;
        self.spoilt_stages_after(stage, well);
        self.open[stage] -= 1;
        if self.open[stage] == 0 {
            for next in std::mem::take(&mut self.needed_by[stage]) {
                self.gates[next] -= 1;
                if self.gates[next] == 0 {
                    let tasks = self.survey.graph.stages[next].tasks.clone();
                    free.extend(tasks.filter(|t| self.is_free(*t)));
                }
            }
        }
    }

    fn spoilt_stages_after(&mut self, stage: StageId, well: bool) {
        if !well {
            for &next in &self.needed_by[stage] {
                self.spoilt_stages[next] = true;
            }
        }
    }

    /// The next task to start, if one may start now.
    fn next(&mut self) -> Option<TaskId> {
        if self.stopped || self.around.cancel.is_cancelled() {
            return None;
        }
        let id = self.pool.first_fitting(self.survey.graph, self.ready.iter().copied())?;
        self.ready.remove(&id);
        Some(id)
    }

    /// Takes a task's result in.
    fn take(&mut self, (id, begun, result): (TaskId, Instant, Result<TaskDone, TaskFailed>)) {
        self.running -= 1;
        self.pool.give(id);
        let span = (begun, Instant::now());
        let mut free = VecDeque::new();
        match result {
            Ok(done) => {
                let status = match (done.ran, done.outcome) {
                    (false, _) => TaskStatus::Cached,
                    (true, Outcome::Complete) => TaskStatus::Ran,
                    (true, Outcome::CutShort) => TaskStatus::CutShort,
                };
                let seconds = if done.ran { done.seconds } else { 0.0 };
                let TaskDone { key, outputs, seconds: took, created, scores, ran, .. } = done;
                let made = Made { key, outputs, seconds: took, created, scores };
                self.tell_end(id, status, seconds, Some(&made), None);
                if let (Some(remote), TaskStatus::Ran) = (self.around.reach.remote, status) {
                    remote.made(made.key, self.survey.cache);
                }
                self.survey.states[id] = State::Made(made);
                self.unpublished.push(id);
                self.end(id, status, ran.then_some(span), &mut free);
            }
            Err(TaskFailed { error: TaskError::InputGone { .. }, .. }) if self.make_again(id, &mut free) => {}
            Err(failed) => {
                let cancelled = matches!(failed.error, TaskError::Cancelled);
                let status = if cancelled { TaskStatus::Cancelled } else { TaskStatus::Failed };
                let seconds = (span.1 - span.0).as_secs_f64();
                self.tell_end(id, status, seconds, None, Some(&failed.error.to_string()));
                if !cancelled {
                    self.stopped |= !self.around.options.keep_going;
                    self.failures.push((id, failed));
                }
                self.end(id, status, Some(span), &mut free);
            }
        }
        self.settle(free);
    }

    /// What is not over by now is skipped.
    fn give_up(&mut self) {
        for id in 0..self.ends.len() {
            let undecided = matches!(self.survey.states[id], State::Must { .. } | State::May);
            if undecided && self.ends[id].is_none() {
                self.ends[id] = Some(TaskEnd { status: TaskStatus::Skipped, span: None });
                self.tell_end(id, TaskStatus::Skipped, 0.0, None, None);
            }
        }
    }

    fn tell_end(&self, id: TaskId, status: TaskStatus, seconds: f64, made: Option<&Made>, error: Option<&str>) {
        let key: Option<Key> = made.map(|m| m.key).or(match &self.survey.states[id] {
            State::Must { key, .. } => *key,
            _ => None,
        });
        let outputs = made.map_or(&[][..], |m| &m.outputs);
        let name = name(self.survey.graph, id);
        self.around.observer.event(&Event::TaskFinished { name, status, seconds, key, outputs, error });
    }
}

fn name(graph: &Graph, id: TaskId) -> TaskName<'_> {
    let node = &graph.tasks[id];
    TaskName { stage: &graph.stages[node.stage].name, task: &node.plan.name }
}
