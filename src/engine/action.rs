//! The action table: from a task's key to what running it left.
//!
//! One JSON file a key. A result that a deadline cut short goes into a file of its own (`<key>.cut.json`): it never
//! takes the place of a full one, and no lookup serves it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cache::{Cache, fan_out};
use super::digest::{ContentId, Digest, Key};
use super::disk::{self, Sync};
use super::error::CacheError;
use super::graph::label;
use super::lock::Locking;
use super::record::TaskRecord;
use super::stage::Outcome;
use super::store::Stored;

const ACTION: &str = "s2pipe.action/1";

/// One output of a task, in the store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredOutput {
    /// Output name.
    pub name: String,
    /// Its place below `cache/<pipeline>/<stage>/`.
    pub path: String,
    /// What it holds.
    pub content: ContentId,
    /// Bytes of all its files.
    pub bytes: u64,
}

/// Where an input came from when the task ran. For people; no part of the key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum MadeFrom {
    /// A source file.
    File {
        /// Absolute path at that time.
        path: PathBuf,
    },
    /// An output of another task.
    Task {
        /// Stage name.
        stage: String,
        /// Task name.
        task: String,
        /// Output name.
        output: String,
        /// The task's key.
        key: Key,
    },
}

/// Everything that is kept about a task that ended well.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Action {
    /// `s2pipe.action/1`.
    pub action: String,
    /// The task's key.
    pub key: Key,
    /// Whether it was done in full.
    pub outcome: Outcome,
    /// What it left, in the order of the record.
    pub outputs: Vec<StoredOutput>,
    /// Wall-clock seconds of the task itself.
    pub seconds: f64,
    /// When it ended, UTC, RFC 3339.
    pub created: String,
    /// Version of the program.
    pub s2pipe: String,
    /// Pipeline, stage and task that ran it first.
    pub ran_as: RanAs,
    /// Its log, where it wrote one.
    pub log: Option<Digest>,
    /// Numbers that the task reported about its result.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, f64>,
    /// Slot -> where the input came from.
    pub made_from: BTreeMap<String, MadeFrom>,
    /// The record whose digest is the key.
    pub record: TaskRecord,
}

/// The name under which a task ran.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RanAs {
    /// Pipeline name.
    pub pipeline: String,
    /// Stage name.
    pub stage: String,
    /// Task name; empty for the only task of a stage.
    pub task: String,
}

impl RanAs {
    /// `stage/task`, or `stage` for the only task of a stage.
    pub fn label(&self) -> String {
        label(&self.stage, &self.task)
    }
}

impl Action {
    /// Whether this program understands the record.
    pub(super) fn is_current(&self) -> bool {
        self.action == ACTION
    }

    /// An action of the current version; its outputs are filled in by [`Cache::commit`].
    pub(super) fn new(key: Key, record: TaskRecord, ran_as: RanAs, outcome: Outcome, seconds: f64) -> Self {
        Self {
            action: ACTION.to_owned(),
            key,
            outcome,
            outputs: Vec::new(),
            seconds,
            created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            s2pipe: env!("CARGO_PKG_VERSION").to_owned(),
            ran_as,
            log: None,
            scores: BTreeMap::new(),
            made_from: BTreeMap::new(),
            record,
        }
    }
}

/// The part of an action that a lookup needs; reading skips the rest.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub(super) struct Done {
    pub(super) action: String,
    pub(super) outputs: Vec<StoredOutput>,
    pub(super) seconds: f64,
    pub(super) created: String,
    pub(super) outcome: Outcome,
    #[serde(default)]
    pub(super) scores: BTreeMap<String, f64>,
}

/// The answer to "has this task been done?"
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Lookup {
    /// Yes, and all its outputs are there.
    Hit(Done),
    /// No.
    Miss(Miss),
}

/// Why a task must run although its key may be known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Miss {
    /// Never done with this key.
    Unknown,
    /// Done, but cut short by a deadline.
    CutShort,
    /// Done, but an output is no longer in the store.
    Evicted { output: String },
    /// Done, but an output in the store is damaged.
    Damaged { output: String },
}

