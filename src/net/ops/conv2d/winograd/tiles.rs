//! Transformed tiles in memory, and blocks of them.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::super::lanes::Lanes;
use super::super::super::panel::{Panels, ROWS};
use super::super::super::scratch::{Filling, filled};
use super::grid::Grid;
use super::parts::Parts;
use super::tile::{self, POINTS};

/// Bytes that a thread's blocks of tiles take: half a second-level cache of 1 MiB.
const BLOCK_BYTES: usize = 512 * 1024;
/// A block has at least this many tiles, so that reading the kernels is paid for.
const LEAST: usize = 48;
/// Tiles that are transformed by one task where all are.
const STEP: usize = 16;

/// A matrix of `rows` times `width` values for each of the 36 points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Buffer {
    pub(super) rows: usize,
    pub(super) width: usize,
    /// Values from one point's matrix to the next.
    pub(super) point_step: usize,
}

impl Buffer {
    pub(super) fn new(rows: usize, width: usize) -> Self {
        // A line more than needed: were the step a power of two, all points would share a few sets of the cache.
        Self { rows, width, point_step: (rows * width).next_multiple_of(16) + 16 }
    }

    /// Values of all matrices.
    pub(super) fn values(&self) -> usize {
        POINTS * self.point_step
    }
}

/// Tiles `0..tiles` cut into blocks as even as can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Blocks {
    tiles: usize,
    each: usize,
}

impl Blocks {
    /// `count` blocks or fewer.
    pub(super) fn of(tiles: usize, count: usize) -> Self {
        Self { tiles, each: tiles.div_ceil(count.max(1)).next_multiple_of(ROWS) }
    }

    pub(super) fn count(&self) -> usize {
        self.tiles.div_ceil(self.each)
    }

    /// First tile of a block, and of the next.
    pub(super) fn range(&self, block: usize) -> (usize, usize) {
        (block * self.each, self.tiles.min((block + 1) * self.each))
    }
}

/// Blocks whose transformed values, `bytes` a tile and point, stay in the cache.
pub(super) fn even_blocks(tiles: usize, bytes: usize) -> Blocks {
    let each = (BLOCK_BYTES / (POINTS * bytes)).max(LEAST);
    Blocks::of(tiles, tiles.div_ceil(each))
}

/// The source's tiles, to be transformed to rows of channels.
#[derive(Clone, Copy)]
pub(super) struct SourceTiles<'a, T> {
    grid: Grid,
    source: Parts<'a, T>,
    width: usize,
}

impl<'a, T: Lanes> SourceTiles<'a, T> {
    pub(super) fn new<S: Simd>(grid: Grid, source: Parts<'a, T>) -> Self {
        let fits = source.len() == grid.source_values() && source.channels() == grid.source.channels;
        assert!(fits, "another source than the grid's");
        Self { grid, source, width: grid.source.channels.next_multiple_of(ROWS.max(T::lanes::<S>())) }
    }

    /// Values of a row: the channels, padded to whole vectors and to [`ROWS`].
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Room for all tiles.
    pub(super) fn whole(&self) -> Buffer {
        Buffer::new(self.grid.tiles().next_multiple_of(ROWS), self.width)
    }

    /// Transforms one tile to a row at `out`.
    ///
    /// # Safety
    /// A row at each point may be written.
    #[inline(always)]
    #[expect(unsafe_code, reason = "writes at places that a caller worked out")]
    pub(super) unsafe fn transform<S: Simd>(&self, simd: S, tile: usize, out: *mut T, point_step: usize) {
        let lanes = T::lanes::<S>();
        let channels = self.grid.source.channels;
        for first in (0..channels).step_by(lanes) {
            let patch = self.grid.source_patch(self.source.at(first), tile, lanes.min(channels - first));
            // SAFETY: the patch's pixels in the image lie in the source; the rest is passed on.
            unsafe { tile::input::<T, S>(simd, patch, out.add(first), point_step) };
        }
    }

    /// Transforms all tiles, as [`SourceTiles::whole`] lays them out. Rows that only fill up are zeros.
    pub(super) fn transform_all<S: Simd>(&self, simd: S) -> Vec<T> {
        let layout = self.whole();
        let mut all = vec![T::ZERO; layout.values()];
        let out = Filling::over(&mut all);
        (0..self.grid.tiles().div_ceil(STEP)).into_par_iter().for_each(|step| {
            simd.vectorize(SomeTiles { simd, tiles: *self, first: step * STEP, layout, out: &out });
        });
        all
    }
}

