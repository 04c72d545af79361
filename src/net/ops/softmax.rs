//! Softmax over the last dimension, and what the losses on top of it share.

use candle_core::backend::BackendStorage;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType, bail};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::chunks;
use super::element::{Element, slice, with_float};
use super::{lanes, simd};
use crate::net::types::IGNORE;

/// `exp(x) / sum(exp(x))` over the last dimension of `x: [.., K]`, for inference: leaves no graph. On a GPU the result is f32
/// whatever the type of `x`.
///
/// # Errors
/// A scalar, or a type that is no float.
pub fn softmax_channels(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Softmax)
}

/// Pixels in a [`Block`]: several vectors of any machine, and few enough that the values of ten classes fit the nearest
/// cache.
pub(super) const BLOCK: usize = 128;

/// One value a pixel of a block.
pub(super) type Plane<T> = [T; BLOCK];

/// Up to [`BLOCK`] pixels turned to one plane a class, so that loops go over pixels, of which there are many, and not over
/// classes, of which there are few. All loops go to the end of the planes; what lies there beyond the pixels is not used.
pub(super) struct Block<T> {
    /// The logits.
    pub(super) logits: Vec<Plane<T>>,
    /// `exp(logit - max)`; then what the user of the block makes of them.
    pub(super) values: Vec<Plane<T>>,
    /// Highest logit.
    pub(super) max: Plane<T>,
    /// Sum of the exponentials over the classes.
    pub(super) sum: Plane<T>,
}

impl<T: Element> Block<T> {
    pub(super) fn new(classes: usize) -> Self {
        let planes = vec![[T::ZERO; BLOCK]; classes];
        Self { logits: planes.clone(), values: planes, max: [T::ZERO; BLOCK], sum: [T::ZERO; BLOCK] }
    }

    /// Takes `pixels`, at most [`BLOCK`], out of `rows` of logits, and computes maxima, exponentials and sums.
    pub(super) fn load(&mut self, rows: &[T], pixels: &[usize]) {
        let classes = self.logits.len();
        for (at, pixel) in pixels.iter().enumerate() {
            let row = &rows[pixel * classes..][..classes];
            for (plane, value) in self.logits.iter_mut().zip(row) {
                plane[at] = *value;
            }
        }
        lanes::dispatch(Exponentiate(self));
    }

    #[inline(always)]
    fn exponentiate(&mut self) {
        self.max = self.logits[0];
        for plane in &self.logits[1..] {
            for (max, value) in self.max.iter_mut().zip(plane) {
                *max = if *value > *max { *value } else { *max };
            }
        }
        self.sum = [T::ZERO; BLOCK];
        for (values, logits) in self.values.iter_mut().zip(&self.logits) {
            for at in 0..BLOCK {
                values[at] = (logits[at] - self.max[at]).exp();
                self.sum[at] += values[at];
            }
        }
    }

    /// Makes probabilities of the exponentials.
    fn normalise(&mut self) {
        simd::dispatch(|| {
            for plane in &mut self.values {
                for (value, sum) in plane.iter_mut().zip(&self.sum) {
                    *value /= *sum;
                }
            }
        });
    }

    /// Puts the values to the rows of `pixels`.
    pub(super) fn store(&self, rows: &mut [T], pixels: &[usize]) {
        let classes = self.values.len();
        for (at, pixel) in pixels.iter().enumerate() {
            let row = &mut rows[pixel * classes..][..classes];
            for (plane, value) in self.values.iter().zip(row) {
                *value = plane[at];
            }
        }
    }
}

/// Where the pixels with a label are.
pub(super) fn labelled(targets: &[u8]) -> Vec<usize> {
    targets.iter().enumerate().filter(|(_, target)| **target != IGNORE).map(|(at, _)| at).collect()
}

/// Writes the probabilities of `pixels` of one chunk.
fn write_probabilities<T: Element>(logits: &[T], pixels: &[usize], classes: usize, out: &mut [T]) {
    let mut block = Block::new(classes);
    for pixels in pixels.chunks(BLOCK) {
        block.load(logits, pixels);
        block.normalise();
        block.store(out, pixels);
    }
}

/// Softmax over rows of `classes` logits; rows without a label are left 0.
pub(super) fn labelled_probabilities<T: Element>(logits: &[T], targets: &[u8], classes: usize) -> Vec<T> {
    let step = chunks::rows(classes);
    let mut out = vec![T::ZERO; logits.len()];
    (out.par_chunks_mut(step * classes), logits.par_chunks(step * classes), targets.par_chunks(step))
        .into_par_iter()
        .for_each(|(out, logits, targets)| write_probabilities(logits, &labelled(targets), classes, out));
    out
}

/// Turns one pixel's probabilities into the gradient of its logits, given the loss' slopes along the probabilities:
/// `dx_j = p_j * (d_j - sum_c p_c * d_c)`.
#[inline(always)]
pub(super) fn slopes_to_gradient<T: Element>(probabilities: &mut [T], slopes: &[T]) {
    let mean = probabilities.iter().zip(slopes).fold(T::ZERO, |sum, (p, d)| sum + *p * *d);
    for (p, d) in probabilities.iter_mut().zip(slopes) {
        *p *= *d - mean;
    }
}

/// Maxima, exponentials and sums of a block. No closure: a compiler may decide to leave a long one outside of what is
/// compiled for wide vectors.
struct Exponentiate<'a, T>(&'a mut Block<T>);

impl<T: Element> WithSimd for Exponentiate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.0.exponentiate();
    }
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
                let pixels: Vec<usize> = (0..x.len() / k).collect();
                write_probabilities(x, &pixels, k, y);
            });
            T::to_cpu_storage_owned(y)
        });
        Ok((y, layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        super::cuda::softmax::softmax(self.name(), x, layout)
    }
}
