//! Where windows are computed and blended: on the CPU, or on a GPU with everything but the scene itself.

use candle_core::Tensor;

use super::axis::Axis;
use super::blend::Blend;
use super::options::Augment;
use super::sides::probabilities;
use super::strip::{Moved, Strip};
use crate::net::Result;
use crate::net::device::Compute;
#[cfg(feature = "cuda")]
use crate::net::ops::cuda::blend::{GpuStrip, GpuSums};
use crate::net::segmenter::Segmenter;
use crate::net::values::with_values;

/// Windows side by side in the present strip.
pub(super) struct Windows<'a> {
    /// Rows of a window, those beyond the scene included.
    pub(super) height: usize,
    /// Weights of the rows inside the scene.
    pub(super) row_weights: &'a [f32],
    /// All windows of a row of windows.
    pub(super) columns: &'a Axis,
    /// Those of them that are meant.
    pub(super) batch: &'a [usize],
    /// From how many sides they are looked at.
    pub(super) augment: Augment,
}

/// Sums of the windows' probabilities over the present strip.
pub(super) enum Canvas {
    Host(Blend),
    #[cfg(feature = "cuda")]
    Gpu(Box<GpuCanvas>),
}

#[cfg(feature = "cuda")]
pub(super) struct GpuCanvas {
    strip: GpuStrip,
    sums: GpuSums,
    activations: candle_core::DType,
    wants_probabilities: bool,
    labels: Vec<u8>,
    probabilities: Vec<f32>,
}

impl Canvas {
    /// For strips of `[height, width]`.
    pub(super) fn new(
        compute: &Compute,
        [height, width]: [usize; 2],
        model: &dyn Segmenter,
        wants_probabilities: bool,
    ) -> Result<Self> {
        Ok(match compute {
            Compute::Cpu => Self::Host(Blend::new([height, width], model.classes(), wants_probabilities)),
            #[cfg(feature = "cuda")]
            Compute::Gpu { gpu, .. } => Self::Gpu(Box::new(GpuCanvas {
                strip: GpuStrip::new(gpu.shared(), height, width, model.bands())?,
                sums: GpuSums::new(gpu.shared(), [height, width, model.classes()])?,
                activations: compute.activations(),
                wants_probabilities,
                labels: Vec::new(),
                probabilities: Vec::new(),
            })),
        })
    }

    /// The strip has moved.
    #[cfg_attr(not(feature = "cuda"), expect(unused_variables, reason = "the CPU reads the strip itself"))]
    pub(super) fn follow(&mut self, strip: &Strip<'_>, moved: Moved) -> Result<()> {
        match self {
            Self::Host(_) => {}
            #[cfg(feature = "cuda")]
            Self::Gpu(gpu) => gpu.strip.move_down(moved.dropped, moved.kept, strip.rows_from(moved.kept))?,
        }
        Ok(())
    }

    /// Computes windows and adds their probabilities.
    pub(super) fn add(&mut self, model: &dyn Segmenter, strip: &Strip<'_>, windows: &Windows<'_>) -> Result<()> {
        match self {
            Self::Host(blend) => {
                let bands = cut(model, strip, windows)?;
                let probabilities = probabilities(model, &bands, windows.augment)?;
                with_values(&probabilities, |p| blend.add(p, windows.row_weights, windows.columns, windows.batch))?;
            }
            #[cfg(feature = "cuda")]
            Self::Gpu(gpu) => {
                let Windows { height, row_weights, columns, batch, augment } = *windows;
                let lefts: Vec<usize> = batch.iter().map(|x| columns.start(*x)).collect();
                let bands = gpu.strip.windows(&lefts, [height, columns.extent()], gpu.activations)?;
                let probabilities = probabilities(model, &bands, augment)?;
                let places = lefts.iter().copied().zip(batch.iter().map(|x| columns.weights(*x)));
                gpu.sums.add(&probabilities, row_weights, places)?;
            }
        }
        Ok(())
    }

    /// Labels and, where wanted, probabilities of the first `rows` rows; `valid` says which of their pixels have data.
    pub(super) fn finish(&mut self, rows: usize, valid: &[bool]) -> Result<(&[u8], &[f32])> {
        match self {
            Self::Host(blend) => Ok(blend.finish(rows, valid)),
            #[cfg(feature = "cuda")]
            Self::Gpu(gpu) => {
                let valid: Vec<u8> = valid.iter().map(|v| u8::from(*v)).collect();
                let probabilities = gpu.wants_probabilities.then_some(&mut gpu.probabilities);
                gpu.sums.finish(rows, &valid, &mut gpu.labels, probabilities)?;
                Ok((&gpu.labels, &gpu.probabilities))
            }
        }
    }

    /// Drops the first `rows` rows.
    pub(super) fn advance(&mut self, rows: usize) -> Result<()> {
        match self {
            Self::Host(blend) => blend.advance(rows),
            #[cfg(feature = "cuda")]
            Self::Gpu(gpu) => gpu.sums.advance(rows)?,
        }
        Ok(())
    }
}

/// The windows' bands, `[windows, height, width, bands]`.
fn cut(model: &dyn Segmenter, strip: &Strip<'_>, windows: &Windows<'_>) -> Result<Tensor> {
    let Windows { height, columns, batch, .. } = *windows;
    let width = columns.extent();
    let mut bands = Vec::with_capacity(batch.len() * height * width * model.bands());
    for &x in batch {
        strip.copy_window(columns.start(x), height, width, &mut bands);
    }
    Ok(Tensor::from_vec(bands, (batch.len(), height, width, model.bands()), &model.device())?)
}
