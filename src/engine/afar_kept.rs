//! What the collector must leave because other machines may count on it.

use std::fs;
use std::time::{Duration, SystemTime};

use super::cache::Cache;
use super::disk;
use super::error::CacheError;
use super::lock::Locking;

/// Where no lock tells what runs in progress count on, what they use is at most so old.
const UNLOCKED: Duration = Duration::from_secs(24 * 3600);
/// What a run hands over to a cluster it had looked up at most so long before.
const BEFORE_BATCH: Duration = Duration::from_secs(24 * 3600);
/// What a ticket turned out to be is of use to jobs that are in the queue: those wait no longer than this.
const TICKETS_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

impl Cache {
    /// The grace that the collector gives, at least `asked`: more where locks tell nothing, and where jobs of a cluster may
    /// be waiting that read what was made or used since they were handed over.
    pub(super) fn grace(&self, asked: Duration) -> Duration {
        let unlocked = if self.locking == Locking::Off { UNLOCKED } else { Duration::ZERO };
        let batches = fs::read_dir(self.batches_dir()).into_iter().flatten().flatten();
        let ages = batches.filter(|batch| !batch.path().join("over").exists()).filter_map(|batch| {
            let written = fs::metadata(batch.path().join("batch.json")).and_then(|meta| meta.modified()).ok()?;
            SystemTime::now().duration_since(written).ok()
        });
        let waiting = ages.max().map_or(Duration::ZERO, |age| age + BEFORE_BATCH);
        asked.max(unlocked).max(waiting)
    }

    /// Removes what tickets of long ago turned out to be.
    pub(super) fn remove_old_tickets(&self) -> Result<(), CacheError> {
        let list = |dir: &std::path::Path| fs::read_dir(dir).into_iter().flatten().flatten().collect::<Vec<_>>();
        for folder in list(&self.tickets_dir()) {
            for stamp in list(&folder.path()) {
                let written = stamp.metadata().and_then(|meta| meta.modified());
                if written.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > TICKETS_FOR)) {
                    disk::remove(&stamp.path())?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_queued_jobs_may_read_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let hour = Duration::from_secs(3600);
        assert_eq!(cache.grace(hour), hour.max(if cache.locking == Locking::Off { UNLOCKED } else { hour }));
        let batch = cache.batches_dir().join("20261130-ingest");
        fs::create_dir_all(&batch).unwrap();
        let file = File::create(batch.join("batch.json")).unwrap();
        file.set_modified(SystemTime::now() - 50 * hour).unwrap();
        let grace = cache.grace(hour);
        assert!(grace >= 74 * hour && grace < 75 * hour, "{grace:?}");
        fs::write(batch.join("over"), "").unwrap();
        assert!(cache.grace(hour) <= UNLOCKED, "nothing waits any more");
    }

    #[test]
    fn tickets_go_after_a_month() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let folder = cache.tickets_dir().join("ab");
        fs::create_dir_all(&folder).unwrap();
        for (name, days) in [("young", 20), ("old", 40)] {
            let file = File::create(folder.join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400)).unwrap();
        }
        cache.remove_old_tickets().unwrap();
        assert!(folder.join("young").exists() && !folder.join("old").exists());
    }
}
