//! The tiles of a batch of images, and where they lie.

use super::super::geometry::Geometry;
use super::tile::{Patch, REACH, SIDE};

/// Images in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Images {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
}

/// A 3x3 convolution with stride 1 cut into tiles of 4x4 results. Tiles are counted by image, row, column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Grid {
    pub(super) batch: usize,
    pub(super) source: Images,
    pub(super) result: Images,
    padding: usize,
    tile_rows: usize,
    tile_columns: usize,
}

impl Grid {
    /// The forward pass: from input to output.
    pub(super) fn forward(g: &Geometry) -> Self {
        let source = Images { height: g.height, width: g.width, channels: g.channels };
        let result = Images { height: g.out_height, width: g.out_width, channels: g.out_channels };
        Self::new(g.batch, source, result, g.config.padding)
    }

    /// The gradient of the input: a convolution of the output's gradient, with the kernel turned round.
    pub(super) fn backward(g: &Geometry) -> Self {
        let forward = Self::forward(g);
        Self::new(g.batch, forward.result, forward.source, 2 - g.config.padding)
    }

    fn new(batch: usize, source: Images, result: Images, padding: usize) -> Self {
        let (tile_rows, tile_columns) = (result.height.div_ceil(SIDE), result.width.div_ceil(SIDE));
        Self { batch, source, result, padding, tile_rows, tile_columns }
    }

    /// Number of tiles over the batch.
    pub(super) fn tiles(&self) -> usize {
        self.batch * self.tile_rows * self.tile_columns
    }

    /// Pixels of the result.
    pub(super) fn result_pixels(&self) -> usize {
        self.batch * self.result.height * self.result.width
    }

    /// Values of the result.
    pub(super) fn result_values(&self) -> usize {
        self.result_pixels() * self.result.channels
    }

    /// Values of the source.
    pub(super) fn source_values(&self) -> usize {
        self.batch * self.source.height * self.source.width * self.source.channels
    }

    /// `(image, first row, first column)` of a tile's result.
    #[inline(always)]
    fn origin(&self, tile: usize) -> (usize, usize, usize) {
        let (row, column) = (tile / self.tile_columns, tile % self.tile_columns);
        (row / self.tile_rows, row % self.tile_rows * SIDE, column * SIDE)
    }

    /// What a tile reads of `channels` channels of the source, of which the first pixel's lie at `start`.
    #[inline(always)]
    pub(super) fn source_patch<T>(&self, start: (*const T, usize), tile: usize, channels: usize) -> Patch<*const T> {
        self.patch(self.source, (self.padding, REACH), start, tile, channels)
    }

    /// What a tile is of `channels` channels of the result, of which the first pixel's lie at `start`.
    #[inline(always)]
    pub(super) fn result_patch<T>(&self, start: (*const T, usize), tile: usize, channels: usize) -> Patch<*const T> {
        self.patch(self.result, (0, SIDE), start, tile, channels)
    }

    /// The `reach` pixels a side that begin `before` pixels before the tile.
    #[inline(always)]
    fn patch<T>(
        &self,
        Images { height, width, .. }: Images,
        (before, reach): (usize, usize),
        (start, pixel_step): (*const T, usize),
        tile: usize,
        channels: usize,
    ) -> Patch<*const T> {
        let (image, y, x) = self.origin(tile);
        let row_step = width * pixel_step;
        let start = start.wrapping_add((image * height + y) * row_step + x * pixel_step);
        Patch {
            start: start.wrapping_sub(before * (row_step + pixel_step)),
            row_step,
            pixel_step,
            rows: within(y, before, height, reach),
            columns: within(x, before, width, reach),
            channels,
        }
    }
}

/// Which of `reach` places from `origin - before` lie in `0..size`.
#[inline(always)]
fn within(origin: usize, before: usize, size: usize, reach: usize) -> (usize, usize) {
    let first = before.saturating_sub(origin).min(reach);
    let last = (size + before).saturating_sub(origin).min(reach);
    (first, last.max(first))
}
