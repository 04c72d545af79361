//! Batch normalisation over all but the last dimension, with the rectifier that follows it fused in.
//!
//! Forward: `y = gamma * (x - mean) / sqrt(var + eps) + beta`, statistics over the batch (biased variance).
//! Backward, with `n` pixels and `xhat = (x - mean) / sqrt(var + eps)` (Ioffe & Szegedy 2015, section 3):
//! `dbeta = sum dy`, `dgamma = sum dy * xhat`, `dx = gamma / sqrt(var + eps) * (dy - dbeta / n - xhat * dgamma / n)`.

use std::sync::{Arc, OnceLock};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, Var, WithDType, bail};

use super::chunks;
use super::element::{Element, host, same_dtype, slice, with_float};
use super::rank_statistics::{of_all, sums_of_all};
use super::scratch::in_chunks;
use super::simd;
use super::tape;
use crate::net::collective::{Together, together};

const NAME: &str = "batch_norm";

/// Statistics of one batch, a value a channel.
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    /// Mean over the batch.
    pub mean: Vec<f64>,
    /// Biased variance over the batch (divided by `count`).
    pub variance: Vec<f64>,
    /// Pixels that the statistics are over.
    pub count: usize,
}

impl BatchStatistics {
    pub(super) fn inverse_deviation<T: Element>(&self, eps: f64) -> Vec<T> {
        self.variance.iter().map(|v| T::from_f64(1.0 / (v + eps).sqrt())).collect()
    }

    fn mean_as<T: Element>(&self) -> Vec<T> {
        self.mean.iter().map(|m| T::from_f64(*m)).collect()
    }
}

/// Normalises `x: [.., C]` with the statistics of this batch, scales by `gamma: [C]`, shifts by `beta: [C]`, and with
/// `relu` sets what is negative then to 0. Gives the result and the statistics, for the running averages.
///
/// # Errors
/// Shapes that do not fit, operands of different or non-float types.
pub fn batch_norm(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
    relu: bool,
) -> Result<(Tensor, BatchStatistics)> {
    same_dtype(NAME, &[x, gamma, beta])?;
    let statistics = Arc::new(OnceLock::new());
    let op = BatchNorm { eps, relu, statistics: Arc::clone(&statistics), together: together() };
    let y = tape::apply3(&x.contiguous()?, &gamma.contiguous()?, &beta.contiguous()?, op)?;
    match statistics.get() {
        Some(found) => Ok((y, BatchStatistics::clone(found))),
        None => bail!("{NAME}: ran on a device without an implementation"),
    }
}

/// The averages that a layer keeps of its batches' statistics.
#[derive(Clone, Copy, Debug)]
pub struct Running<'a> {
    /// Of the means, `[C]`.
    pub mean: &'a Var,
    /// Of the unbiased variances, `[C]`.
    pub variance: &'a Var,
    /// Weight of the newest batch.
    pub momentum: f64,
}

/// As [`batch_norm`], and moves the running averages towards the batch's statistics.
///
/// # Errors
/// As [`batch_norm`].
pub fn batch_norm_running(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
    relu: bool,
    running: Running<'_>,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return super::cuda::norm::batch_norm(x, gamma, beta, eps, relu, Some(running));
    }
    let (y, batch) = batch_norm(x, gamma, beta, eps, relu)?;
    // As PyTorch: the running variance is unbiased, the one that normalises is not.
    let unbiased = batch.count as f64 / (batch.count as f64 - 1.0).max(1.0);
    move_towards(running.mean, running.momentum, &batch.mean, 1.0)?;
    move_towards(running.variance, running.momentum, &batch.variance, unbiased)?;
    Ok(y)
}

/// `running += momentum * (batch * factor - running)`.
fn move_towards(running: &Var, momentum: f64, batch: &[f64], factor: f64) -> Result<()> {
    let old = running.as_tensor().to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let new: Vec<f64> = old.iter().zip(batch).map(|(o, b)| o + momentum * (b * factor - o)).collect();
    running.set(&Tensor::new(new, running.device())?.to_dtype(running.dtype())?)
}

