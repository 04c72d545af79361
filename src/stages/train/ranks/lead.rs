//! Rank 0: it brings the others together, and tells what became of them.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::children::{Children, Place};
use super::order::Order;
use super::span::{self, Span};
use crate::engine::{Progress, StageError, TaskContext};
use crate::net::collective::{Meeting, Tcp};
use crate::net::{Compute, NetError, RankError, Team};
use crate::stages::device::ordinal_of;
use crate::stages::train::training_failure;

/// Time for a process of this machine to come to the meeting: loading NVIDIA's libraries takes some.
const START: Duration = Duration::from_secs(120);
/// Time for ranks to end by themselves: when all is done, or when something went wrong.
const END: Duration = Duration::from_secs(10);
/// Where ranks on other machines find rank 0, in the task's folder of checkpoints.
const MEETING_FILE: &str = "meeting.json";

/// The other ranks of a training.
pub(in crate::stages::train) struct Others {
    /// Rank 0 among them.
    pub(in crate::stages::train) team: Team,
    /// Where they are processes of this one.
    children: Option<Children>,
}

/// Threads of each rank where `ranks` share those of a task.
fn threads(task: &TaskContext<'_>, ranks: usize) -> usize {
    (task.threads / ranks).max(1)
}

/// Ranks that a task is to be computed by: what `srun` has started, or one a GPU that the task holds.
pub(in crate::stages::train) fn ranks(task: &TaskContext<'_>, span: Option<&Span>) -> usize {
    span.map_or(task.gpus.len(), |span| span.ranks).max(1)
}

/// Runs `work` with this rank's share of a task's threads, the rest of which are the other ranks'.
///
/// # Errors
/// Threads that cannot be started.
pub(in crate::stages::train) fn with_share_of_threads<R: Send>(
    task: &TaskContext<'_>,
    ranks: usize,
    work: impl FnOnce() -> R + Send,
) -> Result<R, StageError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads(task, ranks)).build();
    let pool = pool.map_err(|error| StageError::failed(format!("no threads for this rank: {error}")))?;
    Ok(pool.install(work))
}

impl Others {
    /// Brings all ranks of a task together; `compute` is where rank 0 computes.
    ///
    /// # Errors
    /// Ranks that cannot be started or do not come.
    pub(in crate::stages::train) fn gather(
        task: &TaskContext<'_>,
        span: Option<&Span>,
        compute: &Compute,
    ) -> Result<Self, StageError> {
        let on_gpu = !matches!(compute, Compute::Cpu);
        let mut others = match span {
            Some(span) => Self::from_elsewhere(task, span, on_gpu),
            None => Self::start(task, on_gpu),
        }?;
        let ranks = others.team.ranks();
        match others.team.clone().on(compute) {
            Ok(team) => others.team = team,
            Err(NetError::Ranks(error)) => return Err(others.story(&error)),
            Err(error) => return Err(training_failure(error)),
        }
        let how = others.team.describe();
        task.progress.progress(Progress::Message(format!("{ranks} ranks compute together, {how}")));
        Ok(others)
    }

    /// Starts a process for each further GPU.
    fn start(task: &TaskContext<'_>, on_gpu: bool) -> Result<Self, StageError> {
        let ranks = task.gpus.len();
        let meeting = Meeting::open(IpAddr::V4(Ipv4Addr::LOCALHOST)).map_err(failed)?;
        let order = Order::new(task, (&meeting, vec!["127.0.0.1".to_owned()]), ranks, on_gpu, threads(task, ranks));
        let gpus = task.gpus.iter().skip(1).map(|gpu| ordinal_of(*gpu));
        let places: Vec<Place> = gpus.enumerate().map(|(at, ordinal)| Place { rank: at + 1, ordinal }).collect();
        let children = RefCell::new(Children::start(&places, &order.line()?, task.log)?);
        let go_on = || {
            asked_to_stop(task)?;
            children.borrow_mut().all_run()
        };
        let hub = meeting.gather(ranks, START, &go_on);
        let mut children = children.into_inner();
        match hub {
            Ok(hub) => Ok(Self { team: team(hub), children: Some(children) }),
            Err(RankError::CalledOff) => Err(StageError::Cancelled),
            Err(error) => Err(story(&error, Some(&mut children))),
        }
    }

    /// Waits for the ranks that `srun` has started, by a file that all of them see.
    fn from_elsewhere(task: &TaskContext<'_>, span: &Span, on_gpu: bool) -> Result<Self, StageError> {
        let meeting = Meeting::open(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).map_err(failed)?;
        let order = Order::new(task, (&meeting, span.hosts()), span.ranks, on_gpu, task.threads);
        let file = MeetingFile::write(task.checkpoint_dir, &order.line()?)?;
        let hub = meeting.gather(span.ranks, span::PATIENCE, &|| asked_to_stop(task));
        drop(file);
        match hub {
            Ok(hub) => Ok(Self { team: team(hub), children: None }),
            Err(RankError::CalledOff) => Err(StageError::Cancelled),
            Err(error) => Err(story(&error, None)),
        }
    }

    /// Waits for the others once the training has ended well.
    pub(in crate::stages::train) fn end_well(self) {
        let Self { team, children } = self;
        drop(team);
        if let Some(mut children) = children {
            children.wait(END);
        }
    }

    /// The error of a rank as that of the task, in words that say how its process ended.
    pub(in crate::stages::train) fn story(self, error: &RankError) -> StageError {
        let Self { team, mut children } = self;
        drop(team);
        story(error, children.as_mut())
    }
}

fn team(hub: Tcp) -> Team {
    Team::new(Arc::new(hub))
}

fn failed(error: RankError) -> StageError {
    StageError::failed(error.to_string())
}

fn asked_to_stop(task: &TaskContext<'_>) -> Result<(), RankError> {
    if task.cancel.is_cancelled() { Err(RankError::CalledOff) } else { Ok(()) }
}

/// The error as the task's, with how the rank's process ended where that is known here.
fn story(error: &RankError, children: Option<&mut Children>) -> StageError {
    let (RankError::Lost { peer, .. } | RankError::GaveUp { peer, .. }) = error else {
        return StageError::failed(error.to_string());
    };
    let fate = children.and_then(|children| children.fate(*peer, END));
    let message = match (error, fate) {
        (RankError::Lost { .. }, Some(fate)) => format!("rank {peer} was lost: {fate}"),
        _ => error.to_string(),
    };
    StageError::with_help(message, "run again: training goes on from its checkpoint, with as many ranks or with others")
}

/// The order in a file; removed when it is dropped.
struct MeetingFile(PathBuf);

impl MeetingFile {
    fn write(folder: &Path, order: &str) -> Result<Self, StageError> {
        let (path, temporary) = (folder.join(MEETING_FILE), folder.join("meeting.tmp"));
        let write = || {
            let mut options = fs::OpenOptions::new();
            // It holds the token.
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(order.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|error| StageError::failed(format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for MeetingFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What rank 0 has left for ranks on other machines in its folder of checkpoints; `None`: nothing yet.
pub(super) fn meeting_in(folder: &Path) -> Option<String> {
    fs::read_to_string(folder.join(MEETING_FILE)).ok()
}
