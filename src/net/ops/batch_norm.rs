//! Batch normalisation over all but the last dimension, with the rectifier that follows it fused in.
//!
//! Forward: `y = gamma * (x - mean) / sqrt(var + eps) + beta`, statistics over the batch (biased variance).
//! Backward, with `n` pixels and `xhat = (x - mean) / sqrt(var + eps)` (Ioffe & Szegedy 2015, section 3):
//! `dbeta = sum dy`, `dgamma = sum dy * xhat`, `dx = gamma / sqrt(var + eps) * (dy - dbeta / n - xhat * dgamma / n)`.

use std::sync::{Arc, OnceLock};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::chunks;
use super::element::{Element, host, same_dtype, slice, with_float};

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
    fn inverse_deviation<T: Element>(&self, eps: f64) -> Vec<T> {
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
    let op = BatchNorm { eps, relu, statistics: Arc::clone(&statistics) };
    let y = x.contiguous()?.apply_op3(&gamma.contiguous()?, &beta.contiguous()?, op)?;
    match statistics.get() {
        Some(found) => Ok((y, BatchStatistics::clone(found))),
        None => bail!("{NAME}: ran on a device without an implementation"),
    }
}

struct BatchNorm {
    eps: f64,
    relu: bool,
    statistics: Arc<OnceLock<BatchStatistics>>,
}

/// Mean and biased variance a channel. Within a chunk the mean comes first and the squares are around it; chunks are
/// joined by Chan's formula in f64. So a mean far from 0 costs no digits.
fn statistics<T: Element>(x: &[T], channels: usize) -> BatchStatistics {
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
    let (mut mean, mut squares) = (vec![T::ZERO; channels], vec![T::ZERO; channels]);
    for row in x.chunks_exact(channels) {
        for (m, v) in mean.iter_mut().zip(row) {
            *m += *v;
        }
    }
    mean.iter_mut().for_each(|m| *m *= scale);
    for row in x.chunks_exact(channels) {
        for ((s, m), v) in squares.iter_mut().zip(&mean).zip(row) {
            *s += (*v - *m) * (*v - *m);
        }
    }
    (mean, squares, count)
}

/// `y = x * scale + shift`, rectified where asked.
fn affine<T: Element>(x: &[T], scale: &[T], shift: &[T], relu: bool) -> Vec<T> {
    let channels = scale.len();
    let step = chunks::rows(channels) * channels;
    let mut y = vec![T::ZERO; x.len()];
    y.par_chunks_mut(step).zip(x.par_chunks(step)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
            for (((y, x), a), b) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                let v = *x * *a + *b;
                *y = if relu && v <= T::ZERO { T::ZERO } else { v };
            }
        }
    });
    y
}

/// Operands of the backward pass.
struct Saved<'a, T> {
    x: &'a [T],
    y: &'a [T],
    dy: &'a [T],
    mean: Vec<T>,
    inverse: Vec<T>,
    relu: bool,
}

impl<T: Element> Saved<'_, T> {
    /// `(sum dy, sum dy * xhat)` with `dy` after the rectifier's gate.
    fn sums(&self) -> (Vec<T>, Vec<T>) {
        let channels = self.mean.len();
        let parts = chunks::map(self.x.len() / channels, channels, |a, b| {
            let mut sums = vec![T::ZERO; 2 * channels];
            let (sum, dot) = sums.split_at_mut(channels);
            for p in a..b {
                let at = p * channels..(p + 1) * channels;
                let (x, y, dy) = (&self.x[at.clone()], &self.y[at.clone()], &self.dy[at]);
                for c in 0..channels {
                    let d = if self.relu && y[c] <= T::ZERO { T::ZERO } else { dy[c] };
                    sum[c] += d;
                    dot[c] += d * (x[c] - self.mean[c]);
                }
            }
            sums
        });
        let mut sums = chunks::sum(parts);
        let mut dot = sums.split_off(channels);
        dot.iter_mut().zip(&self.inverse).for_each(|(d, i)| *d *= *i);
        (sums, dot)
    }

    /// Gradient of the input.
    fn dx(&self, gamma: &[T], dbeta: &[T], dgamma: &[T]) -> Vec<T> {
        let channels = gamma.len();
        let per_pixel = T::from_f64(channels as f64 / self.x.len() as f64);
        // dx = a * dy + b * x + c, all three known a channel.
        let a: Vec<T> = gamma.iter().zip(&self.inverse).map(|(g, i)| *g * *i).collect();
        let b: Vec<T> = (0..channels).map(|c| T::ZERO - a[c] * self.inverse[c] * dgamma[c] * per_pixel).collect();
        let shift: Vec<T> = (0..channels).map(|c| T::ZERO - a[c] * dbeta[c] * per_pixel).collect();
        let step = chunks::rows(channels) * channels;
        let mut dx = vec![T::ZERO; self.x.len()];
        let inputs = self.x.par_chunks(step).zip(self.y.par_chunks(step)).zip(self.dy.par_chunks(step));
        dx.par_chunks_mut(step).zip(inputs).for_each(|(dx, ((x, y), dy))| {
            let rows = x.chunks_exact(channels).zip(y.chunks_exact(channels)).zip(dy.chunks_exact(channels));
            for (dx, ((x, y), dy)) in dx.chunks_exact_mut(channels).zip(rows) {
                for c in 0..channels {
                    let d = if self.relu && y[c] <= T::ZERO { T::ZERO } else { dy[c] };
                    dx[c] = a[c] * d + (b[c] * (x[c] - self.mean[c]) + shift[c]);
                }
            }
        });
        dx
    }
}

impl BatchNorm {
    fn forward<T: Element>(&self, x: &[T], gamma: &[T], beta: &[T]) -> Vec<T> {
        let found = self.statistics.get_or_init(|| statistics(x, gamma.len()));
        let scale: Vec<T> = found.inverse_deviation::<T>(self.eps).iter().zip(gamma).map(|(i, g)| *i * *g).collect();
        let shift: Vec<T> = beta
            .iter()
            .zip(&scale)
            .zip(&found.mean)
            .map(|((b, s), m)| T::from_f64(b.to_f64() - m * s.to_f64()))
            .collect();
        affine(x, &scale, &shift, self.relu)
    }

    fn backward<T: Element>(&self, x: &Tensor, gamma: &Tensor, y: &Tensor, dy: &Tensor) -> Result<[Tensor; 3]> {
        let Some(found) = self.statistics.get() else { bail!("{NAME}: backward before forward") };
        let (hx, hg, hy, hdy) = (host(NAME, x), host(NAME, gamma), host(NAME, y), host(NAME, dy));
        let saved = Saved::<T> {
            x: hx.slice()?,
            y: hy.slice()?,
            dy: hdy.slice()?,
            mean: found.mean_as(),
            inverse: found.inverse_deviation(self.eps),
            relu: self.relu,
        };
        let (dbeta, dgamma) = saved.sums();
        let dx = saved.dx(hg.slice()?, &dbeta, &dgamma);
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
            let y = self.forward::<T>(slice(NAME, x, xl)?, slice(NAME, gamma, gl)?, slice(NAME, beta, bl)?);
            T::to_cpu_storage_owned(y)
        });
        Ok((y, xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        _beta: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let [dx, dgamma, dbeta] = with_float!(NAME, x.dtype(), T => self.backward::<T>(x, gamma, y, &dy))?;
        Ok((Some(dx), Some(dgamma), Some(dbeta)))
    }
}
