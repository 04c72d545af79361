//! Row by row: the product of an input row with the kernels of one output row *is* that output row.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::chunks;
use super::super::lanes::{Lanes, dispatch};
use super::super::panel::{Left, Onto, Panels, Product, ROWS, Right, multiply_panel};
use super::super::scratch::in_chunks;
use super::{Geometry, general};

/// Shortest row, in pixels, whose part of the kernels' gradient is worth adding to the sum by itself.
const LONG: usize = 32;

/// The output.
pub(super) fn forward<T: Lanes>(g: &Geometry, x: &[T], w: &[T], bias: &[T]) -> Vec<T> {
    let fits = x.len() == g.rows * g.row_values().0 && w.len() == 4 * g.channels * g.out_channels;
    assert!(fits && bias.len() == g.out_channels);
    dispatch(Forward { g: *g, x, w, bias }).unwrap_or_else(|| general::forward(g, x, w, bias))
}

/// The input's gradient.
pub(super) fn input_gradient<T: Lanes>(g: &Geometry, w: &[T], dy: &[T]) -> Vec<T> {
    assert!(dy.len() == g.rows * g.row_values().1 && w.len() == 4 * g.channels * g.out_channels);
    dispatch(InputGradient { g: *g, w, dy }).unwrap_or_else(|| general::input_gradient(g, w, dy))
}

/// The weights' gradient.
pub(super) fn kernel_gradient<T: Lanes>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    assert!(x.len() == g.rows * g.row_values().0 && dy.len() == g.rows * g.row_values().1);
    dispatch(KernelGradient { g: *g, x, dy }).unwrap_or_else(|| general::kernel_gradient(g, x, dy))
}

impl Geometry {
    /// Whether rows are whole blocks of pixels, and channels whole vectors.
    fn suits<T: Lanes, S: Simd>(&self) -> bool {
        let whole = |values: usize| values.is_multiple_of(T::lanes::<S>());
        self.width.is_multiple_of(ROWS)
            && self.channels.is_multiple_of(ROWS)
            && whole(self.channels)
            && whole(2 * self.out_channels)
    }
}

struct Forward<'a, T> {
    g: Geometry,
    x: &'a [T],
    w: &'a [T],
    bias: &'a [T],
}

impl<T: Lanes> WithSimd for Forward<'_, T> {
    type Output = Option<Vec<T>>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Option<Vec<T>> {
        let Self { g, x, w, bias } = self;
        if !g.suits::<T, S>() {
            return None;
        }
        let (pair, tile, (in_row, out_row)) = (2 * g.out_channels, g.tile_rows(), g.row_values());
        let panels = Panels::new::<T, S>(pair);
        let kernels: [Vec<T>; 2] = [0, 1].map(|i| pack(panels, g.channels, |k, column| w[(2 * k + i) * pair + column]));
        let bias = bias.repeat(2);
        Some(in_chunks(g.rows * out_row, tile * out_row, |number, y| {
            let x = &x[number * tile * in_row..][..y.len() / out_row * in_row];
            simd.vectorize(Block {
                simd,
                panels,
                left: x,
                left_steps: (in_row, 0, g.channels),
                right: [&kernels[0], &kernels[1]],
                depth: g.channels,
                result: y,
                result_steps: (out_row, g.width * pair, pair),
                bias: &bias,
                pixels: g.width,
            });
        }))
    }
}

struct InputGradient<'a, T> {
    g: Geometry,
    w: &'a [T],
    dy: &'a [T],
}

impl<T: Lanes> WithSimd for InputGradient<'_, T> {
    type Output = Option<Vec<T>>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Option<Vec<T>> {
        let Self { g, w, dy } = self;
        if !g.suits::<T, S>() {
            return None;
        }
        let (pair, tile, (in_row, out_row)) = (2 * g.out_channels, g.tile_rows(), g.row_values());
        let panels = Panels::new::<T, S>(g.channels);
        let kernels: [Vec<T>; 2] = [0, 1].map(|i| pack(panels, pair, |k, channel| w[(2 * channel + i) * pair + k]));
        Some(in_chunks(g.rows * in_row, tile * in_row, |number, dx| {
            let dy = &dy[number * tile * out_row..][..dx.len() / in_row * out_row];
            simd.vectorize(Block {
                simd,
                panels,
                left: dy,
                left_steps: (out_row, g.width * pair, pair),
                right: [&kernels[0], &kernels[1]],
                depth: pair,
                result: dx,
                result_steps: (in_row, 0, g.channels),
                bias: &[],
                pixels: g.width,
            });
        }))
    }
}

