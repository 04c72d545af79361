//! The readable view: `cache/<pipeline>/<stage>/[<variant>/]<path>` as relative links to the newest outputs.
//!
//! A file output is a link, a directory output a directory of links. Only what changed is touched. Whatever else a
//! person put into these folders stays; a file of theirs that stands where a link belongs is kept as `<name>~`.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::cache::Cache;
use super::digest::{ContentId, Digest};
use super::disk;
use super::error::CacheError;
use super::graph::{TaskId, TaskNode, folder};
use super::newest::{Newest, NewestTask};
use super::survey::{Made, State, Survey};
use super::tree::EntryKind;

/// During a run the index is written at most this often; the end of a run always writes what is left.
const WRITE_EVERY: Duration = Duration::from_secs(2);
/// Writing it takes at most one part in so many of the time: that of a hundred thousand tasks has tens of megabytes.
const SHARE: u32 = 20;

/// Keeps the view and the index of newest results up to date during a run.
#[derive(Debug)]
pub(super) struct Publisher {
    begun: bool,
    due: Instant,
    unwritten: Vec<TaskId>,
}

impl Publisher {
    pub(super) fn new() -> Self {
        Self { begun: false, due: Instant::now() + WRITE_EVERY, unwritten: Vec::new() }
    }

    /// A task has just been made: show its outputs.
    pub(super) fn made(&mut self, survey: &Survey<'_>, id: TaskId) {
        if !self.begun {
            self.begun = true;
            warn(disk::open_append(&unfinished(survey)).map(drop));
        }
        warn(show_task(survey, id));
        self.unwritten.push(id);
        let now = Instant::now();
        if now >= self.due {
            warn(write_index(survey, &std::mem::take(&mut self.unwritten)));
            self.due = Instant::now() + (now.elapsed() * SHARE).max(WRITE_EVERY);
        }
    }

    /// The run is over: bring the whole view of the pipeline up to date.
    pub(super) fn finish(&mut self, survey: &Survey<'_>) {
        let made: Vec<TaskId> =
            (0..survey.graph.tasks.len()).filter(|id| matches!(survey.states[*id], State::Made(_))).collect();
        let wanted = places(survey);
        let sweep = self.begun || may_be_stale(survey, &wanted);
        if sweep {
            warn(remove_links(survey.cache, &survey.cache.view_dir(&survey.graph.pipeline), &wanted));
        }
        // One warning is enough: the others would say the same.
        warn(made.par_iter().try_for_each(|id| show_task(survey, *id)));
        warn(write_index(survey, &made));
        if sweep {
            warn(disk::remove(&unfinished(survey)));
        }
    }
}

/// A view that cannot be brought up to date (a full disk, say) does not undo the run: everything is in the store.
fn warn(result: Result<(), CacheError>) {
    if let Err(error) = result {
        tracing::warn!("the readable view of the cache is not up to date: {error}");
    }
}

fn show_task(survey: &Survey<'_>, id: TaskId) -> Result<(), CacheError> {
    let State::Made(made) = &survey.states[id] else { return Ok(()) };
    let node = &survey.graph.tasks[id];
    let stage = &survey.graph.stages[node.stage].name;
    let shown = survey.newest.task(stage, &node.plan.name).map_or(&[][..], |t| &t.outputs);
    let dir = survey.cache.view_dir(&survey.graph.pipeline).join(survey.graph.folder(id));
    made.outputs.iter().try_for_each(|output| {
        let path = dir.join(&output.path);
        match output.content {
            ContentId::File(digest) => place_link(survey.cache, &survey.cache.file_path(digest), &path),
            ContentId::Tree(digest) => show_tree(survey.cache, digest, &path, !shown.contains(output)),
        }
    })
}

/// Makes a directory output appear at `path`. `changed`: the directory may show something else so far.
fn show_tree(cache: &Cache, digest: Digest, path: &Path, changed: bool) -> Result<(), CacheError> {
    let Some(tree) = cache.tree(digest) else { return Ok(()) };
    if fs::symlink_metadata(path).is_ok_and(|m| !m.is_dir()) {
        clear(cache, path)?;
    }
    let mut wanted: HashSet<PathBuf> = HashSet::with_capacity(tree.entries.len());
    for entry in &tree.entries {
        let place = path.join(&entry.path);
        if entry.kind != EntryKind::EmptyDir {
            place_link(cache, &cache.file_path(entry.digest), &place)?;
        } else if !place.is_dir() {
            disk::make_dir(&place)?;
        }
        wanted.insert(place);
    }
    if changed { remove_links(cache, path, &wanted) } else { Ok(()) }
}

/// The link text that leads from `path` to a file of the store, relative so that the cache can be moved as a whole.
fn relative_target(cache: &Cache, target: &Path, path: &Path) -> PathBuf {
    let below = |p: &Path| p.strip_prefix(cache.root()).map_or_else(|_| p.to_path_buf(), Path::to_path_buf);
    let ups = below(path).components().count().saturating_sub(1);
    let mut link: PathBuf = std::iter::repeat_n("..", ups).collect();
    link.push(below(target));
    link
}

fn is_link_to(cache: &Cache, target: &Path, path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|link| link == relative_target(cache, target, path))
}

fn place_link(cache: &Cache, target: &Path, path: &Path) -> Result<(), CacheError> {
    if is_link_to(cache, target, path) {
        return Ok(());
    }
    if !path.is_symlink() {
        clear(cache, path)?;
        return disk::link_new(&relative_target(cache, target, path), path);
    }
    let temporary = disk::fresh(cache.scratch()?, "link");
    disk::link(&relative_target(cache, target, path), &temporary)?;
    disk::rename(&temporary, path)
}

