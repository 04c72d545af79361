//! Tasks as jobs of a Slurm cluster.
//!
//! Every stage's tasks go out as a job array. An element of the array, a *pack*, is one or more tasks that run one after
//! another, or side by side where the job has several processors. All that a job needs and all that it tells lies in the
//! cache folder, which submitting machine and nodes must both see:
//!
//! ```text
//! .s2pipe/batches/<id>/
//!   batch.json          what was handed over: pipeline, stage, tasks of every element
//!   job.sh              the script, as `--dry-run` shows it
//!   packs/<n>.json      the tasks of element n, each with its whole record
//!   job                 the job's number, once Slurm has taken it
//!   reports/<n>.jsonl   what element n tells while it runs
//!   logs/<n>.out        what it prints; logs of failed tasks beside it
//! ```
//!
//! The submitting command follows the jobs by reading reports, and by asking `squeue` for those that are silent. It can be
//! killed and started again at any time: `batch.json` and the comment of every job tell what is on its way. Nothing here
//! needs locks, a daemon, or Slurm's accounting.

mod batch;
mod client;
mod element;
mod error;
mod fate;
mod listen;
mod pack;
mod queue;
mod report;
mod script;
mod submit;
mod track;
mod waiting;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use element::{ElementEnv, Pack, run_pack};
pub use error::SlurmError;
pub use script::{Preview, preview};
pub use waiting::{OnItsWay, on_their_way};

use self::client::Client;
use self::submit::Submitter;
use self::track::Tracked;
use crate::engine::{Batch, Cache, Cluster, ClusterError, News, Ticket};
use crate::spec::SlurmSettings;

/// What is to become of jobs when the run is interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnInterrupt {
    /// They are cancelled.
    Cancel,
    /// They stay in the queue; the same command follows them again.
    Leave,
}

/// Asks the person what is to become of so many jobs.
pub type AskInterrupt<'a> = Box<dyn Fn(usize) -> OnInterrupt + Send + Sync + 'a>;

/// A Slurm cluster, as one run sees it.
pub struct Slurm<'a> {
    cache_root: PathBuf,
    batches: PathBuf,
    client: Client,
    ask: AskInterrupt<'a>,
    state: Mutex<State>,
}

/// What changes during a run.
struct State {
    submitter: Submitter,
    /// Batches on their way.
    tracked: Vec<Tracked>,
    /// News that have come about otherwise than by listening.
    news: Vec<(Ticket, News)>,
    poll: listen::Poll,
}

impl<'a> Slurm<'a> {
    /// The cluster whose commands are in the path. `program`: this program, as the nodes see it.
    pub fn new(settings: SlurmSettings, cache: &Cache, program: PathBuf, ask: AskInterrupt<'a>) -> Self {
        let client = Client;
        Self {
            cache_root: cache.root().to_path_buf(),
            batches: cache.batches_dir(),
            ask,
            state: Mutex::new(State {
                submitter: Submitter::new(settings, program),
                tracked: Vec::new(),
                news: Vec::new(),
                poll: listen::Poll::new(cache.root()),
            }),
            client,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn batch_dir(&self, id: &str) -> PathBuf {
        self.batches.join(id)
    }

    fn cache_root(&self) -> &Path {
        &self.cache_root
    }
}

impl Cluster for Slurm<'_> {
    fn on_their_way(&self) -> Result<HashSet<Ticket>, ClusterError> {
        let found = waiting::live_batches(&self.client, &self.batches).map_err(ClusterError::from)?;
        let tickets = found.iter().flat_map(Tracked::open_tickets).collect();
        self.state().tracked.extend(found);
        Ok(tickets)
    }

    fn submit(&self, batch: Batch<'_>) {
        self.prepare(&batch);
        self.flush();
    }

    fn listen(&self, stop: &dyn Fn() -> bool) -> Vec<(Ticket, News)> {
        self.hear(stop)
    }

    fn withdraw(&self, tickets: &[Ticket]) {
        self.take_back(tickets);
    }

    fn interrupted(&self, tickets: &[Ticket]) {
        let tickets: HashSet<Ticket> = tickets.iter().copied().collect();
        // Other runs with this cache may have jobs, too.
        let (mut jobs, mut elements) = (Vec::new(), 0);
        {
            let mut state = self.state();
            for tracked in &state.tracked {
                let ours = tracked.elements_with(&tickets);
                jobs.extend(tracked.names(&ours));
                elements += ours.len();
            }
            // What has no job yet is on no one's way.
            state.submitter.forget();
        }
        if elements > 0
            && (self.ask)(elements) == OnInterrupt::Cancel
            && let Err(error) = self.client.cancel(&jobs)
        {
            tracing::warn!("the jobs could not be cancelled: {error}");
        }
    }
}
