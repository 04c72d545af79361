//! `evaluate`: maps against truth. One confusion matrix a scene, then one sum; never an average of scenes.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::document::{read_document, write_document, write_text};
use super::params::{classes_of, codes_json, expand_error, read_classes, read_codes, to_json};
use super::scores::{name_classes, scores_of};
use super::tile::TileReader;
use crate::engine::{
    Cores, ExpandContext, ExpandError, Expansion, Item, Origin, Outcome, OutputDecl, StageError, StageKind,
    TaskContext, TaskPlan,
};
use crate::metrics::{ConfusionMatrix, Score, confusion_csv, metrics_csv};
use crate::net::Buffers;
use crate::raster::{NO_LABEL, Reader, Samples};
use crate::spec::{Artefact, InputSpec, KindSpec, OutputSpec};

/// Version of `metrics.json`.
pub const METRICS_VERSION: &str = "s2pipe.metrics/1";

static SPEC: KindSpec = KindSpec {
    name: "evaluate",
    // 2: reports its scores.
    version: 2,
    doc: "Scores maps against truth: Jaccard per class and its mean with scikit-learn's semantics, and more.",
    inputs: &[
        InputSpec {
            name: "maps",
            accepts: &[Artefact::Maps],
            accepts_files: false,
            required: true,
            doc: "The maps to score.",
        },
        InputSpec {
            name: "tiles",
            accepts: &[Artefact::Tiles],
            accepts_files: false,
            required: true,
            doc: "The scenes with their truth, for example `ingest.val`.",
        },
    ],
    free_inputs: false,
    outputs: &[
        OutputSpec {
            name: "metrics",
            artefact: Artefact::Metrics,
            when: None,
            doc: "`metrics.json`: every score, over all scenes and for each scene.",
        },
        OutputSpec { name: "table", artefact: Artefact::Any, when: None, doc: "`metrics.csv`: one line a class." },
        OutputSpec {
            name: "confusion",
            artefact: Artefact::Any,
            when: None,
            doc: "`confusion.csv`: pixels by true class (rows) and mapped class (columns).",
        },
    ],
    free_outputs: false,
    joins: false,
    params: &[],
    check: None,
};

/// `metrics.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Metrics {
    /// [`METRICS_VERSION`].
    pub format: String,
    /// Score of all scenes together: their confusion matrices are summed first.
    pub all: Score,
    /// Score of each scene on its own.
    pub scenes: BTreeMap<String, Score>,
}

impl Metrics {
    /// Reads `metrics.json`.
    ///
    /// # Errors
    /// A sentence naming the file when it is missing, damaged or of another version.
    pub fn read(path: &Path) -> Result<Self, StageError> {
        read_document(path, "a metrics file", METRICS_VERSION)
    }
}

/// Version of a scene's confusion matrix.
const MATRIX_VERSION: &str = "s2pipe.matrix/1";

/// The confusion matrix of one scene, between its task and the task that sums.
#[derive(Debug, Serialize, Deserialize)]
struct SceneMatrix {
    /// [`MATRIX_VERSION`].
    format: String,
    labels: Vec<i64>,
    counts: Vec<Vec<u64>>,
}

/// What distinguishes the two tasks of the stage.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// Count one scene.
    Count,
    /// Sum all scenes and score.
    Sum,
}

/// The `evaluate` stage kind.
#[derive(Debug)]
pub struct Evaluate;

impl StageKind for Evaluate {
    fn spec(&self) -> &'static KindSpec {
        &SPEC
    }

    fn expand(&self, context: &ExpandContext<'_>) -> Result<Expansion, ExpandError> {
        let classes = classes_of(context)?;
        let stage = &context.stage.name;
        let from = |task: &str, output: &str| Origin::Task {
            stage: stage.clone(),
            task: task.to_owned(),
            output: output.to_owned(),
        };
        let mut expansion = Expansion::default();
        let mut counts = Vec::new();
        for (name, map, tile) in map_tile_pairs(context)? {
            counts.push((format!("scenes/{name}"), from(&format!("scenes/{name}"), "matrix")));
            expansion.tasks.push(TaskPlan {
                name: format!("scenes/{name}"),
                params: to_json(&Step::Count),
                seed: None,
                classes: Some(codes_json(classes)),
                inputs: vec![("map".into(), map), ("tile".into(), tile)],
                outputs: vec![OutputDecl { name: "matrix".into(), path: format!("scenes/{name}.json").into() }],
                cores: Cores::One,
            });
        }
        let files = [("metrics", "metrics.json"), ("table", "metrics.csv"), ("confusion", "confusion.csv")];
        expansion.tasks.push(TaskPlan {
            name: String::new(),
            params: to_json(&Step::Sum),
            seed: None,
            classes: Some(to_json(classes)),
            inputs: counts,
            outputs: files.map(|(name, path)| OutputDecl { name: name.into(), path: path.into() }).to_vec(),
            cores: Cores::One,
        });
        for (name, _) in files {
            expansion.outputs.insert(name.into(), vec![Item::new("", from("", name))]);
        }
        Ok(expansion)
    }

    fn run(&self, task: &TaskContext<'_>) -> Result<Outcome, StageError> {
        let step: Step = super::params::read_params(task)?;
        match step {
            Step::Count => count_scene(task)?,
            Step::Sum => sum_scenes(task)?,
        }
        Ok(Outcome::Complete)
    }
}

