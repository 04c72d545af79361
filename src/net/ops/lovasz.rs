//! Lovász-softmax loss: the convex closure of the mean intersection over union.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use super::chunks;
#[cfg(feature = "cuda")]
use super::cuda;
use super::element::Element;
use super::fused::{self, Batch, Labels, Loss};
use super::softmax::{labelled, labelled_probabilities, slopes_to_gradient};
#[cfg(feature = "cuda")]
use super::tape;

const NAME: &str = "lovasz_softmax";

/// Lovász-softmax loss (Berman, Triki, Blaschko 2018, algorithm 1) of `logits: [.., K]` against class numbers
/// `targets: [..]` (u8, [`IGNORE`](crate::net::IGNORE) = no label).
///
/// For a class `c`, the errors `|g_p - q_p[c]|` of the labelled pixels, with `q = softmax(logits)` and `g_p` 1 at the pixels
/// of the class and 0 at the others, are sorted from large to small (of equal ones the earlier pixel first), and each is
/// multiplied by what its pixel adds to the Jaccard loss of all pixels before it. The sum is the class' loss; the result is
/// the mean over the classes that occur in the batch's labels, with all images of the batch taken as one (`per_image=False`
/// and `classes='present'` in the authors' code). No labelled pixel gives loss 0 and gradient 0. The result is a scalar of
/// the logits' type.
///
/// # Errors
/// A target of `K` or more that is not [`IGNORE`](crate::net::IGNORE); shapes or types that do not fit; more than 2^32
/// pixels.
pub fn lovasz_softmax(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if logits.device().is_cuda() {
        let found = cuda::lovasz::lovasz(logits, targets, tape::needs_gradient(logits))?;
        return cuda::loss::node(NAME, logits, found);
    }
    fused::apply(Lovasz, logits, checked(logits, targets)?)
}

/// As [`lovasz_softmax`], with the gradient by logits, and without a graph.
///
/// # Errors
/// As [`lovasz_softmax`]; on a GPU a target that is no class makes the loss NaN instead.
pub fn lovasz_softmax_with_gradient(logits: &Tensor, targets: &Tensor) -> Result<(Tensor, Tensor)> {
    #[cfg(feature = "cuda")]
    if logits.device().is_cuda() {
        return cuda::loss::asked(NAME, cuda::lovasz::lovasz(logits, targets, true)?);
    }
    fused::with_gradient(&Lovasz, logits, &checked(logits, targets)?)
}

fn checked(logits: &Tensor, targets: &Tensor) -> Result<Labels> {
    let labels = Labels::new(NAME, logits, targets)?;
    if u32::try_from(targets.elem_count()).is_err() {
        bail!("{NAME}: takes at most {} pixels, got {}", u32::MAX, targets.elem_count());
    }
    Ok(labels)
}

struct Lovasz;

impl Loss for Lovasz {
    const NAME: &'static str = NAME;

    fn run<T: Element>(&self, batch: &Batch<'_, T>) -> (f64, Vec<T>) {
        let classes = batch.counts.len();
        let present = batch.counts.iter().filter(|n| **n > 0).count();
        if present == 0 {
            return (0.0, vec![T::ZERO; if batch.tracked { batch.logits.len() } else { 0 }]);
        }
        let mut values = labelled_probabilities(batch.logits, batch.targets, classes);
        let pixels = labelled(batch.targets);
        let found: Vec<(f64, Vec<T>)> = (0..classes)
            .into_par_iter()
            .map(|class| {
                let class = Class { class, count: batch.counts[class], share: 1.0 / present as f64 };
                if class.count > 0 { class.run(&values, classes, batch, &pixels) } else { (0.0, Vec::new()) }
            })
            .collect();
        let loss = found.iter().map(|(loss, _)| loss).sum();
        if batch.tracked {
            let slopes: Vec<Vec<T>> = found.into_iter().map(|(_, slopes)| slopes).collect();
            gradient(&mut values, batch.targets, &slopes);
        } else {
            values.clear();
        }
        (loss, values)
    }
}

/// One class that occurs.
struct Class {
    class: usize,
    /// Labelled pixels of the class.
    count: u64,
    /// Of the class in the mean.
    share: f64,
}

impl Class {
    /// The class' part of the loss, and the slopes along its probability, a value a pixel.
    fn run<T: Element>(
        &self,
        probabilities: &[T],
        classes: usize,
        batch: &Batch<'_, T>,
        pixels: &[usize],
    ) -> (f64, Vec<T>) {
        let own = |pixel: usize| usize::from(batch.targets[pixel]) == self.class;
        let error = |pixel: usize| {
            let p = probabilities[pixel * classes + self.class];
            if own(pixel) { T::ONE - p } else { p }
        };
        let ranks = T::sort(pixels.iter().map(|pixel| error(*pixel).rank(*pixel as u32)).collect());
        let mut slopes = vec![T::ZERO; if batch.tracked { batch.targets.len() } else { 0 }];
        let mut jaccard = Jaccard { intersection: self.count as f64, union: self.count as f64 };
        let mut loss = 0.0;
        for rank in ranks {
            let (error, pixel) = T::unrank(rank);
            let own = own(pixel as usize);
            let step = self.share * jaccard.add(own);
            loss += step * error.to_f64();
            if batch.tracked {
                slopes[pixel as usize] = T::from_f64(if own { -step } else { step });
            }
        }
        (loss, slopes)
    }
}

/// Overlap of a class with its prediction, when more and more pixels are predicted falsely.
struct Jaccard {
    intersection: f64,
    union: f64,
}

impl Jaccard {
    /// What one more false pixel adds to the loss `1 - intersection / union`. The differences are written out, since those
    /// of two numbers near 1 lose digits.
    fn add(&mut self, own: bool) -> f64 {
        if own {
            self.intersection -= 1.0;
            1.0 / self.union
        } else {
            self.union += 1.0;
            self.intersection / (self.union * (self.union - 1.0))
        }
    }
}

/// Makes the gradient of the probabilities. `slopes` has a plane a class, empty for one that does not occur.
fn gradient<T: Element>(values: &mut [T], targets: &[u8], slopes: &[Vec<T>]) {
    let classes = slopes.len();
    let step = chunks::rows(classes);
    values.par_chunks_mut(step * classes).zip(targets.par_chunks(step)).enumerate().for_each(
        |(i, (values, targets))| {
            let mut along = vec![T::ZERO; classes];
            for pixel in labelled(targets) {
                for (along, plane) in along.iter_mut().zip(slopes).filter(|(_, plane)| !plane.is_empty()) {
                    *along = plane[i * step + pixel];
                }
                slopes_to_gradient(&mut values[pixel * classes..][..classes], &along);
            }
        },
    );
}
