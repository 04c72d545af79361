//! Hearing of tasks on their way: from the reports of elements, and from the queue.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::batch;
use super::client::Client;
use super::fate::fate;
use super::queue::Listed;
use super::track::{Phase, Tracked};
use super::{Slurm, State};
use crate::engine::{News, TaskError, Ticket};

/// How long to listen at most.
const LISTEN: Duration = Duration::from_secs(2);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Looking takes at most one part in so many of the time.
const SHARE: u32 = 20;
/// Reports are read, and the queue is asked for, no more often than this …
const READ_EVERY: Duration = Duration::from_millis(200);
const ASK_EVERY: Duration = Duration::from_secs(1);
/// … and no less often than this.
const AT_LEAST: Duration = Duration::from_secs(10);
/// A controller that does not answer for so long is mentioned.
const MENTION_AFTER: Duration = Duration::from_secs(30);
/// What has left the queue may take so long to be seen: at once where files are local, a minute where attributes of a
/// network file system are remembered by its clients.
const LATENCY_LOCAL: Duration = Duration::from_secs(2);
const LATENCY_REMOTE: Duration = Duration::from_secs(65);

/// When to look where.
#[derive(Debug)]
pub(super) struct Poll {
    read_at: Instant,
    ask_at: Instant,
    silent_since: Option<Instant>,
    mentioned: bool,
    latency: Duration,
}

impl Poll {
    pub(super) fn new(cache: &Path) -> Self {
        let now = Instant::now();
        let latency = if crate::engine::is_local(cache) { LATENCY_LOCAL } else { LATENCY_REMOTE };
        Self { read_at: now, ask_at: now, silent_since: None, mentioned: false, latency }
    }
}

/// The next time for something that took so long: a busy cluster or disk is asked less often.
fn next(began: Instant, every: Duration) -> Instant {
    let took = began.elapsed();
    Instant::now() + (took * SHARE).clamp(every, AT_LEAST)
}

impl Slurm<'_> {
    /// Waits for news.
    pub(super) fn hear(&self, stop: &dyn Fn() -> bool) -> Vec<(Ticket, News)> {
        let until = Instant::now() + LISTEN;
        loop {
            if stop() {
                return Vec::new();
            }
            self.flush();
            let news = self.look(&mut self.state());
            if !news.is_empty() || Instant::now() >= until {
                return news;
            }
            thread::sleep(PAUSE);
        }
    }

    fn look(&self, state: &mut State) -> Vec<(Ticket, News)> {
        let mut news = std::mem::take(&mut state.news);
        let now = Instant::now();
        if now >= state.poll.ask_at && state.tracked.iter().any(|tracked| !tracked.is_over()) {
            self.ask_queue(state);
            state.poll.ask_at = next(now, ASK_EVERY);
        }
        if now >= state.poll.read_at {
            for tracked in &mut state.tracked {
                read(tracked, &mut news);
                lost(&self.client, tracked, state.poll.latency, &mut news);
            }
            state.poll.read_at = next(now, READ_EVERY);
        }
        state.tracked.retain(|tracked| {
            if tracked.is_over() && tracked.ours {
                batch::close(&tracked.dir, !tracked.failed);
            }
            !tracked.is_over()
        });
        news
    }

    fn ask_queue(&self, state: &mut State) {
        match self.client.queue() {
            Ok(listed) => {
                if state.poll.mentioned {
                    tracing::warn!("Slurm answers again");
                }
                (state.poll.silent_since, state.poll.mentioned) = (None, false);
                for tracked in &mut state.tracked {
                    place(tracked, &listed);
                }
            }
            Err(error) => {
                let since = *state.poll.silent_since.get_or_insert_with(Instant::now);
                if since.elapsed() > MENTION_AFTER && !state.poll.mentioned {
                    tracing::warn!("{error}; jobs that run go on, and so does this command");
                    state.poll.mentioned = true;
                }
            }
        }
    }

    /// Takes back what has not begun. An element that has other tasks besides stays for their sake.
    pub(super) fn take_back(&self, tickets: &[Ticket]) {
        let tickets: HashSet<Ticket> = tickets.iter().copied().collect();
        let mut guard = self.state();
        let state = &mut *guard;
        let mut names: Vec<String> = Vec::new();
        for ticket in &tickets {
            if state.submitter.drop_task(*ticket) {
                state.news.push((*ticket, News::Withdrawn));
            }
        }
        for tracked in &mut state.tracked {
            let mut in_vain = Vec::new();
            for (number, element) in tracked.elements.iter_mut().enumerate() {
                let waits = matches!(element.phase, Phase::Sent | Phase::Pending);
                element.unwanted.extend(element.open.iter().filter(|open| tickets.contains(open)));
                let unwanted = !element.open.is_empty() && element.open.iter().all(|t| element.unwanted.contains(t));
                if waits && unwanted && !element.withdrawn {
                    element.withdrawn = true;
                    in_vain.push(number);
                }
            }
            names.extend(tracked.names(&in_vain));
        }
        if !names.is_empty()
            && let Err(error) = self.client.cancel_pending(&names)
        {
            tracing::warn!("jobs that are not needed any more could not be cancelled: {error}");
        }
    }
}

