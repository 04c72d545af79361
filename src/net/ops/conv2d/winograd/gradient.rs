//! The gradient of the kernels, in one of the two orders that [`convolve`](super::convolve) has.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::super::chunks;
use super::super::super::lanes::{Lanes, dispatch};
use super::super::super::panel::{Left, Onto, Product, ROWS, Right, multiply, multiply_panel};
use super::super::super::scratch::{Filling, filled, with_scratch};
use super::grid::Grid;
use super::parts::Parts;
use super::tile::{self, POINTS};
use super::tiles::{Blocks, Buffer, ResultTiles, SourceTiles, even_blocks};

/// Input channels of a task when going by kernels.
const INPUTS: usize = 64;
/// Partial sums when going by tiles. Fixed, so that the sum's order does not depend on the number of threads.
const GROUPS: usize = 16;
/// Kernels (input times output channels) from which on a sum for each group of tiles costs more than it saves.
const MANY_KERNELS: usize = 96 * 96;

/// Gradient `[3, 3, in, out]` of the kernels, from the convolution's source and the gradient of its result.
pub(super) fn kernel_gradient<T: Lanes>(grid: &Grid, source: Parts<'_, T>, gradient: &[T]) -> Vec<T> {
    dispatch(KernelGradient { grid: *grid, source, gradient })
}

struct KernelGradient<'a, T> {
    grid: Grid,
    source: Parts<'a, T>,
    gradient: &'a [T],
}

impl<T: Lanes> WithSimd for KernelGradient<'_, T> {
    type Output = Vec<T>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<T> {
        let source = SourceTiles::new::<S>(self.grid, self.source);
        let gradient = ResultTiles::new::<S>(self.grid, self.gradient);
        let (inputs, outputs) = (self.grid.source.channels, self.grid.result.channels);
        let both = Both { grid: self.grid, source, gradient };
        let few_tiles = self.grid.tiles() * (inputs + outputs) <= 2 * inputs * outputs;
        if few_tiles || inputs * outputs >= MANY_KERNELS { both.by_kernels(simd) } else { both.by_tiles(simd) }
    }
}

#[derive(Clone, Copy)]
struct Both<'a, T> {
    grid: Grid,
    source: SourceTiles<'a, T>,
    gradient: ResultTiles<'a, T>,
}

impl<T: Lanes> Both<'_, T> {
    #[expect(unsafe_code, reason = "the taps of a kernel lie apart")]
    fn by_kernels<S: Simd>(self, simd: S) -> Vec<T> {
        let (source, gradient) = (self.source.transform_all(simd), self.gradient.transform_all(simd));
        let panels = self.gradient.panels.count();
        let parts = self.grid.source.channels.div_ceil(INPUTS);
        // SAFETY: the tasks cover all kernels, and each writes its own.
        unsafe {
            filled(self.values(), |out| {
                (0..parts * panels).into_par_iter().for_each(|task| {
                    let (source, gradient) = (&source[..], &gradient[..]);
                    let (panel, first) = (task % panels, task / panels * INPUTS);
                    let inputs = INPUTS.min(self.grid.source.channels - first);
                    let sums = Buffer::new(inputs.next_multiple_of(ROWS), self.gradient.panels.panel_width());
                    with_scratch(sums.values(), |scratch| {
                        let (both, inputs, sums) = (self, (first, inputs), (sums, scratch));
                        simd.vectorize(SomeKernels { both, simd, source, gradient, panel, inputs, sums, out });
                    });
                });
            })
        }
    }

    fn by_tiles<S: Simd>(self, simd: S) -> Vec<T> {
        let groups = Blocks::of(self.grid.tiles(), GROUPS);
        let partial = (0..groups.count()).into_par_iter().map(|group| self.group(simd, groups.range(group))).collect();
        chunks::sum(partial)
    }

    /// The gradient over tiles `first..last`.
    #[expect(unsafe_code, reason = "the taps of a kernel lie apart")]
    fn group<S: Simd>(self, simd: S, (first, last): (usize, usize)) -> Vec<T> {
        let (width, panels) = (self.source.width(), self.gradient.panels);
        let blocks = even_blocks(last - first, (width + panels.width()) * size_of::<T>());
        let most = blocks.range(0).1;
        let (left, right) = (Buffer::new(most, width), Buffer::new(most, panels.width()));
        let sums = Buffer::new(width, panels.width());
        with_scratch(left.values() + right.values() + sums.values(), |scratch| {
            let (lefts, scratch) = scratch.split_at_mut(left.values());
            let (rights, total) = scratch.split_at_mut(right.values());
            let (left, right, sums) = ((left, lefts), (right, rights), (sums, total));
            // SAFETY: all kernels are written, by this task.
            unsafe {
                filled(self.values(), |out| {
                    simd.vectorize(TileGroup { both: self, simd, first, blocks, left, right, sums, out });
                })
            }
        })
    }

    fn values(&self) -> usize {
        9 * self.grid.source.channels * self.grid.result.channels
    }

    /// Transforms one kernel's gradient back, for vector `vector` of the output channels.
    ///
    /// # Safety
    /// 36 vectors at `points` may be read; nobody else writes these kernels.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the taps of a kernel lie apart")]
    unsafe fn put<S: Simd>(
        &self,
        simd: S,
        (points, point_step): (*const T, usize),
        (input, vector): (usize, usize),
        out: &Filling<'_, T>,
    ) {
        let (inputs, outputs) = (self.grid.source.channels, self.grid.result.channels);
        let first = vector * T::lanes::<S>();
        let channels = T::lanes::<S>().min(outputs - first);
        let taps = (out.at(input * outputs + first), inputs * outputs);
        // SAFETY: the taps lie in `out`; the rest is passed on.
        unsafe { tile::kernel_gradient::<T, S>(simd, points, point_step, taps, channels) };
    }
}

