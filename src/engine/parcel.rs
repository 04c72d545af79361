//! A result as it travels between caches: the action, without what is private to the machine that ran it, and the
//! content that it consists of. How it travels is somebody else's business.
//!
//! On the way an action is a JSON object `{"parcel": "s2pipe.parcel/1", "digest": …, "action": {…}}`; the digest is that
//! of the action's canonical JSON, so that damage is seen.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::action::{Action, MadeFrom};
use super::cache::Cache;
use super::canonical::canonical_json;
use super::digest::{ContentId, Digest, Key};
use super::disk::Sync;
use super::error::CacheError;
use super::incoming::{Incoming, ReceiveError};
use super::stage::Outcome;
use super::store::Stored;
use super::tree::{EntryKind, Tree};

const PARCEL: &str = "s2pipe.parcel/1";
const CONTEXT: &str = "s2pipe 2026 parcel 1: digest of the action";

/// A full result of a task: its action, and through it the names of all its content.
#[derive(Clone, PartialEq, Debug)]
pub struct Parcel {
    action: Action,
}

/// A file that belongs to a result.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StoredFile {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes; `None` for a log, whose size no record tells.
    pub bytes: Option<u64>,
}

/// Why bytes are no parcel.
#[derive(Debug, thiserror::Error)]
pub enum ParcelError {
    /// Not JSON, cut off, or something else altogether.
    #[error("it is no result of a task ({0})")]
    Unreadable(String),
    /// Of a version that this program does not know.
    #[error("it is a {found}, and this s2pipe reads {PARCEL}")]
    Version {
        /// What it says of itself.
        found: String,
    },
    /// Its bytes are not those that were written.
    #[error("its digest should be {expected} and is {found}")]
    Digest {
        /// As written in it.
        expected: String,
        /// Of what it holds.
        found: Digest,
    },
    /// It is the result of another task.
    #[error("it is the result of the task {found}")]
    OtherKey {
        /// The key of what it holds.
        found: String,
    },
    /// What it lists is not what such a task leaves.
    #[error("it is not a full result with the outputs that its task declares")]
    Outputs,
}

impl Parcel {
    /// Makes a parcel of an action; paths of this machine stay here.
    fn new(mut action: Action) -> Self {
        for from in action.made_from.values_mut() {
            if let MadeFrom::File { path } = from {
                *path = path.file_name().map(PathBuf::from).unwrap_or_default();
            }
        }
        Self { action }
    }

    /// The task's key.
    pub fn key(&self) -> Key {
        self.action.key
    }

    /// Wall-clock seconds that the task took.
    pub fn seconds(&self) -> f64 {
        self.action.seconds
    }

    /// Bytes of all outputs.
    pub fn bytes(&self) -> u64 {
        self.action.outputs.iter().map(|output| output.bytes).sum()
    }

    /// Whether both hold the same outputs.
    pub fn leaves_the_same(&self, other: &Self) -> bool {
        self.action.outputs == other.action.outputs
    }

    /// The directory records that belong to it.
    pub fn trees(&self) -> BTreeSet<Digest> {
        let outputs = self.action.outputs.iter();
        outputs.filter_map(|o| if let ContentId::Tree(digest) = o.content { Some(digest) } else { None }).collect()
    }

    /// The files that belong to it; `None` while one of [`Parcel::trees`] is not in the cache.
    pub fn files(&self, cache: &Cache) -> Option<BTreeSet<StoredFile>> {
        let mut files = BTreeSet::new();
        for output in &self.action.outputs {
            match output.content {
                ContentId::File(digest) => {
                    files.insert(StoredFile { digest, bytes: Some(output.bytes) });
                }
                ContentId::Tree(digest) => {
                    let tree = cache.tree(digest)?;
                    let entries = tree.entries.iter().filter(|e| e.kind != EntryKind::EmptyDir);
                    files.extend(entries.map(|e| StoredFile { digest: e.digest, bytes: Some(e.bytes) }));
                }
            }
        }
        if let Some(digest) = self.action.log.filter(|log| files.iter().all(|file| file.digest != *log)) {
            files.insert(StoredFile { digest, bytes: None });
        }
        Some(files)
    }

