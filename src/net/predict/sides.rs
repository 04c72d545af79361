//! Windows looked at from several sides: test-time augmentation by the symmetries of the square.
//!
//! Probabilities are averaged, not logits, as they are where windows overlap (so do Moshkov et al. 2020 for U-Nets,
//! doi:10.1038/s41598-020-61808-3).

use candle_core::Tensor;

use super::options::Augment;
use crate::net::augment::Symmetry;
use crate::net::ops::softmax_channels;
use crate::net::ops::tape::add;
use crate::net::segmenter::Segmenter;
use crate::net::values::with_values;
use crate::net::{Mode, Result};

/// Class probabilities `[n, height, width, classes]` (f32) of the windows `bands`, averaged over all sides.
///
/// Sums are taken by pairs. So the probabilities of a turned window are those of the window turned, to the last bit, where
/// the turn is among the sides: turning only exchanges the terms of each sum.
pub(super) fn probabilities(model: &dyn Segmenter, bands: &Tensor, augment: Augment) -> Result<Tensor> {
    let sides = augment.symmetries();
    // A power of two: scaling by it rounds nothing.
    sum(model, bands, sides, 1.0 / sides.len() as f32)
}

fn sum(model: &dyn Segmenter, bands: &Tensor, sides: &[Symmetry], scale: f32) -> Result<Tensor> {
    if let [side] = sides {
        let probabilities = softmax_channels(&model.forward(&turned(bands, *side, 1.0)?, Mode::Eval)?)?;
        return turned(&probabilities, side.inverse(), scale);
    }
    let (first, second) = sides.split_at(sides.len() / 2);
    Ok(add(&sum(model, bands, first, scale)?, &sum(model, bands, second, scale)?)?)
}

/// Images `[n, height, width, channels]`, each turned by `symmetry` and multiplied by `scale`.
fn turned(images: &Tensor, symmetry: Symmetry, scale: f32) -> Result<Tensor> {
    if symmetry == Symmetry::IDENTITY && scale == 1.0 {
        return Ok(images.clone());
    }
    #[cfg(feature = "cuda")]
    if images.device().is_cuda() {
        return Ok(crate::net::ops::cuda::turn::turned(images, symmetry, scale)?);
    }
    let (n, height, width, channels) = images.dims4()?;
    let image = height * width * channels;
    let mut out = vec![0.0; n * image];
    with_values(images, |values| {
        for (into, from) in out.chunks_exact_mut(image).zip(values.chunks_exact(image)) {
            symmetry.copy_oblong(from, into, [height, width], channels);
        }
    })?;
    out.iter_mut().for_each(|value| *value *= scale);
    let [height, width] = symmetry.size_of([height, width]);
    Ok(Tensor::from_vec(out, (n, height, width, channels), images.device())?)
}
