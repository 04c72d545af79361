//! What earlier runs have handed over and is on its way still.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::batch::{self, BatchFile};
use super::client::Client;
use super::error::SlurmError;
use super::queue::Listed;
use super::track::{Phase, Tracked};
use crate::engine::{Cache, News, Ticket};

/// Folders of batches that are over, and such that were never completed, go after this time.
const KEPT: Duration = Duration::from_secs(30 * 86_400);
/// A batch that went well and that nobody has cleared away is left alone for this time: somebody may be reading it.
const LEFT_ALONE: Duration = Duration::from_secs(3600);

/// The batches of which something is queued or running.
pub(super) fn live_batches(client: &Client, batches: &Path) -> Result<Vec<Tracked>, SlurmError> {
    let mut found = Vec::new();
    for dir in batch::folders(batches) {
        if batch::is_over(&dir) {
            sweep(&dir, KEPT);
            continue;
        }
        match BatchFile::read(&dir) {
            // Whoever handed it over sees its jobs, and clears it away.
            Some(file) if !file.is_mine() => {}
            // It is about to be submitted, or whoever was to do so is dead.
            Some(_) if !batch::was_tried(&dir) => sweep(&dir, KEPT),
            Some(file) => {
                let job = batch::noted_job(&dir);
                found.push(Tracked { job, ..Tracked::new(file, dir, false) });
            }
            None => sweep(&dir, KEPT),
        }
    }
    if found.is_empty() {
        return Ok(found);
    }
    let listed = client.queue()?;
    found.retain_mut(|tracked| is_live(tracked, &listed));
    Ok(found)
}

/// Looks up where the elements of a batch are; `false`: none of them is on its way.
fn is_live(tracked: &mut Tracked, listed: &[Listed]) -> bool {
    let commented = |line: &&Listed| batch::of_comment(&line.comment) == Some(tracked.file.id.as_str());
    if tracked.job.is_none() {
        tracked.job = listed.iter().find(commented).map(|line| line.job.clone());
    }
    if tracked.job.is_none() {
        // Slurm may be about to take it, or did not, or has forgotten it already.
        sweep(&tracked.dir, KEPT);
        return false;
    }
    let lines: Vec<&Listed> =
        listed.iter().filter(|line| line.is_of(tracked.job.as_deref(), &tracked.file.id)).collect();
    let mut failed = false;
    for number in 0..tracked.elements.len() {
        let news = tracked.read(number);
        failed |= news.iter().any(|(_, news)| matches!(news, News::Failed { .. }));
        let element = &mut tracked.elements[number];
        match lines.iter().find(|line| line.has(number)) {
            Some(line) if line.is_pending() => element.phase = Phase::Pending,
            Some(line) => element.phase = Phase::Running(line.node.clone()),
            // What it has not done will be handed over again.
            None => {
                failed |= !element.open.is_empty();
                element.open.clear();
            }
        }
    }
    let live = !tracked.is_over();
    if !live {
        if failed { batch::close(&tracked.dir, false) } else { sweep(&tracked.dir, LEFT_ALONE) }
    }
    live
}

fn sweep(dir: &Path, age: Duration) {
    let changed = std::fs::metadata(dir).and_then(|meta| meta.modified());
    if changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|old| old > age)) {
        batch::close(dir, true);
    }
}

/// Where a task that was handed over is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OnItsWay {
    /// The job: `1234_5`.
    pub job: String,
    /// The machine on which it runs; `None`: it waits.
    pub node: Option<String>,
}

/// The tasks that runs with this cache have handed over and that are queued or running.
///
/// # Errors
/// When there may be some and Slurm does not say.
pub fn on_their_way(cache: &Cache) -> Result<HashMap<Ticket, OnItsWay>, SlurmError> {
    let mut all = HashMap::new();
    for tracked in live_batches(&Client, &cache.batches_dir())? {
        for (number, element) in tracked.elements.iter().enumerate() {
            let node = match &element.phase {
                Phase::Running(node) => Some(node.clone()),
                _ => None,
            };
            let place = OnItsWay { job: tracked.name(number), node };
            all.extend(element.open.iter().map(|ticket| (*ticket, place.clone())));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looking must not get in the way of whoever is at it: neither of these is asked for, nor called over.
    #[test]
    fn what_is_about_to_be_submitted_and_what_others_submitted_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = |id: &str| BatchFile::new(id.to_owned(), ("run", "landcover", "train"), false, &[]);
        let (mine, theirs) = (folder.path().join("mine"), folder.path().join("theirs"));
        file("mine").write(&mine, &[], "").unwrap();
        let other = file("theirs");
        BatchFile { user: other.user + 1, ..other }.write(&theirs, &[], "").unwrap();
        batch::note_try(&theirs);
        batch::note_job(&theirs, "7");
        assert!(live_batches(&Client, folder.path()).unwrap().is_empty());
        for dir in [mine, theirs] {
            assert!(!batch::is_over(&dir) && BatchFile::read(&dir).is_some(), "{}", dir.display());
        }
    }
}