struct BatchNorm {
    eps: f64,
    relu: bool,
    statistics: Arc<OnceLock<BatchStatistics>>,
    /// Where the batch is that of several ranks.
    together: Option<Together>,
}

/// Mean and biased variance a channel. Within a chunk the mean comes first and the squares are around it; chunks are
/// joined by Chan's formula in f64. So a mean far from 0 costs no digits.
pub(super) fn statistics<T: Element>(x: &[T], channels: usize) -> BatchStatistics {
    let count = x.len() / channels;
    let parts = chunks::map(count, channels, |a, b| chunk_moments(&x[a * channels..b * channels], channels));
    let (mut mean, mut squares, mut seen) = (vec![0.0; channels], vec![0.0; channels], 0.0);
    for (part_mean, part_squares, n) in parts {
        let n = n as f64;
        let total = seen + n;
        for c in 0..channels {
            let delta = part_mean[c].to_f64() - mean[c];
            mean[c] += delta * n / total;
            squares[c] += part_squares[c].to_f64() + delta * delta * seen * n / total;
        }
        seen = total;
    }
    let variance = squares.iter().map(|s| s / seen).collect();
    BatchStatistics { mean, variance, count }
}

/// Mean, sum of squares around it, and number of pixels of one chunk.
fn chunk_moments<T: Element>(x: &[T], channels: usize) -> (Vec<T>, Vec<T>, usize) {
    let count = x.len() / channels;
    let scale = T::from_f64(1.0 / count as f64);
    let mean: Vec<T> = chunks::sum_rows(x, channels).into_iter().map(|s| s * scale).collect();
    let wide_mean = simd::repeat(&mean);
    let mut squares = vec![T::ZERO; wide_mean.len()];
    simd::dispatch(|| {
        for row in x.chunks(wide_mean.len()) {
            for ((s, m), v) in squares.iter_mut().zip(&wide_mean).zip(row) {
                *s += (*v - *m) * (*v - *m);
            }
        }
    });
    (mean, simd::fold(&squares, channels), count)
}

/// What the rectifier, where there is one, does not let a value fall below.
fn floor<T: Element>(relu: bool) -> T {
    T::from_f64(if relu { 0.0 } else { f64::NEG_INFINITY })
}

/// `y = x * scale + shift`, rectified where asked.
pub(super) struct Affine<T> {
    /// A value a channel, repeated to wide rows.
    scale: Vec<T>,
    shift: Vec<T>,
    floor: T,
    channels: usize,
}

impl<T: Element> Affine<T> {
    pub(super) fn new(scale: &[T], shift: &[T], relu: bool) -> Self {
        let channels = scale.len();
        Self { scale: simd::repeat(scale), shift: simd::repeat(shift), floor: floor(relu), channels }
    }

    /// Of all pixels.
    fn of(&self, x: &[T]) -> Vec<T> {
        let step = chunks::rows(self.channels) * self.channels;
        in_chunks(x.len(), step, |number, y| self.write(&x[number * step..], y))
    }

    /// Of the pixels of `y`, on the calling thread.
    pub(super) fn write(&self, x: &[T], y: &mut [T]) {
        let width = self.scale.len();
        simd::dispatch(|| {
            for (y, x) in y.chunks_mut(width).zip(x.chunks(width)) {
                for (((y, x), a), b) in y.iter_mut().zip(x).zip(&self.scale).zip(&self.shift) {
                    let v = *x * *a + *b;
                    // Not `max`: a NaN must come through, so that training sees it.
                    *y = if v <= self.floor { self.floor } else { v };
                }
            }
        });
    }
}

/// Operands of the backward pass, rows of channels repeated.
pub(super) struct Saved<'a, T> {
    x: &'a [T],
    dy: &'a [T],
    channels: usize,
    mean: Vec<T>,
    scale: Vec<T>,
    shift: Vec<T>,
    floor: T,
}

