//! The few operations that change the cache folder, and how their failures read.
//!
//! Everything that must survive a crash goes through here, so that there is one place that tests can interrupt: with
//! the environment variable `S2PIPE_DIE_AT=n` the process kills itself (SIGKILL) just before its n-th operation.

use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::error::CacheError;

/// Whether bytes are forced to the disk before they get their name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sync {
    /// Left to the operating system.
    Lazy,
    /// `fdatasync` before the rename.
    Now,
}

/// Creates a directory and its parents.
pub(super) fn make_dir(path: &Path) -> Result<(), CacheError> {
    point();
    fs::create_dir_all(path).map_err(|e| CacheError::at("create the folder", path, e))
}

/// Writes a file under a temporary name and renames it into place: readers see the old bytes or the new ones.
pub(super) fn write_atomic(temporary: &Path, path: &Path, bytes: &[u8], sync: Sync) -> Result<(), CacheError> {
    point();
    let fail = |e| CacheError::at("write", path, e);
    let mut file = File::create(temporary).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    if sync == Sync::Now {
        file.sync_data().map_err(fail)?;
    }
    drop(file);
    rename(temporary, path)
}

/// Renames, making the target's parent folder on demand.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), CacheError> {
    point();
    let first = fs::rename(from, to);
    let result = match first {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = to.parent() {
                make_dir(parent)?;
            }
            fs::rename(from, to)
        }
        other => other,
    };
    result.map_err(|e| CacheError::at("move a finished file to", to, e))
}

/// Makes a file read-only and gives it a modification time of whole seconds: the seal that [`is_sealed`] looks for.
pub(super) fn seal(path: &Path, sync: Sync) -> Result<(), CacheError> {
    point();
    let fail = |e| CacheError::at("seal", path, e);
    let file = File::open(path).map_err(fail)?;
    file.set_permissions(Permissions::from_mode(0o444)).map_err(fail)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
    file.set_times(FileTimes::new().set_modified(whole)).map_err(fail)?;
    if sync == Sync::Now {
        file.sync_data().map_err(fail)?;
    }
    Ok(())
}

/// Whether a file still bears its seal. Whoever writes to it later leaves a modification time with a fraction of a
/// second, so one `stat` tells an untouched file from a suspect one.
pub(super) fn is_sealed(meta: &fs::Metadata) -> bool {
    meta.mtime_nsec() == 0
}

/// Removes a file or a whole directory; nothing there is fine.
pub(super) fn remove(path: &Path) -> Result<(), CacheError> {
    point();
    let result = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => remove_tree(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match result {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(CacheError::at("remove", path, e)),
        _ => Ok(()),
    }
}

/// Removes a directory, also where it or something in it is read-only.
pub(super) fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            set_modes(dir, 0o700)?;
            fs::remove_dir_all(dir)
        }
        other => other,
    }
}

/// Makes a directory and those in it read-only.
pub(super) fn protect(dir: &Path) -> Result<(), CacheError> {
    point();
    set_modes(dir, 0o555).map_err(|e| CacheError::at("protect", dir, e))
}

/// Gives a directory and those in it these permissions. Links are not followed.
fn set_modes(dir: &Path, mode: u32) -> io::Result<()> {
    // Before looking inside, which the present permissions may not allow.
    fs::set_permissions(dir, Permissions::from_mode(mode))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            set_modes(&entry.path(), mode)?;
        }
    }
    Ok(())
}

/// A symbolic link.
pub(super) fn link(target: &Path, path: &Path) -> Result<(), CacheError> {
    point();
    std::os::unix::fs::symlink(target, path).map_err(|e| CacheError::at("link", path, e))
}

/// A symbolic link where there is nothing yet, making its folder on demand.
pub(super) fn link_new(target: &Path, path: &Path) -> Result<(), CacheError> {
    point();
    match std::os::unix::fs::symlink(target, path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                make_dir(parent)?;
            }
            std::os::unix::fs::symlink(target, path)
        }
        other => other,
    }
    .map_err(|e| CacheError::at("link", path, e))
}

/// Opens a file for appending or locking, making its folder on demand.
pub(super) fn open_append(path: &Path) -> Result<File, CacheError> {
    let open = || OpenOptions::new().create(true).append(true).read(true).open(path);
    match open() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                make_dir(parent)?;
            }
            open()
        }
        other => other,
    }
    .map_err(|e| CacheError::at("open", path, e))
}

/// Bytes that an ordinary user can still write on the file system of `path`, where it says so.
pub(super) fn free_bytes(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|p| p.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes of the regular files below a directory.
pub(super) fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
            Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |m| m.len()),
            _ => 0,
        })
        .sum()
}

/// A path that is fresh within `dir` for this process.
pub(super) fn fresh(dir: &Path, what: &str) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    dir.join(format!("{what}-{}", COUNTER.fetch_add(1, Ordering::Relaxed)))
}

/// A place where a test may kill the process.
fn point() {
    static DIE_AT: OnceLock<Option<u64>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(1);
    let die_at = DIE_AT.get_or_init(|| std::env::var("S2PIPE_DIE_AT").ok()?.parse().ok());
    if let Some(n) = die_at
        && PASSED.fetch_add(1, Ordering::SeqCst) == *n
    {
        // The result does not matter: either we are dead now, or the test finds us alive and fails.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves something only for a user who is not root.
    #[test]
    fn a_protected_directory_is_removed_all_the_same() {
        let above = tempfile::tempdir().unwrap();
        let dir = above.path().join("task");
        fs::create_dir_all(dir.join("in/many/deep")).unwrap();
        fs::write(dir.join("in/many/deep/file"), "").unwrap();
        link(above.path(), &dir.join("in/many/outside")).unwrap();
        protect(&dir.join("in")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.join("in/many/deep")), 0o555);
        assert_ne!(mode(above.path()), 0o555, "links are not followed");
        remove_tree(&dir).unwrap();
        assert!(!dir.exists() && above.path().exists());
    }
}