/// Notes where the elements of a batch are.
fn place(tracked: &mut Tracked, listed: &[Listed]) {
    let lines: Vec<&Listed> =
        listed.iter().filter(|line| line.is_of(tracked.job.as_deref(), &tracked.file.id)).collect();
    for (number, element) in tracked.elements.iter_mut().enumerate().filter(|(_, e)| !e.open.is_empty()) {
        element.phase = match (lines.iter().find(|line| line.has(number)), &element.phase) {
            (Some(line), _) if line.is_pending() => Phase::Pending,
            (Some(line), _) => Phase::Running(line.node.clone()),
            (None, Phase::Gone(since)) => Phase::Gone(*since),
            (None, _) => Phase::Gone(Instant::now()),
        };
    }
}

/// Reads what elements that run, or have run, have told.
fn read(tracked: &mut Tracked, news: &mut Vec<(Ticket, News)>) {
    let looked = |phase: &Phase| matches!(phase, Phase::Running(_) | Phase::Gone(_));
    let due: Vec<usize> = (0..tracked.elements.len())
        .filter(|n| looked(&tracked.elements[*n].phase) && !tracked.elements[*n].open.is_empty())
        .collect();
    if due.is_empty() {
        return;
    }
    // Opening the folder makes a network file system look for names that it believes not to be there.
    let _ = fs::File::open(tracked.dir.join("reports"));
    for number in due {
        news.extend(tracked.read(number));
    }
}

/// Finds out about elements that have left the queue with tasks that have not ended.
fn lost(client: &Client, tracked: &mut Tracked, latency: Duration, news: &mut Vec<(Ticket, News)>) {
    let Some(job) = tracked.job.clone() else { return };
    for number in 0..tracked.elements.len() {
        let element = &tracked.elements[number];
        let over = matches!(element.phase, Phase::Gone(since) if since.elapsed() >= latency);
        if !over || element.open.is_empty() {
            continue;
        }
        let name = tracked.name(number);
        // A controller that does not answer now is asked again.
        let Ok(fate) = fate(client, &tracked.file.id, &job, number) else { return };
        if fate.is_none_yet() {
            // The list of a controller that has just started may be short of it.
            tracked.elements[number].phase = Phase::Sent;
            continue;
        }
        let element = &mut tracked.elements[number];
        let open = std::mem::take(&mut element.open);
        let never_began = element.begun.is_empty() && !batch::report(&tracked.dir, number).exists();
        let log = Some(batch::printed(&tracked.dir, number)).filter(|log| log.exists());
        // A controller that lost its memory has lost jobs, too.
        if never_began && log.is_none() && fate.is_unknown() {
            news.extend(open.into_iter().map(|ticket| (ticket, News::Returned)));
            continue;
        }
        // Taken back, or what it waits for failed, which has been told.
        if element.withdrawn || (never_began && tracked.file.waits && fate.is_in_vain()) {
            news.extend(open.into_iter().map(|ticket| (ticket, News::Withdrawn)));
            continue;
        }
        tracked.failed = true;
        let (message, help) = fate.words(&name, element.stopped);
        let mut blamed: Vec<Ticket> = open.iter().copied().filter(|ticket| element.begun.contains(ticket)).collect();
        if blamed.is_empty() {
            blamed.extend(open.first());
        }
        for ticket in open {
            // Those that it had not come to are innocent.
            let heard = if blamed.contains(&ticket) {
                let error = TaskError::Failed { message: message.clone(), help: help.clone() };
                News::Failed { error, log: log.clone() }
            } else {
                News::Returned
            };
            news.push((ticket, heard));
        }
    }
}