    /// The action as it travels.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let action = serde_json::to_value(&self.action)?;
        let digest = digest_of(&action);
        let mut text = serde_json::to_vec_pretty(&json!({"parcel": PARCEL, "digest": digest, "action": action}))?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads an action that has travelled, and checks that it is whole and that of the task with this key.
    ///
    /// # Errors
    /// [`ParcelError`] where it is not.
    pub fn from_json(key: Key, bytes: &[u8]) -> Result<Self, ParcelError> {
        let unreadable = |e: serde_json::Error| ParcelError::Unreadable(e.to_string());
        let mut parcel: Value = serde_json::from_slice(bytes).map_err(unreadable)?;
        let text = |name: &str| parcel.get(name).and_then(Value::as_str).unwrap_or("nothing").to_owned();
        let (version, expected) = (text("parcel"), text("digest"));
        if version != PARCEL {
            return Err(ParcelError::Version { found: version });
        }
        let value = parcel.get_mut("action").map(Value::take).unwrap_or_default();
        let found = digest_of(&value);
        if found.hex() != expected {
            return Err(ParcelError::Digest { expected, found });
        }
        let action: Action = serde_json::from_value(value).map_err(unreadable)?;
        check(key, &action)?;
        Ok(Self { action })
    }
}

fn digest_of(action: &Value) -> Digest {
    Digest::in_context(CONTEXT, canonical_json(action).as_bytes())
}

/// Whether an action from elsewhere can be that of the task with this key. Its record can be trusted when the key is
/// its digest, so what the record does not say is compared with what it does.
fn check(key: Key, action: &Action) -> Result<(), ParcelError> {
    if !action.is_current() {
        return Err(ParcelError::Version { found: action.action.clone() });
    }
    let of_record = action.record.key().map_err(|e| ParcelError::Unreadable(e.to_string()))?;
    if of_record != key || action.key != key {
        return Err(ParcelError::OtherKey { found: of_record.to_string() });
    }
    let declared = action.record.outputs.iter().map(|output| (&output.name, output.path.as_path()));
    let same = declared.eq(action.outputs.iter().map(|output| (&output.name, Path::new(&output.path))));
    if same && action.outcome == Outcome::Complete { Ok(()) } else { Err(ParcelError::Outputs) }
}

impl Cache {
    /// The full result of a task, ready to travel. `None`: there is none, or not all of its content is there.
    ///
    /// # Errors
    /// [`CacheError`] when its action cannot be read.
    pub fn parcel(&self, key: Key) -> Result<Option<Parcel>, CacheError> {
        let action = self.action(key)?.filter(|action| action.outcome == Outcome::Complete);
        let whole = |action: &Action| action.outputs.iter().all(|o| self.check(o.content, o.bytes) == Stored::Good);
        let Some(mut action) = action.filter(whole) else { return Ok(None) };
        // A log is for people: a result without it is a result.
        action.log = action.log.filter(|log| self.file_path(*log).exists());
        Ok(Some(Parcel::new(action)))
    }

    /// Whether a file of a result is there and whole.
    pub fn has_file(&self, file: StoredFile) -> bool {
        let bytes = file.bytes.or_else(|| fs::metadata(self.file_path(file.digest)).ok().map(|meta| meta.len()));
        bytes.is_some_and(|bytes| self.check(ContentId::File(file.digest), bytes) == Stored::Good)
    }

    /// A stored file, for reading.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_file(&self, digest: Digest) -> io::Result<File> {
        File::open(self.file_path(digest))
    }

    /// The record of a directory; `None` where it is not there or damaged.
    pub fn tree_record(&self, digest: Digest) -> Option<Vec<u8>> {
        self.tree(digest).map(|tree| tree.record().into_bytes())
    }

    /// Takes the record of a directory into the store.
    ///
    /// # Errors
    /// [`ReceiveError`] when it is not the one with this digest, or cannot be written.
    pub fn take_tree(&self, digest: Digest, record: &[u8]) -> Result<(), ReceiveError> {
        let found = Tree::digest_of_record(record);
        if found != digest {
            return Err(ReceiveError::Digest { expected: digest, found });
        }
        if Tree::parse(record).is_none() {
            return Err(ReceiveError::NoTree);
        }
        Ok(self.write(&self.content_path(ContentId::Tree(digest)), record, Sync::Lazy)?)
    }

    /// Begins to take a file into the store: its bytes are written to what this returns.
    ///
    /// # Errors
    /// [`CacheError`] when nothing can be written.
    pub fn receive(&self, file: StoredFile) -> Result<Incoming<'_>, CacheError> {
        Incoming::new(self, file)
    }

    /// Takes a result into the cache, all of whose content has been taken in before. From here on the task counts as
    /// done.
    ///
    /// # Errors
    /// [`ReceiveError::Missing`] where an output is not there, others where the action cannot be written.
    pub fn take_parcel(&self, parcel: &Parcel) -> Result<(), ReceiveError> {
        // What is looked at is not collected before the action names it.
        let _hold = self.hold()?;
        for output in &parcel.action.outputs {
            if self.check(output.content, output.bytes) != Stored::Good {
                return Err(ReceiveError::Missing { output: output.name.clone() });
            }
        }
        Ok(self.commit(&parcel.action, Sync::Lazy)?)
    }
}
