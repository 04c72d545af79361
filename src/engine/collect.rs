//! Collecting garbage: results that nothing needs any more.
//!
//! *Kept whatever the options say*: the newest result of every task of every pipeline (what the readable view shows), what
//! pins name, what runs in progress count on, and everything younger than the grace window, because a run that has just
//! begun may be about to use it. *Everything else* goes, or, where the options give an age or a size, as much of it as
//! they ask for, the least recently used first. When something is needed after all it is made again: collecting can cost
//! time, never a result.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;

use super::action::Action;
use super::cache::Cache;
use super::digest::{ContentId, Key};
use super::disk;
use super::error::CacheError;
use super::graph::label;
use super::inventory::{Inventory, KnownAction, last_used, roots};
use super::reason::differences;

/// Without an age of their own, checkpoints of unfinished tasks go after this long.
const CHECKPOINTS_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// What to collect.
#[derive(Clone, Debug)]
pub struct CollectOptions {
    /// Only what no run has used for this long.
    pub older_than: Option<Duration>,
    /// Only until the store has at most this many bytes.
    pub max_bytes: Option<u64>,
    /// Nothing that was made or used within this time.
    pub grace: Duration,
    /// Say what would go, remove nothing.
    pub dry_run: bool,
}

impl Default for CollectOptions {
    /// Everything that is not needed, an hour of grace.
    fn default() -> Self {
        Self { older_than: None, max_bytes: None, grace: Duration::from_secs(3600), dry_run: false }
    }
}

/// What was, or would be, removed.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Collected {
    /// Whether it was only looked at.
    pub dry_run: bool,
    /// Results, least recently used first.
    pub results: Vec<CollectedResult>,
    /// Files of the store that no result refers to: what killed runs left.
    pub orphans: usize,
    /// Checkpoints of tasks that nobody finished.
    pub checkpoints: usize,
    /// Bytes freed on the disk, all of it together.
    pub bytes: u64,
    /// Bytes that the store still has.
    pub bytes_left: u64,
}

/// A result that goes.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CollectedResult {
    /// `pipeline/stage/task`.
    pub name: String,
    /// How it was made otherwise than the newest result of that name: `model.width 32 -> 24`.
    pub differs: Vec<String>,
    /// Its key.
    pub key: Key,
    /// When it was made, UTC, RFC 3339.
    pub created: String,
    /// When a run last used it, UTC, RFC 3339.
    pub used: String,
    /// Bytes that go with it and with nothing before it in the list.
    pub bytes: u64,
}

impl Cache {
    /// Removes what is not needed. Waits for runs that are just looking things up, and makes new ones wait.
    ///
    /// # Errors
    /// [`CacheError`] when something cannot be removed; what was removed before stays removed, and all is well with it.
    pub fn collect(&self, options: &CollectOptions) -> Result<Collected, CacheError> {
        let _alone = self.lock_collector()?;
        let inventory = Inventory::take(self);
        let now = Timestamp::now();
        let plan = Plan::make(self, &inventory, options, now);
        let collected = plan.describe(self, options.dry_run);
        if !options.dry_run {
            plan.carry_out(self)?;
        }
        Ok(collected)
    }
}

/// What goes.
struct Plan<'i> {
    inventory: &'i Inventory,
    /// Results with the time of their last use, least recently used first, and the bytes that go with each.
    results: Vec<(&'i KnownAction, Timestamp, u64)>,
    /// Files of the store that go with them, or that nothing refers to.
    blobs: Vec<ContentId>,
    orphans: usize,
    checkpoints: Vec<(PathBuf, u64)>,
}

impl<'i> Plan<'i> {
    fn make(cache: &Cache, inventory: &'i Inventory, options: &CollectOptions, now: Timestamp) -> Self {
        let roots = roots(cache);
        let used = last_used(cache);
        let last = |known: &KnownAction| {
            let created = known.action.created.parse().unwrap_or(now);
            used.get(&known.action.key).copied().unwrap_or(created).max(created)
        };
        let grace = cache.grace(options.grace);
        let young = |time: Timestamp, age: Duration| now.duration_since(time).as_secs_f64() < age.as_secs_f64();
        let mut candidates: Vec<(&KnownAction, Timestamp)> = inventory
            .actions
            .iter()
            .filter(|known| !roots.contains(&known.action.key))
            .map(|known| (known, last(known)))
            .filter(|(_, used)| !young(*used, grace))
            .filter(|(_, used)| options.older_than.is_none_or(|age| !young(*used, age)))
            .collect();
        candidates.sort_by(|a, b| (a.1, &a.0.file).cmp(&(b.1, &b.0.file)));
        let mut plan = Self { inventory, results: Vec::new(), blobs: Vec::new(), orphans: 0, checkpoints: Vec::new() };
        let mut users = count_users(cache, inventory);
        plan.add_orphans(&users, grace);
        let total: u64 = inventory.blobs.values().map(|b| b.bytes).sum();
        let mut left = total - plan.bytes_of(&plan.blobs);
        for (known, used) in candidates {
            if options.max_bytes.is_some_and(|most| left <= most) {
                break;
            }
            let freed = plan.release(cache, &known.action, &mut users);
            left -= freed;
            plan.results.push((known, used, freed));
        }
        plan.add_checkpoints(cache, &roots, options);
        plan
    }

