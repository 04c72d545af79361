//! The folder of a training's checkpoints: the newest two, damaged and foreign ones passed over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::file;
use super::state::{Saved, Snapshot};
use crate::net::segmenter::Segmenter;
use crate::net::{NetError, Result};

/// Checkpoints kept: the newest, and the one before in case the newest is damaged.
const KEEP: usize = 2;

/// Of a checkpoint that was written to its end.
const EXTENSION: &str = "safetensors";

/// The checkpoints of one training.
pub(crate) struct CheckpointFolder {
    dir: PathBuf,
    fingerprint: String,
    /// Ours, oldest first.
    ours: Vec<PathBuf>,
}

impl CheckpointFolder {
    /// Opens `dir`, making it where needed. `fingerprint` tells this training from any other.
    ///
    /// # Errors
    /// [`NetError::Io`] when the folder cannot be made.
    pub(crate) fn open(dir: &Path, fingerprint: String) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|source| NetError::Io { path: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned(), fingerprint, ours: Vec::new() })
    }

    /// What tells this training from any other.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The newest checkpoint that is whole and of this training. What is not is reported as a warning and passed over.
    pub(crate) fn newest(&mut self, network: &dyn Segmenter) -> Option<Saved> {
        let whole = |path: &PathBuf| path.extension().is_some_and(|e| e == EXTENSION);
        for path in self.files().into_iter().filter(whole).rev() {
            match file::read(&path, &self.fingerprint, network) {
                Ok(saved) => {
                    self.ours = vec![path];
                    return Some(saved);
                }
                Err(problem) => tracing::warn!("checkpoint {} is passed over: {problem}", path.display()),
            }
        }
        None
    }

    /// Writes the checkpoint of step `step`, then removes all but the newest two of this training.
    ///
    /// # Errors
    /// [`NetError::Io`] when it cannot be written; the ones before are still there.
    pub(crate) fn save(&mut self, step: usize, network: &dyn Segmenter, snapshot: &Snapshot<'_>) -> Result<()> {
        let path = self.dir.join(format!("step-{step:010}.{EXTENSION}"));
        let temporary = path.with_extension("tmp");
        let written = file::write(&temporary, &self.fingerprint, network, snapshot)
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| fs::File::open(&self.dir)?.sync_all());
        if let Err(source) = written {
            // The space matters more than the half file, and the first error more than a second.
            let _ = fs::remove_file(&temporary);
            return Err(NetError::Io { path, source });
        }
        self.ours.retain(|p| *p != path);
        self.ours.push(path);
        self.remove_old();
        Ok(())
    }

    fn remove_old(&mut self) {
        let surplus = self.ours.len().saturating_sub(KEEP);
        self.ours.drain(..surplus);
        for path in self.files().into_iter().filter(|p| !self.ours.contains(p)) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!("old checkpoint {} could not be removed: {error}", path.display());
            }
        }
    }

    /// All our files by step, half-written ones of a killed process included.
    fn files(&self) -> Vec<PathBuf> {
        let entries: io::Result<Vec<PathBuf>> =
            fs::read_dir(&self.dir).and_then(|entries| entries.map(|e| Ok(e?.path())).collect());
        let mut files: Vec<PathBuf> = entries
            .inspect_err(|e| tracing::warn!("checkpoint folder {} cannot be listed: {e}", self.dir.display()))
            .unwrap_or_default();
        files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("step-")));
        files.sort();
        files
    }
}
