//! Softmax over the last dimension, and the cross-entropy loss on top of it fused with its gradient.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::chunks;
use super::element::{Element, host, slice, with_float};
use crate::net::types::IGNORE;

/// `exp(x) / sum(exp(x))` over the last dimension of `x: [.., K]`, for inference: leaves no graph.
///
/// # Errors
/// A scalar, or a type that is no float.
pub fn softmax_channels(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Softmax)
}

/// Writes `exp(x - max)` to `out` and gives the sum of what it wrote, and the maximum.
#[inline(always)]
fn exponentials<T: Element>(x: &[T], out: &mut [T]) -> (T, T) {
    let max = x.iter().copied().fold(x[0], |a, b| if b > a { b } else { a });
    let mut sum = T::ZERO;
    for (o, v) in out.iter_mut().zip(x) {
        *o = (*v - max).exp();
        sum += *o;
    }
    (sum, max)
}

struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax_channels"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some(&k) = layout.dims().last().filter(|k| **k > 0) else { bail!("{}: needs channels", self.name()) };
        let y = with_float!(self.name(), x.dtype(), T => {
            let x = slice::<T>(self.name(), x, layout)?;
            let step = chunks::rows(k) * k;
            let mut y = vec![T::ZERO; x.len()];
            y.par_chunks_mut(step).zip(x.par_chunks(step)).for_each(|(y, x)| {
                for (y, x) in y.chunks_exact_mut(k).zip(x.chunks_exact(k)) {
                    let (sum, _) = exponentials(x, y);
                    y.iter_mut().for_each(|v| *v /= sum);
                }
            });
            T::to_cpu_storage_owned(y)
        });
        Ok((y, layout.shape().clone()))
    }
}

/// Cross-entropy of `logits: [.., K]` against class numbers `targets: [..]` (u8, [`IGNORE`] = no label), as
/// `torch.nn.functional.cross_entropy` computes it with `weight`, `ignore_index` and `label_smoothing`:
///
/// `sum_p [(1 - s) * w[t_p] * -log q_p[t_p] + s/K * sum_c w[c] * -log q_p[c]] / sum_p w[t_p]`
///
/// over the labelled pixels `p`, with `q = softmax(logits)` and `s` the smoothing. No labelled pixel, or none of a class
/// with weight, gives loss 0 and gradient 0. The result is a scalar of the logits' type.
///
/// # Errors
/// A target of `K` or more that is not [`IGNORE`]; shapes, types, weights or a smoothing that do not fit.
pub fn softmax_cross_entropy(
    logits: &Tensor,
    targets: &Tensor,
    class_weights: Option<&[f32]>,
    smoothing: f32,
) -> Result<Tensor> {
    let k = logits.dim(D::Minus1)?;
    if targets.dtype() != DType::U8 || targets.dims() != &logits.dims()[..logits.rank() - 1] {
        bail!("{LOSS}: targets are {:?} {:?}, logits {:?}", targets.dtype(), targets.dims(), logits.dims());
    }
    let weights = class_weights.map_or_else(|| vec![1.0; k], |w| w.iter().map(|w| f64::from(*w)).collect());
    if weights.len() != k || !weights.iter().all(|w| w.is_finite() && *w >= 0.0) {
        bail!("{LOSS}: needs {k} class weights that are finite and not negative, got {weights:?}");
    }
    if !(0.0..=1.0).contains(&smoothing) {
        bail!("{LOSS}: label smoothing must lie in 0..=1, got {smoothing}");
    }
    let targets = targets.flatten_all()?.to_vec1::<u8>()?;
    if let Some(bad) = targets.iter().find(|t| **t != IGNORE && usize::from(**t) >= k) {
        bail!("{LOSS}: a target is {bad}, but the logits have only {k} classes (0..{k}; {IGNORE} = no label)");
    }
    let op = CrossEntropy {
        targets,
        weights,
        smoothing: f64::from(smoothing),
        tracked: logits.track_op(),
        gradient: OnceLock::new(),
    };
    logits.contiguous()?.apply_op1(op)
}

const LOSS: &str = "softmax_cross_entropy";

struct CrossEntropy {
    targets: Vec<u8>,
    weights: Vec<f64>,
    smoothing: f64,
    tracked: bool,
    /// Computed with the loss, while the logits are in the cache.
    gradient: OnceLock<Tensor>,
}

impl CrossEntropy {
    /// Weight of the labelled pixels; 0 where there are none.
    fn norm(&self) -> f64 {
        let mut counts = [0u64; 256];
        self.targets.iter().for_each(|t| counts[usize::from(*t)] += 1);
        self.weights.iter().zip(counts).map(|(w, n)| w * n as f64).sum()
    }

