//! The leak guard: a score on what was learnt from is no score.
//!
//! For every scored scene it looks at what lies behind the model that made its map, through any number of stages: the
//! same files or tasks, files with the same bytes, or ground that a training scene covers too.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::engine::{Cache, Digest, Graph, Lineage, StageError, TaskId};
use crate::raster::{Footprint, Reader, read_labels};

/// A scored scene that reached training, or shares ground with one that did.
#[derive(Clone, PartialEq, Debug)]
pub struct Leak {
    /// The scored file, or the task that made it.
    pub scored: PathBuf,
    /// What was trained on.
    pub learnt: PathBuf,
    /// What they have in common.
    pub shared: Shared,
}

/// What a scored and a learnt-from scene have in common.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Shared {
    /// They are one and the same.
    Same,
    /// Two files with equal bytes.
    Bytes,
    /// Ground.
    Ground {
        /// Square metres; square units of the CRS where these are not metres.
        area: f64,
        /// Whether the CRS counts in metres.
        metres: bool,
        /// Share of the scored scene's ground, 0 to 1.
        share: f64,
    },
}

/// Share of a scored scene's ground that may have been trained on before its score is refused: below this, a score can
/// move by less than the noise of truth itself, and neighbouring scenes of one survey do touch (two of the exercise's
/// own do, by half a percent). It is told all the same.
pub const TOLERATED_SHARE: f64 = 0.01;

impl Leak {
    /// Whether the score must not be made. Otherwise a warning is enough.
    pub fn is_grave(&self) -> bool {
        !matches!(self.shared, Shared::Ground { share, .. } if share < TOLERATED_SHARE)
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scored, learnt) = (self.scored.display(), self.learnt.display());
        match self.shared {
            Shared::Same => write!(f, "{scored} is scored, and was trained on"),
            Shared::Bytes => write!(f, "{scored} is scored, and has the same bytes as {learnt}, which was trained on"),
            Shared::Ground { area, metres, share } => write!(
                f,
                "{scored} is scored, and shares {area:.0} {} ({:.2} % of its ground) with {learnt}, which was trained on",
                if metres { "m²" } else { "square units" },
                share * 100.0
            ),
        }
    }
}

/// Everything that is scored though it was trained on, each scored thing once, in the order of the graph.
///
/// # Errors
/// When a source file cannot be read.
pub fn leaks(graph: &Graph, cache: &Cache) -> Result<Vec<Leak>, StageError> {
    let trainers = trainers_behind(graph);
    let mut sources = Sources { cache, digests: HashMap::new(), places: HashMap::new() };
    let mut learnt: BTreeMap<TaskId, Learnt<'_>> = BTreeMap::new();
    let mut found: Vec<Leak> = Vec::new();
    let mut told = HashSet::new();
    for (id, task) in graph.tasks.iter().enumerate() {
        if graph.stages[task.stage].kind != "evaluate" || !task.inputs.iter().any(|i| i.slot == "tile") {
            continue;
        }
        let scored = graph.behind(id, |slot| slot == "tile");
        for &trainer in &trainers[id] {
            let learnt = match learnt.entry(trainer) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(Learnt::new(graph.behind(trainer, |_| true), &mut sources)?),
            };
            for leak in compare(graph, &scored, learnt, &mut sources)? {
                if told.insert(leak.scored.clone()) {
                    found.push(leak);
                }
            }
        }
    }
    Ok(found)
}

/// For every task, the training tasks that it descends from.
fn trainers_behind(graph: &Graph) -> Vec<BTreeSet<TaskId>> {
    let mut trainers: Vec<BTreeSet<TaskId>> = Vec::with_capacity(graph.tasks.len());
    // Tasks stand in topological order: what a task reads has been worked out before it.
    for task in &graph.tasks {
        let mut own = BTreeSet::new();
        for &read in &task.reads {
            own.extend(trainers[read].iter().copied());
            if graph.stages[graph.tasks[read].stage].kind == "train" {
                own.insert(read);
            }
        }
        trainers.push(own);
    }
    trainers
}

/// What a training read, ready to be compared with.
struct Learnt<'g> {
    lineage: Lineage<'g>,
    by_digest: HashMap<Digest, &'g Path>,
    places: Vec<(&'g Path, Place)>,
}

