//! Focal loss: cross-entropy in which pixels that are right already count less.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use super::chunks;
#[cfg(feature = "cuda")]
use super::cuda;
use super::element::Element;
use super::fused::{self, Batch, Labels, Loss};
use super::softmax::{BLOCK, Block, labelled};
#[cfg(feature = "cuda")]
use super::tape;

const NAME: &str = "focal_loss";

/// Focal loss (Lin, Goyal, Girshick, He, Dollár 2017) of `logits: [.., K]` against class numbers `targets: [..]` (u8,
/// [`IGNORE`](crate::net::IGNORE) = no label):
///
/// `sum_p w[t_p] * (1 - q_p[t_p])^gamma * -log q_p[t_p] / sum_p w[t_p]`
///
/// over the labelled pixels `p`, with `q = softmax(logits)` and `w` the `class_weights` (`None`: all 1). With `gamma` 0 it is
/// [`softmax_cross_entropy`](super::softmax_cross_entropy). No labelled pixel, or none of a class with weight, gives loss 0
/// and gradient 0. The result is a scalar of the logits' type.
///
/// # Errors
/// A target of `K` or more that is not [`IGNORE`](crate::net::IGNORE); shapes, types or weights that do not fit; a `gamma`
/// that is negative or not finite.
pub fn focal_loss(logits: &Tensor, targets: &Tensor, class_weights: Option<&[f32]>, gamma: f32) -> Result<Tensor> {
    check(gamma)?;
    #[cfg(feature = "cuda")]
    if logits.device().is_cuda() {
        let found = cuda::loss::focal(logits, targets, class_weights, gamma, tape::needs_gradient(logits))?;
        return cuda::loss::node(NAME, logits, found);
    }
    let (labels, loss) = checked(logits, targets, class_weights, gamma)?;
    fused::apply(loss, logits, labels)
}

/// As [`focal_loss`], with the gradient by logits, and without a graph.
///
/// # Errors
/// As [`focal_loss`]; on a GPU a target that is no class makes the loss NaN instead.
pub fn focal_loss_with_gradient(
    logits: &Tensor,
    targets: &Tensor,
    class_weights: Option<&[f32]>,
    gamma: f32,
) -> Result<(Tensor, Tensor)> {
    check(gamma)?;
    #[cfg(feature = "cuda")]
    if logits.device().is_cuda() {
        return cuda::loss::asked(NAME, cuda::loss::focal(logits, targets, class_weights, gamma, true)?);
    }
    let (labels, loss) = checked(logits, targets, class_weights, gamma)?;
    fused::with_gradient(&loss, logits, &labels)
}

fn check(gamma: f32) -> Result<()> {
    if gamma >= 0.0 && gamma.is_finite() {
        return Ok(());
    }
    bail!("{NAME}: gamma must be 0 or more and finite, got {gamma}")
}

fn checked(logits: &Tensor, targets: &Tensor, class_weights: Option<&[f32]>, gamma: f32) -> Result<(Labels, Focal)> {
    let labels = Labels::new(NAME, logits, targets)?;
    let weights = fused::class_weights(NAME, class_weights, labels.counts.len())?;
    Ok((labels, Focal { weights, gamma: f64::from(gamma) }))
}

struct Focal {
    weights: Vec<f64>,
    gamma: f64,
}

impl Loss for Focal {
    const NAME: &'static str = NAME;

    fn run<T: Element>(&self, batch: &Batch<'_, T>) -> (f64, Vec<T>) {
        let (k, logits, targets) = (self.weights.len(), batch.logits, batch.targets);
        let norm: f64 = self.weights.iter().zip(batch.counts).map(|(w, n)| w * *n as f64).sum();
        let mut gradient = vec![T::ZERO; if batch.tracked { logits.len() } else { 0 }];
        if norm == 0.0 {
            return (0.0, gradient);
        }
        let step = chunks::rows(k);
        let losses: Vec<f64> = if batch.tracked {
            (gradient.par_chunks_mut(step * k), logits.par_chunks(step * k), targets.par_chunks(step))
                .into_par_iter()
                .map(|(g, l, t)| self.chunk(l, t, Some((g, norm))))
                .collect()
        } else {
            let pairs = (logits.par_chunks(step * k), targets.par_chunks(step)).into_par_iter();
            pairs.map(|(l, t)| self.chunk(l, t, None)).collect()
        };
        (losses.iter().sum::<f64>() / norm, gradient)
    }
}

impl Focal {
    /// Sum of the pixels' losses, not yet over the norm; the gradient, where it is asked for, is over the norm.
    fn chunk<T: Element>(&self, logits: &[T], targets: &[u8], mut gradient: Option<(&mut [T], f64)>) -> f64 {
        let mut block = Block::new(self.weights.len());
        let mut loss = 0.0;
        for pixels in labelled(targets).chunks(BLOCK) {
            block.load(logits, pixels);
            for (at, pixel) in pixels.iter().enumerate() {
                let target = usize::from(targets[*pixel]);
                let pixel = Pixel::of(&block, at, target);
                loss += self.weights[target] * pixel.loss(self.gamma);
                if let Some((_, norm)) = gradient {
                    pixel.gradient(&mut block, at, target, self.weights[target] / norm * pixel.slope(self.gamma));
                }
            }
            if let Some((gradient, _)) = &mut gradient {
                block.store(gradient, pixels);
            }
        }
        loss
    }
}

/// What the network says of a pixel's own class.
struct Pixel {
    /// The probability.
    own: f64,
    /// That of all other classes: summed up, since 1 less a number near 1 has few digits.
    rest: f64,
    /// Minus the logarithm of the probability.
    surprise: f64,
    /// Sum of the exponentials.
    sum: f64,
}

impl Pixel {
    fn of<T: Element>(block: &Block<T>, at: usize, target: usize) -> Self {
        let others = block.values.iter().enumerate().filter(|(class, _)| *class != target);
        let others: f64 = others.map(|(_, plane)| plane[at].to_f64()).sum();
        let own = block.values[target][at].to_f64();
        let sum = own + others;
        // The difference first: next to a huge maximum the logarithm would be lost.
        let below = block.max[at].to_f64() - block.logits[target][at].to_f64();
        Self { own: own / sum, rest: others / sum, surprise: below + sum.ln(), sum }
    }

    fn loss(&self, gamma: f64) -> f64 {
        self.rest.powf(gamma) * self.surprise
    }

    /// What the gradient of the cross-entropy is multiplied by: `(1 - q)^gamma - gamma * q * (1 - q)^(gamma - 1) * log q`.
    fn slope(&self, gamma: f64) -> f64 {
        // At a probability of 1 the limit is 0, where the power may be infinite; without gamma there is no second term.
        if gamma == 0.0 || self.rest == 0.0 {
            return self.rest.powf(gamma);
        }
        self.rest.powf(gamma) + gamma * self.own * self.rest.powf(gamma - 1.0) * self.surprise
    }

    /// Makes the gradient of the pixel's exponentials.
    fn gradient<T: Element>(&self, block: &mut Block<T>, at: usize, target: usize, factor: f64) {
        for plane in &mut block.values {
            plane[at] = T::from_f64(factor * (plane[at].to_f64() / self.sum));
        }
        block.values[target][at] = T::from_f64(-factor * self.rest);
    }
}