    /// The loss and its gradient.
    fn run<T: Element>(&self, logits: &[T]) -> (f64, Vec<T>) {
        let k = self.weights.len();
        let norm = self.norm();
        let mut gradient = vec![T::ZERO; if self.tracked { logits.len() } else { 0 }];
        if norm == 0.0 {
            return (0.0, gradient);
        }
        let terms = Terms::<T>::new(&self.weights, self.smoothing, norm);
        let step = chunks::rows(k);
        let losses: Vec<f64> = if self.tracked {
            (gradient.par_chunks_mut(step * k), logits.par_chunks(step * k), self.targets.par_chunks(step))
                .into_par_iter()
                .map(|(g, l, t)| terms.chunk(l, t, Some(g)))
                .collect()
        } else {
            (logits.par_chunks(step * k), self.targets.par_chunks(step))
                .into_par_iter()
                .map(|(l, t)| terms.chunk(l, t, None))
                .collect()
        };
        (losses.iter().sum::<f64>() / norm, gradient)
    }
}

/// Factors that do not depend on the pixel.
struct Terms<T> {
    /// `(1 - s) * w[c]`.
    hard: Vec<f64>,
    /// `s / K * w[c]`.
    soft: Vec<f64>,
    /// The same two over the norm, for the gradient.
    hard_scaled: Vec<T>,
    soft_scaled: Vec<T>,
    soft_total: f64,
    soft_total_scaled: T,
}

impl<T: Element> Terms<T> {
    fn new(weights: &[f64], smoothing: f64, norm: f64) -> Self {
        let hard: Vec<f64> = weights.iter().map(|w| (1.0 - smoothing) * w).collect();
        let soft: Vec<f64> = weights.iter().map(|w| smoothing / weights.len() as f64 * w).collect();
        let scaled = |v: &[f64]| v.iter().map(|v| T::from_f64(v / norm)).collect();
        let soft_total: f64 = soft.iter().sum();
        Self {
            hard_scaled: scaled(&hard),
            soft_scaled: scaled(&soft),
            soft_total_scaled: T::from_f64(soft_total / norm),
            hard,
            soft,
            soft_total,
        }
    }

    /// Sum of the pixels' losses, not yet over the norm; the gradient, if asked for, is over the norm.
    fn chunk(&self, logits: &[T], targets: &[u8], mut gradient: Option<&mut [T]>) -> f64 {
        let k = self.hard.len();
        let mut q = vec![T::ZERO; k];
        let mut loss = 0.0;
        for (p, (x, target)) in logits.chunks_exact(k).zip(targets).enumerate() {
            let target = usize::from(*target);
            if target == usize::from(IGNORE) {
                continue;
            }
            let (sum, max) = exponentials(x, &mut q);
            let log_sum = sum.to_f64().ln() + max.to_f64();
            loss += self.hard[target] * (log_sum - x[target].to_f64());
            if self.soft_total > 0.0 {
                let dot: f64 = self.soft.iter().zip(x).map(|(w, x)| w * x.to_f64()).sum();
                loss += self.soft_total * log_sum - dot;
            }
            if let Some(gradient) = gradient.as_deref_mut() {
                let total = (self.hard_scaled[target] + self.soft_total_scaled) / sum;
                let row = &mut gradient[p * k..(p + 1) * k];
                for ((g, q), s) in row.iter_mut().zip(&q).zip(&self.soft_scaled) {
                    *g = total * *q - *s;
                }
                row[target] -= self.hard_scaled[target];
            }
        }
        loss
    }
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        LOSS
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let loss = with_float!(LOSS, x.dtype(), T => {
            let (loss, gradient) = self.run::<T>(slice(LOSS, x, layout)?);
            if self.tracked {
                let gradient = Tensor::from_vec(gradient, layout.shape(), &candle_core::Device::Cpu)?;
                self.gradient.set(gradient).ok();
            }
            T::to_cpu_storage_owned(vec![T::from_f64(loss)])
        });
        Ok((loss, Shape::from(())))
    }

    fn bwd(&self, _logits: &Tensor, _loss: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let Some(gradient) = self.gradient.get() else { bail!("{LOSS}: backward without a tracked forward") };
        let by = with_float!(LOSS, dy.dtype(), T => {
            host(LOSS, dy).slice::<T>()?.first().map_or(1.0, |v| candle_core::WithDType::to_f64(*v))
        });
        // The usual case is the loss itself, whose gradient is 1: no pass over the logits.
        if by == 1.0 { Ok(Some(gradient.clone())) } else { gradient.affine(by, 0.0).map(Some) }
    }
}