    /// Counts a result's content as unused by it and takes what is used by nothing else. Returns the bytes of that.
    fn release(&mut self, cache: &Cache, action: &Action, users: &mut HashMap<ContentId, usize>) -> u64 {
        let mut freed = Vec::new();
        for content in distinct(Inventory::content_of(cache, action)) {
            let Some(count) = users.get_mut(&content) else { continue };
            *count -= 1;
            if *count == 0 {
                freed.push(content);
            }
        }
        let bytes = self.bytes_of(&freed);
        self.blobs.extend(freed);
        bytes
    }

    fn add_orphans(&mut self, users: &HashMap<ContentId, usize>, grace: Duration) {
        let now = SystemTime::now();
        let old = |written: SystemTime| now.duration_since(written).is_ok_and(|age| age >= grace);
        let blobs = &self.inventory.blobs;
        let orphans = blobs.iter().filter(|(id, blob)| !users.contains_key(id) && old(blob.written));
        self.blobs.extend(orphans.map(|(id, _)| *id));
        self.orphans = self.blobs.len();
    }

    fn add_checkpoints(&mut self, cache: &Cache, roots: &HashSet<Key>, options: &CollectOptions) {
        let age = options.older_than.unwrap_or(CHECKPOINTS_FOR).max(cache.grace(options.grace));
        for entry in fs::read_dir(cache.checkpoints_dir()).into_iter().flatten().flatten() {
            let key = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Key);
            let newest = newest_change(&entry.path());
            let old = newest.is_some_and(|time| time.elapsed().is_ok_and(|passed| passed >= age));
            if old && key.is_none_or(|key| !roots.contains(&key)) {
                self.checkpoints.push((entry.path(), disk::bytes_below(&entry.path())));
            }
        }
    }

    fn bytes_of(&self, blobs: &[ContentId]) -> u64 {
        blobs.iter().filter_map(|id| self.inventory.blobs.get(id)).map(|b| b.bytes).sum()
    }

    fn describe(&self, cache: &Cache, dry_run: bool) -> Collected {
        let store: u64 = self.inventory.blobs.values().map(|b| b.bytes).sum();
        let from_store = self.bytes_of(&self.blobs);
        let results = self.results.iter().map(|(known, used, bytes)| CollectedResult {
            name: known.name(),
            differs: differs_from_newest(cache, &known.action),
            key: known.action.key,
            created: known.action.created.clone(),
            used: used.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            bytes: *bytes,
        });
        Collected {
            dry_run,
            results: results.collect(),
            orphans: self.orphans,
            checkpoints: self.checkpoints.len(),
            bytes: from_store + self.checkpoints.iter().map(|(_, bytes)| bytes).sum::<u64>(),
            bytes_left: store - from_store,
        }
    }

    /// Results first, then their bytes: a result without its bytes would only be a miss, but a miss with a name.
    fn carry_out(&self, cache: &Cache) -> Result<(), CacheError> {
        for (known, _, _) in &self.results {
            disk::remove(&known.file)?;
        }
        for blob in self.blobs.iter().filter_map(|id| self.inventory.blobs.get(id)) {
            disk::remove(&blob.path)?;
        }
        for (checkpoint, _) in &self.checkpoints {
            disk::remove(checkpoint)?;
        }
        remove_unused_parts(cache)?;
        cache.remove_old_tickets()
    }
}

/// By how many results each piece of content is used.
fn count_users(cache: &Cache, inventory: &Inventory) -> HashMap<ContentId, usize> {
    let mut users = HashMap::new();
    for known in &inventory.actions {
        for content in distinct(Inventory::content_of(cache, &known.action)) {
            *users.entry(content).or_default() += 1;
        }
    }
    users
}

fn distinct(mut content: Vec<ContentId>) -> Vec<ContentId> {
    content.sort_unstable();
    content.dedup();
    content
}

/// What was changed between a result and the newest one of the same name.
fn differs_from_newest(cache: &Cache, action: &Action) -> Vec<String> {
    let ran_as = &action.ran_as;
    let newest = cache.newest(&ran_as.pipeline);
    let Some(task) = newest.task(&ran_as.stage, &ran_as.task) else {
        return vec![format!("{} is no longer in the pipeline", label(&ran_as.stage, &ran_as.task))];
    };
    let Ok(Some(now)) = cache.action(task.key) else { return Vec::new() };
    let source = |slot: &str| Some(slot.to_owned());
    differences(&now.record, &action.record, source).iter().map(ToString::to_string).collect()
}

/// Parts of run folders that no run links to any more.
fn remove_unused_parts(cache: &Cache) -> Result<(), CacheError> {
    use std::os::unix::fs::MetadataExt;
    for entry in fs::read_dir(cache.parts_dir()).into_iter().flatten().flatten() {
        if entry.metadata().is_ok_and(|meta| meta.nlink() == 1) {
            disk::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// The latest modification of anything in a directory.
fn newest_change(dir: &std::path::Path) -> Option<SystemTime> {
    let own = fs::symlink_metadata(dir).ok()?.modified().ok()?;
    let below = fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|e| newest_change(&e.path()));
    Some(below.fold(own, SystemTime::max))
}
