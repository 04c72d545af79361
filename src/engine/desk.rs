//! Directories for attempts: `in/` for links to the inputs, `out/` for outputs, `work/` for temporary files, `log`.
//!
//! Making and removing directories and files costs more than all else that a short task needs of us, so that what an attempt
//! that ended well left behind clean serves the next one. `out/` is always a fresh directory: a process that escaped from
//! its task must not be able to write among the outputs of another one.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::cache::Cache;
use super::disk;
use super::error::CacheError;

impl Cache {
    /// A directory for an attempt; one that served before only where `used_before` allows it.
    pub(super) fn desk(&self, used_before: bool) -> Result<PathBuf, CacheError> {
        let cleared = || self.desks.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let desk = match used_before.then(cleared).flatten() {
            Some(desk) => desk,
            None => {
                let desk = disk::fresh(self.scratch()?, "task");
                for name in ["", "in", "work"] {
                    disk::make_dir(&desk.join(name))?;
                }
                desk
            }
        };
        disk::make_dir(&desk.join("out"))?;
        Ok(desk)
    }

    /// Clears a directory for the next attempt; `false`: there is more in it than can be cleared at once.
    pub(super) fn clear_desk(&self, desk: &Path) -> bool {
        let cleared = clear(desk).unwrap_or(false);
        if cleared {
            self.desks.lock().unwrap_or_else(PoisonError::into_inner).push(desk.to_path_buf());
        }
        cleared
    }
}

fn clear(desk: &Path) -> io::Result<bool> {
    let is_empty = |dir: &Path| fs::read_dir(dir).map(|mut entries| entries.next().is_none());
    let silent = fs::symlink_metadata(desk.join("log")).map_or(true, |log| log.is_file() && log.len() == 0);
    if !silent || !is_empty(&desk.join("work"))? {
        return Ok(false);
    }
    // Fails when there is something left in it.
    fs::remove_dir(desk.join("out"))?;
    let inputs = desk.join("in");
    fs::set_permissions(&inputs, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(&inputs)? {
        let entry = entry?;
        if !entry.file_type()?.is_symlink() {
            return Ok(false);
        }
        fs::remove_file(entry.path())?;
    }
    Ok(true)
}
