//! A process beside the one that runs a task: it takes part in the work, and has nothing to do with the result.

use std::path::{Path, PathBuf};

use super::action::Lookup;
use super::cache::Cache;
use super::digest::Key;
use super::job::TaskJob;
use super::stage::Registry;
use super::task_error::TaskError;

/// A task that another process runs.
pub struct Beside<'a> {
    cache: &'a Cache,
    key: Key,
    checkpoints: PathBuf,
    force: bool,
}

impl<'a> Beside<'a> {
    /// The task of a job.
    ///
    /// # Errors
    /// A job of another version of this program.
    pub fn new(job: &TaskJob, cache: &'a Cache, registry: &Registry) -> Result<Self, TaskError> {
        let (_, key) = job.completed(cache)?.resolve(registry)?;
        Ok(Self { cache, key, checkpoints: cache.checkpoint_dir(key), force: job.force })
    }

    /// The folder of its checkpoints, once it is there.
    pub fn checkpoints(&self) -> &Path {
        &self.checkpoints
    }

    /// Whether its result is in the cache, so that nobody will run it. A task that is forced runs whatever is there.
    pub fn is_done(&self) -> bool {
        !self.force && matches!(self.cache.lookup(self.key), Lookup::Hit(_))
    }
}
