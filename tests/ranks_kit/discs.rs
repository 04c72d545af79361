//! Patches to train on, and settings of small trainings.

use s2pipe::net::rng::Rng;
use s2pipe::net::{IGNORE, Part, PatchSource, Result, TrainConfig};
use serde_json::{Value, json};

pub(crate) const SIZE: usize = 8;

/// Patches of discs on a ground, with classes that are not the same in every patch.
pub(crate) struct Discs;

impl PatchSource for Discs {
    fn bands(&self) -> usize {
        2
    }

    fn size(&self) -> usize {
        SIZE
    }

    fn train_len(&self) -> usize {
        22
    }

    fn holdout_len(&self) -> usize {
        9
    }

    fn class_pixels(&self) -> Vec<u64> {
        vec![500, 150, 54]
    }

    fn read(&self, part: Part, index: usize, bands: &mut [f32], labels: &mut [u8]) -> Result<()> {
        let mut rng = Rng::new(index as u64).fork(&part.to_string());
        let centre = [rng.below(SIZE) as f64, rng.below(SIZE) as f64];
        // Patches are as bright as their number: statistics of a share are not those of the batch.
        let light = index as f32 / 4.0;
        for (pixel, (values, label)) in bands.chunks_mut(2).zip(labels.iter_mut()).enumerate() {
            let (row, column) = ((pixel / SIZE) as f64, (pixel % SIZE) as f64);
            let distance = (row - centre[0]).hypot(column - centre[1]);
            *label = if distance < 1.5 { 2 } else { u8::from(distance < 3.5) };
            values[0] = light + f32::from(*label) + 0.3 * rng.normal() as f32;
            values[1] = rng.normal() as f32;
            if pixel % 7 == index % 7 {
                *label = IGNORE;
            }
        }
        Ok(())
    }
}

pub(crate) fn unet() -> Value {
    json!({ "kind": "unet", "width": 4, "depth": 1 })
}

pub(crate) fn cross_entropy() -> Value {
    json!({ "kind": "cross_entropy", "class_weights": "inverse_sqrt", "smoothing": 0.05 })
}

/// Cross-entropy and Lovász, which is no sum over pixels.
pub(crate) fn with_lovasz() -> Value {
    json!({ "kind": "sum", "terms": [{ "loss": cross_entropy() }, { "loss": { "kind": "lovasz" }, "weight": 0.5 }] })
}

/// Six patches a batch: 4 ranks have shares of 2, 2, 1 and 1; the last of an epoch has 4 patches.
pub(crate) fn settings(model: Value, loss: Value) -> Value {
    json!({
        "model": model, "classes": 3, "epochs": 2, "batch": 6, "steps_per_epoch": null,
        "optimizer": { "kind": "sgd", "lr": 0.05, "momentum": 0.9 },
        "schedule": { "kind": "constant" }, "loss": loss, "clip": 1.0, "augment": { "flips": true, "jitter": 0.1 },
        "sampling": "shuffled", "evaluate_every": 1, "patience": null, "seed": 42,
    })
}

pub(crate) fn read(config: &str) -> TrainConfig {
    serde_json::from_str(config).unwrap()
}
