//! Handing batches over: written to the cache first, then submitted as fast as the cluster takes them.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::time::Instant;

use super::Slurm;
use super::batch::{self, BatchFile, SCRIPT};
use super::client::Client;
use super::error::SlurmError;
use super::pack::{Load, Share, packs, tasks_per_job};
use super::script::Script;
use super::track::{Phase, Tracked};
use crate::engine::{Batch, Digest, News, TaskError, Ticket};
use crate::spec::{Allocation, SlurmSettings};

/// Elements of a job array where the cluster does not say.
const LARGEST_ARRAY: usize = 1000;
/// Submissions a second where nobody says; so many more at once.
const RATE: f64 = 1.0;
const BURST: f64 = 10.0;

/// Decides what is submitted when.
pub(super) struct Submitter {
    settings: SlurmSettings,
    program: PathBuf,
    /// Written, and not yet taken by the cluster: by the ids of batches, with the tickets that they wait for.
    backlog: VecDeque<(Tracked, Vec<Ticket>)>,
    allowance: f64,
    counted: Instant,
    /// Tasks that the cluster did not take, and those that wait for them.
    refused: HashSet<Ticket>,
    largest_array: Option<usize>,
    largest_node: Vec<(Option<String>, Option<u32>)>,
    /// The cluster takes no more for now; told once.
    full: bool,
    /// When to try again.
    again: Option<Instant>,
}

impl Submitter {
    pub(super) fn new(settings: SlurmSettings, program: PathBuf) -> Self {
        Self {
            settings,
            program,
            backlog: VecDeque::new(),
            allowance: BURST,
            counted: Instant::now(),
            refused: HashSet::new(),
            largest_array: None,
            largest_node: Vec::new(),
            full: false,
            again: None,
        }
    }

    /// Drops what the cluster has not taken.
    pub(super) fn forget(&mut self) {
        for (tracked, _) in self.backlog.drain(..) {
            batch::close(&tracked.dir, true);
        }
    }

    /// Drops tasks that the cluster has not taken; `true` for those that it had not.
    pub(super) fn drop_task(&mut self, ticket: Ticket) -> bool {
        let mut found = false;
        for (tracked, _) in &mut self.backlog {
            for element in &mut tracked.elements {
                found |= element.open.contains(&ticket);
                element.open.retain(|open| *open != ticket);
            }
        }
        found
    }

    /// Whether something waits for tasks that the cluster refused. Then those that are to wait for it do so, too.
    fn is_in_vain(&mut self, after: &[Ticket], tickets: impl Iterator<Item = Ticket>) -> bool {
        let in_vain = after.iter().any(|ticket| self.refused.contains(ticket));
        if in_vain {
            self.refused.extend(tickets);
        }
        in_vain
    }

    fn may_submit(&mut self) -> bool {
        let now = Instant::now();
        if self.again.is_some_and(|again| now < again) {
            return false;
        }
        let rate = self.settings.submit_rate.unwrap_or(RATE);
        self.allowance = (self.allowance + rate * (now - self.counted).as_secs_f64()).min(BURST);
        self.counted = now;
        self.allowance >= 1.0
    }

    fn array_limit(&mut self, client: &Client) -> usize {
        let limit = *self.largest_array.get_or_insert_with(|| {
            // Slurm's limit is one beyond the last number.
            client.largest_array().map_or(LARGEST_ARRAY, |most| most.saturating_sub(1).max(1))
        });
        self.settings.array.map_or(limit, |asked| limit.min(asked as usize))
    }

    fn node_limit(&mut self, client: &Client, partition: Option<&str>) -> Option<u32> {
        if let Some((_, known)) = self.largest_node.iter().find(|(name, _)| name.as_deref() == partition) {
            return *known;
        }
        let found = client.largest_node(partition);
        self.largest_node.push((partition.map(str::to_owned), found));
        found
    }
}

