//! All scenes: sums what was counted, scores it, writes it down.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::count::SceneCounts;
use super::metrics::{METRICS_VERSION, Metrics};
use crate::engine::{StageError, TaskContext};
use crate::metrics::{
    Block, Bootstrap, CalibrationSums, ConfusionMatrix, Intervals, Score, confusion_csv, metrics_csv,
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
}

/// Sums and scores the scenes in the slots `scenes/…`.
pub(super) fn sum_scenes(params: &SumParams, task: &TaskContext<'_>) -> Result<(), StageError> {
    let classes = read_classes(task)?;
    let mut all = ConfusionMatrix::new();
    let mut scenes = BTreeMap::new();
    let mut blocks = Vec::new();
    let mut calibration = CalibrationSums::default();
    for (name, path) in task.items("scenes") {
        let counts = SceneCounts::read(path)?;
        let matrix = counts.matrix(path)?;
        all.merge(&matrix);
        scenes.insert(name.to_owned(), Score::of_classes(&matrix, &classes));
        blocks.extend(counts.blocks);
        counts.calibration.iter().for_each(|sums| calibration.merge(sums));
    }
    let all = Score::of_classes(&all, &classes);
    write_text(&task.output("table")?, &metrics_csv(&all, &classes))?;
    write_text(&task.output("confusion")?, &confusion_csv(&all, &classes))?;
    let intervals = params.bootstrap.and_then(|options| draw(&blocks, &options, task.seed.unwrap_or(0)));
    let calibration = calibration.calibration();
    let metrics = task.output("metrics")?;
    write_document(&metrics, &Metrics { format: METRICS_VERSION.into(), all, scenes, intervals, calibration })?;
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
