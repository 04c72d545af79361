//! Any sizes: one matrix product for a block of pixels, and a rearrangement.

use rayon::prelude::*;

use super::super::chunks;
use super::super::element::Element;
use super::super::matmul::{Into, Mat, matmul};
use super::super::scratch::in_chunks;
use super::Geometry;

/// The output.
pub(super) fn forward<T: Element>(g: &Geometry, x: &[T], w: &[T], bias: &[T]) -> Vec<T> {
    let (in_row, out_row) = g.row_values();
    let weights = Mat::new(w, g.channels, 4 * g.out_channels);
    let tile = g.tile_rows();
    in_chunks(g.rows * out_row, tile * out_row, |number, y| {
        let pixels = y.len() / out_row * g.width;
        let x = &x[number * tile * in_row..][..pixels * g.channels];
        let mut block = vec![T::ZERO; y.len()];
        matmul(&mut block, Into::Set, Mat::new(x, pixels, g.channels), weights);
        spread(g, &block, bias, y);
    })
}

/// `[pixel, i, j, channel]` of some input rows to output rows `[row, i, pixel, j, channel]`, plus the bias.
fn spread<T: Element>(g: &Geometry, block: &[T], bias: &[T], y: &mut [T]) {
    let pair = 2 * g.out_channels;
    let (_, out_row) = g.row_values();
    for (block, y) in block.chunks_exact(out_row).zip(y.chunks_exact_mut(out_row)) {
        for (i, y) in y.chunks_exact_mut(g.width * pair).enumerate() {
            for (pixel, y) in y.chunks_exact_mut(pair).enumerate() {
                let src = &block[(2 * pixel + i) * pair..][..pair];
                for (y, src) in y.chunks_exact_mut(bias.len()).zip(src.chunks_exact(bias.len())) {
                    for ((y, s), b) in y.iter_mut().zip(src).zip(bias) {
                        *y = *s + *b;
                    }
                }
            }
        }
    }
}

/// The inverse of [`spread`], without the bias.
fn collect<T: Element>(g: &Geometry, dy: &[T], block: &mut [T]) {
    let pair = 2 * g.out_channels;
    let (_, out_row) = g.row_values();
    for (block, dy) in block.chunks_exact_mut(out_row).zip(dy.chunks_exact(out_row)) {
        for (i, dy) in dy.chunks_exact(g.width * pair).enumerate() {
            for (pixel, dy) in dy.chunks_exact(pair).enumerate() {
                block[(2 * pixel + i) * pair..][..pair].copy_from_slice(dy);
            }
        }
    }
}

/// The input's gradient.
pub(super) fn input_gradient<T: Element>(g: &Geometry, w: &[T], dy: &[T]) -> Vec<T> {
    let (in_row, out_row) = g.row_values();
    let weights = Mat::new(w, g.channels, 4 * g.out_channels);
    let tile = g.tile_rows();
    in_chunks(g.rows * in_row, tile * in_row, |number, dx| {
        let rows = dx.len() / in_row;
        let mut block = vec![T::ZERO; rows * out_row];
        collect(g, &dy[number * tile * out_row..][..rows * out_row], &mut block);
        matmul(dx, Into::Set, Mat::new(&block, rows * g.width, 4 * g.out_channels), weights.t());
    })
}

/// The weights' gradient.
pub(super) fn kernel_gradient<T: Element>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let (in_row, out_row) = g.row_values();
    let (tile, group) = (g.tile_rows(), g.group_rows());
    let partial = x
        .par_chunks(group * in_row)
        .zip(dy.par_chunks(group * out_row))
        .map(|(x, dy)| {
            let mut block = Vec::new();
            let mut dw = vec![T::ZERO; 4 * g.channels * g.out_channels];
            for (x, dy) in x.chunks(tile * in_row).zip(dy.chunks(tile * out_row)) {
                block.resize(dy.len(), T::ZERO);
                collect(g, dy, &mut block);
                let pixels = x.len() / g.channels;
                let block = Mat::new(&block, pixels, 4 * g.out_channels);
                matmul(&mut dw, Into::Add, Mat::new(x, pixels, g.channels).t(), block);
            }
            dw
        })
        .collect();
    chunks::sum(partial)
}
