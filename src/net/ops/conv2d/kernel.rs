//! Convolution on slices. Groups of channels go to [`groups`], dense 3x3 kernels with stride 1 to [`winograd`], the way back
//! through kernels that tile the image to [`patches`]; what follows here is for all others: cache-sized tiles of gathered
//! columns, one matrix product a tile.
//!
//! Forward: `y[p, :] = columns(x)[p, :] * W` with `W: [k*k*Ci, Co]`.
//! Backward: with the columns of the output gradient, gathered once a tile,
//! `dx[p, :] = columns(dy)[p, :] * W'` and `dW' = x^T * columns(dy)`, where `W'` has its taps reversed and its channels
//! swapped. Both gradients come out of one pass over `dy`.

use rayon::prelude::*;

use super::super::chunks;
use super::super::element::Element;
use super::super::lanes::Lanes;
use super::super::matmul::{Into, Mat, matmul};
use super::super::simd;
use super::gather::gather;
use super::geometry::{Geometry, View};
use super::groups;
use super::patches;
use super::winograd::{self, Finish, Parts};

/// Values in a tile of columns: 256 KiB of f32, a part of a second-level cache.
const TILE_VALUES: usize = 64 * 1024;
/// A tile has at least this many pixels, so that reading the weights is paid for.
const TILE_PIXELS: usize = 128;
/// Partial sums of the weight gradient. Fixed, so that the sum's order does not depend on the number of threads.
const PARTS: usize = 16;

/// Pixels in a tile whose pixels see `depth` values each.
fn tile_pixels(depth: usize) -> usize {
    (TILE_VALUES / depth).clamp(TILE_PIXELS, 8 * TILE_PIXELS) / 16 * 16
}

/// What follows the product while the tile is still in the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Epilogue {
    /// Nothing.
    None,
    /// Negative values become 0.
    Relu,
}

/// `y: [N, OH, OW, Co]` from `x: [N, H, W, Ci]` and `w: [k, k, Ci / groups, Co]`.
pub(super) fn forward<T: Lanes>(g: &Geometry, x: &[T], w: &[T], bias: Option<&[T]>, then: Epilogue) -> Vec<T> {
    if g.config.groups > 1 {
        return groups::forward(g, x, w, bias, then);
    }
    if winograd::fits(g) {
        let x = Parts::whole(x, g.channels);
        return winograd::forward(g, x, w, Finish { bias, relu: then == Epilogue::Relu });
    }
    let (depth, co) = (g.depth(), g.out_channels);
    let weights = Mat::new(w, depth, co);
    let view = g.forward_view();
    let tile = tile_pixels(depth);
    let bias = bias.map_or_else(Vec::new, simd::repeat);
    let mut y = vec![T::ZERO; g.out_pixels() * co];
    y.par_chunks_mut(tile * co).enumerate().for_each_init(Vec::new, |scratch, (i, y)| {
        let pixels = y.len() / co;
        let columns = columns(g, &view, x, i * tile, pixels, scratch);
        matmul(y, Into::Set, Mat::new(columns, pixels, depth), weights);
        finish(y, &bias, then);
    });
    y
}

/// The columns of `pixels` destination pixels: gathered, or the image itself for a pointwise kernel.
fn columns<'a, T: Element>(
    g: &Geometry,
    view: &View,
    source: &'a [T],
    first: usize,
    pixels: usize,
    scratch: &'a mut Vec<T>,
) -> &'a [T] {
    let depth = view.depth();
    if g.is_pointwise() {
        return &source[first * depth..(first + pixels) * depth];
    }
    scratch.resize(pixels * depth, T::ZERO);
    gather(view, source, first, scratch);
    scratch
}

/// Adds `bias` (repeated to a wide row, or empty) and rectifies.
pub(super) fn finish<T: Element>(y: &mut [T], bias: &[T], then: Epilogue) {
    if bias.is_empty() {
        return rectify(y, then);
    }
    simd::dispatch(|| {
        for row in y.chunks_mut(bias.len()) {
            for (v, b) in row.iter_mut().zip(bias) {
                *v += *b;
            }
        }
    });
    rectify(y, then);
}

fn rectify<T: Element>(y: &mut [T], then: Epilogue) {
    if then == Epilogue::Relu {
        simd::dispatch(|| {
            for v in y {
                *v = if *v <= T::ZERO { T::ZERO } else { *v };
            }
        });
    }
}

