//! Grids of the kernels that keep a thread at its channels and let it go down the rows (`kernels/rows.cuh`). Arithmetic
//! alone: `tests/cuda_ops.rs` has this file as a module of its own.

use candle_core::DType;

/// Threads of a block where a kernel does not say otherwise.
pub(crate) const THREADS: usize = 256;
/// Packs of channels that a block takes at a time; `SLICE` of the kernels.
const SLICE: usize = 64;
/// Rows that a thread goes over at least, where there are so many.
const ROWS: usize = 8;
/// Partial sums of a channel at most. The number of blocks is a function of the sizes alone, since it decides in what order a
/// sum is made: it is the same on every GPU.
const PARTIALS: usize = 1024;
/// Blocks at most where nothing is summed: several rounds for the largest GPU, so that the last one is short against all.
const BLOCKS: usize = 4096;

/// Rows of channels, of several images that are worked on by themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    pub(super) images: usize,
    /// Of one image.
    pub(super) rows: usize,
    pub(super) channels: usize,
}

impl Rows {
    /// All pixels of images whose last dimension is the channels.
    pub(super) fn of(dims: &[usize]) -> Self {
        let (channels, outer) = dims.split_last().map_or((1, [].as_slice()), |(last, outer)| (*last, outer));
        Self { images: 1, rows: outer.iter().product(), channels }
    }

    /// A grid that leaves one partial sum a channel for each block of its first dimension.
    pub(super) fn summing(&self, dtype: DType) -> [usize; 3] {
        self.grid(dtype, PARTIALS)
    }

    /// A grid for work on each value by itself.
    pub(super) fn mapping(&self, dtype: DType) -> [usize; 3] {
        self.grid(dtype, BLOCKS)
    }

    fn grid(&self, dtype: DType, most: usize) -> [usize; 3] {
        let pack = 16 / dtype.size_in_bytes();
        let packs = if self.channels.is_multiple_of(pack) { self.channels / pack } else { self.channels };
        let (slices, lines) = (packs.div_ceil(SLICE), THREADS / packs.clamp(1, SLICE));
        let most = (most / (slices * self.images).max(1)).max(1);
        [self.rows.div_ceil(lines * ROWS).clamp(1, most), slices.max(1), self.images]
    }
}
