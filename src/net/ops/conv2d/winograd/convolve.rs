//! The convolution itself, in one of two orders.
//!
//! *By tiles*, where images are large and kernels few: all kernels are transformed once; then each thread takes blocks of
//! tiles, small enough for its second-level cache, from the image through the products to the result.
//! *By kernels*, where images are small and kernels many: all tiles are transformed once; then each thread takes panels of
//! kernels and transforms them as it goes, since writing all of them out (four times their own size) would cost more.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::super::lanes::{Lanes, dispatch};
use super::super::super::panel::{Left, Onto, Panels, Product, ROWS, Right, multiply, multiply_panel};
use super::super::super::scratch::{Filling, filled, with_scratch};
use super::grid::Grid;
use super::kernels::Kernels;
use super::parts::Parts;
use super::tile::{self, POINTS};
use super::tiles::{Buffer, SourceTiles, even_blocks};

/// Input channels whose kernels are transformed at a time when going by kernels.
const INPUTS: usize = 64;

/// What is added to every result, and the least it may be.
#[derive(Clone, Copy)]
pub(in super::super) struct Finish<'a, T> {
    /// A value a channel.
    pub(in super::super) bias: Option<&'a [T]>,
    /// Negative results become 0.
    pub(in super::super) relu: bool,
}

/// The result of convolving `source` with `weights: [3, 3, in, out]`: its first `split` channels, and the others.
///
/// `split` is the number of channels, or a multiple of the values in a vector.
pub(super) fn convolve<T: Lanes>(
    grid: &Grid,
    source: Parts<'_, T>,
    weights: &[T],
    finish: Finish<'_, T>,
    split: usize,
) -> [Vec<T>; 2] {
    assert!(split <= grid.result.channels);
    assert!(finish.bias.is_none_or(|b| b.len() == grid.result.channels), "a bias of another length than the result's");
    let kernels = Kernels::new(weights, grid.source, grid.result);
    dispatch(Convolve { grid: *grid, source, kernels, finish, split })
}

#[derive(Clone, Copy)]
struct Convolve<'a, T> {
    grid: Grid,
    source: Parts<'a, T>,
    kernels: Kernels<'a, T>,
    finish: Finish<'a, T>,
    split: usize,
}

/// Both parts of a result under construction.
type Results<'a, T> = [&'a Filling<'a, T>; 2];

impl<T: Lanes> WithSimd for Convolve<'_, T> {
    type Output = [Vec<T>; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [Vec<T>; 2] {
        let (inputs, outputs) = (self.grid.source.channels, self.grid.result.channels);
        if self.grid.tiles() * (inputs + outputs) <= 2 * inputs * outputs {
            self.by_kernels(simd)
        } else {
            self.by_tiles(simd)
        }
    }
}