impl Slurm<'_> {
    /// Writes what is to be handed over, in arrays that the cluster takes.
    pub(super) fn prepare(&self, batch: &Batch<'_>) {
        let mut guard = self.state();
        let state = &mut *guard;
        // What was refused before is tried again.
        state.submitter.refused.retain(|ticket| batch.errands.iter().all(|errand| errand.ticket != *ticket));
        let asked = state.submitter.settings.allocation(batch.stage, batch.kind);
        let load = Load::of(&batch.errands);
        let largest = state.submitter.node_limit(&self.client, asked.partition.as_deref());
        let share = Share::new(&asked, batch.limits, load.all_cores, largest);
        let per_job = tasks_per_job(&load, &asked, share);
        let all = packs(batch.errands.clone(), per_job, share);
        let limit = state.submitter.array_limit(&self.client);
        for packs in all.chunks(limit) {
            match self.write(batch, packs, &asked, share, &state.submitter.program) {
                Ok(tracked) => state.submitter.backlog.push_back((tracked, batch.after.clone())),
                Err(error) => {
                    let tickets = packs.iter().flat_map(|pack| pack.tasks.iter().map(|task| task.ticket));
                    state.news.extend(refusal(&error, tickets));
                }
            }
        }
    }

    fn write(
        &self,
        batch: &Batch<'_>,
        packs: &[super::element::Pack],
        asked: &Allocation,
        share: Share,
        program: &std::path::Path,
    ) -> Result<Tracked, SlurmError> {
        let id = new_id(batch.stage);
        let dir = self.batch_dir(&id);
        let script = Script {
            id: &id,
            pipeline: batch.pipeline,
            stage: batch.stage,
            elements: packs.len(),
            asked,
            share,
            memory: batch.limits.resources.memory,
            dir: &dir,
            cache: self.cache_root(),
            program,
        };
        let names = (batch.run, batch.pipeline, batch.stage);
        let file = BatchFile::new(id.clone(), names, !batch.after.is_empty(), packs);
        file.write(&dir, packs, &script.text())?;
        Ok(Tracked::new(file, dir, true))
    }

    /// Submits what is written, in order, as far as the cluster takes it.
    pub(super) fn flush(&self) {
        let mut guard = self.state();
        let state = &mut *guard;
        while !state.submitter.backlog.is_empty() && state.submitter.may_submit() {
            let Some((mut tracked, after)) = state.submitter.backlog.pop_front() else { return };
            if state.submitter.is_in_vain(&after, tracked.open_tickets()) {
                state.news.extend(tracked.open_tickets().map(|ticket| (ticket, News::Withdrawn)));
                batch::close(&tracked.dir, true);
                continue;
            }
            if tracked.is_over() {
                // All of it was taken back.
                batch::close(&tracked.dir, true);
                continue;
            }
            let after_all: HashSet<Ticket> = after.iter().copied().collect();
            let mut before: Vec<String> = state
                .tracked
                .iter()
                .filter(|other| other.open_tickets().any(|ticket| after_all.contains(&ticket)))
                .filter_map(|other| other.job.clone())
                .collect();
            before.sort_unstable();
            before.dedup();
            state.submitter.allowance -= 1.0;
            match self.submit_one(&tracked, &before) {
                Ok(job) => {
                    batch::note_job(&tracked.dir, &job);
                    state.submitter.full = false;
                    for (number, element) in tracked.elements.iter_mut().enumerate() {
                        element.phase = Phase::Pending;
                        let name = format!("{job}_{number}");
                        state.news.extend(element.open.iter().map(|t| (*t, News::Queued { job: name.clone() })));
                    }
                    tracked.job = Some(job);
                    state.tracked.push(tracked);
                }
                Err(error) if error.is_away() || (error.is_full() && self.may_have_room_later()) => {
                    if !state.submitter.full {
                        tracing::warn!("the cluster takes no more jobs for now ({error}); the rest follows");
                    }
                    state.submitter.full = true;
                    state.submitter.again = Instant::now().checked_add(std::time::Duration::from_secs(10));
                    state.submitter.backlog.push_front((tracked, after));
                }
                Err(error) => {
                    state.news.extend(refusal(&error, tracked.open_tickets()));
                    state.submitter.refused.extend(tracked.open_tickets());
                    batch::close(&tracked.dir, true);
                }
            }
        }
    }

    /// Limits on jobs in the queue forbid nothing for good, unless there are no jobs.
    fn may_have_room_later(&self) -> bool {
        self.client.has_jobs().unwrap_or(true)
    }

    fn submit_one(&self, tracked: &Tracked, before: &[String]) -> Result<String, SlurmError> {
        // A submission whose answer got lost is found by its comment.
        if batch::was_tried(&tracked.dir)
            && let Some(job) = self.find_by_comment(&tracked.file.id)?
        {
            return Ok(job);
        }
        let mut options = Vec::new();
        if !before.is_empty() {
            options.push(format!("--dependency=afterok:{}", before.join(":")));
            options.push("--kill-on-invalid-dep=yes".to_owned());
        }
        batch::note_try(&tracked.dir);
        self.client.submit(&tracked.dir.join(SCRIPT), &options)
    }

    fn find_by_comment(&self, id: &str) -> Result<Option<String>, SlurmError> {
        let listed = self.client.queue()?;
        Ok(listed.into_iter().find(|line| batch::of_comment(&line.comment) == Some(id)).map(|line| line.job))
    }
}

/// What the cluster does not take fails as one: the first task tells why.
fn refusal(error: &SlurmError, tickets: impl Iterator<Item = Ticket>) -> Vec<(Ticket, News)> {
    let mut why = Some(TaskError::Failed { message: error.to_string(), help: Some(error.help()) });
    tickets
        .map(|ticket| match why.take() {
            Some(error) => (ticket, News::Failed { error, log: None }),
            None => (ticket, News::Withdrawn),
        })
        .collect()
}

/// `20261130-061502-3fa1-ingest`: by time, so that folders sort, and with the stage for people.
fn new_id(stage: &str) -> String {
    static COUNTER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let now = jiff::Timestamp::now();
    let count = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let node = rustix::system::uname();
    let seed = format!("{:?} {} {} {count}", node.nodename(), std::process::id(), now.as_nanosecond());
    format!("{}-{}-{stage}", now.strftime("%Y%m%d-%H%M%S"), &Digest::of(seed.as_bytes()).hex()[..8])
}
