//! The probabilities of one scene against its truth, strip by strip.

use std::path::Path;

use crate::engine::StageError;
use crate::metrics::CalibrationSums;
use crate::raster::{NO_LABEL, Reader, Samples};
use crate::stages::params::probability_rows;
use crate::stages::tile::TileReader;

/// Compares the probabilities of a scene, a band for each of `codes`, with its truth.
pub(super) fn calibrate(path: &Path, tile: &TileReader, codes: &[u8]) -> Result<CalibrationSums, StageError> {
    let (width, height) = (tile.card().width, tile.card().height);
    let wrong = |what: String| StageError::failed(format!("{}: {what}", path.display()));
    let reader = Reader::open(path).map_err(|e| StageError::failed(e.to_string()))?;
    let info = reader.info();
    if (info.width, info.height, info.bands) != (width, height, codes.len()) {
        let (w, h, bands) = (info.width, info.height, info.bands);
        let expected = format!("{width}x{height} px and {} classes", codes.len());
        return Err(wrong(format!("is {w}x{h} px with {bands} bands, scene {:?} has {expected}", tile.card().name)));
    }
    let mut sums = CalibrationSums::default();
    let strip = probability_rows(width, codes.len());
    for first in (0..height).step_by(strip) {
        let rows = strip.min(height - first);
        let mut truth = vec![NO_LABEL; rows * width];
        tile.read_labels([first, 0, rows, width], &mut truth)?;
        match reader.read_rows(first, rows).map_err(|e| StageError::failed(e.to_string()))? {
            Samples::F32(planes) => {
                sums.add(&truth, &planes, codes, NO_LABEL).map_err(|e| wrong(e.to_string()))?;
            }
            _ => return Err(wrong("holds no probabilities of type float32".into())),
        }
    }
    Ok(sums)
}