/// `dy` after the rectifier's gate. The gate is the forward pass' own arithmetic over again, which costs less than
/// reading its result from memory.
#[inline(always)]
fn gated<T: Element>(x: T, dy: T, scale: T, shift: T, floor: T) -> T {
    if x * scale + shift <= floor { T::ZERO } else { dy }
}

impl<'a, T: Element> Saved<'a, T> {
    /// From the statistics and what [`scale_and_shift`] made of them.
    pub(super) fn new(
        [x, dy]: [&'a [T]; 2],
        found: &BatchStatistics,
        (scale, shift): (&[T], &[T]),
        relu: bool,
    ) -> Self {
        Self {
            x,
            dy,
            channels: scale.len(),
            mean: simd::repeat(&found.mean_as()),
            scale: simd::repeat(scale),
            shift: simd::repeat(shift),
            floor: floor(relu),
        }
    }

    /// `(sum dy, sum dy * (x - mean))` with `dy` after the rectifier's gate.
    pub(super) fn sums(&self) -> (Vec<T>, Vec<T>) {
        let (channels, width) = (self.channels, self.mean.len());
        let parts = chunks::map(self.x.len() / channels, channels, |a, b| {
            let (mut sum, mut dot) = (vec![T::ZERO; width], vec![T::ZERO; width]);
            let (x, dy) = (&self.x[a * channels..b * channels], &self.dy[a * channels..b * channels]);
            simd::dispatch(|| {
                for (x, dy) in x.chunks(width).zip(dy.chunks(width)) {
                    let parameters = self.mean.iter().zip(&self.scale).zip(&self.shift);
                    let sums = sum.iter_mut().zip(&mut dot);
                    for (((x, dy), ((mean, scale), shift)), (sum, dot)) in x.iter().zip(dy).zip(parameters).zip(sums) {
                        let d = gated(*x, *dy, *scale, *shift, self.floor);
                        *sum += d;
                        *dot += d * (*x - *mean);
                    }
                }
            });
            let mut both = simd::fold(&sum, channels);
            both.append(&mut simd::fold(&dot, channels));
            both
        });
        let mut sum = chunks::sum(parts);
        let dot = sum.split_off(channels);
        (sum, dot)
    }

    /// Gradient of the input, `a * dy + b * (x - mean) + c` with `a`, `b`, `c` known a channel.
    fn dx(&self, slopes: [&[T]; 3]) -> Vec<T> {
        let (slopes, step) = (slopes.map(simd::repeat), chunks::rows(self.channels) * self.channels);
        in_chunks(self.x.len(), step, |number, dx| self.write_dx(&slopes, number * step, dx))
    }

    /// The gradient of the pixels from value `first` on, on the calling thread; the slopes are repeated to wide rows.
    pub(super) fn write_dx(&self, [a, b, c]: &[Vec<T>; 3], first: usize, dx: &mut [T]) {
        let (x, dy, width) = (&self.x[first..], &self.dy[first..], self.mean.len());
        simd::dispatch(|| {
            for (dx, (x, dy)) in dx.chunks_mut(width).zip(x.chunks(width).zip(dy.chunks(width))) {
                let gate = self.scale.iter().zip(&self.shift).zip(&self.mean);
                let parameters = a.iter().zip(b).zip(c);
                let inputs = x.iter().zip(dy).zip(gate).zip(parameters);
                for (dx, (((x, dy), ((scale, shift), mean)), ((a, b), c))) in dx.iter_mut().zip(inputs) {
                    *dx = *a * gated(*x, *dy, *scale, *shift, self.floor) + (*b * (*x - *mean) + *c);
                }
            }
        });
    }
}

/// `(scale, shift)` such that the normalised value is `x * scale + shift`.
pub(super) fn scale_and_shift<T: Element>(
    found: &BatchStatistics,
    inverse: &[T],
    gamma: &[T],
    beta: &[T],
) -> (Vec<T>, Vec<T>) {
    let scale: Vec<T> = inverse.iter().zip(gamma).map(|(i, g)| *i * *g).collect();
    let at_mean = scale.iter().zip(&found.mean).map(|(s, m)| s.to_f64() * m);
    let shift = beta.iter().zip(at_mean).map(|(b, m)| T::from_f64(b.to_f64() - m)).collect();
    (scale, shift)
}

impl BatchNorm {
    fn forward<T: Element>(&self, x: &[T], gamma: &[T], beta: &[T]) -> Result<Vec<T>> {
        let found = match self.statistics.get() {
            // A forward pass that is run again computes the same.
            Some(found) => found,
            None => {
                let found = self.of_batch(statistics(x, gamma.len()))?;
                self.statistics.get_or_init(|| found)
            }
        };
        let (scale, shift) = scale_and_shift(found, &found.inverse_deviation(self.eps), gamma, beta);
        Ok(Affine::new(&scale, &shift, self.relu).of(x))
    }