/// Gradients of the input (where asked for) and of the weights.
pub(super) fn backward<T: Lanes>(g: &Geometry, x: &[T], w: &[T], dy: &[T], want_dx: bool) -> (Option<Vec<T>>, Vec<T>) {
    if g.config.groups > 1 {
        return groups::backward(g, x, w, dy, want_dx);
    }
    if winograd::fits(g) {
        let dx = want_dx.then(|| winograd::input_gradient(g, dy, &flip(g, w), g.channels));
        let dw = winograd::kernel_gradient(g, Parts::whole(x, g.channels), dy);
        return (dx.map(|[dx, _]| dx), dw);
    }
    if !want_dx {
        return (None, weight_gradient(g, x, dy));
    }
    if patches::fits(g) {
        let (dx, dw) = patches::backward(g, x, w, dy);
        return (Some(dx), dw);
    }
    let (ci, depth) = (g.channels, g.back_depth());
    let flipped = flip(g, w);
    let weights = Mat::new(&flipped, depth, ci);
    let view = g.backward_view();
    let (tile, group) = tiling(g.pixels(), depth);
    let mut dx = vec![T::ZERO; g.pixels() * ci];
    let partial: Vec<Vec<T>> = dx
        .par_chunks_mut(group * ci)
        .enumerate()
        .map(|(i, dx)| {
            let mut scratch = Vec::new();
            let mut dw = vec![T::ZERO; ci * depth];
            for (j, dx) in dx.chunks_mut(tile * ci).enumerate() {
                let (first, pixels) = (i * group + j * tile, dx.len() / ci);
                let columns = Mat::new(columns(g, &view, dy, first, pixels, &mut scratch), pixels, depth);
                matmul(dx, Into::Set, columns, weights);
                let x = Mat::new(&x[first * ci..(first + pixels) * ci], pixels, ci);
                matmul(&mut dw, Into::Add, x.t(), columns);
            }
            dw
        })
        .collect();
    (Some(dx), unflip(g, &chunks::sum(partial)))
}

/// Only the weights' gradient, `dW = columns(x)^T * dy`: for a network's first layer, whose input needs none and has few
/// channels.
fn weight_gradient<T: Element>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let (co, depth) = (g.out_channels, g.depth());
    let view = g.forward_view();
    let (tile, group) = tiling(g.out_pixels(), depth);
    let partial: Vec<Vec<T>> = dy
        .par_chunks(group * co)
        .enumerate()
        .map(|(i, dy)| {
            let mut scratch = Vec::new();
            let mut dw = vec![T::ZERO; depth * co];
            for (j, dy) in dy.chunks(tile * co).enumerate() {
                let (first, pixels) = (i * group + j * tile, dy.len() / co);
                let columns = Mat::new(columns(g, &view, x, first, pixels, &mut scratch), pixels, depth);
                matmul(&mut dw, Into::Add, columns.t(), Mat::new(dy, pixels, co));
            }
            dw
        })
        .collect();
    chunks::sum(partial)
}

/// Pixels a tile and pixels a group of tiles.
fn tiling(pixels: usize, depth: usize) -> (usize, usize) {
    let tile = tile_pixels(depth);
    (tile, pixels.div_ceil(tile).div_ceil(PARTS).max(1) * tile)
}

/// Input channels that are turned round at a time: a cache line of each row.
const LINE: usize = 16;

/// `[k, k, Ci, Co]` to `[k, k, Co, Ci]` with the taps in reverse order.
pub(super) fn flip<T: Element>(g: &Geometry, w: &[T]) -> Vec<T> {
    let (taps, ci, co) = (g.kernel * g.kernel, g.channels, g.out_channels);
    let mut flipped = vec![T::ZERO; w.len()];
    flipped.par_chunks_mut(co * ci).enumerate().for_each(|(t, dst)| {
        let src = &w[(taps - 1 - t) * ci * co..][..ci * co];
        for (block, src) in src.chunks(LINE * co).enumerate() {
            for (o, dst) in dst.chunks_exact_mut(ci).enumerate() {
                let dst = &mut dst[block * LINE..][..src.len() / co];
                for (v, row) in dst.iter_mut().zip(src.chunks_exact(co)) {
                    *v = row[o];
                }
            }
        }
    });
    flipped
}

/// `[Ci, k, k, Co]` with reversed taps, as the product leaves it, to `[k, k, Ci, Co]`.
fn unflip<T: Element>(g: &Geometry, dw: &[T]) -> Vec<T> {
    let (taps, ci, co) = (g.kernel * g.kernel, g.channels, g.out_channels);
    let mut out = vec![T::ZERO; dw.len()];
    out.par_chunks_mut(ci * co).enumerate().for_each(|(t, dst)| {
        for (i, dst) in dst.chunks_exact_mut(co).enumerate() {
            dst.copy_from_slice(&dw[(i * taps + taps - 1 - t) * co..][..co]);
        }
    });
    out
}
