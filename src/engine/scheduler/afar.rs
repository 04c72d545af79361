//! Tasks that run on a cluster: which are handed over when, and what is heard of them.
//!
//! What has to run and can is handed over, all tasks of a stage together. A stage none of whose tasks was ever run is
//! handed over before what it reads is made, so that it waits in the queue meanwhile: nothing can be in the cache for it.
//! All other stages wait until their keys are known, and what is cached then never gets into the queue.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::mpsc::Sender;
use std::thread::Scope;
use std::time::Instant;

use super::{Report, Scheduler, name};
use crate::engine::action::Lookup;
use crate::engine::digest::Key;
use crate::engine::event::{Event, TaskStatus};
use crate::engine::executor::{TaskDone, TaskFailed};
use crate::engine::graph::{StageId, TaskId};
use crate::engine::reach::{Batch, Cluster, Errand, News};
use crate::engine::stage::Cores;
use crate::engine::survey::State;
use crate::engine::task_error::TaskError;
use crate::engine::ticket::Ticket;

/// The tasks of a run that are on their way.
#[derive(Default)]
pub(super) struct Afar {
    /// The ticket of every task.
    tickets: Vec<Option<Ticket>>,
    /// Tasks that have the same ticket are one task to the cluster.
    by_ticket: HashMap<Ticket, Vec<TaskId>>,
    sent: BTreeMap<TaskId, Sent>,
    /// On their way in vain, and yet to be taken back.
    in_vain: Vec<Ticket>,
}

/// A task that comes back this often is given up.
const MOST_RETURNS: u8 = 3;

struct Sent {
    ticket: Ticket,
    /// By an earlier run.
    followed: bool,
    begun: Option<Instant>,
    /// How it ended, where that was heard before what it reads was known to be made.
    early: Option<(Key, bool)>,
}

impl Afar {
    fn ticket(&self, id: TaskId) -> Option<Ticket> {
        *self.tickets.get(id)?
    }
}

impl<'a> Scheduler<'a> {
    /// Whether a task is on its way.
    pub(super) fn is_afar(&self, id: TaskId) -> bool {
        self.afar.sent.contains_key(&id)
    }

    /// Follows what an earlier run has handed over, in place of handing it over again.
    pub(super) fn follow(&mut self, on_their_way: &HashSet<Ticket>) {
        if self.around.reach.cluster.is_none() {
            return;
        }
        self.afar.tickets = self.survey.tickets();
        for (id, ticket) in self.afar.tickets.iter().enumerate() {
            if let Some(ticket) = ticket {
                self.afar.by_ticket.entry(*ticket).or_default().push(id);
            }
        }
        for id in 0..self.ends.len() {
            let wanted = matches!(self.survey.states[id], State::Must { .. } | State::May);
            if let Some(ticket) = self.afar.ticket(id).filter(|t| wanted && on_their_way.contains(t)) {
                self.mark_sent(id, ticket, true);
            }
        }
    }

    fn mark_sent(&mut self, id: TaskId, ticket: Ticket, followed: bool) {
        self.running += 1;
        self.afar.sent.insert(id, Sent { ticket, followed, begun: None, early: None });
    }