/// Maps and tiles with the same item name; every map must have its tile.
pub(super) fn map_tile_pairs(context: &ExpandContext<'_>) -> Result<Vec<(String, Origin, Origin)>, ExpandError> {
    let tiles: BTreeMap<&str, &Origin> = context.items("tiles").iter().map(|i| (i.name.as_str(), &i.from)).collect();
    let maps = context.items("maps");
    if maps.is_empty() {
        return Err(expand_error("there are no maps to look at"));
    }
    maps.iter()
        .map(|map| match tiles.get(map.name.as_str()) {
            Some(tile) => Ok((map.name.clone(), map.from.clone(), (*tile).clone())),
            None => Err(ExpandError {
                message: format!("map {:?} has no tile of that name among the inputs `tiles`", map.name),
                help: Some("connect `tiles` to the scenes that were mapped".into()),
            }),
        })
        .collect()
}

/// Rows compared at a time.
const STRIP_ROWS: usize = 512;

/// Counts a map against the truth of its tile.
pub(super) fn compare(map: &Path, tile: &TileReader) -> Result<ConfusionMatrix, StageError> {
    let card = tile.card();
    if !card.has_truth {
        return Err(StageError::failed(format!("scene {:?} has no truth to be scored against", card.name)));
    }
    let reader = Reader::open(map).map_err(|e| StageError::failed(e.to_string()))?;
    let (width, height) = (reader.info().width, reader.info().height);
    if (width, height) != (card.width, card.height) {
        return Err(StageError::failed(format!(
            "{}: is {width}x{height} px, the truth of scene {:?} is {}x{} px",
            map.display(),
            card.name,
            card.width,
            card.height
        )));
    }
    Buffers::keep();
    let mut matrix = ConfusionMatrix::new();
    for row in (0..height).step_by(STRIP_ROWS) {
        let rows = STRIP_ROWS.min(height - row);
        let mut truth = vec![0; rows * width];
        tile.read_labels([row, 0, rows, width], &mut truth)?;
        let Samples::U8(mapped) = reader.read_rows(row, rows).map_err(|e| StageError::failed(e.to_string()))? else {
            return Err(StageError::failed(format!("{}: is not a label map of type uint8", map.display())));
        };
        matrix.add(&truth, &mapped, Some(NO_LABEL)).map_err(|e| StageError::failed(e.to_string()))?;
    }
    Ok(matrix)
}

fn count_scene(task: &TaskContext<'_>) -> Result<(), StageError> {
    let codes: Vec<i64> = read_codes(task)?.into_iter().map(i64::from).collect();
    let matrix = compare(task.input("map")?, &TileReader::open(task.input("tile")?)?)?;
    let labels = matrix.labels();
    if let Some(strange) = labels.iter().find(|&&l| l != i64::from(NO_LABEL) && !codes.contains(&l)) {
        return Err(StageError::failed(format!("the map holds code {strange}, which `classes` does not name")));
    }
    let counts = matrix.dense(&labels);
    write_document(&task.output("matrix")?, &SceneMatrix { format: MATRIX_VERSION.into(), labels, counts })
}

fn sum_scenes(task: &TaskContext<'_>) -> Result<(), StageError> {
    let classes = read_classes(task)?;
    let mut all = ConfusionMatrix::new();
    let mut scenes = BTreeMap::new();
    for (name, path) in task.items("scenes") {
        let SceneMatrix { labels, counts, .. } = read_document(path, "a confusion matrix", MATRIX_VERSION)?;
        let matrix = ConfusionMatrix::from_counts(&labels, &counts)
            .map_err(|e| StageError::failed(format!("{}: is not a confusion matrix: {e}", path.display())))?;
        all.merge(&matrix);
        scenes.insert(name.to_owned(), Score::of_classes(&matrix, &classes));
    }
    let all = Score::of_classes(&all, &classes);
    write_text(&task.output("table")?, &metrics_csv(&all, &classes))?;
    write_text(&task.output("confusion")?, &confusion_csv(&all, &classes))?;
    let metrics = task.output("metrics")?;
    write_document(&metrics, &Metrics { format: METRICS_VERSION.into(), all, scenes })?;
    let names = classes.iter().map(|class| (class.code.to_string(), class.name.clone())).collect();
    for (name, value) in name_classes(scores_of(&metrics)?, &names) {
        task.scores.report(name, value);
    }
    Ok(())
}
