//! The cache folder: where everything is, and its format version.
//!
//! ```text
//! cache/
//!   landcover/predict/val_scene_0.tif   the readable view: relative links to the newest outputs
//!   .s2pipe/
//!     version                           "s2pipe cache 1"
//!     store/files/ab/cdef…              content: the bytes of every output file, read-only, named by digest
//!     store/trees/ab/cdef…              content: one record a directory output
//!     actions/ab/cdef….json             key -> outputs, record, seconds; `.cut.json` where a deadline cut it short
//!     checkpoints/<key>/                what an unfinished task wants to find again
//!     newest/<pipeline>.json            the newest key of every task, and what the view shows
//!     runs/<id>/                        pipeline.json, tasks.json, events.jsonl, summary.json, logs of failed tasks
//!     parts/                            files that the folders of several runs share
//!     tickets/ab/cdef…                  key that a task sent to a cluster turned out to have
//!     batches/<id>/                     tasks sent to a cluster: jobs, script, reports, logs
//!     pins/                             a file for everything that `cache gc` must leave
//!     sources                           stat cache: digests of source files
//!     collector.lock                    held, shared, by runs that look things up; alone by `cache gc`
//!     tasks.lock                        each task in progress holds a lock on a byte of it
//!     locks/  tmp/                      of running processes
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::cancel::Cancel;
use super::digest::Key;
use super::disk;
use super::error::CacheError;
use super::lock::{FileLock, Locking};
use super::scratch::{Scratch, sweep_scratch};
use super::statcache::StatCache;

/// The format that this program writes. Raised when an older program could misread a newer cache.
const FORMAT: u32 = 1;
const INTERNALS: &str = ".s2pipe";
/// Clients of NFS remember what a folder holds for a minute at most (`acdirmax`).
const SEEN_AFTER: Duration = Duration::from_secs(65);

/// A cache folder, open for use. Any number of processes may use one at a time.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    internals: PathBuf,
    pub(super) locking: Locking,
    scratch: OnceLock<Scratch>,
    sources: OnceLock<StatCache>,
    /// Actions whose empty checkpoint directories are cleared away when the cache is closed. (Not task by task: making
    /// files right after deleting some is slow on ext4 without a journal.)
    retired: Mutex<Vec<Key>>,
    /// Directories of attempts, cleared for the next ones.
    pub(super) desks: Mutex<Vec<PathBuf>>,
}

impl Cache {
    /// Opens a cache folder, making it where there is none.
    ///
    /// # Errors
    /// [`CacheError`] when it cannot be made or read, or has a newer format.
    pub fn open(dir: &Path) -> Result<Self, CacheError> {
        let root = std::path::absolute(dir).map_err(|e| CacheError::at("find", dir, e))?;
        let internals = root.join(INTERNALS);
        let version = internals.join("version");
        match fs::read_to_string(&version) {
            Ok(text) => check_version(&root, &version, &text)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => create(&internals, &version)?,
            Err(e) => return Err(CacheError::at("read", &version, e)),
        }
        Ok(Self {
            locking: Locking::at(&internals),
            root,
            internals,
            scratch: OnceLock::new(),
            sources: OnceLock::new(),
            retired: Mutex::default(),
            desks: Mutex::default(),
        })
    }

    /// The cache folder, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of all runs, one folder a run.
    pub fn runs_dir(&self) -> PathBuf {
        self.internals.join("runs")
    }

    /// Files that several runs' folders share.
    pub(super) fn parts_dir(&self) -> PathBuf {
        self.internals.join("parts")
    }

    pub(super) fn pins_dir(&self) -> PathBuf {
        self.internals.join("pins")
    }

    /// What tickets have turned out to be.
    pub(super) fn tickets_dir(&self) -> PathBuf {
        self.internals.join("tickets")
    }

    /// What has been handed over to a cluster: a folder a batch.
    pub fn batches_dir(&self) -> PathBuf {
        self.internals.join("batches")
    }

    pub(super) fn checkpoints_dir(&self) -> PathBuf {
        self.internals.join("checkpoints")
    }

    /// Whether a pipeline may have this name: it becomes a folder beside the cache's own.
    pub(super) fn is_pipeline_name(name: &str) -> bool {
        !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
    }

    /// The folder of a pipeline in the readable view.
    pub(super) fn view_dir(&self, pipeline: &str) -> PathBuf {
        self.root.join(pipeline)
    }

    pub(super) fn store_dir(&self) -> PathBuf {
        self.internals.join("store")
    }

    pub(super) fn actions_dir(&self) -> PathBuf {
        self.internals.join("actions")
    }

    pub(super) fn newest_file(&self, pipeline: &str) -> PathBuf {
        self.internals.join("newest").join(format!("{pipeline}.json"))
    }

    pub(super) fn newest_dir(&self) -> PathBuf {
        self.internals.join("newest")
    }

    pub(super) fn checkpoint_dir(&self, key: Key) -> PathBuf {
        self.checkpoints_dir().join(key.0.hex())
    }

    /// Takes the lock of an action; `None` when the run was cancelled while waiting for it.
    pub(super) fn lock_action(
        &self,
        key: Key,
        cancel: &Cancel,
        waiting: impl FnOnce(),
    ) -> Result<Option<FileLock>, CacheError> {
        FileLock::wait(|| self.try_lock_action(key), cancel, waiting)
    }

    fn try_lock_action(&self, key: Key) -> Result<Option<FileLock>, CacheError> {
        if self.locking == Locking::Off {
            return Ok(Some(FileLock::none()));
        }
        FileLock::try_take_place(&self.internals.join("tasks.lock"), key.0.number())
    }

