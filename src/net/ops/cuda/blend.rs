//! Prediction's strip of a scene on the GPU: windows cut out of it, and the sums of their probabilities.

use std::sync::Arc;

use candle_core::{DType, Result, Tensor};

use super::batch::copy_in;
use super::gpu::Gpu;
use super::launch::{THREADS, address_of};

const NAME: &str = "blend";

/// Bands `[height, width, bands]` (f32) of the rows that the present windows see.
pub(crate) struct GpuStrip {
    gpu: Arc<Gpu>,
    values: Tensor,
}

impl GpuStrip {
    /// A strip of arbitrary values.
    ///
    /// # Errors
    /// No memory for it.
    pub(crate) fn new(gpu: &Arc<Gpu>, height: usize, width: usize, bands: usize) -> Result<Self> {
        Ok(Self { gpu: Arc::clone(gpu), values: gpu.fresh((height, width, bands), DType::F32)?.into_tensor() })
    }

    /// Moves down by `dropped` rows, of which `kept` stay, and takes `fresh`, the values of the rows after those.
    ///
    /// # Errors
    /// No memory for the rows that stay.
    pub(crate) fn move_down(&mut self, dropped: usize, kept: usize, fresh: &[f32]) -> Result<()> {
        let (height, width, bands) = self.values.dims3()?;
        let row = width * bands;
        if dropped > 0 && kept > 0 {
            let moved = self.gpu.fresh((height, width, bands), DType::F32)?;
            let from = address_of(NAME, &self.values)?.plus(dropped * row, DType::F32);
            self.gpu.copy(from, moved.address, kept * row * DType::F32.size_in_bytes())?;
            self.values = moved.into_tensor();
        }
        copy_in(&self.gpu, address_of(NAME, &self.values)?.plus(kept * row, DType::F32), fresh)
    }

    /// Windows `[n, height, width, bands]` of `dtype` that start at the columns `lefts`, mirrored where they reach beyond the
    /// strip.
    ///
    /// # Errors
    /// No memory for them.
    pub(crate) fn windows(&self, lefts: &[usize], [height, width]: [usize; 2], dtype: DType) -> Result<Tensor> {
        let (rows, columns, bands) = self.values.dims3()?;
        let windows = self.gpu.fresh((lefts.len(), height, width, bands), dtype)?;
        let places: Vec<u32> = lefts.iter().map(|left| *left as u32).collect();
        let places = Tensor::from_vec(places, lefts.len(), &self.gpu.device())?;
        let launch = self.gpu.kernel_of("cut_windows", dtype)?.at(address_of(NAME, &self.values)?);
        let launch = launch.at(address_of(NAME, &places)?).at(windows.address).int(height)?.int(width)?;
        let launch = launch.int(rows)?.int(columns)?.int(bands)?;
        launch.grid([(height * width).div_ceil(THREADS).min(128), lefts.len(), 1], THREADS, 0)?;
        Ok(windows.into_tensor())
    }
}

/// Sums `[height, width, classes]` (f32) for those rows.
pub(crate) struct GpuSums {
    gpu: Arc<Gpu>,
    size: [usize; 3],
    sums: Tensor,
}

impl GpuSums {
    /// Sums of nothing.
    ///
    /// # Errors
    /// No memory for them.
    pub(crate) fn new(gpu: &Arc<Gpu>, size: [usize; 3]) -> Result<Self> {
        Ok(Self { gpu: Arc::clone(gpu), size, sums: gpu.zeros(&size[..], DType::F32)?.into_tensor() })
    }

    /// Adds windows, one after another: `probabilities: [n, height, width, classes]` (f32), whose left columns and column
    /// weights are `columns`; `row_weights` belong to all of them.
    ///
    /// # Errors
    /// The driver's.
    pub(crate) fn add<'a>(
        &self,
        probabilities: &Tensor,
        row_weights: &[f32],
        columns: impl Iterator<Item = (usize, &'a [f32])>,
    ) -> Result<()> {
        let (_, height, width, classes) = probabilities.dims4()?;
        let device = self.gpu.device();
        let row_weights = Tensor::from_slice(row_weights, row_weights.len(), &device)?;
        let first = address_of(NAME, probabilities)?;
        for (place, (left, weights)) in columns.enumerate() {
            let inside = [row_weights.elem_count(), weights.len()];
            let weights = Tensor::from_slice(weights, weights.len(), &device)?;
            let window = first.plus(place * height * width * classes, DType::F32);
            let launch = self.gpu.kernel("blend_window")?.at(address_of(NAME, &self.sums)?).at(window);
            let launch = launch.at(address_of(NAME, &row_weights)?).at(address_of(NAME, &weights)?);
            let launch =
                launch.int(inside[0])?.int(inside[1])?.int(left)?.int(width)?.int(self.size[1])?.int(classes)?;
            launch.over(inside[0] * inside[1] * classes)?;
        }
        Ok(())
    }

    /// Labels of the first `rows` rows into `labels` and, where asked, probabilities into `probabilities`; `valid` says which
    /// of their pixels have data.
    ///
    /// # Errors
    /// The driver's.
    pub(crate) fn finish(
        &self,
        rows: usize,
        valid: &[u8],
        labels: &mut Vec<u8>,
        probabilities: Option<&mut Vec<f32>>,
    ) -> Result<()> {
        let [_, width, classes] = self.size;
        let pixels = rows * width;
        let valid = Tensor::from_slice(valid, pixels, &self.gpu.device())?;
        let found = self.gpu.fresh(pixels, DType::U8)?;
        let launch = self.gpu.kernel("finish_rows")?.at(address_of(NAME, &self.sums)?).at(address_of(NAME, &valid)?);
        launch.at(found.address).long(pixels).int(classes)?.over(pixels)?;
        *labels = found.into_tensor().to_vec1()?;
        if let Some(probabilities) = probabilities {
            *probabilities = self.sums.narrow(0, 0, rows)?.flatten_all()?.to_vec1()?;
        }
        Ok(())
    }

    /// Drops the first `rows` rows.
    ///
    /// # Errors
    /// No memory for the rows that stay.
    pub(crate) fn advance(&mut self, rows: usize) -> Result<()> {
        let [height, width, classes] = self.size;
        let fresh = self.gpu.zeros(&self.size[..], DType::F32)?;
        let kept = (height - rows) * width * classes;
        if kept > 0 {
            let start = address_of(NAME, &self.sums)?.plus(rows * width * classes, DType::F32);
            self.gpu.copy(start, fresh.address, kept * DType::F32.size_in_bytes())?;
        }
        self.sums = fresh.into_tensor();
        Ok(())
    }
}
