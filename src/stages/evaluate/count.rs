//! One scene: what the scores are made of, left for the task that sums.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::calibrate::calibrate;
use super::pair::{MapAndTruth, STRIP_ROWS};
use crate::engine::{StageError, TaskContext};
use crate::metrics::{Block, BoundaryCounts, CalibrationSums, ConfusionMatrix, MetricsError, count_blocks};
use crate::raster::NO_LABEL;
use crate::stages::document::{read_document, write_dense_document};
use crate::stages::params::read_codes;
use crate::stages::tile::TileReader;

/// Version of a scene's counts.
const COUNTS_VERSION: &str = "s2pipe.counts/1";

/// What is counted in each scene.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CountParams {
    /// Side of the blocks of the bootstrap, pixels; `None` without one.
    pub(super) block: Option<usize>,
    /// How far from another class pixels of a boundary lie, pixels; `None` where boundaries are not scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) boundary: Option<usize>,
}

/// The counts of one scene, between its task and the task that sums.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SceneCounts {
    /// [`COUNTS_VERSION`].
    format: String,
    labels: Vec<i64>,
    /// Pixels by true label (rows) and mapped label (columns).
    confusion: Vec<Vec<u64>>,
    /// Blocks with a labelled pixel, row by row of blocks; empty where none were asked for.
    pub(super) blocks: Vec<Block>,
    /// Where there were probabilities.
    pub(super) calibration: Option<CalibrationSums>,
    /// Where boundaries are scored.
    #[serde(default)]
    pub(super) boundary: Option<BoundaryCounts>,
}

impl SceneCounts {
    pub(super) fn read(path: &Path) -> Result<Self, StageError> {
        read_document(path, "the counts of a scene", COUNTS_VERSION)
    }

    pub(super) fn matrix(&self, path: &Path) -> Result<ConfusionMatrix, StageError> {
        ConfusionMatrix::from_counts(&self.labels, &self.confusion)
            .map_err(|e| StageError::failed(format!("{}: is not a confusion matrix: {e}", path.display())))
    }
}

/// Counts the scene in the slots `map` and `tile`.
pub(super) fn count_scene(params: &CountParams, task: &TaskContext<'_>) -> Result<(), StageError> {
    let codes: Vec<i64> = read_codes(task)?.into_iter().map(i64::from).collect();
    let tile = TileReader::open(task.input("tile")?)?;
    let pair = MapAndTruth::open(task.input("map")?, &tile)?;
    let failed = |e: MetricsError| StageError::failed(e.to_string());
    let mut matrix = ConfusionMatrix::new();
    let mut blocks = Vec::new();
    for (first, rows) in pair.strips(strip_rows(params.block)) {
        let (truth, mapped) = pair.rows(first, rows)?;
        matrix.add(&truth, &mapped, Some(NO_LABEL)).map_err(failed)?;
        if let Some(side) = params.block {
            blocks.extend(count_blocks(&truth, &mapped, pair.width(), side, NO_LABEL).map_err(failed)?);
        }
    }
    let labels = matrix.labels();
    if let Some(strange) = labels.iter().find(|&&l| l != i64::from(NO_LABEL) && !codes.contains(&l)) {
        return Err(StageError::failed(format!("the map holds code {strange}, which `classes` does not name")));
    }
    let calibration = match task.inputs.get("probabilities") {
        Some(probabilities) => Some(calibrate(probabilities, &tile, &read_codes(task)?)?),
        None => None,
    };
    let confusion = matrix.dense(&labels);
    let boundary = params.boundary.map(|distance| count_boundary(&pair, distance)).transpose()?;
    let counts = SceneCounts { format: COUNTS_VERSION.into(), labels, confusion, blocks, calibration, boundary };
    write_dense_document(&task.output("counts")?, &counts)
}

/// Pixels near the outlines of classes, strip by strip with the rows around it.
fn count_boundary(pair: &MapAndTruth<'_>, distance: usize) -> Result<BoundaryCounts, StageError> {
    let mut boundary = BoundaryCounts::default();
    for (first, rows) in pair.strips(STRIP_ROWS) {
        let above = first.saturating_sub(distance);
        let below = (first + rows + distance).min(pair.height());
        let (truth, mapped) = pair.rows(above, below - above)?;
        boundary.add(&truth, &mapped, pair.width(), (first - above, rows), distance);
    }
    Ok(boundary)
}

/// Whole blocks, so that none is cut by a strip's edge.
fn strip_rows(block: Option<usize>) -> usize {
    block.map_or(STRIP_ROWS, |side| STRIP_ROWS.next_multiple_of(side.max(1)))
}
