//! Depthwise convolution: a kernel of its own for every channel. That is no matrix product; but the channels of a pixel
//! are neighbours in memory, so sums of many channels are formed side by side in registers.
//!
//! Forward: `y[p, c] = sum over taps t of x[p + t, c] * w[t, c]`. Backward: `dx` is the same sum over the output's
//! gradient with the taps in reverse order, and `dw[t, c] = sum over pixels p of x[p + t, c] * dy[p, c]`.

use rayon::prelude::*;

use super::super::chunks;
use super::super::element::Element;
use super::super::simd;
use super::geometry::{Geometry, View};
use super::kernel::{self, Epilogue};

/// Partial sums of the kernels' gradient. Fixed, so that the sum's order does not depend on the number of threads.
const PARTS: usize = 16;

/// Runs `$body` for blocks of `$B` channels from `$at`, as wide ones as fit: registers full of them, then few, then one.
macro_rules! for_blocks {
    ($channels:expr, $at:ident, $B:ident => $body:expr) => {{
        let mut $at = 0;
        for_blocks!(@while $channels, $at, $B, 32, $body);
        for_blocks!(@while $channels, $at, $B, 8, $body);
        for_blocks!(@while $channels, $at, $B, 1, $body);
    }};
    (@while $channels:expr, $at:ident, $B:ident, $size:literal, $body:expr) => {
        while $channels - $at >= $size {
            const $B: usize = $size;
            $body;
            $at += $B;
        }
    };
}

/// Whether every input channel is a group: `w` is `[k, k, 1, Co]`.
pub(super) fn fits(g: &Geometry) -> bool {
    g.config.groups == g.channels
}

/// `y: [N, OH, OW, Co]` from `x: [N, H, W, Ci]` and `w: [k, k, 1, Co]`.
pub(super) fn forward<T: Element>(g: &Geometry, x: &[T], w: &[T], bias: Option<&[T]>, then: Epilogue) -> Vec<T> {
    let bias = bias.map_or_else(Vec::new, simd::repeat);
    let finish = |row: &mut [T]| kernel::finish(row, &bias, then);
    match copies(g) {
        1 => convolve(&g.forward_view(), x, w, finish),
        n => convolve(&one_to_one(g).forward_view(), &repeat_channels(x, n), w, finish),
    }
}

/// Gradients of the input (where asked for) and of the weights.
pub(super) fn backward<T: Element>(
    g: &Geometry,
    x: &[T],
    w: &[T],
    dy: &[T],
    want_dx: bool,
) -> (Option<Vec<T>>, Vec<T>) {
    let n = copies(g);
    if n > 1 {
        let (dx, dw) = backward(&one_to_one(g), &repeat_channels(x, n), w, dy, want_dx);
        return (dx.map(|dx| sum_copies(&dx, n)), dw);
    }
    let dx = want_dx.then(|| {
        let reversed: Vec<T> = w.chunks_exact(g.channels).rev().flatten().copied().collect();
        convolve(&g.backward_view(), dy, &reversed, |_| ())
    });
    (dx, kernel_gradient(g, x, dy))
}

/// Output channels that see the same input channel.
fn copies(g: &Geometry) -> usize {
    g.out_channels / g.channels
}

/// The same convolution of an input that has a copy of its channel for each output channel. More output channels than
/// input channels are rare, so they get no kernels of their own.
fn one_to_one(g: &Geometry) -> Geometry {
    let config = super::Conv2dConfig { groups: g.out_channels, ..g.config };
    Geometry { channels: g.out_channels, config, ..*g }
}

/// Every value `n` times.
fn repeat_channels<T: Element>(values: &[T], n: usize) -> Vec<T> {
    let step = chunks::rows(n);
    let mut repeated = vec![T::ZERO; n * values.len()];
    repeated.par_chunks_mut(step * n).zip(values.par_chunks(step)).for_each(|(repeated, values)| {
        for (copies, v) in repeated.chunks_exact_mut(n).zip(values) {
            copies.fill(*v);
        }
    });
    repeated
}

/// Sums of `n` neighbours: the gradient of [`repeat_channels`].
fn sum_copies<T: Element>(values: &[T], n: usize) -> Vec<T> {
    let step = chunks::rows(n);
    let mut sums = vec![T::ZERO; values.len() / n];
    sums.par_chunks_mut(step).zip(values.par_chunks(step * n)).for_each(|(sums, values)| {
        for (sum, copies) in sums.iter_mut().zip(values.chunks_exact(n)) {
            for v in copies {
                *sum += *v;
            }
        }
    });
    sums
}

