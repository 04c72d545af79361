//! Training patches, straight from the tiles on disk.

use crate::engine::StageError;
use crate::net::{IGNORE, NetError, Part, PatchSource, Place};
use crate::raster::{NO_CLASS, index_of_code};
use crate::stages::patches::{PatchIndex, PatchWindow};
use crate::stages::tile::TileReader;

use super::card::Normalisation;

/// The patches of an index, normalised, with class indices for labels.
pub(super) struct TilePatches {
    index: PatchIndex,
    tiles: Vec<TileReader>,
    normalisation: Normalisation,
    /// Label code -> class index, [`IGNORE`] for "no label".
    class: [u8; 256],
}

impl TilePatches {
    /// Brings the index and its tiles (in the order of its scenes) together.
    pub(super) fn new(index: PatchIndex, tiles: Vec<TileReader>) -> Self {
        // The network's "leave out" and the class table's "no class" are one value, so the lookup serves both.
        const { assert!(IGNORE == NO_CLASS) };
        let class = index_of_code(&index.codes);
        let normalisation = Normalisation::new(&index.mean, &index.std);
        Self { index, tiles, normalisation, class }
    }

    fn window(&self, part: Part, index: usize) -> &PatchWindow {
        match part {
            Part::Train => &self.index.train[index],
            Part::Holdout => &self.index.holdout[index],
        }
    }

    fn fill(&self, window: &PatchWindow, bands: &mut [f32], labels: &mut [u8]) -> Result<(), StageError> {
        let size = self.index.size;
        let rect = [window.row, window.col, size, size];
        let tile = &self.tiles[window.scene];
        let mut valid = vec![0; size * size];
        tile.read_bands(rect, bands)?;
        tile.read_valid(rect, &mut valid)?;
        self.normalisation.apply(bands, &valid);
        tile.read_labels(rect, labels)?;
        window.mask(size, &self.index.scenes[window.scene], labels, 0);
        labels.iter_mut().for_each(|l| *l = self.class[*l as usize]);
        Ok(())
    }
}

impl PatchSource for TilePatches {
    fn bands(&self) -> usize {
        self.index.bands.len()
    }

    fn size(&self) -> usize {
        self.index.size
    }

    fn train_len(&self) -> usize {
        self.index.train.len()
    }

    fn holdout_len(&self) -> usize {
        self.index.holdout.len()
    }

    fn class_pixels(&self) -> Vec<u64> {
        self.index.codes.iter().map(|code| self.index.train_pixels.get(code).copied().unwrap_or(0)).collect()
    }

    fn read(&self, part: Part, index: usize, bands: &mut [f32], labels: &mut [u8]) -> crate::net::Result<()> {
        self.fill(self.window(part, index), bands, labels).map_err(|e| NetError::Config(e.to_string()))
    }

    fn weight(&self, index: usize) -> f32 {
        self.index.train[index].weight
    }

    fn patch_pixels(&self, index: usize) -> crate::net::Result<Vec<u64>> {
        let classes = &self.index.train[index].classes;
        Ok(self.index.codes.iter().map(|code| classes.get(code).copied().unwrap_or(0).into()).collect())
    }

    fn place(&self, index: usize) -> Option<Place> {
        let PatchWindow { scene, row, col, .. } = self.index.train[index];
        Some(Place { scene, row, col })
    }
}
