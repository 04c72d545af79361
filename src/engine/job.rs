//! A task as a message: all that another process, or another machine that sees the cache, needs to run it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::action::{MadeFrom, RanAs};
use super::digest::Key;
use super::error::TaskError;
use super::record::{TASK_RECORD, TaskRecord};
use super::stage::{DeviceChoice, Registry, StageKind};

const JOB: &str = "s2pipe.job/1";

/// One task, ready to run. The record decides what comes out; the rest only says where things are and how to run it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskJob {
    /// `s2pipe.job/1`.
    pub job: String,
    /// Under which name it runs: for messages and for the cache's memory of what made what.
    pub ran_as: RanAs,
    /// What the task is made of.
    pub record: TaskRecord,
    /// Where each slot's content comes from. Source files are read from their path, everything else from the store.
    pub made_from: BTreeMap<String, MadeFrom>,
    /// Device asked for.
    pub device: DeviceChoice,
    /// Threads that the task may use.
    pub threads: usize,
    /// Seconds until its deadline, counted from when it starts.
    pub seconds_left: Option<f64>,
    /// Run it even when its result is in the cache.
    pub force: bool,
}

impl TaskJob {
    /// A job of the current version with one thread, no deadline, not forced.
    pub fn new(ran_as: RanAs, record: TaskRecord, made_from: BTreeMap<String, MadeFrom>) -> Self {
        Self {
            job: JOB.to_owned(),
            ran_as,
            record,
            made_from,
            device: DeviceChoice::Auto,
            threads: 1,
            seconds_left: None,
            force: false,
        }
    }

    /// The kind that runs it and its key.
    pub(super) fn resolve<'r>(&self, registry: &'r Registry) -> Result<(&'r dyn StageKind, Key), TaskError> {
        let foreign = |what: String| Err(TaskError::Foreign(what));
        if self.job != JOB || self.record.record != TASK_RECORD {
            return foreign(format!(
                "expected {JOB} with {TASK_RECORD}, found {} with {}",
                self.job, self.record.record
            ));
        }
        let Some(kind) = registry.get(&self.record.kind) else {
            return foreign(format!("it needs stage kind {:?}", self.record.kind));
        };
        let have = kind.spec().version;
        if have != self.record.version {
            return foreign(format!(
                "kind {:?} has version {have}, expected {}",
                self.record.kind, self.record.version
            ));
        }
        match self.record.key() {
            Ok(key) => Ok((kind.as_ref(), key)),
            Err(e) => foreign(e.to_string()),
        }
    }
}
