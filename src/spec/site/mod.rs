//! The place where a pipeline runs: this machine or a Slurm cluster, and a cache shared with others. The same three keys
//! stand in a pipeline and in a person's own file. None of it changes what comes out, so none of it is part of a key.

mod file;
mod reserved;
mod schema;

use std::collections::BTreeMap;
use std::time::Duration;

pub use file::{load_site_file, personal_site};
pub(super) use reserved::{instead_of, long_form, option_name};
pub(super) use schema::{allocation_schema, executor_schema, remote_schema, slurm_schema};

/// Where a pipeline runs. What is `None` or empty was not said.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Site {
    /// `executor:`, what runs the tasks; `local` where nobody says.
    pub executor: Option<ExecutorName>,
    /// `slurm:`, what a cluster is asked for.
    pub slurm: SlurmSettings,
    /// `remote:`, a cache shared with others.
    pub remote: RemoteSettings,
}

/// What runs the tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExecutorName {
    /// This machine.
    Local,
    /// Jobs of a Slurm cluster.
    Slurm,
}

/// What a Slurm cluster is asked for, and how often.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SlurmSettings {
    /// For every stage.
    pub all: Allocation,
    /// `kinds:`, by stage kind; stronger than `all`.
    pub kinds: BTreeMap<String, Allocation>,
    /// `stages:`, by name of a stage; stronger than `kinds`. Those of a personal file need not be stages of the pipeline.
    pub stages: BTreeMap<String, Allocation>,
    /// `array:`, most elements of one job array, at least 1; `None`: what the cluster says.
    pub array: Option<u32>,
    /// `submit_rate:`, most submissions a second, above 0.
    pub submit_rate: Option<f64>,
}

/// What the job of a task is given, and how tasks become jobs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Allocation {
    /// `partition:`.
    pub partition: Option<String>,
    /// `account:` that is charged.
    pub account: Option<String>,
    /// `time:` of one job, whole seconds above 0.
    pub time: Option<Duration>,
    /// `cpus:` of a task, at least 1.
    pub cpus: Option<u32>,
    /// `memory:` of a node in bytes, above 0.
    pub memory: Option<u64>,
    /// `gpus:` of a node.
    pub gpus: Option<u32>,
    /// `nodes:`, at least 1.
    pub nodes: Option<u32>,
    /// `options:` of `sbatch` beyond these, each `--name` or `--name=value`; an empty list takes a weaker one away.
    pub options: Option<Vec<String>>,
    /// `setup:`, lines of shell before the task; an empty list takes a weaker one away.
    pub setup: Option<Vec<String>>,
    /// `pack:`, most tasks in one job, at least 1; `None`: the program decides.
    pub pack: Option<u32>,
}

/// A cache shared with others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RemoteSettings {
    /// `url:` of a folder or a prefix, `scheme://…` as written; it holds no credentials, no query and no fragment.
    pub url: Option<String>,
    /// `push:`, `ask` where nobody says.
    pub push: Option<Push>,
}

/// Whether results go to the shared cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Push {
    /// As soon as they are there.
    Always,
    /// Never: the shared cache is only read.
    Never,
    /// When the command line says so.
    Ask,
}

impl ExecutorName {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Local, Self::Slurm];

    /// The word in the language.
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Slurm => "slurm",
        }
    }
}

impl Push {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Always, Self::Never, Self::Ask];

    /// The word in the language.
    pub fn word(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Never => "never",
            Self::Ask => "ask",
        }
    }
}

impl Site {
    /// These settings, and where they say nothing those of `weaker`, key by key. A list replaces a list as a whole.
    pub fn over(self, weaker: Self) -> Self {
        Self {
            executor: self.executor.or(weaker.executor),
            slurm: self.slurm.over(weaker.slurm),
            remote: self.remote.over(weaker.remote),
        }
    }
}

impl SlurmSettings {
    /// What the tasks of a stage are given: by its name, else by its kind, else what holds for all, key by key.
    pub fn allocation(&self, stage: &str, kind: &str) -> Allocation {
        let find = |among: &BTreeMap<String, Allocation>, name| among.get(name).cloned().unwrap_or_default();
        find(&self.stages, stage).over(find(&self.kinds, kind)).over(self.all.clone())
    }

    fn over(self, weaker: Self) -> Self {
        Self {
            all: self.all.over(weaker.all),
            kinds: each_over(self.kinds, weaker.kinds),
            stages: each_over(self.stages, weaker.stages),
            array: self.array.or(weaker.array),
            submit_rate: self.submit_rate.or(weaker.submit_rate),
        }
    }
}

impl Allocation {
    fn over(self, weaker: Self) -> Self {
        Self {
            partition: self.partition.or(weaker.partition),
            account: self.account.or(weaker.account),
            time: self.time.or(weaker.time),
            cpus: self.cpus.or(weaker.cpus),
            memory: self.memory.or(weaker.memory),
            gpus: self.gpus.or(weaker.gpus),
            nodes: self.nodes.or(weaker.nodes),
            options: self.options.or(weaker.options),
            setup: self.setup.or(weaker.setup),
            pack: self.pack.or(weaker.pack),
        }
    }
}

impl RemoteSettings {
    fn over(self, weaker: Self) -> Self {
        Self { url: self.url.or(weaker.url), push: self.push.or(weaker.push) }
    }
}

/// Every name of either map, the stronger's settings over the weaker's of the same name.
fn each_over(
    mut stronger: BTreeMap<String, Allocation>,
    weaker: BTreeMap<String, Allocation>,
) -> BTreeMap<String, Allocation> {
    for (name, weaker) in weaker {
        let allocation = stronger.remove(&name).unwrap_or_default().over(weaker);
        stronger.insert(name, allocation);
    }
    stronger
}
