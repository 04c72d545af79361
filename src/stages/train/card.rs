//! `model.json`: what a network or a forest needs to know beside its weights or trees.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::{Scores, StageError};
use crate::net::{History, ModelConfig};
use crate::stages::document::read_document;
use crate::stages::patches::PatchIndex;
use crate::stages::tile::{Preparation, TileReader};

/// Version of `model.json`.
pub const MODEL_CARD_VERSION: &str = "s2pipe.model/1";
/// File name of the description.
pub const MODEL_CARD_FILE: &str = "model.json";
/// File name of the weights, or of a forest's trees.
pub const MODEL_FILE: &str = "model.safetensors";

/// Description of a trained network, beside its weights, or of a forest.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ModelCard {
    /// [`MODEL_CARD_VERSION`].
    pub format: String,
    /// Architecture, or the sizes of a forest.
    pub model: ModelConfig,
    /// Bands the network reads, in order.
    pub bands: Vec<String>,
    /// What is subtracted from each band, in the scenes' own units.
    pub mean: Vec<f64>,
    /// What each band is divided by afterwards.
    pub std: Vec<f64>,
    /// Label code of each output channel.
    pub codes: Vec<u8>,
    /// Seed of the training.
    pub seed: u64,
    /// Side of the patches it was trained on, pixels.
    pub patch: usize,
    /// Epoch whose weights these are, from 1; 1 of a forest.
    pub epoch: usize,
    /// Mean Jaccard of that epoch on the hold-out blocks; absent without a hold-out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holdout_jaccard: Option<f64>,
    /// What was made of the values of the training scenes' files: everything that differs, empty where nothing was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preparations: Vec<Preparation>,
}

impl ModelCard {
    /// Reads `model.json` from a model's directory.
    ///
    /// # Errors
    /// A sentence naming the file when it is missing, damaged or of another version.
    pub fn read(dir: &Path) -> Result<Self, StageError> {
        read_document(&dir.join(MODEL_CARD_FILE), "a model description", MODEL_CARD_VERSION)
    }

    /// The description of a model that is yet to be trained, by its patches.
    pub(super) fn new(model: ModelConfig, seed: u64, index: &PatchIndex, tiles: &[TileReader]) -> Self {
        Self {
            format: MODEL_CARD_VERSION.into(),
            model,
            bands: index.bands.clone(),
            mean: index.mean.clone(),
            std: index.std.clone(),
            codes: index.codes.clone(),
            seed,
            patch: index.size,
            epoch: 0,
            holdout_jaccard: None,
            preparations: Self::preparations_of(tiles),
        }
    }

    /// Tells the run, and remembers, what a training came to.
    pub(super) fn take_score(&mut self, history: &History, scores: &Scores) {
        let best = history.epochs.iter().find(|e| e.epoch == history.best_epoch);
        self.epoch = history.best_epoch;
        self.holdout_jaccard = best.and_then(|e| e.holdout.as_ref()).map(|h| h.mean_jaccard);
        scores.report("best_epoch", self.epoch as f64);
        if let Some(jaccard) = self.holdout_jaccard {
            scores.report("holdout.jaccard", jaccard);
        }
    }

    /// [`Self::preparations`] of these training scenes.
    fn preparations_of(tiles: &[TileReader]) -> Vec<Preparation> {
        let mut found: Vec<Preparation> = Vec::new();
        for preparation in tiles.iter().map(|tile| &tile.card().preparation) {
            if !found.contains(preparation) {
                found.push(preparation.clone());
            }
        }
        if found.iter().all(Preparation::is_none) { Vec::new() } else { found }
    }

    /// What the network sees: `(value - mean) / std`, band by band.
    pub fn normalisation(&self) -> Normalisation {
        Normalisation::new(&self.mean, &self.std)
    }
}

/// Brings bands to zero mean and unit spread.
#[derive(Clone, PartialEq, Debug)]
pub struct Normalisation {
    mean: Vec<f32>,
    scale: Vec<f32>,
}

impl Normalisation {
    /// From the mean and standard deviation of each band.
    pub fn new(mean: &[f64], std: &[f64]) -> Self {
        let scale = std.iter().map(|s| (1.0 / s) as f32).collect();
        Self { mean: mean.iter().map(|&m| m as f32).collect(), scale }
    }

    /// Normalises interleaved pixels in place. Pixels without data become 0, the mean of every band.
    pub fn apply(&self, values: &mut [f32], valid: &[u8]) {
        for (pixel, &ok) in values.chunks_exact_mut(self.scale.len()).zip(valid) {
            if ok == 0 {
                pixel.fill(0.0);
                continue;
            }
            for ((v, mean), scale) in pixel.iter_mut().zip(&self.mean).zip(&self.scale) {
                *v = (*v - mean) * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised_bands_have_zero_mean_and_gaps_are_the_mean() {
        let n = Normalisation::new(&[1000.0, -5.0], &[500.0, 1.0]);
        let mut pixels = [1500.0, -5.0, 0.0, -7.0, 9999.0, 9999.0];
        n.apply(&mut pixels, &[1, 1, 0]);
        assert_eq!(pixels, [1.0, 0.0, -2.0, -2.0, 0.0, 0.0]);
    }
}
