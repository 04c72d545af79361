//! Private directories of processes below the cache's `tmp/`, and how those of dead processes are told from the others.
//!
//! A directory is `<space>-<process>-<time>-<count>`, with a file `….lock` beside it that its process holds a lock on.
//! `space` stands for this boot of this machine and this namespace of processes: among those of one's own space, a look at
//! the process tells whether it lives. Of all others a held lock tells that they live; a free one tells nothing on network
//! file systems, so a process that does not rely on locks touches the file now and then, and what has not been touched for
//! hours is dead.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use super::digest::Digest;
use super::disk;
use super::error::CacheError;
use super::lock::{FileLock, Locking};

/// How often a process that does not rely on locks shows that it lives.
const TOUCH_EVERY: Duration = Duration::from_secs(600);
/// A process elsewhere that has not shown this for so long is dead.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(6 * 3600);

/// A process's private directory below the cache's `tmp/`, removed at the end; `tmp/<id>.lock` is held while it lives.
#[derive(Debug)]
pub(super) struct Scratch {
    dir: PathBuf,
    alive: Option<FileLock>,
    /// Dropping it ends the thread that touches the lock's file.
    _touching: Option<Sender<()>>,
}

impl Scratch {
    /// A fresh directory. The lock comes first: so nobody takes the directory for one that was left behind.
    pub(super) fn create(tmp: &Path, locking: Locking) -> Result<Self, CacheError> {
        disk::make_dir(tmp)?;
        loop {
            let id = unique_id();
            let mark = tmp.join(format!("{id}.lock"));
            let alive = match locking {
                Locking::Relied => FileLock::try_take(&mark)?,
                Locking::Off => disk::open_append(&mark).map(|_| Some(FileLock::unlocked(&mark)))?,
            };
            let Some(alive) = alive else { continue };
            let dir = tmp.join(id);
            match fs::create_dir(&dir) {
                Ok(()) => {
                    let touching = (locking == Locking::Off).then(|| keep_touching(mark)).flatten();
                    return Ok(Self { dir, alive: Some(alive), _touching: touching });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(CacheError::at("create the folder", &dir, e)),
            }
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by a later run.
        let _ = disk::remove_tree(&self.dir);
        if let Some(alive) = self.alive.take() {
            alive.remove();
        }
    }
}

/// Without such a thread the directory is taken for dead by other machines after hours; then its tasks are run again.
fn keep_touching(mark: PathBuf) -> Option<Sender<()>> {
    let (sender, ended) = channel::<()>();
    let body = move || {
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TOUCH_EVERY) {
            let _ = File::options().append(true).open(&mark).and_then(|file| file.set_modified(SystemTime::now()));
        }
    };
    thread::Builder::new().stack_size(64 << 10).spawn(body).ok().map(|_| sender)
}

/// Removes the scratch directories that dead processes left. Failures leave them for the next run.
pub(super) fn sweep_scratch(tmp: &Path) {
    let Ok(entries) = fs::read_dir(tmp) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let dir = if path.extension().is_some_and(|e| e == "lock") { path.with_extension("") } else { path };
        let mark = dir.with_extension("lock");
        if may_live(&dir, &mark) {
            continue;
        }
        if let Ok(Some(dead)) = FileLock::try_take(&mark) {
            let _ = disk::remove_tree(&dir);
            dead.remove();
        }
    }
}

/// Whether the process of a directory may live, its lock apart.
fn may_live(dir: &Path, mark: &Path) -> bool {
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut parts = name.split('-');
    let (of, process) =
        (parts.next().unwrap_or_default(), parts.next().and_then(|id| u32::from_str_radix(id, 16).ok()));
    match process {
        Some(process) if of == space() => Path::new("/proc").join(process.to_string()).exists(),
        _ => {
            let touched = fs::metadata(mark).or_else(|_| fs::metadata(dir)).and_then(|meta| meta.modified());
            // What lies in the future, by another machine's clock, is young.
            touched.is_ok_and(|at| {
                SystemTime::now().duration_since(at).is_ok_and(|age| age < DEAD_AFTER) || at > SystemTime::now()
            })
        }
    }
}

/// This boot of this machine and this namespace of processes.
fn space() -> &'static str {
    static SPACE: OnceLock<String> = OnceLock::new();
    SPACE.get_or_init(|| {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let text = format!("{host} {} {}", read("/proc/sys/kernel/random/boot_id"), namespace.display());
        Digest::of(text.as_bytes()).hex()[..8].to_owned()
    })
}

/// An identifier that no other live process picks: space, process id, time, and a counter.
fn unique_id() -> String {
    static COUNTER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let nanos = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    format!("{}-{:x}-{nanos:x}-{count:x}", space(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A directory with its mark, as a process leaves it that is killed.
    fn left(tmp: &Path, name: &str, age: Duration) {
        fs::create_dir(tmp.join(name)).unwrap();
        let mark = File::create(tmp.join(format!("{name}.lock"))).unwrap();
        mark.set_modified(SystemTime::now() - age).unwrap();
    }

    /// A process id that no process has.
    fn dead_process() -> u32 {
        (2_000_000..).find(|id| !Path::new("/proc").join(id.to_string()).exists()).unwrap()
    }

    #[test]
    fn only_dead_scratch_is_swept() {
        for locking in [Locking::Relied, Locking::Off] {
            let dir = tempfile::tempdir().unwrap();
            let live = Scratch::create(dir.path(), locking).unwrap();
            left(dir.path(), &format!("{}-{:x}-1-1", space(), dead_process()), Duration::ZERO);
            left(dir.path(), "0badcafe-1-1-1", DEAD_AFTER + Duration::from_secs(60));
            left(dir.path(), "0badcafe-2-1-1", Duration::from_secs(60));
            // By a version before there were spaces.
            left(dir.path(), "1a2b-99999-0", DEAD_AFTER * 2);
            sweep_scratch(dir.path());
            let mine = live.dir().file_name().unwrap().to_str().unwrap().to_owned();
            let mut expected =
                vec![mine.clone(), format!("{mine}.lock"), "0badcafe-2-1-1".into(), "0badcafe-2-1-1.lock".into()];
            expected.sort();
            assert_eq!(names(dir.path()), expected, "{locking:?}: mine, and one elsewhere that may live");
            drop(live);
            assert_eq!(names(dir.path()).len(), 2, "{locking:?}");
        }
    }

    #[test]
    fn a_lock_that_is_held_protects_however_old_it_is() {
        let dir = tempfile::tempdir().unwrap();
        left(dir.path(), "0badcafe-1-1-1", DEAD_AFTER * 2);
        let held = FileLock::try_take(&dir.path().join("0badcafe-1-1-1.lock")).unwrap();
        sweep_scratch(dir.path());
        assert_eq!(names(dir.path()).len(), 2);
        drop(held);
        sweep_scratch(dir.path());
        assert!(names(dir.path()).is_empty());
    }
}