/// `[panel][depth][column]` of the values that `at(depth, column)` gives.
fn pack<T: Lanes>(panels: Panels, depth: usize, at: impl Fn(usize, usize) -> T) -> Vec<T> {
    let (width, all) = (panels.panel_width(), 0..panels.count());
    let places = all.flat_map(|panel| (0..depth).flat_map(move |k| (0..width).map(move |c| (k, panel * width + c))));
    places.map(|(k, column)| at(k, column)).collect()
}

/// Some rows, times the kernels of both output rows.
///
/// Steps are from row to row, from the part of one output row to that of the other, and from pixel to pixel.
struct Block<'a, S, T> {
    simd: S,
    panels: Panels,
    left: &'a [T],
    left_steps: (usize, usize, usize),
    right: [&'a [T]; 2],
    depth: usize,
    result: &'a mut [T],
    result_steps: (usize, usize, usize),
    /// A value a column where both output rows are results; empty where both add up to one.
    bias: &'a [T],
    pixels: usize,
}

impl<S: Simd, T: Lanes> WithSimd for Block<'_, S, T> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "the inner loop has a pointer interface")]
    fn with_simd<N: Simd>(self, _: N) {
        let Self { simd, panels, left, left_steps, depth, result, result_steps, bias, pixels, .. } = self;
        let width = panels.panel_width();
        for (i, right) in self.right.into_iter().enumerate() {
            for (panel, right) in right.chunks_exact(depth * width).enumerate() {
                for row in 0..left.len() / left_steps.0 {
                    let from = row * left_steps.0 + i * left_steps.1;
                    let to = row * result_steps.0 + i * result_steps.1 + panel * width;
                    let left = &left[from..from + (pixels - 1) * left_steps.2 + depth];
                    let result = &mut result[to..to + (pixels - 1) * result_steps.2 + width];
                    let onto = if bias.is_empty() {
                        Onto::place(i > 0)
                    } else {
                        Onto::Row(bias[panel * width..(panel + 1) * width].as_ptr())
                    };
                    // SAFETY: the slices reach to the last value of the last pixel; the panel is whole.
                    unsafe {
                        multiply_panel(
                            simd,
                            (pixels, depth),
                            Left { start: left.as_ptr(), row_step: left_steps.2, depth_step: 1 },
                            Right { start: right.as_ptr(), row_step: width },
                            Product { start: result.as_mut_ptr(), row_step: result_steps.2, onto },
                            panels,
                        );
                    }
                }
            }
        }
    }
}

struct KernelGradient<'a, T> {
    g: Geometry,
    x: &'a [T],
    dy: &'a [T],
}

impl<T: Lanes> WithSimd for KernelGradient<'_, T> {
    type Output = Option<Vec<T>>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Option<Vec<T>> {
        let Self { g, x, dy } = self;
        if !g.suits::<T, S>() || g.width < LONG {
            return None;
        }
        let (in_row, out_row) = g.row_values();
        let group = g.group_rows();
        let partial = x
            .par_chunks(group * in_row)
            .zip(dy.par_chunks(group * out_row))
            .map(|(x, dy)| {
                let mut dw = vec![T::ZERO; 4 * g.channels * g.out_channels];
                simd.vectorize(KernelBlock { simd, g, x, dy, dw: &mut dw });
                dw
            })
            .collect();
        Some(chunks::sum(partial))
    }
}

/// Adds the part of some rows to the gradient of the weights.
struct KernelBlock<'a, S, T> {
    simd: S,
    g: Geometry,
    x: &'a [T],
    dy: &'a [T],
    dw: &'a mut [T],
}

impl<S: Simd, T: Lanes> WithSimd for KernelBlock<'_, S, T> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "the inner loop has a pointer interface")]
    fn with_simd<N: Simd>(self, _: N) {
        let Self { simd, g, x, dy, dw } = self;
        let pair = 2 * g.out_channels;
        let panels = Panels::new::<T, S>(pair);
        let width = panels.panel_width();
        let (in_row, out_row) = g.row_values();
        for (x, dy) in x.chunks_exact(in_row).zip(dy.chunks_exact(out_row)) {
            for (i, dy) in dy.chunks_exact(g.width * pair).enumerate() {
                for panel in 0..panels.count() {
                    // SAFETY: `x` has a row of pixels and `dy` one of pairs of pixels; the gradient has a row of both
                    // output rows' kernels for each channel.
                    unsafe {
                        let place = dw.as_mut_ptr().add(i * pair + panel * width);
                        multiply_panel(
                            simd,
                            (g.channels, g.width),
                            Left { start: x.as_ptr(), row_step: 1, depth_step: g.channels },
                            Right { start: dy.as_ptr().add(panel * width), row_step: pair },
                            Product { start: place, row_step: 2 * pair, onto: Onto::Place },
                            panels,
                        );
                    }
                }
            }
        }
    }
}
