//! Dice loss of softmax probabilities.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use super::chunks;
#[cfg(feature = "cuda")]
use super::cuda;
use super::element::Element;
use super::fused::{self, Batch, Labels, Loss};
use super::softmax::{labelled_probabilities, slopes_to_gradient};
#[cfg(feature = "cuda")]
use super::tape;
use crate::net::types::IGNORE;

const NAME: &str = "dice_loss";

/// Soft Dice loss (Milletari, Navab, Ahmadi 2016, with plain sums in the denominator as in Sudre et al. 2017) of
/// `logits: [.., K]` against class numbers `targets: [..]` (u8, [`IGNORE`] = no label):
///
/// `sum_c w[c] * (1 - (2 * sum_p q_p[c] * g_p[c] + s) / (sum_p q_p[c] + sum_p g_p[c] + s)) / sum_c w[c]`
///
/// over the labelled pixels `p` of the whole batch, with `q = softmax(logits)`, `g` 1 for the pixel's class and 0 for the
/// others, `s` the `smooth` and `w` the `class_weights` (`None`: all 1). The mean is over the classes that occur in the
/// batch's labels alone: one that does not occur has no overlap to win, and would only repeat what the other classes
/// already say about its false pixels, at a full class' weight. No labelled pixel, or none of a class with weight, gives
/// loss 0 and gradient 0. The result is a scalar of the logits' type.
///
/// # Errors
/// A target of `K` or more that is not [`IGNORE`]; shapes, types, weights that do not fit; a `smooth` that is negative or
/// not finite.
pub fn dice_loss(logits: &Tensor, targets: &Tensor, class_weights: Option<&[f32]>, smooth: f32) -> Result<Tensor> {
    check(smooth)?;
    #[cfg(feature = "cuda")]
    if logits.device().is_cuda() {
        let found = cuda::loss::dice(logits, targets, class_weights, smooth, tape::needs_gradient(logits))?;
        return cuda::loss::node(NAME, logits, found);
    }
    let (labels, loss) = checked(logits, targets, class_weights, smooth)?;
    fused::apply(loss, logits, labels)
}

/// As [`dice_loss`], with the gradient by logits, and without a graph.
///
/// # Errors
/// As [`dice_loss`]; on a GPU a target that is no class makes the loss NaN instead.
pub fn dice_loss_with_gradient(
    logits: &Tensor,
    targets: &Tensor,
    class_weights: Option<&[f32]>,
    smooth: f32,
) -> Result<(Tensor, Tensor)> {
    check(smooth)?;
    #[cfg(feature = "cuda")]
    if logits.device().is_cuda() {
        return cuda::loss::asked(NAME, cuda::loss::dice(logits, targets, class_weights, smooth, true)?);
    }
    let (labels, loss) = checked(logits, targets, class_weights, smooth)?;
    fused::with_gradient(&loss, logits, &labels)
}

fn check(smooth: f32) -> Result<()> {
    if smooth >= 0.0 && smooth.is_finite() {
        return Ok(());
    }
    bail!("{NAME}: smooth must be 0 or more and finite, got {smooth}")
}

fn checked(logits: &Tensor, targets: &Tensor, class_weights: Option<&[f32]>, smooth: f32) -> Result<(Labels, Dice)> {
    let labels = Labels::new(NAME, logits, targets)?;
    let weights = fused::class_weights(NAME, class_weights, labels.counts.len())?;
    Ok((labels, Dice { weights, smooth: f64::from(smooth) }))
}

struct Dice {
    weights: Vec<f64>,
    smooth: f64,
}

impl Loss for Dice {
    const NAME: &'static str = NAME;

    fn run<T: Element>(&self, batch: &Batch<'_, T>) -> (f64, Vec<T>) {
        let present = self.weights.iter().zip(batch.counts).filter(|(_, n)| **n > 0);
        let norm: f64 = present.map(|(w, _)| w).sum();
        if norm == 0.0 {
            return (0.0, vec![T::ZERO; if batch.tracked { batch.logits.len() } else { 0 }]);
        }
        let mut values = labelled_probabilities(batch.logits, batch.targets, self.weights.len());
        let mut sums = Sums::of_batch(&values, batch.targets, self.weights.len());
        sums.labels = batch.counts.iter().map(|n| *n as f64).collect();
        let (loss, slopes) = self.classes(&sums, norm);
        if batch.tracked {
            gradient(&mut values, batch.targets, &slopes);
        } else {
            values.clear();
        }
        (loss, values)
    }
}

/// What the loss depends on, a value a class.
struct Sums {
    /// Of the probabilities of the class.
    probabilities: Vec<f64>,
    /// Of those at the pixels of the class.
    overlap: Vec<f64>,
    /// Pixels of the class.
    labels: Vec<f64>,
}

impl Sums {
    fn of_batch<T: Element>(probabilities: &[T], targets: &[u8], classes: usize) -> Self {
        let parts = chunks::map(targets.len(), classes, |a, b| {
            chunk_sums(&probabilities[a * classes..b * classes], &targets[a..b], classes)
        });
        let mut probabilities = chunks::sum(parts);
        let overlap = probabilities.split_off(classes);
        Self { probabilities, overlap, labels: Vec::new() }
    }
}

/// Sums of all probabilities, one a class, and after them those at the pixels of the class.
fn chunk_sums<T: Element>(probabilities: &[T], targets: &[u8], classes: usize) -> Vec<f64> {
    let mut sums = vec![0.0; 2 * classes];
    for (row, target) in probabilities.chunks_exact(classes).zip(targets) {
        if *target != IGNORE {
            sums.iter_mut().zip(row).for_each(|(sum, p)| *sum += p.to_f64());
            sums[classes + usize::from(*target)] += row[usize::from(*target)].to_f64();
        }
    }
    sums
}

/// Slopes of the loss along the probability of a class, at a pixel of another class and at one of its own.
#[derive(Clone, Copy)]
struct Slopes<T> {
    other: T,
    own: T,
}

impl Dice {
    /// The loss and its slopes, which depend on the pixel by its class alone.
    fn classes<T: Element>(&self, sums: &Sums, norm: f64) -> (f64, Vec<Slopes<T>>) {
        let mut loss = 0.0;
        let mut slopes = vec![Slopes { other: T::ZERO, own: T::ZERO }; self.weights.len()];
        for (c, slopes) in slopes.iter_mut().enumerate().filter(|(c, _)| sums.labels[*c] > 0.0) {
            let share = self.weights[c] / norm;
            let above = 2.0 * sums.overlap[c] + self.smooth;
            let below = sums.probabilities[c] + sums.labels[c] + self.smooth;
            loss += share * (1.0 - above / below);
            let other = share * above / (below * below);
            *slopes = Slopes { other: T::from_f64(other), own: T::from_f64(other - share * 2.0 / below) };
        }
        (loss, slopes)
    }
}

/// Makes the gradient of the probabilities.
fn gradient<T: Element>(values: &mut [T], targets: &[u8], slopes: &[Slopes<T>]) {
    let classes = slopes.len();
    let step = chunks::rows(classes);
    let others: Vec<T> = slopes.iter().map(|s| s.other).collect();
    values.par_chunks_mut(step * classes).zip(targets.par_chunks(step)).for_each(|(values, targets)| {
        let mut along = others.clone();
        let rows = values.chunks_exact_mut(classes).zip(targets);
        for (row, target) in rows.filter(|(_, target)| **target != IGNORE) {
            let target = usize::from(*target);
            along[target] = slopes[target].own;
            slopes_to_gradient(row, &along);
            along[target] = slopes[target].other;
        }
    });
}
