//! What running tasks hold of the machine, and which task may start beside them.
//!
//! Tasks start in the order of the graph. One that does not fit yet keeps for itself what is free of all that it needs;
//! those behind it may only have what it leaves. So they never put off its start, and nothing waits for ever; but a
//! task that waits for a GPU does not leave processors idle.

use std::collections::{BTreeSet, HashMap};

use super::error::PlanError;
use super::graph::{Graph, TaskId};
use super::machine;
use super::run::RunOptions;
use super::stage::Cores;
use crate::spec::{Cpus, bytes_words};

/// What a task holds while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Need {
    cpus: usize,
    memory: u64,
    gpus: usize,
}

/// The machine as far as it is not held.
#[derive(Debug)]
pub(super) struct Pool {
    all_cpus: usize,
    cpus: usize,
    memory: u64,
    /// Ordinals.
    gpus: BTreeSet<u32>,
    held: HashMap<TaskId, (Need, Vec<u32>)>,
}

impl Pool {
    /// All that a run may use. `tasks` are those that may run in it: none of them must ask for more.
    pub(super) fn new(
        graph: &Graph,
        tasks: impl Iterator<Item = TaskId>,
        options: &RunOptions,
    ) -> Result<Self, PlanError> {
        let cpus = options.jobs.max(1);
        let stages: BTreeSet<usize> = tasks.map(|id| graph.tasks[id].stage).collect();
        let asks = |what: fn(&crate::spec::Resources) -> bool| {
            stages.iter().any(|stage| what(&graph.stages[*stage].limits.resources))
        };
        let memory = match options.memory {
            Some(bytes) => Some(bytes),
            None if asks(|r| r.memory.is_some()) => machine::memory(),
            None => None,
        };
        let gpus = if asks(|r| r.gpus > 0) { gpus(options.gpus) } else { BTreeSet::new() };
        // A machine that does not say how much memory it has is taken to have enough.
        let pool = Self { all_cpus: cpus, cpus, memory: memory.unwrap_or(u64::MAX), gpus, held: HashMap::new() };
        for stage in stages {
            pool.check(graph, stage)?;
        }
        Ok(pool)
    }

    fn check(&self, graph: &Graph, stage: usize) -> Result<(), PlanError> {
        let (name, resources) = (&graph.stages[stage].name, &graph.stages[stage].limits.resources);
        let error = |wanted, there, option| Err(PlanError::TooMuch { stage: name.clone(), wanted, there, option });
        match resources.memory {
            Some(bytes) if bytes > self.memory => {
                let wanted = format!("{} of memory", bytes_words(bytes));
                return error(wanted, format!("are {}", bytes_words(self.memory)), "--memory");
            }
            _ => {}
        }
        let count = |n: usize| if n == 1 { "1 GPU".to_owned() } else { format!("{n} GPUs") };
        let wanted = resources.gpus as usize;
        if wanted <= self.gpus.len() {
            return Ok(());
        }
        let there = match self.gpus.len() {
            0 => "is none".to_owned(),
            1 => "is 1".to_owned(),
            n => format!("are {n}"),
        };
        error(count(wanted), there, "--gpus")
    }

    fn need(&self, graph: &Graph, id: TaskId) -> Need {
        let node = &graph.tasks[id];
        let resources = &graph.stages[node.stage].limits.resources;
        let cpus = match (resources.cpus, node.plan.cores) {
            (Some(Cpus::Count(count)), _) => (count as usize).min(self.all_cpus),
            (_, Cores::All) => self.all_cpus,
            (_, Cores::One) => 1,
        };
        Need { cpus, memory: resources.memory.unwrap_or(0), gpus: resources.gpus as usize }
    }

    /// The first of these tasks that may start now. See the module.
    pub(super) fn first_fitting(&self, graph: &Graph, ready: impl Iterator<Item = TaskId>) -> Option<TaskId> {
        let mut left = Need { cpus: self.cpus, memory: self.memory, gpus: self.gpus.len() };
        for id in ready {
            // Every task needs a processor.
            if left.cpus == 0 {
                return None;
            }
            let need = self.need(graph, id);
            if need.cpus <= left.cpus && need.memory <= left.memory && need.gpus <= left.gpus {
                return Some(id);
            }
            left.cpus = left.cpus.saturating_sub(need.cpus);
            left.memory = left.memory.saturating_sub(need.memory);
            left.gpus = left.gpus.saturating_sub(need.gpus);
        }
        None
    }

    /// Gives a task what it needs; it fits. Returns the ordinals of its GPUs.
    pub(super) fn take(&mut self, graph: &Graph, id: TaskId) -> Vec<u32> {
        let need = self.need(graph, id);
        self.cpus -= need.cpus;
        self.memory -= need.memory;
        let gpus: Vec<u32> = self.gpus.iter().copied().take(need.gpus).collect();
        self.gpus.retain(|gpu| !gpus.contains(gpu));
        self.held.insert(id, (need, gpus.clone()));
        gpus
    }

    /// Takes back what a task holds.
    pub(super) fn give(&mut self, id: TaskId) {
        if let Some((need, gpus)) = self.held.remove(&id) {
            self.cpus += need.cpus;
            self.memory += need.memory;
            self.gpus.extend(gpus);
        }
    }
}

/// As many GPUs as the person says, else those that there are.
fn gpus(given: Option<u32>) -> BTreeSet<u32> {
    let found = machine::gpus();
    match given {
        None => found.into_iter().collect(),
        Some(count) if count as usize <= found.len() => found.into_iter().take(count as usize).collect(),
        Some(count) => (0..count).collect(),
    }
}
