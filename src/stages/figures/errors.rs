//! One scene: where its map is wrong. Read row by row, so that any size fits in memory.

use std::path::Path;

use super::kind::StretchParam;
use super::rows::{MapRows, SceneRows};
use crate::engine::{StageError, TaskContext};
use crate::figure::{ErrorPanel, ErrorsFigure, Picture, errors};
use crate::metrics::Score;
use crate::raster::ClassTable;
use crate::stages::evaluate::compare;
use crate::stages::tile::TileReader;

/// Draws the errors of one scene.
pub(super) fn draw_errors(
    name: &str,
    map: &Path,
    tile: &Path,
    classes: &ClassTable,
    stretch: StretchParam,
    task: &TaskContext<'_>,
) -> Result<Picture, StageError> {
    let tile = TileReader::open(tile)?;
    let card = tile.card();
    let score = Score::of_classes(&compare(map, &tile)?, classes);
    let mut scene = SceneRows::new(&tile, stretch)?;
    let mut map = MapRows::open(map)?;
    let panel = ErrorPanel::new(card.width, card.height, |y, row| {
        if task.cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        row.rgb.copy_from_slice(scene.line(y)?.0);
        row.map.copy_from_slice(map.line(y)?);
        tile.read_labels([y, 0, 1, card.width], &mut row.truth)
    })?;
    let pixel_size_m = card.georeference.metres_per_pixel();
    errors(&ErrorsFigure { title: name, panel: &panel, classes, score: &score, pixel_size_m })
        .map_err(|e| StageError::failed(e.to_string()))
}
