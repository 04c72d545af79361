//! Verifying the cache: reads every stored byte and compares it with the name that it bears.
//!
//! A lookup trusts size and seal, which a disk that loses bits does not break. This does not trust them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use rayon::prelude::*;
use serde::Serialize;

use super::cache::Cache;
use super::digest::{ContentId, Digest};
use super::disk;
use super::error::CacheError;
use super::inventory::{Blob, Inventory, KnownAction, content_of_outputs};
use super::tree::Tree;

/// What verifying found.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Verified {
    /// Files of the store that were read.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files with other bytes than their name says.
    pub damaged: Vec<Damage>,
    /// Results that lack a file. They are made again when they are needed.
    pub incomplete: Vec<String>,
    /// Files that do not belong where they are: torn results of a crash, results of another version.
    pub strange: Vec<PathBuf>,
    /// Whether what was found has been put right.
    pub repaired: bool,
}

/// A damaged file of the store.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Damage {
    /// Its path.
    pub path: PathBuf,
    /// What it should hold.
    pub expected: ContentId,
    /// The digest of what it holds; `None`: it could not be read.
    pub found: Option<Digest>,
    /// Results that need it: `pipeline/stage/task.output`.
    pub used_by: Vec<String>,
}

impl Verified {
    /// Whether nothing was damaged or strange. An incomplete result is no fault: it is a miss.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.strange.is_empty()
    }
}

impl Cache {
    /// Reads every stored file. With `repair`, damaged and strange files are removed, so that they are made again
    /// when needed.
    ///
    /// # Errors
    /// [`CacheError`] when something cannot be removed.
    pub fn verify(&self, repair: bool) -> Result<Verified, CacheError> {
        let _alone = if repair { Some(self.lock_collector()?) } else { None };
        let inventory = Inventory::take(self);
        let users = Users::of(self, &inventory);
        let blobs: Vec<(&ContentId, &Blob)> = inventory.blobs.iter().collect();
        let found: Vec<Option<Digest>> = blobs.par_iter().map(|(id, blob)| digest_of(**id, &blob.path)).collect();
        let damaged = blobs.iter().zip(&found).filter(|((id, _), found)| **found != Some(id.digest()));
        let damaged: Vec<Damage> = damaged
            .map(|((id, blob), found)| Damage {
                path: blob.path.clone(),
                expected: **id,
                found: *found,
                used_by: users.names(**id),
            })
            .collect();
        let mut verified = Verified {
            files: blobs.len(),
            bytes: blobs.iter().map(|(_, blob)| blob.bytes).sum(),
            damaged,
            incomplete: Vec::new(),
            strange: inventory.unreadable.iter().chain(&inventory.strange).cloned().collect(),
            repaired: repair,
        };
        let complete = |known: &&KnownAction| {
            let content = Inventory::content_of(self, &known.action);
            content.iter().all(|id| inventory.blobs.contains_key(id))
        };
        // Their records stay: they tell why the task runs again.
        verified.incomplete =
            inventory.actions.iter().filter(|known| !complete(known)).map(KnownAction::name).collect();
        if repair {
            for path in verified.damaged.iter().map(|d| &d.path).chain(&verified.strange) {
                disk::remove(path)?;
            }
        }
        Ok(verified)
    }
}

/// The digest of what a stored file really holds.
fn digest_of(id: ContentId, path: &std::path::Path) -> Option<Digest> {
    match id {
        ContentId::File(_) => Digest::of_file(path).ok().map(|(digest, _)| digest),
        ContentId::Tree(_) => fs::read(path).ok().map(|record| Tree::digest_of_record(&record)),
    }
}

/// Which results need which content.
struct Users(BTreeMap<ContentId, BTreeSet<String>>);

impl Users {
    fn of(cache: &Cache, inventory: &Inventory) -> Self {
        let mut users: BTreeMap<ContentId, BTreeSet<String>> = BTreeMap::new();
        for known in &inventory.actions {
            for output in &known.action.outputs {
                for content in content_of_outputs(cache, std::slice::from_ref(output)) {
                    users.entry(content).or_default().insert(format!("{}.{}", known.name(), output.name));
                }
            }
            if let Some(log) = known.action.log {
                users.entry(ContentId::File(log)).or_default().insert(format!("the log of {}", known.name()));
            }
        }
        Self(users)
    }

    fn names(&self, content: ContentId) -> Vec<String> {
        self.0.get(&content).into_iter().flatten().cloned().collect()
    }
}