impl<T: Lanes> Convolve<'_, T> {
    #[expect(unsafe_code, reason = "tiles are no slices of the result")]
    fn by_tiles<S: Simd>(self, simd: S) -> [Vec<T>; 2] {
        let panels = Panels::new::<T, S>(self.grid.result.channels);
        let kernels = self.kernels.in_panels(simd, panels);
        let source = SourceTiles::new::<S>(self.grid, self.source);
        let blocks = even_blocks(self.grid.tiles(), (source.width() + panels.width()) * size_of::<T>());
        // SAFETY: the tiles cover the result, and each is written by the one task that has it.
        unsafe {
            self.results(|result| {
                (0..blocks.count()).into_par_iter().for_each(|block| {
                    let tiles = blocks.range(block);
                    let rows = (tiles.1 - tiles.0).next_multiple_of(ROWS);
                    let (left, product) = (Buffer::new(rows, source.width()), Buffer::new(rows, panels.width()));
                    with_scratch(left.values() + product.values(), |scratch| {
                        let (kernels, (lefts, products)) = (&kernels[..], scratch.split_at_mut(left.values()));
                        let (left, product) = ((left, lefts), (product, products));
                        let convolve = self;
                        simd.vectorize(TileBlock {
                            convolve,
                            simd,
                            source,
                            kernels,
                            panels,
                            tiles,
                            left,
                            product,
                            result,
                        });
                    });
                });
            })
        }
    }

    #[expect(unsafe_code, reason = "channels are no slices of the result")]
    fn by_kernels<S: Simd>(self, simd: S) -> [Vec<T>; 2] {
        let panels = Panels::new::<T, S>(self.grid.result.channels);
        let source = SourceTiles::new::<S>(self.grid, self.source);
        let transformed = source.transform_all(simd);
        // SAFETY: the panels cover the result's channels, and each is written by the one task that has it.
        unsafe {
            self.results(|result| {
                (0..panels.count()).into_par_iter().for_each(|panel| {
                    let width = panels.panel_width();
                    let kernel = Buffer::new(INPUTS.min(self.grid.source.channels), width);
                    let product = Buffer::new(source.whole().rows, width);
                    with_scratch(kernel.values() + product.values(), |scratch| {
                        let (transformed, (kernels, products)) =
                            (&transformed[..], scratch.split_at_mut(kernel.values()));
                        let (kernel, product) = ((kernel, kernels), (product, products));
                        let convolve = self;
                        simd.vectorize(OnePanel {
                            convolve,
                            simd,
                            source,
                            transformed,
                            panels,
                            panel,
                            kernel,
                            product,
                            result,
                        });
                    });
                });
            })
        }
    }

    /// Both parts of the result, which `fill` writes.
    ///
    /// # Safety
    /// As [`filled`].
    #[expect(unsafe_code, reason = "as filled")]
    unsafe fn results(&self, fill: impl FnOnce(Results<'_, T>)) -> [Vec<T>; 2] {
        let (pixels, channels) = (self.grid.result_pixels(), self.grid.result.channels);
        let mut rest = Vec::new();
        // SAFETY: passed on.
        let first = unsafe {
            filled(pixels * self.split, |first| {
                rest = filled(pixels * (channels - self.split), |rest| fill([first, rest]))
            })
        };
        [first, rest]
    }

    /// Transforms tile `tile`'s products back, for vector `vector` of the channels.
    ///
    /// # Safety
    /// 36 vectors at `products` may be read; nobody else writes this part of the result.
    #[inline(always)]
    #[expect(unsafe_code, reason = "tiles are no slices of the result")]
    unsafe fn put<S: Simd>(
        &self,
        simd: S,
        (products, point_step): (*const T, usize),
        (tile, vector): (usize, usize),
        result: Results<'_, T>,
    ) {
        let lanes = T::lanes::<S>();
        let first = vector * lanes;
        let channels = lanes.min(self.grid.result.channels - first);
        let start = if first < self.split {
            (result[0].at(first).cast_const(), self.split)
        } else {
            (result[1].at(first - self.split).cast_const(), self.grid.result.channels - self.split)
        };
        let patch = self.grid.result_patch(start, tile, channels).writable();
        let zero = T::splat(simd, T::ZERO);
        let bias = match self.finish.bias {
            Some(bias) => T::partial_load(simd, &bias[first..first + channels]),
            None => zero,
        };
        let floor = if self.finish.relu { Some(zero) } else { None };
        // SAFETY: the patch lies in the result; the rest is passed on.
        unsafe { tile::output::<T, S>(simd, products, point_step, (bias, floor), patch) };
    }
}