    /// Listens to the cluster on a thread of its own until nobody listens to that.
    pub(super) fn listen<'s>(&self, scope: &'s Scope<'s, '_>, sender: &Sender<Report>)
    where
        'a: 's,
    {
        let Some(cluster) = self.around.reach.cluster else { return };
        let (over, cancel, sender) = (std::sync::Arc::clone(&self.over), self.around.cancel, sender.clone());
        scope.spawn(move || {
            let stop = || over.load(std::sync::atomic::Ordering::SeqCst);
            while !stop() {
                let news = cluster.listen(&|| stop() || cancel.is_cancelled());
                // Also without news: the deciding thread looks whether the run was interrupted.
                if sender.send(Report::Afar(news)).is_err() {
                    return;
                }
            }
        });
    }

    /// Hands over everything that can be.
    pub(super) fn hand_over(&mut self, cluster: &dyn Cluster) {
        let in_vain = std::mem::take(&mut self.afar.in_vain);
        if !in_vain.is_empty() {
            cluster.withdraw(&in_vain);
        }
        if self.around.cancel.is_cancelled() {
            return self.leave(cluster);
        }
        if self.stopped {
            return;
        }
        let ready = std::mem::take(&mut self.ready);
        let mut by_stage: BTreeMap<StageId, Vec<TaskId>> = BTreeMap::new();
        for id in ready {
            // What it reads may have vanished after it was found ready, and is being made again.
            if !self.wait_for_inputs(id) {
                by_stage.entry(self.survey.graph.tasks[id].stage).or_default().push(id);
            }
        }
        for (stage, ids) in by_stage {
            self.submit(cluster, stage, &ids, Vec::new());
        }
        // After a failure, what a task waits for may never come. And a remote may have what is asked for.
        let certain = !self.around.options.keep_going && self.asking == 0 && self.to_ask.is_empty();
        if certain {
            (0..self.survey.graph.stages.len()).for_each(|stage| self.submit_ahead(cluster, stage));
        }
    }

    /// Hands a whole stage over before what it reads is made; see the module. Where tasks of it read each other, one array
    /// follows the other.
    fn submit_ahead(&mut self, cluster: &dyn Cluster, stage: StageId) {
        let graph = self.survey.graph;
        let tasks = graph.stages[stage].tasks.clone();
        let needed: Vec<TaskId> =
            graph.stages[stage].needs.iter().flat_map(|up| graph.stages[*up].tasks.clone()).collect();
        if self.spoilt_stages[stage] || !needed.iter().all(|up| self.is_on_its_way(*up)) {
            return;
        }
        loop {
            let open: Vec<TaskId> = tasks.clone().filter(|id| self.is_open(*id)).collect();
            if !open.iter().all(|id| self.is_fresh(*id) && !self.spoilt[*id]) {
                return;
            }
            let (now, later): (Vec<TaskId>, Vec<TaskId>) =
                open.iter().partition(|id| graph.tasks[**id].reads.iter().all(|up| self.is_on_its_way(*up)));
            let among_themselves = |id: &TaskId| graph.tasks[*id].reads.iter().any(|up| tasks.contains(up));
            if now.is_empty() || !later.iter().all(among_themselves) {
                return;
            }
            let read = now.iter().flat_map(|id| graph.tasks[*id].reads.iter());
            let mut after: Vec<Ticket> =
                needed.iter().chain(read).filter_map(|up| self.afar.sent.get(up).map(|sent| sent.ticket)).collect();
            after.sort_unstable();
            after.dedup();
            self.submit(cluster, stage, &now, after);
        }
    }

    /// Whether a task is yet to be handed over.
    fn is_open(&self, id: TaskId) -> bool {
        let undecided = matches!(self.survey.states[id], State::Must { .. } | State::May);
        undecided && self.ends[id].is_none() && !self.is_afar(id)
    }

    /// Whether a task is made, or will be unless it fails.
    fn is_on_its_way(&self, id: TaskId) -> bool {
        matches!(self.survey.states[id], State::Made(_) | State::Out) || self.is_afar(id)
    }

    /// Whether a task was never run, so that nothing can be in the cache for it.
    fn is_fresh(&self, id: TaskId) -> bool {
        let node = &self.survey.graph.tasks[id];
        let stage = &self.survey.graph.stages[node.stage].name;
        self.survey.newest.task(stage, &node.plan.name).is_none()
    }

    fn submit(&mut self, cluster: &dyn Cluster, stage: StageId, ids: &[TaskId], after: Vec<Ticket>) {
        let graph = self.survey.graph;
        let node = &graph.stages[stage];
        let mut errands: Vec<Errand> = Vec::with_capacity(ids.len());
        let mut seen = HashSet::with_capacity(ids.len());
        for &id in ids {
            let Some(errand) = self.errand(id) else { continue };
            self.mark_sent(id, errand.ticket, false);
            if seen.insert(errand.ticket) {
                errands.push(errand);
            }
        }
        let (pipeline, run) = (&*graph.pipeline, &*self.around.run);
        cluster.submit(Batch {
            run,
            pipeline,
            stage: &node.name,
            kind: &node.kind,
            limits: &node.limits,
            errands,
            after,
        });
    }

    /// A task without a ticket is known by its key.
    fn ticket(&self, id: TaskId) -> Option<Ticket> {
        let key = || self.survey.record(id).and_then(|record| record.key().ok()).map(|key| Ticket(key.0));
        self.afar.ticket(id).or_else(key)
    }

    fn errand(&self, id: TaskId) -> Option<Errand> {
        let node = &self.survey.graph.tasks[id];
        let mut job = self.survey.job_awaiting(id, &self.afar.tickets)?;
        let ticket = self.ticket(id)?;
        (job.device, job.gpu_memory) = (self.around.options.device, self.around.options.gpu_memory);
        // Also where this run has no readers for it: a later one may follow it, and have some.
        job.ticket = Some(ticket);
        let stage = &self.survey.graph.stages[node.stage].name;
        let seconds = self.survey.newest.task(stage, &node.plan.name).map(|task| task.seconds);
        Some(Errand { ticket, job, all_cores: node.plan.cores == Cores::All, seconds })
    }

    /// Takes in what was heard of tasks on their way.
    pub(super) fn hear(&mut self, news: Vec<(Ticket, News)>) {
        for (ticket, news) in news {
            let ids = self.afar.by_ticket.get(&ticket).cloned();
            let ids = ids.unwrap_or_else(|| {
                self.afar.sent.iter().find(|s| s.1.ticket == ticket).map(|s| *s.0).into_iter().collect()
            });
            let ids: Vec<TaskId> = ids.into_iter().filter(|id| self.is_afar(*id)).collect();
            match news {
                News::Queued { job } => ids.iter().for_each(|id| self.tell_queued(*id, &job)),
                News::Started { key, place } => ids.iter().for_each(|id| self.begun(*id, key, &place)),
                News::Progress(news) => {
                    for id in ids {
                        self.around
                            .observer
                            .event(&Event::TaskProgress { name: name(self.survey.graph, id), news: &news });
                    }
                }
                News::Done { key, ran } => ids.iter().for_each(|id| self.arrived(*id, key, ran)),
                News::Failed { error, log } => self.failed(&ids, error, log),
                News::Withdrawn => ids.iter().for_each(|id| self.withdrawn(*id)),
                News::Returned => ids.iter().for_each(|id| self.returned(*id)),
            }
        }
    }

    fn tell_queued(&self, id: TaskId, job: &str) {
        self.around.observer.event(&Event::TaskSent { name: name(self.survey.graph, id), job });
    }

    fn begun(&mut self, id: TaskId, key: Key, place: &str) {
        if let Some(sent) = self.afar.sent.get_mut(&id) {
            sent.begun.get_or_insert_with(Instant::now);
        }
        self.around.observer.event(&Event::TaskStarted { name: name(self.survey.graph, id), key, place });
    }

    /// A task's result is said to be in the cache.
    fn arrived(&mut self, id: TaskId, key: Key, ran: bool) {
        let Some(sent) = self.afar.sent.get_mut(&id) else { return };
        if self.waits[id] > 0 {
            sent.early = Some((key, ran));
            return;
        }
        let begun = sent.begun.unwrap_or_else(Instant::now);
        self.afar.sent.remove(&id);
        let known = self.survey.record(id).and_then(|record| record.key().ok());
        let result = match self.survey.cache.lookup_of_another(key) {
            Lookup::Hit(done) if known == Some(key) => Ok(TaskDone { ran, ..TaskDone::found(key, done) }),
            _ => Err(TaskFailed { error: not_there(key, known), log: None }),
        };
        self.take((id, begun, result));
    }

    /// What was heard too early of a task that waits for nothing any more.
    pub(super) fn catch_up(&mut self, id: TaskId) {
        if let Some((key, ran)) = self.afar.sent.get_mut(&id).and_then(|sent| sent.early.take()) {
            self.arrived(id, key, ran);
        }
    }

    fn failed(&mut self, ids: &[TaskId], error: TaskError, log: Option<std::path::PathBuf>) {
        let mut error = Some(error);
        for &id in ids {
            let Some(sent) = self.afar.sent.remove(&id) else { continue };
            // Tasks with one ticket fail as one: the first tells why.
            let error = error.take().unwrap_or(TaskError::Cancelled);
            let begun = sent.begun.unwrap_or_else(Instant::now);
            self.take((id, begun, Err(TaskFailed { error, log: log.clone() })));
        }
        if self.stopped
            && let Some(cluster) = self.around.reach.cluster
        {
            let waiting: Vec<Ticket> =
                self.afar.sent.values().filter(|sent| sent.begun.is_none()).map(|sent| sent.ticket).collect();
            cluster.withdraw(&waiting);
        }
    }

    /// A task did not begin, because what its job waits for did not end well. That may have been another task than those
    /// that it reads, or a job that was lost and is submitted again.
    fn withdrawn(&mut self, id: TaskId) {
        let spoilt = self.spoilt[id] || self.spoilt_stages[self.survey.graph.tasks[id].stage];
        let followed = self.afar.sent.get(&id).is_some_and(|sent| sent.followed);
        // A run that keeps going makes nothing wait itself: then the cluster refused it.
        let refused = self.around.options.keep_going && !followed;
        if spoilt || refused { self.skip(id) } else { self.returned(id) }
    }

    /// A task that is on its way in vain: what it waits for did not end well, or it was taken back.
    pub(super) fn skip(&mut self, id: TaskId) {
        let Some(sent) = self.afar.sent.remove(&id) else { return };
        self.afar.in_vain.push(sent.ticket);
        self.drop_task(id);
    }

    fn drop_task(&mut self, id: TaskId) {
        self.running -= 1;
        let mut free = VecDeque::new();
        self.tell_end(id, TaskStatus::Skipped, 0.0, None, None);
        self.end(id, TaskStatus::Skipped, None, &mut free);
        self.settle(free);
    }

    /// A task that came back as it went is looked up and, unless its result is there after all, handed over again.
    fn returned(&mut self, id: TaskId) {
        self.again[id] += 1;
        if self.stopped {
            return self.skip(id);
        }
        if self.again[id] > MOST_RETURNS {
            return self.failed(&[id], given_up(), None);
        }
        self.afar.sent.remove(&id);
        self.running -= 1;
        if !self.survey.is_forced(id) {
            self.survey.states[id] = State::May;
        }
        if self.waits[id] == 0 && self.gates[self.survey.graph.tasks[id].stage] == 0 {
            self.settle(VecDeque::from([id]));
        }
    }

    /// The run was interrupted.
    fn leave(&mut self, cluster: &dyn Cluster) {
        if self.afar.sent.is_empty() {
            return;
        }
        let tickets: Vec<Ticket> = self.afar.sent.values().map(|sent| sent.ticket).collect();
        cluster.interrupted(&tickets);
        for (id, sent) in std::mem::take(&mut self.afar.sent) {
            if self.ends[id].is_some() {
                // Skipped, because what it waits for is left, too.
                self.running -= 1;
                continue;
            }
            let begun = sent.begun.unwrap_or_else(Instant::now);
            self.take((id, begun, Err(TaskFailed { error: TaskError::Cancelled, log: None })));
        }
    }
}

fn given_up() -> TaskError {
    let message = format!("its jobs were lost {} times before they came to it", MOST_RETURNS + 1);
    let help = "ask the cluster what becomes of them: `squeue`, `scontrol show job`, `sacct`";
    TaskError::Failed { message, help: Some(help.to_owned()) }
}

/// The cluster says that a task is done, and the cache does not know it.
fn not_there(key: Key, known: Option<Key>) -> TaskError {
    let message = if known.is_none_or(|known| known == key) {
        "it is said to be done, but its result cannot be seen in the cache from here".to_owned()
    } else {
        "it ran with other inputs than this run sees: a source file was changed meanwhile".to_owned()
    };
    let help = "see that this machine and the cluster's see the same cache folder and the same files, and run again";
    TaskError::Failed { message, help: Some(help.to_owned()) }
}