impl Cache {
    fn action_path(&self, key: Key, outcome: Outcome) -> PathBuf {
        let end = match outcome {
            Outcome::Complete => "json",
            Outcome::CutShort => "cut.json",
        };
        fan_out(&self.actions_dir(), &format!("{key}.{end}"))
    }

    /// Looks a key up. A damaged or evicted output makes a miss, never an error. Nothing is changed.
    pub(super) fn lookup(&self, key: Key) -> Lookup {
        let done =
            fs::read(self.action_path(key, Outcome::Complete)).ok().and_then(|b| serde_json::from_slice(&b).ok());
        let Some(done) = done.filter(|d: &Done| d.action == ACTION) else {
            let cut = self.action_path(key, Outcome::CutShort).exists();
            return Lookup::Miss(if cut { Miss::CutShort } else { Miss::Unknown });
        };
        for output in &done.outputs {
            match self.check(output.content, output.bytes) {
                Stored::Good => {}
                Stored::Missing => return Lookup::Miss(Miss::Evicted { output: output.name.clone() }),
                Stored::Damaged => return Lookup::Miss(Miss::Damaged { output: output.name.clone() }),
            }
        }
        Lookup::Hit(done)
    }

    /// Looks up a key that another machine is known to have done. Clients of network file systems remember for up to a
    /// minute that a name is not there.
    pub(super) fn lookup_of_another(&self, key: Key) -> Lookup {
        let path = self.action_path(key, Outcome::Complete);
        self.seen_late(&path, || match self.lookup(key) {
            Lookup::Hit(done) => Some(Lookup::Hit(done)),
            Lookup::Miss(_) => None,
        })
        .unwrap_or_else(|| self.lookup(key))
    }

    /// The whole action of a key: the full one, or else the one cut short.
    ///
    /// # Errors
    /// [`CacheError`] when it is there but cannot be read. A file of another version counts as absent.
    pub fn action(&self, key: Key) -> Result<Option<Action>, CacheError> {
        for outcome in [Outcome::Complete, Outcome::CutShort] {
            let path = self.action_path(key, outcome);
            match fs::read(&path) {
                Ok(bytes) => {
                    let action = serde_json::from_slice(&bytes).ok().filter(|a: &Action| a.action == ACTION);
                    if action.is_some() {
                        return Ok(action);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(CacheError::at("read", &path, e)),
            }
        }
        Ok(None)
    }

    /// Writes an action whose outputs are in the store already. From here on the task counts as done.
    pub(super) fn commit(&self, action: &Action, sync: Sync) -> Result<(), CacheError> {
        let path = self.action_path(action.key, action.outcome);
        let mut bytes =
            serde_json::to_vec_pretty(action).map_err(|e| CacheError::at("write", &path, io::Error::other(e)))?;
        bytes.push(b'\n');
        self.write(&path, &bytes, sync)?;
        if action.outcome == Outcome::Complete {
            disk::remove(&self.action_path(action.key, Outcome::CutShort))?;
            let checkpoints = self.checkpoint_dir(action.key);
            if fs::read_dir(&checkpoints).is_ok_and(|mut files| files.next().is_some()) {
                disk::remove(&checkpoints)?;
            } else if self.locking == Locking::Off {
                // An empty one is cleared away at the end of the process where locks tell that nobody else uses it.
                let _ = fs::remove_dir(&checkpoints);
            }
        }
        Ok(())
    }

    /// Every key in the action table, unordered.
    pub(super) fn keys(&self) -> Vec<Key> {
        let list = |dir: &std::path::Path| fs::read_dir(dir).into_iter().flatten().flatten().collect::<Vec<_>>();
        let mut keys = Vec::new();
        for folder in list(&self.actions_dir()) {
            for file in list(&folder.path()) {
                let name = format!("{}{}", folder.file_name().to_string_lossy(), file.file_name().to_string_lossy());
                keys.extend(name.split('.').next().and_then(|hex| hex.parse().ok()).map(Key));
            }
        }
        keys
    }
}
