//! Prediction of whole scenes: pixel by pixel, so without windows and blending.

use super::flat::Forest;
use crate::net::confusion::argmax;
use crate::net::predict::{PredictHooks, RowSink, SceneSource};
use crate::net::{IGNORE, NetError, Result};

/// Rows that are predicted together.
const ROWS: usize = 16;

/// Predicts a scene of any size. `sink` gets every row once, in order, as from
/// [`predict_scene`](crate::net::predict_scene) of a network; the hooks count rows.
///
/// # Errors
/// [`NetError::Config`] when the scene's bands do not fit the forest; [`NetError::Cancelled`] when `hooks.cancelled` says so;
/// and whatever `scene` and `sink` report.
pub fn predict_scene(
    forest: &Forest,
    scene: &dyn SceneSource,
    wants_probabilities: bool,
    sink: &mut RowSink<'_>,
    hooks: &PredictHooks<'_>,
) -> Result<()> {
    let (width, height, bands, classes) = (scene.width(), scene.height(), scene.bands(), forest.classes());
    if bands != forest.bands() {
        return Err(NetError::Config(format!(
            "the forest was grown on {} bands, the scene has {bands}",
            forest.bands()
        )));
    }
    let most = ROWS.min(height) * width;
    let (mut values, mut valid) = (vec![0.0; most * bands], vec![false; most]);
    let mut probabilities = vec![0.0; most * classes];
    for top in (0..height).step_by(ROWS) {
        if (hooks.cancelled)() {
            return Err(NetError::Cancelled);
        }
        let rows = ROWS.min(height - top);
        let (values, valid) = (&mut values[..rows * width * bands], &mut valid[..rows * width]);
        let probabilities = &mut probabilities[..rows * width * classes];
        scene.read(top, 0, rows, width, values, valid)?;
        forest.probabilities(values, valid, probabilities)?;
        let label = |(p, valid): (&[f32], &bool)| if *valid { argmax(p) as u8 } else { IGNORE };
        let labels: Vec<u8> = probabilities.chunks_exact(classes).zip(&*valid).map(label).collect();
        sink(top, rows, &labels, if wants_probabilities { &*probabilities } else { &[] })?;
        (hooks.progress)(top + rows, height);
    }
    Ok(())
}
