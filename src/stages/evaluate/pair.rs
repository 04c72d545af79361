//! A map and the truth of its scene, strip by strip.

use std::path::Path;

use crate::engine::StageError;
use crate::metrics::ConfusionMatrix;
use crate::net::Buffers;
use crate::raster::{NO_LABEL, Reader, Samples};
use crate::stages::tile::TileReader;

/// Rows compared at a time.
pub(super) const STRIP_ROWS: usize = 512;

/// A map and its scene's truth, on the same grid.
pub(super) struct MapAndTruth<'a> {
    map: Reader,
    tile: &'a TileReader,
}

impl<'a> MapAndTruth<'a> {
    /// Opens a map beside a tile.
    ///
    /// # Errors
    /// A sentence when the tile has no truth, or the map cannot be read or has another size.
    pub(super) fn open(map: &Path, tile: &'a TileReader) -> Result<Self, StageError> {
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
        Ok(Self { map: reader, tile })
    }

    /// Columns.
    pub(super) fn width(&self) -> usize {
        self.tile.card().width
    }

    /// Rows.
    pub(super) fn height(&self) -> usize {
        self.tile.card().height
    }

    /// Truth and map of some rows.
    pub(super) fn rows(&self, first: usize, count: usize) -> Result<(Vec<u8>, Vec<u8>), StageError> {
        let mut truth = vec![0; count * self.width()];
        self.tile.read_labels([first, 0, count, self.width()], &mut truth)?;
        match self.map.read_rows(first, count).map_err(|e| StageError::failed(e.to_string()))? {
            Samples::U8(mapped) => Ok((truth, mapped)),
            _ => {
                let path = self.map.info().path.display();
                Err(StageError::failed(format!("{path}: is not a label map of type uint8")))
            }
        }
    }

    /// First row and number of rows of strips this high, top to bottom.
    pub(super) fn strips(&self, rows: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let height = self.height();
        (0..height).step_by(rows.max(1)).map(move |first| (first, rows.min(height - first)))
    }
}

/// Counts a map against the truth of its tile.
pub(in crate::stages) fn compare(map: &Path, tile: &TileReader) -> Result<ConfusionMatrix, StageError> {
    let pair = MapAndTruth::open(map, tile)?;
    let mut matrix = ConfusionMatrix::new();
    for (first, rows) in pair.strips(STRIP_ROWS) {
        let (truth, mapped) = pair.rows(first, rows)?;
        matrix.add(&truth, &mapped, Some(NO_LABEL)).map_err(|e| StageError::failed(e.to_string()))?;
    }
    Ok(matrix)
}
