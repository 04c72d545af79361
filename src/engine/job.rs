//! A task as a message: all that another process, or another machine that sees the cache, needs to run it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::action::{MadeFrom, RanAs};
use super::cache::Cache;
use super::cancel::Cancel;
use super::digest::Key;
use super::record::{TASK_RECORD, TaskRecord};
use super::stage::{DeviceChoice, Registry, StageKind};
use super::task_error::TaskError;
use super::ticket::{Awaited, Ticket};

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
    /// Bytes of GPU memory that it may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_memory: Option<u64>,
    /// Threads that the task may use.
    pub threads: usize,
    /// Seconds until its deadline, counted from when it starts.
    pub seconds_left: Option<f64>,
    /// Seconds that one attempt may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
    /// How often it is tried again after a failure.
    #[serde(default, skip_serializing_if = "is_none")]
    pub retries: u32,
    /// GPUs that it may use, by ordinal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<u32>,
    /// Run it even when its result is in the cache.
    pub force: bool,
    /// The ticket under which others may await its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
    /// Inputs that were not made when this was written; they are in neither `record` nor `made_from`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaits: Vec<Awaited>,
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
            gpu_memory: None,
            threads: 1,
            seconds_left: None,
            timeout_seconds: None,
            retries: 0,
            gpus: Vec::new(),
            force: false,
            ticket: None,
            awaits: Vec::new(),
        }
    }

    /// The job with the inputs that it awaited, which must be made by now.
    pub(super) fn completed(&self, cache: &Cache) -> Result<Cow<'_, Self>, TaskError> {
        if self.awaits.is_empty() {
            return Ok(Cow::Borrowed(self));
        }
        let mut job = self.clone();
        for awaited in std::mem::take(&mut job.awaits) {
            let (input, from) = cache.arrived(&awaited)?;
            job.record.inputs.push(input);
            job.made_from.insert(awaited.slot, from);
        }
        job.record.inputs.sort_by(|a, b| a.slot.cmp(&b.slot));
        Ok(Cow::Owned(job))
    }

    /// Its deadline, if it starts now.
    pub(super) fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(duration(self.seconds_left?))
    }

    /// Asks the task to stop when it is asked to, or one attempt that starts now has had its time.
    pub(super) fn cancel(&self, cancel: &Cancel) -> Cancel {
        let end = self.timeout_seconds.and_then(|seconds| Instant::now().checked_add(duration(seconds)));
        end.map_or_else(|| cancel.clone(), |end| cancel.until(end))
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

fn is_none(count: &u32) -> bool {
    *count == 0
}

/// Seconds out of a message, which may say anything.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::digest::Digest;
    use crate::engine::record::InputRecord;

    fn job() -> TaskJob {
        let ran_as = RanAs { pipeline: "p".into(), stage: "s".into(), task: String::new() };
        let record = TaskRecord {
            record: TASK_RECORD.to_owned(),
            kind: "k".into(),
            version: 1,
            params: json!({}),
            seed: None,
            classes: None,
            inputs: Vec::<InputRecord>::new(),
            outputs: Vec::new(),
        };
        TaskJob::new(ran_as, record, BTreeMap::new())
    }

    #[test]
    fn limits_are_written_only_where_there_are_some_and_never_in_the_key() {
        let plain = job();
        let json = serde_json::to_value(&plain).unwrap();
        for name in ["timeout_seconds", "retries", "gpus", "gpu_memory", "ticket", "awaits"] {
            assert!(json.get(name).is_none(), "a job without limits reads as it always did");
        }
        assert_eq!(serde_json::from_value::<TaskJob>(json).unwrap(), plain);
        let limited =
            TaskJob { timeout_seconds: Some(5.0), retries: 2, gpus: vec![1], gpu_memory: Some(8 << 30), ..job() };
        let back: TaskJob = serde_json::from_str(&serde_json::to_string(&limited).unwrap()).unwrap();
        assert_eq!(back, limited);
        assert_eq!(back.record.key().unwrap(), plain.record.key().unwrap());
        assert_ne!(Digest::of(b""), back.record.key().unwrap().0);
    }
}
