//! Prediction of whole scenes: overlapping windows, blended, in memory that does not grow with the scene's height.
//!
//! Probabilities of overlapping windows are averaged with Gaussian weights centred on each window, since a network knows
//! least at a window's edge (as in Isensee et al. 2021, nnU-Net, whose sigma of an eighth of the window this takes).

mod axis;
mod blend;
mod options;
mod strip;

#[cfg(test)]
mod tests;

pub use options::{PredictHooks, PredictOptions, SceneSource};

use candle_core::Tensor;

use self::axis::Axis;
use self::blend::Blend;
use self::strip::Strip;
use super::ops::{Buffers, softmax_channels};
use super::segmenter::Segmenter;
use super::values::with_values;
use super::{Mode, NetError, Result};

/// Takes finished rows: first row, number of rows, class indices `[rows, width]`
/// ([`IGNORE`](super::IGNORE) where the scene has no data), and probabilities `[rows, width, classes]` (all 0 there).
pub type RowSink<'a> = dyn FnMut(usize, usize, &[u8], &[f32]) -> Result<()> + 'a;

/// Predicts a scene of any size. `sink` gets every row once, in order, as soon as no later window touches it.
///
/// A scene smaller than a window, or of a size that is no multiple of what the model needs, is mirrored at its lower and
/// right edge. Needs memory for `window` rows of the scene: `width * window * (bands + classes)` f32. The result depends
/// neither on `options.batch` nor on the number of threads.
///
/// # Errors
/// [`NetError::Config`] when the options or the scene's bands do not fit the model; [`NetError::Cancelled`] when
/// `hooks.cancelled` says so; and whatever `scene` and `sink` report.
pub fn predict_scene(
    model: &dyn Segmenter,
    scene: &dyn SceneSource,
    options: &PredictOptions,
    sink: &mut RowSink<'_>,
    hooks: &PredictHooks<'_>,
) -> Result<()> {
    options.check(model, scene)?;
    Buffers::keep();
    let axis = |len| Axis::new(len, options.window, options.overlap, model.multiple());
    let (rows, columns) = (axis(scene.height()), axis(scene.width()));
    let mut strip = Strip::new(scene, rows.inside());
    let mut blend = Blend::new(scene.width(), rows.inside(), model.classes());
    let total = rows.windows() * columns.windows();
    for (y, top, next_top) in rows.starts() {
        strip.move_to(top)?;
        let seen: Vec<usize> = (0..columns.windows()).filter(|&x| strip.any_valid(columns.span(x))).collect();
        for (index, batch) in seen.chunks(options.batch).enumerate() {
            if (hooks.cancelled)() {
                return Err(NetError::Cancelled);
            }
            let probabilities = probabilities(model, &strip, rows.extent(), &columns, batch)?;
            with_values(&probabilities, |p| blend.add(p, rows.weights(y), &columns, batch))?;
            (hooks.progress)(y * columns.windows() + index * options.batch + batch.len(), total);
        }
        (hooks.progress)((y + 1) * columns.windows(), total);
        let finished = next_top - top;
        let (labels, probabilities) = blend.finish(finished, strip.valid_rows(finished));
        sink(top, finished, labels, probabilities)?;
        blend.advance(finished);
    }
    Ok(())
}

/// Class probabilities `[windows, height, width, classes]` of the windows `batch` of the strip.
fn probabilities(
    model: &dyn Segmenter,
    strip: &Strip<'_>,
    height: usize,
    columns: &Axis,
    batch: &[usize],
) -> Result<Tensor> {
    let width = columns.extent();
    let mut bands = Vec::with_capacity(batch.len() * height * width * model.bands());
    for &x in batch {
        strip.copy_window(columns.start(x), height, width, &mut bands);
    }
    let bands = Tensor::from_vec(bands, (batch.len(), height, width, model.bands()), &model.device())?;
    Ok(softmax_channels(&model.forward(&bands, Mode::Eval)?)?)
}
