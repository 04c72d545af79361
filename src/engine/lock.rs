//! Operating-system locks: one per action (a place in a file), one per shared index, and one that marks a live scratch directory. A lock
//! dies with its process, so there is nothing to clean up after a crash.
//!
//! On network file systems locks may be missing, or known to one machine only, without anybody saying so. There none are
//! taken: all that is shared is put in place by renaming, so two processes that do the same do it twice, and no harm.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cancel::Cancel;
use super::disk;
use super::error::CacheError;
use super::statcache::is_local;

/// How often a waiting process looks again. Waiting must notice a cancelled run, so it cannot block in the kernel.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Whether locks on a file system are relied on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Locking {
    /// They hold.
    Relied,
    /// They may not: none are taken.
    Off,
}

impl Locking {
    /// What `S2PIPE_LOCKS` says (`on`, `off`), else by the file system.
    pub(super) fn at(dir: &Path) -> Self {
        match std::env::var("S2PIPE_LOCKS").as_deref() {
            Ok("on") => Self::Relied,
            Ok("off") => Self::Off,
            // Elsewhere than on Linux nothing is known of file systems.
            _ if cfg!(target_os = "linux") && !is_local(dir) => Self::Off,
            _ => Self::Relied,
        }
    }
}

/// An exclusive lock on a file of its own. Dropping it gives the lock back and leaves the file.
#[derive(Debug)]
pub(super) struct FileLock {
    // Closing the file gives the lock back. None: locks are not relied on, and this is none.
    _file: Option<File>,
    path: PathBuf,
}

impl FileLock {
    /// No lock at all.
    pub(super) fn none() -> Self {
        Self::unlocked(Path::new(""))
    }

    /// The file of a lock, and no lock on it.
    pub(super) fn unlocked(path: &Path) -> Self {
        Self { _file: None, path: path.to_path_buf() }
    }

    /// The lock, if nobody else has it.
    pub(super) fn try_take(path: &Path) -> Result<Option<Self>, CacheError> {
        loop {
            let file = disk::open_append(path)?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(CacheError::at("lock", path, e)),
                // The last holder may have removed the file between our open and our lock: then this lock is on a
                // file that nobody else will ever see, and we start over.
                Ok(()) if is_current(&file, path) => {
                    return Ok(Some(Self { _file: Some(file), path: path.to_path_buf() }));
                }
                Ok(()) => {}
            }
        }
    }

    /// The lock on one place of a file that many locks share, if nobody else has it: no file has to be made and removed
    /// for it. `place`: 62 bits.
    #[cfg(target_os = "linux")]
    pub(super) fn try_take_place(path: &Path, place: u64) -> Result<Option<Self>, CacheError> {
        use nix::errno::Errno;
        use nix::fcntl::{FcntlArg, fcntl};
        let file = disk::open_append(path)?;
        let one = nix::libc::flock {
            l_type: nix::libc::F_WRLCK as _,
            l_whence: nix::libc::SEEK_SET as _,
            l_start: place as _,
            l_len: 1,
            l_pid: 0,
        };
        // Of the open file, not of the process: two threads exclude each other, too.
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&one)) {
            Ok(_) => Ok(Some(Self { _file: Some(file), path: path.to_path_buf() })),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(e) => Err(CacheError::at("lock", path, e.into())),
        }
    }

    /// The same with a file for each place, where files have no such locks.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn try_take_place(path: &Path, place: u64) -> Result<Option<Self>, CacheError> {
        Self::try_take(&path.with_extension(format!("{place:016x}")))
    }

    /// A lock that others may hold as well, but not together with an exclusive one. Its file stays.
    pub(super) fn take_shared(path: &Path) -> Result<Self, CacheError> {
        loop {
            let file = disk::open_append(path)?;
            match file.try_lock_shared() {
                Ok(()) => return Ok(Self { _file: Some(file), path: path.to_path_buf() }),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK_AGAIN),
                Err(TryLockError::Error(e)) => return Err(CacheError::at("lock", path, e)),
            }
        }
    }

    /// Gives the lock back and removes its file. Removed while still held, so that whoever opened it meanwhile finds
    /// out in [`is_current`]. A file that cannot be removed does no harm.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }

    /// A lock, waiting for it; `None` when the run was cancelled meanwhile. `waiting` is called once if it has to wait.
    pub(super) fn wait(
        try_take: impl Fn() -> Result<Option<Self>, CacheError>,
        cancel: &Cancel,
        waiting: impl FnOnce(),
    ) -> Result<Option<Self>, CacheError> {
        let mut waiting = Some(waiting);
        loop {
            if let Some(lock) = try_take()? {
                return Ok(Some(lock));
            }
            if cancel.is_cancelled() {
                return Ok(None);
            }
            if let Some(tell) = waiting.take() {
                tell();
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// The lock of an index, which nobody holds for longer than it takes to write a file.
    pub(super) fn take_short(path: &Path) -> Result<Self, CacheError> {
        loop {
            if let Some(lock) = Self::try_take(path)? {
                return Ok(lock);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Whether the open file is still the one that stands at `path`.
fn is_current(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => ours.ino() == theirs.ino() && ours.dev() == theirs.dev(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_the_file_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.lock");
        let first = FileLock::try_take(&path).unwrap().unwrap();
        assert!(FileLock::try_take(&path).unwrap().is_none());
        drop(first);
        FileLock::try_take(&path).unwrap().unwrap().remove();
        assert!(!path.exists());
        assert!(FileLock::try_take(&path).unwrap().is_some());
    }

    #[test]
    fn waiting_ends_when_the_run_is_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let _held = FileLock::try_take(&path).unwrap().unwrap();
        let cancel = Cancel::default();
        let told = std::cell::Cell::new(0);
        let other = cancel.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(60));
            other.cancel();
        });
        assert!(FileLock::wait(|| FileLock::try_take(&path), &cancel, || told.set(told.get() + 1)).unwrap().is_none());
        assert_eq!(told.get(), 1);
    }

    #[test]
    fn places_of_a_file_are_locks_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/tasks.lock");
        let place = |n| FileLock::try_take_place(&path, n).unwrap();
        let first = place(7).unwrap();
        let far = place(u64::MAX >> 2).unwrap();
        assert!(place(7).is_none() && place(u64::MAX >> 2).is_none());
        assert!(place(8).is_some());
        std::thread::scope(|scope| assert!(scope.spawn(|| place(7).is_none()).join().unwrap()));
        drop(first);
        assert!(place(7).is_some());
        drop(far);
    }

    #[test]
    fn many_threads_never_hold_it_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Some(lock) = FileLock::try_take(&path).unwrap() else { continue };
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        lock.remove();
                    }
                });
            }
        });
    }
}