    /// The statistics of the whole batch.
    fn of_batch(&self, mine: BatchStatistics) -> Result<BatchStatistics> {
        self.together.as_ref().map_or_else(|| Ok(mine.clone()), |together| of_all(together, &mine))
    }

    fn backward<T: Element>(&self, x: &Tensor, gamma: &Tensor, beta: &Tensor, dy: &Tensor) -> Result<[Tensor; 3]> {
        let Some(found) = self.statistics.get() else { bail!("{NAME}: backward before forward") };
        let (hx, hg, hb, hdy) = (host(NAME, x), host(NAME, gamma), host(NAME, beta), host(NAME, dy));
        let inverse = found.inverse_deviation::<T>(self.eps);
        let (scale, shift) = scale_and_shift(found, &inverse, hg.slice()?, hb.slice()?);
        let saved = Saved::<T>::new([hx.slice()?, hdy.slice()?], found, (&scale, &shift), self.relu);
        let (dbeta, dot) = saved.sums();
        let times_inverse = |dot: &[T]| -> Vec<T> { dot.iter().zip(&inverse).map(|(d, i)| *d * *i).collect() };
        let dgamma = times_inverse(&dot);
        // The input's gradient is made of the whole batch's sums; those of gamma and beta are added up later, with the rest.
        let (all_dbeta, all_dgamma) = match &self.together {
            None => (dbeta.clone(), dgamma.clone()),
            Some(together) => {
                let [dbeta, dot] = sums_of_all(together, [&dbeta, &dot])?;
                (dbeta, times_inverse(&dot))
            }
        };
        let per_pixel = T::from_f64(1.0 / found.count as f64);
        let slopes = scale.iter().zip(&inverse).zip(&all_dgamma);
        let b: Vec<T> = slopes.map(|((s, i), d)| T::ZERO - *s * *i * *d * per_pixel).collect();
        let c: Vec<T> = scale.iter().zip(&all_dbeta).map(|(s, d)| T::ZERO - *s * *d * per_pixel).collect();
        let dx = saved.dx([&scale, &b, &c]);
        Ok([
            Tensor::from_vec(dx, x.shape(), x.device())?,
            Tensor::from_vec(dgamma, gamma.shape(), x.device())?,
            Tensor::from_vec(dbeta, gamma.shape(), x.device())?,
        ])
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        gamma: &CpuStorage,
        gl: &Layout,
        beta: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let channels = xl.dims().last().copied().unwrap_or(0);
        if channels == 0 || xl.shape().elem_count() == 0 || gl.dims() != [channels] || bl.dims() != [channels] {
            bail!("{NAME}: gamma {:?} and beta {:?} do not fit an input {:?}", gl.dims(), bl.dims(), xl.dims());
        }
        let y = with_float!(NAME, x.dtype(), T => {
            let y = self.forward::<T>(slice(NAME, x, xl)?, slice(NAME, gamma, gl)?, slice(NAME, beta, bl)?)?;
            T::to_cpu_storage_owned(y)
        });
        Ok((y, xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let [dx, dgamma, dbeta] = with_float!(NAME, x.dtype(), T => self.backward::<T>(x, gamma, beta, &dy))?;
        Ok((Some(dx), Some(dgamma), Some(dbeta)))
    }
}
