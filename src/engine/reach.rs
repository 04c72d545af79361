//! What a run can reach beyond this machine.

use std::collections::HashSet;
use std::path::PathBuf;

use super::cache::Cache;
use super::cancel::Cancel;
use super::digest::Key;
use super::job::TaskJob;
use super::stage::Progress;
use super::task_error::TaskError;
use super::ticket::Ticket;
use crate::spec::Limits;

/// A place beyond this machine where results of tasks may be, shared with others. It never fails a run: what goes wrong
/// there it tells by itself, once.
pub trait Remote: Send + Sync {
    /// Brings the full result of a task into the cache. `false`: it has none, or cannot be reached. Called from several
    /// threads at a time.
    fn fetch(&self, key: Key, cache: &Cache, cancel: &Cancel) -> bool;

    /// A task has just run, and its full result lies in the cache. Returns at once.
    fn made(&self, key: Key, cache: &Cache);
}

/// Runs tasks on other machines that see the cache. Tasks are known by their tickets.
pub trait Cluster: Send + Sync {
    /// The tasks that an earlier run handed over and that are queued or running still.
    ///
    /// # Errors
    /// When the cluster does not say.
    fn on_their_way(&self) -> Result<HashSet<Ticket>, ClusterError>;

    /// Hands over tasks of one stage. What becomes of them, refusals included, is heard by listening.
    fn submit(&self, batch: Batch<'_>);

    /// Waits for news of tasks that are on their way, some seconds at most; less when `stop` says so.
    fn listen(&self, stop: &dyn Fn() -> bool) -> Vec<(Ticket, News)>;

    /// Takes back tasks that have not begun; [`News::Withdrawn`] tells which those were.
    fn withdraw(&self, tickets: &[Ticket]);

    /// The run was interrupted: takes these tasks, which are on their way, back or leaves them, as the person wants it.
    fn interrupted(&self, tickets: &[Ticket]);
}

/// Tasks of one stage that can be handed over together.
pub struct Batch<'a> {
    /// The run that hands them over.
    pub run: &'a str,
    /// Pipeline name.
    pub pipeline: &'a str,
    /// Stage name.
    pub stage: &'a str,
    /// Stage kind.
    pub kind: &'a str,
    /// Time and machine that the stage asks for.
    pub limits: &'a Limits,
    /// The tasks, in order.
    pub errands: Vec<Errand>,
    /// They may start only when these have ended well.
    pub after: Vec<Ticket>,
}

/// One task to be run elsewhere.
#[derive(Clone, Debug)]
pub struct Errand {
    /// By what it is known.
    pub ticket: Ticket,
    /// What is to be run. Threads and GPUs are up to the cluster.
    pub job: TaskJob,
    /// Whether it makes good use of all cores that it gets.
    pub all_cores: bool,
    /// Seconds that it took last time, where that is known.
    pub seconds: Option<f64>,
}

/// What is heard of a task on its way.
#[derive(Debug)]
pub enum News {
    /// It waits in the queue.
    Queued {
        /// The job, as people on the cluster know it.
        job: String,
    },
    /// It runs.
    Started {
        /// Its key.
        key: Key,
        /// The job and the machine: `1234_5 on c1-2`.
        place: String,
    },
    /// It says something.
    Progress(Progress),
    /// Its result is in the cache.
    Done {
        /// Its key.
        key: Key,
        /// `false`: it was there already.
        ran: bool,
    },
    /// It failed, or nothing more will be heard of it.
    Failed {
        /// What happened.
        error: TaskError,
        /// Its log, if it wrote one.
        log: Option<PathBuf>,
    },
    /// It was taken back before it began, or what it waits for failed.
    Withdrawn,
    /// Its job ended without having come to it, through no fault of its own.
    Returned,
}

/// The cluster does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ClusterError {
    /// What happened.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// What a run can reach beyond this machine; by default nothing.
#[derive(Clone, Copy, Default)]
pub struct Reach<'a> {
    /// Where results are shared.
    pub remote: Option<&'a dyn Remote>,
    /// Where tasks run; otherwise on threads of this process.
    pub cluster: Option<&'a dyn Cluster>,
}
