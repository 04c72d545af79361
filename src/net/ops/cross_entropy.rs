//! Cross-entropy of softmax probabilities.

use candle_core::{Result, Tensor, bail};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::chunks;
#[cfg(feature = "cuda")]
use super::cuda;
use super::element::Element;
use super::fused::{self, Batch, Labels, Loss};
use super::softmax::{BLOCK, Block, Plane, labelled};
#[cfg(feature = "cuda")]
use super::tape;
use super::{lanes, simd};

/// Cross-entropy of `logits: [.., K]` against class numbers `targets: [..]` (u8, [`IGNORE`](crate::net::IGNORE) = no label),
/// as `torch.nn.functional.cross_entropy` computes it with `weight`, `ignore_index` and `label_smoothing`:
///
/// `sum_p [(1 - s) * w[t_p] * -log q_p[t_p] + s/K * sum_c w[c] * -log q_p[c]] / sum_p w[t_p]`
///
/// over the labelled pixels `p`, with `q = softmax(logits)` and `s` the smoothing. No labelled pixel, or none of a class
/// with weight, gives loss 0 and gradient 0. The result is a scalar of the logits' type.
///
/// # Errors
/// A target of `K` or more that is not [`IGNORE`](crate::net::IGNORE); shapes, types, weights or a smoothing that do not fit.
pub fn softmax_cross_entropy(
    logits: &Tensor,
    targets: &Tensor,
    class_weights: Option<&[f32]>,
    smoothing: f32,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if logits.device().is_cuda() {
        let wanted = tape::needs_gradient(logits);
        let found = cuda::loss::cross_entropy_and(logits, targets, class_weights, smoothing, wanted)?;
        return cuda::loss::node(NAME, logits, found);
    }
    let (labels, loss) = checked(logits, targets, class_weights, smoothing)?;
    fused::apply(loss, logits, labels)
}

/// As [`softmax_cross_entropy`], with the gradient by logits, and without a graph.
///
/// # Errors
/// As [`softmax_cross_entropy`]. On a GPU a target that is no class makes the loss NaN instead: to look at the targets would
/// mean to wait for them.
pub fn softmax_cross_entropy_with_gradient(
    logits: &Tensor,
    targets: &Tensor,
    class_weights: Option<&[f32]>,
    smoothing: f32,
) -> Result<(Tensor, Tensor)> {
    #[cfg(feature = "cuda")]
    if logits.device().is_cuda() {
        return cuda::loss::cross_entropy(logits, targets, class_weights, smoothing);
    }
    let (labels, loss) = checked(logits, targets, class_weights, smoothing)?;
    fused::with_gradient(&loss, logits, &labels)
}

/// Everything looked at before a kernel sees it.
fn checked(
    logits: &Tensor,
    targets: &Tensor,
    class_weights: Option<&[f32]>,
    smoothing: f32,
) -> Result<(Labels, CrossEntropy)> {
    let labels = Labels::new(NAME, logits, targets)?;
    let weights = fused::class_weights(NAME, class_weights, labels.counts.len())?;
    if !(0.0..=1.0).contains(&smoothing) {
        bail!("{NAME}: label smoothing must lie in 0..=1, got {smoothing}");
    }
    Ok((labels, CrossEntropy { weights, smoothing: f64::from(smoothing) }))
}

const NAME: &str = "softmax_cross_entropy";

struct CrossEntropy {
    weights: Vec<f64>,
    smoothing: f64,
}

impl Loss for CrossEntropy {
    const NAME: &'static str = NAME;

    fn run<T: Element>(&self, batch: &Batch<'_, T>) -> (f64, Vec<T>) {
        let (k, logits, targets) = (self.weights.len(), batch.logits, batch.targets);
        // Weight of the labelled pixels; 0 where there are none.
        let norm: f64 = self.weights.iter().zip(batch.counts).map(|(w, n)| w * *n as f64).sum();
        let mut gradient = vec![T::ZERO; if batch.tracked { logits.len() } else { 0 }];
        if norm == 0.0 {
            return (0.0, gradient);
        }
        let terms = Terms::<T>::new(&self.weights, self.smoothing, norm);
        let step = chunks::rows(k);
        let losses: Vec<f64> = if batch.tracked {
            (gradient.par_chunks_mut(step * k), logits.par_chunks(step * k), targets.par_chunks(step))
                .into_par_iter()
                .map(|(g, l, t)| terms.chunk(l, t, Some(g)))
                .collect()
        } else {
            (logits.par_chunks(step * k), targets.par_chunks(step))
                .into_par_iter()
                .map(|(l, t)| terms.chunk(l, t, None))
                .collect()
        };
        (losses.iter().sum::<f64>() / norm, gradient)
    }
}

/// Puts the logarithms of values in their place.
struct Logarithms<'a, T>(&'a mut Plane<T>);

impl<T: Element> WithSimd for Logarithms<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for value in self.0 {
            *value = value.ln();
        }
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
        let mut block = Block::new(self.hard.len());
        let mut loss = 0.0;
        for pixels in labelled(targets).chunks(BLOCK) {
            block.load(logits, pixels);
            loss += self.loss(&block, pixels, targets);
            if let Some(gradient) = gradient.as_deref_mut() {
                self.gradient(&mut block, pixels, targets);
                block.store(gradient, pixels);
            }
        }
        loss
    }

    /// Sum of the losses of a block.
    fn loss(&self, block: &Block<T>, pixels: &[usize], targets: &[u8]) -> f64 {
        let mut log_sum = block.sum;
        lanes::dispatch(Logarithms(&mut log_sum));
        let mut loss = 0.0;
        for (at, pixel) in pixels.iter().enumerate() {
            let target = usize::from(targets[*pixel]);
            // The difference first: next to a huge maximum the logarithm would be lost.
            let below = block.max[at].to_f64() - block.logits[target][at].to_f64();
            loss += self.hard[target] * (below + log_sum[at].to_f64());
        }
        if self.soft_total > 0.0 { loss + self.soft_loss(block, &log_sum, pixels.len()) } else { loss }
    }

    /// The smoothing's share of the first `count` losses of a block.
    fn soft_loss(&self, block: &Block<T>, log_sum: &Plane<T>, count: usize) -> f64 {
        let total = |plane: &Plane<T>| plane[..count].iter().map(|v| v.to_f64()).sum::<f64>();
        let below = |plane: &Plane<T>| {
            let pairs = block.max.iter().zip(plane).take(count);
            pairs.map(|(max, logit)| max.to_f64() - logit.to_f64()).sum::<f64>()
        };
        let classes = self.soft.iter().zip(&block.logits);
        self.soft_total * total(log_sum) + classes.map(|(w, plane)| w * below(plane)).sum::<f64>()
    }

    /// Makes the gradient of the exponentials in a block.
    fn gradient(&self, block: &mut Block<T>, pixels: &[usize], targets: &[u8]) {
        let mut total = [T::ZERO; BLOCK];
        for (total, pixel) in total.iter_mut().zip(pixels) {
            *total = self.hard_scaled[usize::from(targets[*pixel])] + self.soft_total_scaled;
        }
        simd::dispatch(|| {
            for (total, sum) in total.iter_mut().zip(&block.sum) {
                *total /= *sum;
            }
            for (plane, soft) in block.values.iter_mut().zip(&self.soft_scaled) {
                for (value, total) in plane.iter_mut().zip(&total) {
                    *value = *total * *value - *soft;
                }
            }
        });
        for (at, pixel) in pixels.iter().enumerate() {
            let target = usize::from(targets[*pixel]);
            block.values[target][at] -= self.hard_scaled[target];
        }
    }
}