/// Transforms a few tiles of the source.
struct SomeTiles<'a, S, T> {
    simd: S,
    tiles: SourceTiles<'a, T>,
    first: usize,
    layout: Buffer,
    out: &'a Filling<'a, T>,
}

impl<S: Simd, T: Lanes> WithSimd for SomeTiles<'_, S, T> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "a tile's points lie apart")]
    fn with_simd<N: Simd>(self, _: N) {
        let Self { simd, tiles, first, layout, out } = self;
        for tile in first..tiles.grid.tiles().min(first + STEP) {
            // SAFETY: the layout has a row for each tile at each point, and this one is this task's.
            unsafe { tiles.transform(simd, tile, out.at(tile * layout.width), layout.point_step) };
        }
    }
}

/// The tiles of a result's gradient, to be transformed to panels.
#[derive(Clone, Copy)]
pub(super) struct ResultTiles<'a, T> {
    grid: Grid,
    gradient: &'a [T],
    pub(super) panels: Panels,
}

impl<'a, T: Lanes> ResultTiles<'a, T> {
    pub(super) fn new<S: Simd>(grid: Grid, gradient: &'a [T]) -> Self {
        assert_eq!(gradient.len(), grid.result_values(), "another gradient than the grid's");
        Self { grid, gradient, panels: Panels::new::<T, S>(grid.result.channels) }
    }

    /// Transforms one tile to row `row` of panels of `depth` rows at `out`.
    ///
    /// # Safety
    /// Such panels at each point may be written.
    #[inline(always)]
    #[expect(unsafe_code, reason = "writes at places that a caller worked out")]
    pub(super) unsafe fn transform<S: Simd>(
        &self,
        simd: S,
        tile: usize,
        (row, depth): (usize, usize),
        out: *mut T,
        point_step: usize,
    ) {
        let lanes = T::lanes::<S>();
        let channels = self.grid.result.channels;
        for (vector, first) in (0..channels).step_by(lanes).enumerate() {
            let start = self.gradient.as_ptr().wrapping_add(first);
            let patch = self.grid.result_patch((start, channels), tile, lanes.min(channels - first));
            // SAFETY: the patch's pixels in the image lie in the gradient; the rest is passed on.
            unsafe {
                let out = out.add(self.panels.place(vector, row, depth));
                tile::output_gradient::<T, S>(simd, patch, out, point_step);
            }
        }
    }

    /// Transforms all tiles: `[36][panel][tile][column]`, from one point to the next [`ResultTiles::point_step`].
    #[expect(unsafe_code, reason = "a tile's points lie apart")]
    pub(super) fn transform_all<S: Simd>(&self, simd: S) -> Vec<T> {
        let point_step = self.point_step();
        // SAFETY: every tile's row of every panel is written, by the one task that has the tile.
        unsafe {
            filled(POINTS * point_step, |out| {
                (0..self.grid.tiles().div_ceil(STEP)).into_par_iter().for_each(|step| {
                    simd.vectorize(SomeGradients { simd, tiles: *self, first: step * STEP, out });
                });
            })
        }
    }

    /// Values from one point to the next where all tiles are transformed.
    pub(super) fn point_step(&self) -> usize {
        self.grid.tiles() * self.panels.width()
    }
}

/// Transforms a few tiles of the result's gradient.
struct SomeGradients<'a, S, T> {
    simd: S,
    tiles: ResultTiles<'a, T>,
    first: usize,
    out: &'a Filling<'a, T>,
}

impl<S: Simd, T: Lanes> WithSimd for SomeGradients<'_, S, T> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "a tile's points lie apart")]
    fn with_simd<N: Simd>(self, _: N) {
        let Self { simd, tiles, first, out } = self;
        let count = tiles.grid.tiles();
        for tile in first..count.min(first + STEP) {
            // SAFETY: there is a row for each tile in each panel at each point, and this one is this task's.
            unsafe { tiles.transform(simd, tile, (tile, count), out.at(0), tiles.point_step()) };
        }
    }
}
