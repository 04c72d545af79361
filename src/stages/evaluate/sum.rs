//! All scenes: sums what was counted, scores it, writes it down.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::count::SceneCounts;
use super::metrics::{METRICS_VERSION, Metrics};
use super::region::estimate_areas;
use crate::engine::{StageError, TaskContext};
use crate::metrics::{
    Block, Bootstrap, BoundaryCounts, CalibrationSums, ConfusionMatrix, Intervals, Score, confusion_csv, metrics_csv,
};
use crate::net::rng::Rng;
use crate::stages::document::{write_document, write_text};
use crate::stages::params::read_classes;
use crate::stages::scores::{name_classes, scores_of};

/// What is made of the sums.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SumParams {
    /// How intervals are drawn; `None` without any.
    pub(super) bootstrap: Option<Bootstrap>,
    /// At which distance boundaries were counted; `None` where they were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) boundary: Option<usize>,
}

/// Sums and scores the scenes in the slots `scenes/…`.
pub(super) fn sum_scenes(params: &SumParams, task: &TaskContext<'_>) -> Result<(), StageError> {
    let classes = read_classes(task)?;
    let mut matrix = ConfusionMatrix::new();
    let mut scenes = BTreeMap::new();
    let mut blocks = Vec::new();
    let mut calibration = CalibrationSums::default();
    let mut boundary = BoundaryCounts::default();
    for (name, path) in task.items("scenes") {
        let counts = SceneCounts::read(path)?;
        let scene = counts.matrix(path)?;
        matrix.merge(&scene);
        scenes.insert(name.to_owned(), Score::of_classes(&scene, &classes));
        blocks.extend(counts.blocks);
        counts.calibration.iter().for_each(|sums| calibration.merge(sums));
        counts.boundary.iter().for_each(|counts| boundary.merge(counts));
    }
    let areas = estimate_areas(&matrix, task)?;
    let boundary = params.boundary.map(|distance| boundary.score(distance));
    let all = Score::of_classes(&matrix, &classes);
    write_text(&task.output("table")?, &metrics_csv(&all, &classes))?;
    write_text(&task.output("confusion")?, &confusion_csv(&all, &classes))?;
    let intervals = params.bootstrap.and_then(|options| draw(&blocks, &options, task.seed.unwrap_or(0)));
    let calibration = calibration.calibration();
    let metrics = task.output("metrics")?;
    let format = METRICS_VERSION.into();
    write_document(&metrics, &Metrics { format, all, scenes, intervals, calibration, boundary, areas })?;
    let names = classes.iter().map(|class| (class.code.to_string(), class.name.clone())).collect();
    for (name, value) in name_classes(scores_of(&metrics)?, &names) {
        task.scores.report(name, value);
    }
    Ok(())
}

/// Each draw has a generator of its own, so that no draw depends on which thread comes first.
fn draw(blocks: &[Block], options: &Bootstrap, seed: u64) -> Option<Intervals> {
    let root = Rng::new(seed);
    Intervals::draw(blocks, options, |sample| {
        let mut rng = root.fork(&format!("bootstrap/{sample}"));
        move |blocks| rng.below(blocks)
    })
}