/// For each of `places` along an axis, the `(tap, source coordinate)` that it sees.
fn seen(view: &View, places: usize, size: usize) -> Vec<Vec<(usize, usize)>> {
    let taps = |place| (0..view.kernel).filter_map(move |t| Some((t, view.source(place, t, size)?)));
    (0..places).map(|place| taps(place).collect()).collect()
}

/// What `view` sees of `source`, weighted and summed; `finish` is applied to each row while it is in the cache.
fn convolve<T: Element>(view: &View, source: &[T], w: &[T], finish: impl Fn(&mut [T]) + Sync) -> Vec<T> {
    let ([height, width], channels) = (view.seen_from, view.channels);
    let (rows, columns) = (seen(view, height, view.height), seen(view, width, view.width));
    let image_len = view.height * view.width * channels;
    let batch = source.len() / image_len;
    let mut y = vec![T::ZERO; batch * height * width * channels];
    y.par_chunks_mut(width * channels).enumerate().for_each(|(row, y)| {
        let source = &source[row / height * image_len..][..image_len];
        let rows = &rows[row % height];
        simd::dispatch(|| {
            for (y, columns) in y.chunks_exact_mut(channels).zip(&columns) {
                for_blocks!(channels, at, B => {
                    let sums = window_sums::<T, B>(view, source, w, at, rows, columns);
                    y[at..at + B].copy_from_slice(&sums);
                });
            }
        });
        finish(y);
    });
    y
}

/// One destination pixel's sums for `B` channels from `at`.
#[inline(always)]
fn window_sums<T: Element, const B: usize>(
    view: &View,
    source: &[T],
    w: &[T],
    at: usize,
    rows: &[(usize, usize)],
    columns: &[(usize, usize)],
) -> [T; B] {
    let mut sums = [T::ZERO; B];
    for (ky, y) in rows {
        for (kx, x) in columns {
            let (tap, pixel) = (ky * view.kernel + kx, y * view.width + x);
            add_products(&mut sums, &source[pixel * view.channels + at..], &w[tap * view.channels + at..]);
        }
    }
    sums
}

/// `sums += a * b` over the first `B` values.
#[inline(always)]
fn add_products<T: Element, const B: usize>(sums: &mut [T; B], a: &[T], b: &[T]) {
    for ((s, a), b) in sums.iter_mut().zip(&a[..B]).zip(&b[..B]) {
        *s += *a * *b;
    }
}

/// The weights' gradient: sums over a part of the rows each, then over the parts in order.
fn kernel_gradient<T: Element>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let view = g.forward_view();
    let rows = seen(&view, g.out_height, g.height);
    let columns = pixels_of_taps(g, &seen(&view, g.out_width, g.width));
    let (in_row, out_row, tap_row) = (g.width * g.channels, g.out_width * g.channels, g.kernel * g.channels);
    let step = (g.batch * g.out_height).div_ceil(PARTS).max(1);
    let parts = dy.par_chunks(step * out_row).enumerate().map(|(part, dy)| {
        let mut dw = vec![T::ZERO; g.kernel * tap_row];
        for (row, dy) in (part * step..).zip(dy.chunks_exact(out_row)) {
            let (image, y) = (row / g.out_height, row % g.out_height);
            for (ky, source) in &rows[y] {
                let x = &x[(image * g.height + source) * in_row..][..in_row];
                simd::dispatch(|| add_row(g.channels, &columns, x, dy, &mut dw[ky * tap_row..][..tap_row]));
            }
        }
        dw
    });
    chunks::sum(parts.collect())
}

/// For each tap along a row, the `(output, input)` coordinates that it joins.
fn pixels_of_taps(g: &Geometry, columns: &[Vec<(usize, usize)>]) -> Vec<Vec<(usize, usize)>> {
    let mut pixels = vec![Vec::new(); g.kernel];
    for (out, taps) in columns.iter().enumerate() {
        for (tap, source) in taps {
            pixels[*tap].push((out, *source));
        }
    }
    pixels
}

/// Adds what one row of the output's gradient and one of the input give to a row of taps.
#[inline(always)]
fn add_row<T: Element>(channels: usize, columns: &[Vec<(usize, usize)>], x: &[T], dy: &[T], dw: &mut [T]) {
    for (dw, pixels) in dw.chunks_exact_mut(channels).zip(columns) {
        for_blocks!(channels, at, B => {
            let mut sums = [T::ZERO; B];
            for (out, source) in pixels {
                add_products(&mut sums, &x[source * channels + at..], &dy[out * channels + at..]);
            }
            for (dw, s) in dw[at..at + B].iter_mut().zip(sums) {
                *dw += s;
            }
        });
    }
}