/// A block of tiles, from the source to the result.
struct TileBlock<'a, S, T> {
    convolve: Convolve<'a, T>,
    simd: S,
    source: SourceTiles<'a, T>,
    kernels: &'a [T],
    panels: Panels,
    tiles: (usize, usize),
    left: (Buffer, &'a mut [T]),
    product: (Buffer, &'a mut [T]),
    result: Results<'a, T>,
}

impl<S: Simd, T: Lanes> WithSimd for TileBlock<'_, S, T> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "buffers are laid out here, and used by their layout")]
    fn with_simd<N: Simd>(self, _: N) {
        let Self { convolve, simd, source, kernels, panels, tiles: (first, last), result, .. } = self;
        let ((left, tiles), (product, products)) = (self.left, self.product);
        let inputs = convolve.grid.source.channels;
        // SAFETY: both buffers have a row for each tile at each point, and the kernels are all there; the result's tiles
        // `first..last` are this task's.
        unsafe {
            for tile in first..last {
                source.transform(simd, tile, tiles.as_mut_ptr().add((tile - first) * left.width), left.point_step);
            }
            for point in 0..POINTS {
                let start = tiles.as_ptr().add(point * left.point_step);
                let right = kernels.as_ptr().add(point * inputs * panels.width());
                let place = products.as_mut_ptr().add(point * product.point_step);
                multiply(
                    simd,
                    (left.rows, inputs),
                    Left { start, row_step: left.width, depth_step: 1 },
                    right,
                    Product { start: place, row_step: product.width, onto: Onto::Nothing },
                    panels,
                );
            }
            for tile in first..last {
                for vector in 0..panels.width() / T::lanes::<S>() {
                    let at = (tile - first) * product.width + vector * T::lanes::<S>();
                    let from = (products.as_ptr().add(at), product.point_step);
                    convolve.put(simd, from, (tile, vector), result);
                }
            }
        }
    }
}

/// All tiles, for the output channels of one panel.
struct OnePanel<'a, S, T> {
    convolve: Convolve<'a, T>,
    simd: S,
    source: SourceTiles<'a, T>,
    transformed: &'a [T],
    panels: Panels,
    panel: usize,
    kernel: (Buffer, &'a mut [T]),
    product: (Buffer, &'a mut [T]),
    result: Results<'a, T>,
}

impl<S: Simd, T: Lanes> WithSimd for OnePanel<'_, S, T> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "buffers are laid out here, and used by their layout")]
    fn with_simd<N: Simd>(self, _: N) {
        let Self { convolve, simd, source, transformed, panels, panel, result, .. } = self;
        let ((kernel, kernels), (product, products)) = (self.kernel, self.product);
        let lanes = T::lanes::<S>();
        let (inputs, width) = (convolve.grid.source.channels, panels.panel_width());
        let (first, last) = (panel * width / lanes, (panel + 1) * width / lanes);
        let left = source.whole();
        for from in (0..inputs).step_by(INPUTS) {
            let to = inputs.min(from + INPUTS);
            // SAFETY: the buffers have room for `INPUTS` kernels and for all tiles at each point.
            unsafe {
                for input in from..to {
                    for vector in first..last {
                        let place = kernels.as_mut_ptr().add((input - from) * width + (vector - first) * lanes);
                        convolve.kernels.transform(simd, (input, vector), place, kernel.point_step);
                    }
                }
                for point in 0..POINTS {
                    let start = transformed.as_ptr().add(point * left.point_step + from);
                    let right = kernels.as_ptr().add(point * kernel.point_step);
                    let place = products.as_mut_ptr().add(point * product.point_step);
                    multiply_panel(
                        simd,
                        (left.rows, to - from),
                        Left { start, row_step: left.width, depth_step: 1 },
                        Right { start: right, row_step: width },
                        Product { start: place, row_step: width, onto: Onto::place(from > 0) },
                        panels,
                    );
                }
            }
        }
        for tile in 0..convolve.grid.tiles() {
            for vector in first..last {
                // SAFETY: as above; this panel's channels of the result are this task's.
                unsafe {
                    let from = products.as_ptr().add(tile * width + (vector - first) * lanes);
                    convolve.put(simd, (from, product.point_step), (tile, vector), result);
                }
            }
        }
    }
}
