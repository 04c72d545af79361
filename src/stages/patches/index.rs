//! `patches.json`: which windows are trained on, which are held out, and the statistics of the training pixels.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::StageError;
use crate::stages::document::read_document;

/// Version of `patches.json`.
pub const PATCH_INDEX_VERSION: &str = "s2pipe.patches/1";

/// The patch index of one split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchIndex {
    /// [`PATCH_INDEX_VERSION`].
    pub format: String,
    /// Side of a patch, pixels.
    pub size: usize,
    /// Band names, as in the tiles.
    pub bands: Vec<String>,
    /// Mean per band over training pixels: valid, and outside every hold-out block.
    pub mean: Vec<f64>,
    /// Population standard deviation per band over the same pixels; 1 where a band is constant.
    pub std: Vec<f64>,
    /// Label codes of the classes, ascending; a class's position is its index in the network.
    pub codes: Vec<u8>,
    /// Labelled training pixels per label code (each pixel once).
    pub train_pixels: BTreeMap<u8, u64>,
    /// Labelled hold-out pixels per label code (each pixel once).
    pub holdout_pixels: BTreeMap<u8, u64>,
    /// The scenes, by name.
    pub scenes: Vec<PatchScene>,
    /// Training windows. Pixels inside a hold-out block count as unlabelled.
    pub train: Vec<PatchWindow>,
    /// Hold-out windows. Only the pixels of [`PatchWindow::keep`] count as labelled.
    pub holdout: Vec<PatchWindow>,
}

/// A scene and its hold-out blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchScene {
    /// Item name.
    pub name: String,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Hold-out blocks: `[row, column, height, width]`. A scene held out whole has one block of its size.
    pub blocks: Vec<[usize; 4]>,
}

/// One window of `size` x `size` pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchWindow {
    /// Position in [`PatchIndex::scenes`].
    pub scene: usize,
    /// Top row in the scene.
    pub row: usize,
    /// Left column in the scene.
    pub col: usize,
    /// Part of the scene whose labels count here, `[row, column, height, width]`; absent in training windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<[usize; 4]>,
    /// Labelled pixels per label code that count here.
    pub classes: BTreeMap<u8, u32>,
    /// Sampling weight: the mean over its labelled pixels of `1 / sqrt(share of the pixel's class)`, scaled so that
    /// the mean weight of all training windows is 1.
    pub weight: f32,
}

impl PatchIndex {
    /// Reads an index.
    ///
    /// # Errors
    /// A sentence naming the file when it is missing, damaged or of another version.
    pub fn read(path: &Path) -> Result<Self, StageError> {
        read_document(path, "a patch index", PATCH_INDEX_VERSION)
    }
}

/// Whether a pixel lies in a rectangle `[row, column, height, width]`.
pub(super) fn inside([row, col, height, width]: [usize; 4], r: usize, c: usize) -> bool {
    (row..row + height).contains(&r) && (col..col + width).contains(&c)
}

/// The common part of two rectangles, if any.
pub(super) fn overlap(a: [usize; 4], b: [usize; 4]) -> Option<[usize; 4]> {
    let row = a[0].max(b[0]);
    let col = a[1].max(b[1]);
    let end_row = (a[0] + a[2]).min(b[0] + b[2]);
    let end_col = (a[1] + a[3]).min(b[1] + b[3]);
    (row < end_row && col < end_col).then(|| [row, col, end_row - row, end_col - col])
}

impl PatchWindow {
    /// Clears (to `blank`) the labels of this window that must not count: `labels` is `[size, size]`.
    pub fn mask(&self, size: usize, scene: &PatchScene, labels: &mut [u8], blank: u8) {
        let window = [self.row, self.col, size, size];
        match self.keep {
            Some(keep) => {
                for (i, label) in labels.iter_mut().enumerate() {
                    if !inside(keep, self.row + i / size, self.col + i % size) {
                        *label = blank;
                    }
                }
            }
            None => {
                for part in scene.blocks.iter().filter_map(|&b| overlap(b, window)) {
                    for r in part[0]..part[0] + part[2] {
                        let start = (r - self.row) * size + part[1] - self.col;
                        labels[start..start + part[3]].fill(blank);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(keep: Option<[usize; 4]>) -> PatchWindow {
        PatchWindow { scene: 0, row: 2, col: 3, keep, classes: BTreeMap::new(), weight: 1.0 }
    }

    fn scene(blocks: Vec<[usize; 4]>) -> PatchScene {
        PatchScene { name: "s".into(), width: 20, height: 20, blocks }
    }

    #[test]
    fn training_windows_lose_the_labels_of_holdout_blocks() {
        let mut labels = vec![1; 16];
        window(None).mask(4, &scene(vec![[0, 0, 4, 5], [10, 10, 5, 5]]), &mut labels, 0);
        assert_eq!(labels, [0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn holdout_windows_keep_only_their_part() {
        let mut labels = vec![1; 16];
        window(Some([3, 4, 2, 2])).mask(4, &scene(vec![]), &mut labels, 9);
        assert_eq!(labels, [9, 9, 9, 9, 9, 1, 1, 9, 9, 1, 1, 9, 9, 9, 9, 9]);
    }

    #[test]
    fn rectangles_overlap_as_on_paper() {
        assert_eq!(overlap([0, 0, 4, 4], [2, 3, 4, 4]), Some([2, 3, 2, 1]));
        assert_eq!(overlap([0, 0, 4, 4], [4, 0, 4, 4]), None);
    }
}
