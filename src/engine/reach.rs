//! What a run can reach beyond this machine.

use super::cache::Cache;
use super::cancel::Cancel;
use super::digest::Key;

/// A place beyond this machine where results of tasks may be, shared with others. It never fails a run: what goes wrong
/// there it tells by itself, once.
pub trait Remote: Send + Sync {
    /// Brings the full result of a task into the cache. `false`: it has none, or cannot be reached. Called from several
    /// threads at a time.
    fn fetch(&self, key: Key, cache: &Cache, cancel: &Cancel) -> bool;

    /// A task has just run, and its full result lies in the cache. Returns at once.
    fn made(&self, key: Key, cache: &Cache);
}

/// What a run can reach beyond this machine; by default nothing.
#[derive(Clone, Copy, Default)]
pub struct Reach<'a> {
    /// Where results are shared.
    pub remote: Option<&'a dyn Remote>,
}
