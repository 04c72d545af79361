//! One scene: natural colour, truth and map side by side. Read row by row, so that any size fits in memory.

use std::path::Path;

use super::kind::StretchParam;
use super::rows::{MapRows, SceneRows};
use crate::engine::{StageError, TaskContext};
use crate::figure::{Panel, Picture, SegmentationFigure, segmentation};
use crate::metrics::Score;
use crate::raster::ClassTable;
use crate::stages::evaluate::compare;
use crate::stages::tile::TileReader;

/// Draws one scene.
pub(super) fn draw_scene(
    name: &str,
    map: &Path,
    tile: &Path,
    classes: &ClassTable,
    stretch: StretchParam,
    task: &TaskContext<'_>,
) -> Result<Picture, StageError> {
    let tile = TileReader::open(tile)?;
    let card = tile.card();
    let scores = if card.has_truth { Some(Score::of_classes(&compare(map, &tile)?, classes)) } else { None };
    let scene = scene_panel(&tile, stretch)?;
    if task.cancel.is_cancelled() {
        return Err(StageError::Cancelled);
    }
    let truth = match card.has_truth {
        true => {
            Some(Panel::labels(card.width, card.height, |row, line| tile.read_labels([row, 0, 1, card.width], line))?)
        }
        false => None,
    };
    let prediction = map_panel(map)?;
    segmentation(&SegmentationFigure {
        title: name,
        subtitle: "",
        scene: &scene,
        truth: truth.as_ref(),
        prediction: &prediction,
        classes,
        scores: scores.as_ref(),
        pixel_size_m: card.georeference.metres_per_pixel(),
    })
    .map_err(|e| StageError::failed(e.to_string()))
}

fn scene_panel(tile: &TileReader, stretch: StretchParam) -> Result<Panel, StageError> {
    let mut rows = SceneRows::new(tile, stretch)?;
    Panel::rgb(tile.card().width, tile.card().height, |row, line, valid| {
        let (colours, has_data) = rows.line(row)?;
        line.copy_from_slice(colours);
        valid.copy_from_slice(has_data);
        Ok(())
    })
}

fn map_panel(path: &Path) -> Result<Panel, StageError> {
    let mut rows = MapRows::open(path)?;
    let (width, height) = rows.size();
    Panel::labels(width, height, |row, line| {
        line.copy_from_slice(rows.line(row)?);
        Ok(())
    })
}
