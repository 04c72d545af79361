//! Prediction of whole scenes: overlapping windows, blended, in memory that does not grow with the scene's height.
//!
//! Probabilities of overlapping windows are averaged with Gaussian weights centred on each window, since a network knows
//! least at a window's edge (as in Isensee et al. 2021, nnU-Net, whose sigma of an eighth of the window this takes).

mod axis;
mod blend;
mod canvas;
mod options;
mod sides;
mod strip;

#[cfg(test)]
mod tests;

pub use options::{Augment, PredictHooks, PredictOptions, SceneSource};

use self::axis::Axis;
use self::canvas::{Canvas, Windows};
use self::strip::Strip;
use super::device::Compute;
use super::ops::Buffers;
use super::segmenter::Segmenter;
use super::{NetError, Result};

/// Takes finished rows: first row, number of rows, class indices `[rows, width]`
/// ([`IGNORE`](super::IGNORE) where the scene has no data), and probabilities `[rows, width, classes]` (all 0 there), or
/// nothing where [`PredictOptions::probabilities`] is false.
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
    predict_scene_on(&Compute::Cpu, model, scene, options, sink, hooks)
}

/// As [`predict_scene`], where `compute` says; the model must be there. On a GPU, where the network may be computed by other
/// algorithms for other numbers of windows, the result depends on `options.batch` by rounding.
///
/// # Errors
/// As [`predict_scene`], and what the GPU reports.
pub fn predict_scene_on(
    compute: &Compute,
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
    let size = [rows.inside(), scene.width()];
    let mut canvas = Canvas::new(compute, size, model, options.probabilities)?;
    let total = rows.windows() * columns.windows();
    let mut together = options.batch;
    for (y, top, next_top) in rows.starts() {
        let moved = strip.move_to(top)?;
        canvas.follow(&strip, moved)?;
        let seen: Vec<usize> = (0..columns.windows()).filter(|&x| strip.any_valid(columns.span(x))).collect();
        let mut done = 0;
        while done < seen.len() {
            if (hooks.cancelled)() {
                return Err(NetError::Cancelled);
            }
            let batch = &seen[done..seen.len().min(done + together)];
            let windows = Windows {
                height: rows.extent(),
                row_weights: rows.weights(y),
                columns: &columns,
                batch,
                augment: options.augment,
            };
            match canvas.add(model, &strip, &windows) {
                Err(error) if together > 1 && out_of_memory(&error) => {
                    together = together.div_ceil(2);
                    tracing::warn!("the GPU is out of memory: windows are now computed {together} at a time");
                    continue;
                }
                added => added?,
            }
            done += batch.len();
            (hooks.progress)(y * columns.windows() + done, total);
        }
        (hooks.progress)((y + 1) * columns.windows(), total);
        let finished = next_top - top;
        let (labels, probabilities) = canvas.finish(finished, strip.valid_rows(finished))?;
        sink(top, finished, labels, probabilities)?;
        canvas.advance(finished)?;
    }
    Ok(())
}

#[cfg(feature = "cuda")]
fn out_of_memory(error: &NetError) -> bool {
    matches!(error, NetError::Device(super::ops::DeviceError::OutOfMemory { .. }))
}

#[cfg(not(feature = "cuda"))]
fn out_of_memory(_: &NetError) -> bool {
    false
}
