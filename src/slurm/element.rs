//! An element of a job array, on the node: runs the tasks of its pack and tells what becomes of them.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};

use super::report::{Line, REPORT, Reporter};
use crate::engine::{
    Cache, Cancel, Key, Progress, ProgressSink, Registry, TaskEnv, TaskError, TaskJob, TaskWatch, Ticket, run_task,
};

const PACK: &str = "s2pipe.pack/1";

/// `packs/<n>.json`: the tasks of one element.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Pack {
    /// `s2pipe.pack/1`.
    pub pack: String,
    /// How many of them run at a time.
    pub side_by_side: usize,
    /// The tasks, in order.
    pub tasks: Vec<PackTask>,
}

/// A task of a pack.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PackTask {
    /// By what it is known.
    pub ticket: Ticket,
    /// All that is needed to run it.
    pub job: TaskJob,
}

impl Pack {
    /// A pack of the current version.
    pub(super) fn new(side_by_side: usize, tasks: Vec<PackTask>) -> Self {
        Self { pack: PACK.to_owned(), side_by_side, tasks }
    }

    /// Whether this program can run it.
    pub fn is_current(&self) -> bool {
        self.pack == PACK
    }
}

/// What an element has around it.
pub struct ElementEnv<'a> {
    /// The cache.
    pub cache: &'a Cache,
    /// The stage kinds.
    pub registry: &'a Registry,
    /// Asks its tasks to stop.
    pub cancel: &'a Cancel,
    /// Folder for logs of failed tasks.
    pub logs: &'a Path,
    /// File to append to what becomes of the tasks.
    pub report: Option<PathBuf>,
}

/// Runs the tasks of a pack. One that fails does not keep the others from running.
///
/// # Errors
/// The first failure, with the task's name; the others are told by the report and in the log.
pub fn run_pack(pack: &Pack, env: &ElementEnv<'_>) -> Result<(), (String, TaskError)> {
    let reporter = Reporter::new(env.report.clone());
    let node = node();
    reporter.tell(&Line::Element { report: REPORT.to_owned(), node });
    let queue: Mutex<VecDeque<&PackTask>> = Mutex::new(pack.tasks.iter().collect());
    let first: Mutex<Option<(String, TaskError)>> = Mutex::default();
    let work = || {
        while !env.cancel.is_cancelled() {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(task) = next else { return };
            if let Err(error) = run_one(task, env, &reporter) {
                first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((task.job.ran_as.label(), error));
            }
        }
    };
    thread::scope(|scope| {
        // This thread is one of them.
        for _ in 1..pack.side_by_side.clamp(1, pack.tasks.len().max(1)) {
            scope.spawn(work);
        }
        work();
    });
    match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(failed) => Err(failed),
        None if env.cancel.is_cancelled() => Err((String::new(), TaskError::Cancelled)),
        None => Ok(()),
    }
}

fn run_one(task: &PackTask, env: &ElementEnv<'_>, reporter: &Reporter) -> Result<(), TaskError> {
    let watch = Telling { ticket: task.ticket, reporter, told: AtomicBool::new(false) };
    let logs = env.logs;
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let job = TaskJob { gpus: gpus(&task.job.gpus, visible.as_deref()), ..task.job.clone() };
    let ended =
        run_task(&job, &TaskEnv { cache: env.cache, registry: env.registry, cancel: env.cancel, watch: &watch, logs });
    match ended {
        Ok(done) => {
            reporter.tell(&Line::Done { ticket: task.ticket, key: done.key, ran: done.ran });
            println!("{} {} {}", if done.ran { "ran" } else { "cached" }, task.job.ran_as.label(), done.key);
            Ok(())
        }
        Err(failed) => {
            reporter.tell(&Line::failed(task.ticket, &failed.error, failed.log));
            eprintln!("error: {}: {}", task.job.ran_as.label(), failed.error);
            Err(failed.error)
        }
    }
}

/// The GPUs that Slurm gave the job, of which `asked` is counted from 0: where jobs see each other's devices, `visible`
/// names others. Devices that have no numbers cannot be told apart; the task is not told of them.
fn gpus(asked: &[u32], visible: Option<&str>) -> Vec<u32> {
    let Some(visible) = visible else { return asked.to_vec() };
    visible.split(',').map_while(|entry| entry.trim().parse().ok()).take(asked.len()).collect()
}

/// The name of this machine, as Slurm has it.
fn node() -> String {
    let slurm = std::env::var("SLURMD_NODENAME").ok();
    slurm.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// Passes a task's news on to the report.
struct Telling<'a> {
    ticket: Ticket,
    reporter: &'a Reporter,
    told: AtomicBool,
}

impl ProgressSink for Telling<'_> {
    fn progress(&self, news: Progress) {
        if let Progress::Message(text) | Progress::Notice(text) = &news {
            tracing::info!("{text}");
        }
        self.reporter.tell(&Line::progress(self.ticket, news));
    }
}

impl TaskWatch for Telling<'_> {
    fn started(&self, key: Key) {
        if !self.told.swap(true, Ordering::SeqCst) {
            self.reporter.tell(&Line::Started { ticket: self.ticket, key });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_the_gpus_that_slurm_gave_it() {
        assert_eq!(gpus(&[0, 1], None), [0, 1]);
        assert_eq!(gpus(&[0, 1], Some("2,3")), [2, 3]);
        assert_eq!(gpus(&[], Some("2,3")), [0; 0]);
        assert_eq!(gpus(&[0], Some("GPU-5f1a")), [0; 0]);
    }
}
