//! Directories for attempts: `in/` for links to the inputs, `out/` for outputs, `work/` for temporary files, `log`.
//!
//! Making and removing directories and files costs more than all else that a short task needs of us, so what an attempt
//! that ended well left behind clean serves the next one. (Removing is put off to the end of the run: ext4 without a journal
//! is slow to make files for minutes after some were removed.) Links to inputs stay as long as they are right. `out/` is
//! always a fresh directory: a process that escaped from its task must not be able to write among the outputs of another.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::cache::Cache;
use super::disk;
use super::error::CacheError;

/// More links than this are made anew each time.
const MOST_LINKS: usize = 64;

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

    /// Removes everything from a directory of inputs but the links that lead where `target` says; returns those.
    pub(super) fn keep_links(
        &self,
        inputs: &Path,
        target: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<HashSet<PathBuf>, CacheError> {
        let mut kept = HashSet::new();
        let fail = |e| CacheError::at("clear", inputs, e);
        if fs::metadata(inputs).is_ok_and(|meta| meta.permissions().mode() & 0o200 == 0) {
            // It was protected while the last attempt ran.
            fs::set_permissions(inputs, Permissions::from_mode(0o755)).map_err(fail)?;
        }
        for (number, entry) in fs::read_dir(inputs).map_err(fail)?.enumerate() {
            let entry = entry.map_err(fail)?;
            let path = entry.path();
            let leads = fs::read_link(&path).ok();
            if leads.is_some() && number < MOST_LINKS && leads == entry.file_name().to_str().and_then(&target) {
                kept.insert(path);
                continue;
            }
            disk::remove(&path)?;
        }
        Ok(kept)
    }

    /// Clears a directory for the next attempt; `false`: there is more in it than can be cleared at once.
    pub(super) fn clear_desk(&self, desk: &Path) -> bool {
        let trash = self.scratch().map(|scratch| disk::fresh(scratch, "out"));
        let cleared = trash.is_ok_and(|trash| clear(desk, &trash).unwrap_or(false));
        if cleared {
            self.desks.lock().unwrap_or_else(PoisonError::into_inner).push(desk.to_path_buf());
        }
        cleared
    }
}

fn clear(desk: &Path, trash: &Path) -> io::Result<bool> {
    let is_empty = |dir: &Path| fs::read_dir(dir).map(|mut entries| entries.next().is_none());
    let silent = fs::symlink_metadata(desk.join("log")).map_or(true, |log| log.is_file() && log.len() == 0);
    let out = desk.join("out");
    if !silent || !is_empty(&desk.join("work"))? || !is_empty(&out)? {
        return Ok(false);
    }
    fs::rename(out, trash)?;
    Ok(true)
}