/// Makes room at `path`: links go, anything else is moved aside.
fn clear(cache: &Cache, path: &Path) -> Result<(), CacheError> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if meta.is_symlink() {
        return disk::remove(path);
    }
    if meta.is_dir() {
        remove_links(cache, path, &HashSet::new())?;
        if !path.exists() {
            return Ok(());
        }
    }
    let mut aside: OsString = path.as_os_str().to_owned();
    aside.push("~");
    disk::rename(path, Path::new(&aside))
}

/// Removes our links below a directory except the wanted ones, then directories left empty.
fn remove_links(cache: &Cache, dir: &Path, wanted: &HashSet<PathBuf>) -> Result<(), CacheError> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|e| CacheError::at("list", dir, e))?,
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if wanted.contains(&path) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => remove_links(cache, &path, wanted)?,
            Ok(kind) if kind.is_symlink() && is_ours(cache, &path) => disk::remove(&path)?,
            _ => {}
        }
    }
    // Fails when something is left in it, as it should.
    let _ = fs::remove_dir(dir);
    Ok(())
}

/// Whether a link leads into this cache's store.
fn is_ours(cache: &Cache, path: &Path) -> bool {
    let store = relative_target(cache, &cache.store_dir(), path);
    fs::read_link(path).is_ok_and(|link| link.starts_with(store))
}

/// Whether the view may show something that no task of the pipeline makes any more: the index says so, or there is no
/// telling, because the last run was killed or the index is gone.
fn may_be_stale(survey: &Survey<'_>, wanted: &HashSet<PathBuf>) -> bool {
    let view = survey.cache.view_dir(&survey.graph.pipeline);
    let unwanted = |stage: &str, tasks: &BTreeMap<String, Box<NewestTask>>| {
        tasks.values().any(|task| {
            let dir = view.join(folder(stage, &task.variant));
            task.outputs.iter().any(|o| !wanted.contains(&dir.join(&o.path)))
        })
    };
    let newest = &survey.newest.stages;
    newest.is_empty() || newest.iter().any(|(stage, tasks)| unwanted(stage, tasks)) || unfinished(survey).exists()
}

/// Where each output of the pipeline belongs in the view, whether it is there or not.
fn places(survey: &Survey<'_>) -> HashSet<PathBuf> {
    let graph = survey.graph;
    let view = survey.cache.view_dir(&graph.pipeline);
    let of_task = |id: TaskId| {
        let dir = view.join(graph.folder(id));
        graph.tasks[id].plan.outputs.iter().map(move |o| dir.join(&o.path))
    };
    (0..graph.tasks.len()).flat_map(of_task).collect()
}

/// A mark that stands while a run changes the view.
fn unfinished(survey: &Survey<'_>) -> PathBuf {
    survey.cache.newest_file(&survey.graph.pipeline).with_extension("unfinished")
}

/// Brings the index up to date with tasks that were made. Touches nothing when there is no difference.
fn write_index(survey: &Survey<'_>, made: &[TaskId]) -> Result<(), CacheError> {
    let (graph, cache) = (survey.graph, survey.cache);
    let current = Current::of(survey, made);
    if !current.differs_from(&survey.newest) {
        return Ok(());
    }
    // Another run of the same pipeline may have written meanwhile: what it says about other tasks is kept.
    let lock = cache.lock_newest(&graph.pipeline)?;
    let mut newest = cache.newest(&graph.pipeline);
    let written = if current.differs_from(&newest) {
        current.enter(&mut newest);
        cache.write_newest(&graph.pipeline, &newest)
    } else {
        Ok(())
    };
    lock.remove();
    written
}

/// What the index should say.
struct Current<'a> {
    /// Stage and task name of all tasks of the pipeline.
    tasks: HashSet<(&'a str, &'a str)>,
    /// Those whose newest result is known now, with their variant.
    made: Vec<(&'a str, &'a str, &'a str, &'a Made)>,
}

impl<'a> Current<'a> {
    fn of(survey: &'a Survey<'_>, made: &[TaskId]) -> Self {
        let graph = survey.graph;
        let name = |t: &'a TaskNode| (graph.stages[t.stage].name.as_str(), t.plan.name.as_str());
        let made = made.iter().filter_map(|id| match &survey.states[*id] {
            State::Made(made) => {
                let (stage, task) = name(&graph.tasks[*id]);
                Some((stage, task, graph.tasks[*id].variant.as_str(), made))
            }
            _ => None,
        });
        Self { tasks: graph.tasks.iter().map(name).collect(), made: made.collect() }
    }

    fn differs_from(&self, newest: &Newest) -> bool {
        let same = |variant: &str, made: &Made, entry: &NewestTask| {
            entry.variant == variant
                && (entry.key == made.key && entry.outputs == made.outputs && entry.created == made.created)
        };
        let gone = newest
            .stages
            .iter()
            .any(|(stage, tasks)| tasks.keys().any(|task| !self.tasks.contains(&(stage.as_str(), task.as_str()))));
        gone || self
            .made
            .iter()
            .any(|(stage, task, variant, made)| !newest.task(stage, task).is_some_and(|e| same(variant, made, e)))
    }
    /// Enters what was made and drops tasks that the pipeline no longer has.
    fn enter(self, newest: &mut Newest) {
        newest.stages.retain(|stage, tasks| {
            tasks.retain(|task, _| self.tasks.contains(&(stage, task)));
            !tasks.is_empty()
        });
        for (stage, task, variant, made) in self.made {
            let entry = NewestTask {
                variant: variant.to_owned(),
                key: made.key,
                created: made.created.clone(),
                seconds: made.seconds,
                outputs: made.outputs.clone(),
            };
            newest.stages.entry(stage.to_owned()).or_default().insert(task.to_owned(), Box::new(entry));
        }
    }
}
