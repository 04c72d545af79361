//! How the tasks of a stage become elements of a job array.
//!
//! A job costs the cluster's controller a few operations and the node a start; a task of a second is not worth that. So
//! where it is known how long tasks take, as many go into a job as fill five minutes; where it is not, the number of jobs
//! and their length grow alike, with the root of the number of tasks. What trains, or asks for GPUs, has its job for itself.

use super::element::{Pack, PackTask};
use crate::engine::Errand;
use crate::spec::{Allocation, Cpus, Limits};

/// A job of several tasks should take about so many seconds.
const WORTH_A_JOB: f64 = 300.0;
/// A stage of many tasks has at least so many jobs, however short its tasks are: they are there to run at a time.
const FEWEST_JOBS: usize = 16;
/// What a task that makes use of all cores gets where nobody says.
pub(super) const MANY_CPUS: u32 = 4;

/// What a job is given of the machine, and how its tasks share it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Share {
    /// Processors of a job.
    pub(super) cpus: u32,
    /// GPUs of a job.
    pub(super) gpus: u32,
    /// Tasks that run at a time.
    pub(super) side_by_side: usize,
    /// Threads of each.
    pub(super) threads: usize,
}

impl Share {
    /// `largest`: processors of the largest node, where that is known.
    pub(super) fn new(asked: &Allocation, limits: &Limits, all_cores: bool, largest: Option<u32>) -> Self {
        let stage = match limits.resources.cpus {
            Some(Cpus::Count(count)) => Some(count),
            Some(Cpus::All) => Some(largest.unwrap_or(MANY_CPUS)),
            None => None,
        };
        let many = MANY_CPUS.min(largest.unwrap_or(MANY_CPUS));
        let cpus = asked.cpus.or(stage).unwrap_or(if all_cores { many } else { 1 }).max(1);
        let gpus = asked.gpus.unwrap_or(limits.resources.gpus);
        let each = if all_cores || gpus > 0 { cpus } else { stage.unwrap_or(1).clamp(1, cpus) };
        Self { cpus, gpus, side_by_side: (cpus / each) as usize, threads: each as usize }
    }
}

/// The tasks that are to become jobs, as far as that matters for how many there are.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Load {
    pub(super) tasks: usize,
    /// One of them makes good use of all cores that it gets.
    pub(super) all_cores: bool,
    /// Seconds that they took last time, of those of which that is known.
    pub(super) seconds: Vec<f64>,
}

impl Load {
    pub(super) fn of(errands: &[Errand]) -> Self {
        Self {
            tasks: errands.len(),
            all_cores: errands.iter().any(|errand| errand.all_cores),
            seconds: errands.iter().filter_map(|errand| errand.seconds).collect(),
        }
    }
}

/// How many tasks go into one job.
pub(super) fn tasks_per_job(load: &Load, asked: &Allocation, share: Share) -> usize {
    let count = load.tasks.max(1);
    if let Some(most) = asked.pack {
        return most as usize;
    }
    if load.all_cores || share.gpus > 0 || asked.nodes.is_some_and(|nodes| nodes > 1) {
        return 1;
    }
    let mut seconds = load.seconds.clone();
    seconds.sort_by(f64::total_cmp);
    let tasks = match seconds.get(seconds.len() / 2) {
        Some(median) => (WORTH_A_JOB * share.side_by_side as f64 / median.max(0.01)) as usize,
        None => ((count as f64).sqrt() / 2.0).ceil() as usize,
    };
    tasks.clamp(1, count.div_ceil(FEWEST_JOBS).max(1))
}

/// Puts tasks into packs, in order.
pub(super) fn packs(errands: Vec<Errand>, per_job: usize, share: Share) -> Vec<Pack> {
    let tasks: Vec<PackTask> = errands
        .into_iter()
        .map(|errand| {
            let mut job = errand.job;
            job.threads = share.threads;
            // Slurm shows a job no other GPUs than its own, counted from 0.
            job.gpus = (0..share.gpus).collect();
            PackTask { ticket: errand.ticket, job }
        })
        .collect();
    tasks.chunks(per_job.max(1)).map(|tasks| Pack::new(share.side_by_side, tasks.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::engine::{Digest, RanAs, TaskJob, TaskRecord, Ticket};
    use crate::spec::Resources;

    fn errands(count: usize, seconds: Option<f64>, all_cores: bool) -> Vec<Errand> {
        let record = TaskRecord::new(("k", 1), (&json!({}), None, None), vec![], vec![]);
        let job = TaskJob::new(RanAs::default(), record, BTreeMap::new());
        let one =
            |n: usize| Errand { ticket: Ticket(Digest::of(&n.to_le_bytes())), job: job.clone(), all_cores, seconds };
        (0..count).map(one).collect()
    }

    fn share(cpus: Option<u32>, limits: Limits, all_cores: bool) -> Share {
        Share::new(&Allocation { cpus, ..Allocation::default() }, &limits, all_cores, Some(64))
    }

    #[test]
    fn small_tasks_share_a_job_and_its_processors() {
        let alone = share(None, Limits::default(), false);
        assert_eq!(alone, Share { cpus: 1, gpus: 0, side_by_side: 1, threads: 1 });
        let four = share(Some(4), Limits::default(), false);
        assert_eq!((four.side_by_side, four.threads), (4, 1));
        let two =
            Limits { resources: Resources { cpus: Some(Cpus::Count(2)), ..Resources::default() }, ..Limits::default() };
        assert_eq!((share(Some(4), two.clone(), false).side_by_side, share(Some(4), two, false).threads), (2, 2));
        let train = share(None, Limits::default(), true);
        assert_eq!((train.cpus, train.side_by_side, train.threads), (MANY_CPUS, 1, 4));
    }

    #[test]
    fn jobs_are_worth_their_start_and_run_at_a_time() {
        let asked = Allocation::default();
        let alone = share(None, Limits::default(), false);
        let per_job = |count, seconds| tasks_per_job(&Load::of(&errands(count, seconds, false)), &asked, alone);
        assert_eq!(per_job(1, None), 1);
        assert_eq!(per_job(200, None), 8, "25 jobs of 8");
        assert_eq!(per_job(10_000, None), 50, "200 jobs of 50");
        assert_eq!(per_job(10_000, Some(10.0)), 30, "five minutes each");
        assert_eq!(per_job(200, Some(0.1)), 13, "16 jobs at least");
        assert_eq!(per_job(10_000, Some(3600.0)), 1);
        assert_eq!(
            tasks_per_job(&Load::of(&errands(5, Some(1.0), true)), &asked, alone),
            1,
            "what uses all cores is alone"
        );
        let pack = Allocation { pack: Some(7), ..Allocation::default() };
        assert_eq!(tasks_per_job(&Load::of(&errands(20, None, true)), &pack, alone), 7, "the person knows better");
        let packs = packs(errands(20, None, false), 7, alone);
        assert_eq!(packs.iter().map(|pack| pack.tasks.len()).collect::<Vec<_>>(), [7, 7, 6]);
    }
}