    /// Makes the directory for a task's checkpoints. It is cleared away at the end if nothing is left in it.
    pub(super) fn make_checkpoint_dir(&self, key: Key, dir: &Path) -> Result<(), CacheError> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        disk::make_dir(dir)
    }

    /// Keeps the collector out, together with everyone else who does; given back when dropped.
    pub(super) fn hold(&self) -> Result<FileLock, CacheError> {
        match self.locking {
            Locking::Off => Ok(FileLock::none()),
            Locking::Relied => FileLock::take_shared(&self.collector_lock()),
        }
    }

    /// Keeps every run out that has not told yet what it counts on.
    pub(super) fn lock_collector(&self) -> Result<FileLock, CacheError> {
        self.lock_shortly(&self.collector_lock())
    }

    fn collector_lock(&self) -> PathBuf {
        self.internals.join("collector.lock")
    }

    /// Takes the lock of a pipeline's index and view.
    pub(super) fn lock_newest(&self, pipeline: &str) -> Result<FileLock, CacheError> {
        self.lock_shortly(&self.internals.join("locks").join(format!("{pipeline}.newest")))
    }

    fn lock_shortly(&self, path: &Path) -> Result<FileLock, CacheError> {
        match self.locking {
            Locking::Off => Ok(FileLock::none()),
            Locking::Relied => FileLock::take_short(path),
        }
    }

    /// This process's scratch directory, made when first asked for, removed when the cache is closed.
    pub(super) fn scratch(&self) -> Result<&Path, CacheError> {
        if let Some(scratch) = self.scratch.get() {
            return Ok(scratch.dir());
        }
        let made = Scratch::create(&self.internals.join("tmp"), self.locking)?;
        // Another thread may have been faster; then ours is dropped and removed.
        Ok(self.scratch.get_or_init(|| made).dir())
    }

    /// Removes what processes that are no longer alive have left in `tmp/`.
    pub(super) fn sweep(&self) {
        sweep_scratch(&self.internals.join("tmp"));
    }

    /// Digests of source files, remembered by their `stat`.
    pub(super) fn sources(&self) -> &StatCache {
        self.sources.get_or_init(|| StatCache::load(&self.internals.join("sources"), self.locking))
    }

    /// Looks for something that another machine has put at `path`, again and again where the file system is one that may
    /// show it late.
    pub(super) fn seen_late<T>(&self, path: &Path, look: impl Fn() -> Option<T>) -> Option<T> {
        let latency = if self.locking == Locking::Off { SEEN_AFTER } else { Duration::ZERO };
        let start = Instant::now();
        loop {
            let found = look();
            if found.is_some() || start.elapsed() >= latency {
                return found;
            }
            // Opening a folder makes the client ask the server for its present state.
            let _ = path.parent().map(fs::File::open);
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// Writes a file of the cache atomically.
    pub(super) fn write(&self, path: &Path, bytes: &[u8], sync: disk::Sync) -> Result<(), CacheError> {
        disk::write_atomic(&disk::fresh(self.scratch()?, "w"), path, bytes, sync)
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if self.locking == Locking::Off {
            // Somebody else may be about to write one; a task that is done has cleared its own away.
            return;
        }
        let retired = std::mem::take(self.retired.get_mut().unwrap_or_else(PoisonError::into_inner));
        for key in retired {
            // Whoever holds the lock now clears up after itself.
            if let Ok(Some(_lock)) = self.try_lock_action(key) {
                // Fails when there is a checkpoint in it, as it should.
                let _ = fs::remove_dir(self.checkpoint_dir(key));
            }
        }
    }
}

/// `ab/cdef…`: 256 folders keep each of them small.
pub(super) fn fan_out(dir: &Path, hex: &str) -> PathBuf {
    dir.join(&hex[..2]).join(&hex[2..])
}

fn create(internals: &Path, version: &Path) -> Result<(), CacheError> {
    disk::make_dir(internals)?;
    let write = |path: PathBuf, text: &str| fs::write(&path, text).map_err(|e| CacheError::at("write", &path, e));
    // Backup programs know this file and leave the folder out.
    write(internals.join("CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n")?;
    let temporary = internals.join(format!("version.{}", std::process::id()));
    disk::write_atomic(&temporary, version, format!("s2pipe cache {FORMAT}\n").as_bytes(), disk::Sync::Lazy)
}

fn check_version(root: &Path, file: &Path, text: &str) -> Result<(), CacheError> {
    let line = text.lines().next().unwrap_or_default();
    match line.strip_prefix("s2pipe cache ").and_then(|n| n.parse::<u32>().ok()) {
        Some(found) if found > FORMAT => Err(CacheError::Newer { path: root.to_path_buf(), found, known: FORMAT }),
        Some(_) => Ok(()),
        None => Err(CacheError::NotACache { path: file.to_path_buf(), found: line.chars().take(40).collect() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_twice_and_refuses_a_newer_format() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("cache");
        drop(Cache::open(&root).unwrap());
        drop(Cache::open(&root).unwrap());
        fs::write(root.join(".s2pipe/version"), "s2pipe cache 2\n").unwrap();
        assert!(matches!(Cache::open(&root), Err(CacheError::Newer { found: 2, known: 1, .. })));
        fs::write(root.join(".s2pipe/version"), "hello\n").unwrap();
        assert!(matches!(Cache::open(&root), Err(CacheError::NotACache { .. })));
    }

    #[test]
    fn a_folder_that_cannot_be_made_says_which() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = Cache::open(&dir.path().join("file/cache")).unwrap_err();
        assert!(error.to_string().contains("file is not a folder"), "{error}");
        assert!(error.help().is_some());
    }
}