impl<'g> Learnt<'g> {
    fn new(lineage: Lineage<'g>, sources: &mut Sources<'_>) -> Result<Self, StageError> {
        let mut by_digest = HashMap::new();
        let mut places = Vec::new();
        for &file in &lineage.files {
            by_digest.insert(sources.digest(file)?, file);
            places.extend(sources.place(file).map(|place| (file, place)));
        }
        Ok(Self { lineage, by_digest, places })
    }
}

fn compare(
    graph: &Graph,
    scored: &Lineage<'_>,
    learnt: &Learnt<'_>,
    sources: &mut Sources<'_>,
) -> Result<Vec<Leak>, StageError> {
    let mut leaks = Vec::new();
    for &file in &scored.files {
        let leak = |other: &Path, shared| Leak { scored: file.to_owned(), learnt: other.to_owned(), shared };
        if learnt.lineage.files.contains(file) {
            leaks.push(leak(file, Shared::Same));
        } else if let Some(other) = learnt.by_digest.get(&sources.digest(file)?).filter(|_| !is_plain(file)) {
            leaks.push(leak(other, Shared::Bytes));
        } else if let Some(place) = sources.place(file) {
            let ground = learnt.places.iter().filter_map(|(other, learnt)| Some((*other, place.shared(learnt)?)));
            // The first of equals: scenes come before their truth.
            let most = ground.reduce(|most, next| if next.1.0 > most.1.0 { next } else { most });
            if let Some((other, (area, share))) = most {
                leaks.push(leak(other, Shared::Ground { area, metres: place.metres, share }));
            }
        }
    }
    // Without source files behind it (synthetic scenes), a scene is known by the task that made it.
    if scored.files.is_empty() {
        for &task in scored.tasks.intersection(&learnt.lineage.tasks) {
            let name = PathBuf::from(graph.label(task));
            leaks.push(Leak { scored: name.clone(), learnt: name, shared: Shared::Same });
        }
    }
    Ok(leaks)
}

/// Whether a file is a label raster of one value: two chips of nothing but forest have equal truth by right.
fn is_plain(file: &Path) -> bool {
    read_labels(file).is_ok_and(|labels| labels.codes.windows(2).all(|pair| pair[0] == pair[1]))
}

/// Digests and places of source files, each looked up once.
struct Sources<'c> {
    cache: &'c Cache,
    digests: HashMap<PathBuf, Digest>,
    places: HashMap<PathBuf, Option<Place>>,
}

impl Sources<'_> {
    fn digest(&mut self, file: &Path) -> Result<Digest, StageError> {
        if let Some(&digest) = self.digests.get(file) {
            return Ok(digest);
        }
        let digest =
            self.cache.source_digest(file).map_err(|e| StageError::failed(format!("{}: {e}", file.display())))?;
        self.digests.insert(file.to_owned(), digest);
        Ok(digest)
    }

    /// Where a file lies; `None` where it is no raster or has no CRS.
    fn place(&mut self, file: &Path) -> Option<Place> {
        if let Some(place) = self.places.get(file) {
            return place.clone();
        }
        let place = Place::of(file);
        self.places.insert(file.to_owned(), place.clone());
        place
    }
}

/// The ground that a raster covers.
#[derive(Clone, Debug)]
struct Place {
    footprint: Footprint,
    metres: bool,
}

impl Place {
    fn of(file: &Path) -> Option<Self> {
        let reader = Reader::open(file).ok()?;
        let info = reader.info();
        let footprint = info.georef.footprint(info.width, info.height)?;
        footprint.crs.as_ref()?;
        let metres = info.georef.geo_keys.as_ref().is_some_and(|keys| keys.in_metres());
        Some(Self { footprint, metres })
    }

    /// Area in common and its share of this place, from the bounds; `None` where there is none.
    fn shared(&self, other: &Self) -> Option<(f64, f64)> {
        if !self.footprint.overlaps(&other.footprint) {
            return None;
        }
        let (a, b) = (self.footprint.bounds(), other.footprint.bounds());
        let width = a[2].min(b[2]) - a[0].max(b[0]);
        let height = a[3].min(b[3]) - a[1].max(b[1]);
        let own = (a[2] - a[0]) * (a[3] - a[1]);
        Some((width * height, width * height / own))
    }
}
