//! Areas of a region of maps that need no truth.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::pair::STRIP_ROWS;
use crate::engine::{StageError, TaskContext};
use crate::metrics::{Areas, ConfusionMatrix};
use crate::raster::{NO_LABEL, RasterError, Reader, Samples};
use crate::stages::document::{read_document, write_document};

/// Version of a map's areas.
const MAP_AREAS_VERSION: &str = "s2pipe.map-areas/1";

/// Square metres of a hectare.
const HECTARE: f64 = 10_000.0;

/// How much of each label there is in one map.
#[derive(Debug, Serialize, Deserialize)]
struct MapAreas {
    /// [`MAP_AREAS_VERSION`].
    format: String,
    /// Pixels of each label; those without are left out.
    pixels: BTreeMap<u8, u64>,
    /// Square metres of a pixel; `None` where the map's CRS does not count in metres.
    pixel_area: Option<f64>,
}

/// Counts the map in the slot `map`.
pub(super) fn measure_map(task: &TaskContext<'_>) -> Result<(), StageError> {
    let path = task.input("map")?;
    let failed = |e: RasterError| StageError::failed(e.to_string());
    let map = Reader::open(path).map_err(failed)?;
    let mut pixels = [0_u64; 256];
    for first in (0..map.info().height).step_by(STRIP_ROWS) {
        let rows = STRIP_ROWS.min(map.info().height - first);
        let Samples::U8(labels) = map.read_rows(first, rows).map_err(failed)? else {
            return Err(StageError::failed(format!("{}: is not a label map of type uint8", path.display())));
        };
        labels.iter().for_each(|&label| pixels[usize::from(label)] += 1);
    }
    let counted = (0_u8..=255).zip(pixels).filter(|(label, count)| *label != NO_LABEL && *count > 0);
    let areas = MapAreas {
        format: MAP_AREAS_VERSION.into(),
        pixels: counted.collect(),
        pixel_area: map.info().georef.square_metres_per_pixel(),
    };
    write_document(&task.output("areas")?, &areas)
}

/// Areas over the maps in the slots `region/…`, by the errors in `matrix`; `None` without such maps. In hectares, or in pixels
/// where it is not known of all maps how large theirs are.
pub(super) fn estimate_areas(matrix: &ConfusionMatrix, task: &TaskContext<'_>) -> Result<Option<Areas>, StageError> {
    let read = |path: &Path| read_document::<MapAreas>(path, "the areas of a map", MAP_AREAS_VERSION);
    let maps = task.items("region").into_iter().map(|(_, path)| read(path)).collect::<Result<Vec<_>, _>>()?;
    let metric = maps.iter().all(|map| map.pixel_area.is_some());
    let mut mapped: BTreeMap<i64, f64> = BTreeMap::new();
    for map in &maps {
        let pixel = map.pixel_area.filter(|_| metric).map_or(1.0, |square_metres| square_metres / HECTARE);
        for (label, count) in &map.pixels {
            *mapped.entry(i64::from(*label)).or_default() += *count as f64 * pixel;
        }
    }
    Ok(Areas::estimate(matrix, &mapped, if metric { "ha" } else { "px" }))
}
