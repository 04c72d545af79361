//! What takes how much room in the cache.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::action::Action;
use super::cache::Cache;
use super::digest::{ContentId, Key};
use super::disk;
use super::inventory::{Inventory, content_of_outputs};

/// What takes how much room. Content that several results share is counted for the first of them.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Usage {
    /// The newest results, by pipeline and stage.
    pub stages: Vec<StageUsage>,
    /// Results that are no longer the newest of their name: what `cache gc` may take.
    pub older: Room,
    /// Files of the store that nothing refers to.
    pub orphans: Room,
    /// Checkpoints of unfinished tasks.
    pub checkpoints: Room,
    /// Folders of runs, with their logs.
    pub runs: Room,
    /// Bytes of all this.
    pub bytes: u64,
}

/// The room of a stage's newest results.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StageUsage {
    /// Pipeline name.
    pub pipeline: String,
    /// Stage name.
    pub stage: String,
    /// What they take.
    pub room: Room,
}

/// Things and their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Room {
    /// How many: results, files, folders.
    pub count: usize,
    /// Bytes of their files.
    pub bytes: u64,
}

impl Cache {
    /// Measures the cache.
    pub fn usage(&self) -> Usage {
        let inventory = Inventory::take(self);
        let mut counted: HashSet<ContentId> = HashSet::new();
        let mut bytes_of = |content: Vec<ContentId>| -> u64 {
            let fresh = content.into_iter().filter(|id| counted.insert(*id)).collect::<Vec<_>>();
            fresh.iter().filter_map(|id| inventory.blobs.get(id)).map(|blob| blob.bytes).sum()
        };
        let by_key: HashMap<Key, &Action> = inventory.actions.iter().map(|k| (k.action.key, &k.action)).collect();
        let mut newest = HashSet::new();
        let mut stages = Vec::new();
        for pipeline in self.pipelines() {
            for (stage, tasks) in self.newest(&pipeline).stages {
                let mut room = Room { count: tasks.len(), bytes: 0 };
                for task in tasks.values() {
                    newest.insert(task.key);
                    room.bytes += bytes_of(match by_key.get(&task.key) {
                        Some(action) => Inventory::content_of(self, action),
                        None => content_of_outputs(self, &task.outputs),
                    });
                }
                stages.push(StageUsage { pipeline: pipeline.clone(), stage, room });
            }
        }
        let mut older = Room::default();
        for known in inventory.actions.iter().filter(|known| !newest.contains(&known.action.key)) {
            older.count += 1;
            older.bytes += bytes_of(Inventory::content_of(self, &known.action));
        }
        let mut orphans = Room::default();
        for (_, blob) in inventory.blobs.iter().filter(|(id, _)| !counted.contains(id)) {
            orphans.count += 1;
            orphans.bytes += blob.bytes;
        }
        let checkpoints = folders(&self.checkpoints_dir());
        let runs = folders(&self.runs_dir());
        let bytes = stages.iter().map(|s| s.room.bytes).sum::<u64>()
            + [older, orphans, checkpoints, runs].iter().map(|room| room.bytes).sum::<u64>();
        Usage { stages, older, orphans, checkpoints, runs, bytes }
    }
}

fn folders(dir: &std::path::Path) -> Room {
    let count = std::fs::read_dir(dir).into_iter().flatten().flatten().count();
    Room { count, bytes: disk::bytes_below(dir) }
}
