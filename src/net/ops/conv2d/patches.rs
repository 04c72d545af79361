//! The way back through a convolution whose kernels lie side by side, as wide as they are apart: every pixel is seen once.
//!
//! What an output pixel sees is a patch of its own, so with `dP = dY * W'` each patch's gradient goes back to where the patch
//! lay, and `dW = P' * dY`. The general way would look through all `k * k` taps at every pixel, for the one that counts.

use rayon::prelude::*;

use super::super::chunks;
use super::super::element::Element;
use super::super::matmul::{Into, Mat, matmul};
use super::super::scratch::with_scratch;
use super::geometry::{Conv2dConfig, Geometry};

/// Partial sums of the weights' gradient. Fixed, so that the sum's order does not depend on the number of threads.
const PARTS: usize = 16;

/// Whether the kernels tile the image.
pub(super) fn fits(g: &Geometry) -> bool {
    let tiling = Conv2dConfig { stride: g.kernel, ..Conv2dConfig::default() };
    g.kernel > 1 && g.config == tiling && [g.height, g.width].iter().all(|side| side.is_multiple_of(g.kernel))
}

/// Gradients of the input and of the weights.
pub(super) fn backward<T: Element>(g: &Geometry, x: &[T], w: &[T], dy: &[T]) -> (Vec<T>, Vec<T>) {
    let rows = (g.batch * g.out_height).div_ceil(PARTS);
    let (step, out_step) = (rows * band(g), rows * g.out_width * g.out_channels);
    let mut dx = vec![T::ZERO; x.len()];
    let parts = dx.par_chunks_mut(step).zip(x.par_chunks(step)).zip(dy.par_chunks(out_step));
    let dw = parts.map(|((dx, x), dy)| part(g, [x, w, dy], dx)).collect();
    (dx, chunks::sum(dw))
}

/// Some rows of patches, on the calling thread. Gives what they add to the gradient of the weights.
fn part<T: Element>(g: &Geometry, [x, w, dy]: [&[T]; 3], dx: &mut [T]) -> Vec<T> {
    let (depth, pixels) = (g.depth(), dy.len() / g.out_channels);
    let dy = Mat::new(dy, pixels, g.out_channels);
    let mut dw = vec![T::ZERO; w.len()];
    with_scratch(x.len(), |patches| {
        for (x, patches) in x.chunks_exact(band(g)).zip(patches.chunks_exact_mut(band(g))) {
            runs(g).for_each(|(at, to)| patches[to..to + run(g)].copy_from_slice(&x[at..at + run(g)]));
        }
        matmul(&mut dw, Into::Set, Mat::new(patches, pixels, depth).t(), dy);
        matmul(patches, Into::Set, dy, Mat::new(w, depth, g.out_channels).t());
        for (dx, patches) in dx.chunks_exact_mut(band(g)).zip(patches.chunks_exact(band(g))) {
            runs(g).for_each(|(to, at)| dx[to..to + run(g)].copy_from_slice(&patches[at..at + run(g)]));
        }
    });
    dw
}

/// Values under one row of patches.
fn band(g: &Geometry) -> usize {
    g.kernel * g.width * g.channels
}

/// Values that lie side by side both in the image and in a patch.
fn run(g: &Geometry) -> usize {
    g.kernel * g.channels
}

/// Where each such run begins: in a band of the image, and in the band's patches.
fn runs(g: &Geometry) -> impl Iterator<Item = (usize, usize)> {
    let (row, run, depth) = (g.width * g.channels, run(g), g.depth());
    (0..g.kernel).flat_map(move |y| (0..g.out_width).map(move |x| (y * row + x * run, x * depth + y * run)))
}