/// The kernels of some input channels and one panel of output channels, over all tiles.
struct SomeKernels<'a, S, T> {
    both: Both<'a, T>,
    simd: S,
    source: &'a [T],
    gradient: &'a [T],
    panel: usize,
    inputs: (usize, usize),
    sums: (Buffer, &'a mut [T]),
    out: &'a Filling<'a, T>,
}

impl<S: Simd, T: Lanes> WithSimd for SomeKernels<'_, S, T> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "buffers are laid out here, and used by their layout")]
    fn with_simd<N: Simd>(self, _: N) {
        let Self { both, simd, source, gradient, panel, inputs: (first, inputs), sums: (sums, total), out } = self;
        let lanes = T::lanes::<S>();
        let (tiles, panels) = (both.grid.tiles(), both.gradient.panels);
        let (left, width) = (both.source.whole(), panels.panel_width());
        for point in 0..POINTS {
            // SAFETY: both sides hold all tiles at each point, the left one padded to whole blocks of channels.
            unsafe {
                let start = source.as_ptr().add(point * left.point_step + first);
                let right = gradient.as_ptr().add(point * both.gradient.point_step() + panel * tiles * width);
                let place = total.as_mut_ptr().add(point * sums.point_step);
                multiply_panel(
                    simd,
                    (sums.rows, tiles),
                    Left { start, row_step: 1, depth_step: left.width },
                    Right { start: right, row_step: width },
                    Product { start: place, row_step: width, onto: Onto::Nothing },
                    panels,
                );
            }
        }
        for input in 0..inputs {
            for vector in 0..width / lanes {
                // SAFETY: the sums are there, and the kernels are this task's.
                unsafe {
                    let from = (total.as_ptr().add(input * width + vector * lanes), sums.point_step);
                    both.put(simd, from, (first + input, panel * width / lanes + vector), out);
                }
            }
        }
    }
}

/// All kernels, over a group of tiles.
struct TileGroup<'a, S, T> {
    both: Both<'a, T>,
    simd: S,
    first: usize,
    blocks: Blocks,
    left: (Buffer, &'a mut [T]),
    right: (Buffer, &'a mut [T]),
    sums: (Buffer, &'a mut [T]),
    out: &'a Filling<'a, T>,
}

impl<S: Simd, T: Lanes> WithSimd for TileGroup<'_, S, T> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "buffers are laid out here, and used by their layout")]
    fn with_simd<N: Simd>(self, _: N) {
        let Self { both, simd, first, blocks, left: (left, lefts), right: (right, rights), sums: (sums, total), out } =
            self;
        let lanes = T::lanes::<S>();
        let (width, panels) = (both.source.width(), both.gradient.panels);
        for block in 0..blocks.count() {
            let (from, to) = blocks.range(block);
            let depth = to - from;
            // SAFETY: the buffers have room for the largest block at each point.
            unsafe {
                for tile in 0..depth {
                    let (at, place) = (first + from + tile, lefts.as_mut_ptr().add(tile * width));
                    both.source.transform(simd, at, place, left.point_step);
                    both.gradient.transform(simd, at, (tile, depth), rights.as_mut_ptr(), right.point_step);
                }
                for point in 0..POINTS {
                    let start = lefts.as_ptr().add(point * left.point_step);
                    let right = rights.as_ptr().add(point * right.point_step);
                    let place = total.as_mut_ptr().add(point * sums.point_step);
                    multiply(
                        simd,
                        (width, depth),
                        Left { start, row_step: 1, depth_step: width },
                        right,
                        Product { start: place, row_step: panels.width(), onto: Onto::place(block > 0) },
                        panels,
                    );
                }
            }
        }
        for input in 0..both.grid.source.channels {
            for vector in 0..panels.width() / lanes {
                // SAFETY: the sums are there; `out` has all kernels, and this task alone writes them.
                unsafe {
                    let from = total.as_ptr().add(input * panels.width() + vector * lanes);
                    both.put(simd, (from, sums.point_step), (input, vector), out);
                }
            }
        }
    }
}
