//! Everything that lies in the cache, and who refers to it: what collecting, measuring and verifying start from.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::Value;

use super::action::{Action, StoredOutput};
use super::cache::Cache;
use super::digest::{ContentId, Key};
use super::graph::label;
use super::run_folder::{EVENTS_FILE, SUMMARY_FILE, TASKS_FILE, TaskList};
use super::runs::is_alive;
use super::tree::EntryKind;

/// A result in the action table. One cut short by a deadline is a result of its own.
#[derive(Debug)]
pub(super) struct KnownAction {
    pub(super) action: Action,
    /// Its file in the action table.
    pub(super) file: PathBuf,
}

impl KnownAction {
    /// `pipeline/stage/task`.
    pub(super) fn name(&self) -> String {
        let ran_as = &self.action.ran_as;
        format!("{}/{}", ran_as.pipeline, label(&ran_as.stage, &ran_as.task))
    }
}

/// A file of the store.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) written: SystemTime,
}

/// What lies in the cache.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// Every readable result of the action table, ordered by file.
    pub(super) actions: Vec<KnownAction>,
    /// Files of the action table that cannot be read: torn, or of another version.
    pub(super) unreadable: Vec<PathBuf>,
    /// Every file of the store, directory records included.
    pub(super) blobs: BTreeMap<ContentId, Blob>,
    /// Files in the store's folders whose names are no digests.
    pub(super) strange: Vec<PathBuf>,
}

impl Inventory {
    pub(super) fn take(cache: &Cache) -> Self {
        let mut inventory = Self::default();
        for file in fanned_out(&cache.actions_dir()) {
            let action = fs::read(&file.0).ok().and_then(|bytes| serde_json::from_slice::<Action>(&bytes).ok());
            match action.filter(Action::is_current) {
                Some(action) => inventory.actions.push(KnownAction { action, file: file.0 }),
                None => inventory.unreadable.push(file.0),
            }
        }
        for folder in ["files", "trees"] {
            let id = |digest| if folder == "files" { ContentId::File(digest) } else { ContentId::Tree(digest) };
            for (path, name) in fanned_out(&cache.store_dir().join(folder)) {
                let (Ok(digest), Ok(meta)) = (name.parse(), fs::symlink_metadata(&path)) else {
                    inventory.strange.push(path);
                    continue;
                };
                let written = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                inventory.blobs.insert(id(digest), Blob { path, bytes: meta.len(), written });
            }
        }
        inventory
    }

    /// Every piece of content that a result needs: its outputs, the files of its directories, its log.
    pub(super) fn content_of(cache: &Cache, action: &Action) -> Vec<ContentId> {
        let mut content = content_of_outputs(cache, &action.outputs);
        content.extend(action.log.map(ContentId::File));
        content
    }
}

/// The content of outputs, with the files of directories.
pub(super) fn content_of_outputs(cache: &Cache, outputs: &[StoredOutput]) -> Vec<ContentId> {
    let mut content = Vec::new();
    for output in outputs {
        content.push(output.content);
        if let ContentId::Tree(digest) = output.content {
            let tree = cache.tree(digest).unwrap_or_default();
            let files = tree.entries.iter().filter(|e| e.kind != EntryKind::EmptyDir);
            content.extend(files.map(|e| ContentId::File(e.digest)));
        }
    }
    content
}

/// Files two levels down, with the names that their folder's and their own name make together.
fn fanned_out(dir: &Path) -> Vec<(PathBuf, String)> {
    let list = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut files = Vec::new();
    for folder in list(dir) {
        let start = name(&folder);
        files.extend(list(&folder).into_iter().map(|path| {
            let whole = format!("{start}{}", name(&path));
            (path, whole)
        }));
    }
    files.sort();
    files
}

/// Keys that must stay: the newest result of every task of every pipeline, what pins name, what runs in progress use.
pub(super) fn roots(cache: &Cache) -> HashSet<Key> {
    let mut roots = HashSet::new();
    for pipeline in cache.pipelines() {
        roots.extend(cache.newest(&pipeline).stages.values().flat_map(|tasks| tasks.values().map(|t| t.key)));
    }
    for pin in cache.pins() {
        roots.extend(pin.key);
        if let Some(run) = &pin.run {
            roots.extend(keys_of_run(&cache.runs_dir().join(run)));
        }
    }
    for id in cache.run_ids() {
        let folder = cache.runs_dir().join(id);
        if !folder.join(SUMMARY_FILE).exists() && is_alive(&folder, cache.locking) {
            roots.extend(keys_of_run(&folder));
        }
    }
    roots
}

/// When each key was last used by a run.
pub(super) fn last_used(cache: &Cache) -> HashMap<Key, Timestamp> {
    let mut used: HashMap<Key, Timestamp> = HashMap::new();
    // Runs that changed nothing share their list of tasks.
    let mut lists: HashMap<u64, Vec<Key>> = HashMap::new();
    for id in cache.run_ids() {
        let folder = cache.runs_dir().join(&id);
        let Some(time) = started(&id) else { continue };
        let keys = match fs::metadata(folder.join(TASKS_FILE)) {
            Ok(meta) => lists.entry(meta.ino()).or_insert_with(|| keys_of_run(&folder)).clone(),
            Err(_) => keys_of_run(&folder),
        };
        for key in keys {
            let last = used.entry(key).or_insert(time);
            *last = time.max(*last);
        }
    }
    used
}

/// When a run began, from its id.
fn started(id: &str) -> Option<Timestamp> {
    let time = jiff::civil::DateTime::strptime("%Y%m%d-%H%M%S", id.get(..15)?).ok()?;
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// The keys of a run's tasks: from its list, or, where it has none (yet), from its journal.
pub(super) fn keys_of_run(folder: &Path) -> Vec<Key> {
    if let Some(list) = TaskList::read(&folder.join(TASKS_FILE)) {
        return list.made.into_iter().map(|made| made.key).collect();
    }
    let Ok(journal) = fs::File::open(folder.join(EVENTS_FILE)) else { return Vec::new() };
    let mut keys: BTreeSet<Key> = BTreeSet::new();
    for line in BufReader::new(journal).lines().map_while(Result::ok) {
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        let key =
            event.get("is").and_then(|is| is.get("key")).and_then(|key| key.as_str()).and_then(|k| k.parse().ok());
        keys.extend(key.map(Key));
    }
    keys.into_iter().collect()
}
