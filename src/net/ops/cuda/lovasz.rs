//! Lovász-softmax loss: errors of every class sorted, the loss from their order.

use candle_core::{DType, Result, Tensor, bail};

use super::launch::{Address, Fresh, THREADS};
use super::loss::{Batch, LossAndGradient};

/// Keys that a block takes at a time; `CHUNK` of the kernels.
const CHUNK: usize = 8 * THREADS;
/// Bits of a key that a pass sorts by, and values that they take.
const DIGIT: usize = 4;
const DIGITS: usize = 1 << DIGIT;
/// Pixels must have their number in 31 bits of a key.
const PIXELS: usize = 1 << 31;
/// Bytes of keys that are sorted at a time; classes share them.
const KEYS: usize = 512 << 20;

/// [`crate::net::ops::lovasz_softmax`] on the GPU, with its gradient where that is `wanted`.
pub(crate) fn lovasz(logits: &Tensor, targets: &Tensor, wanted: bool) -> Result<LossAndGradient> {
    let batch = Batch::new("lovasz_softmax", logits, targets)?;
    let (gpu, size) = (&batch.gpu, batch.size);
    if size.pixels > PIXELS {
        bail!("{}: takes at most {PIXELS} pixels on a GPU, got {}", batch.op, size.pixels);
    }
    let sorter = Sorter::new(&batch)?;
    let slopes = gpu.fresh((size.classes, size.pixels), DType::F32)?;
    let losses = gpu.fresh((size.classes, sorter.chunks), DType::F64)?;
    for first in (0..size.classes).step_by(sorter.rows) {
        let some = sorter.rows.min(size.classes - first);
        sorter.fill(first, some)?;
        sorter.sort(some)?;
        sorter.steps(first, some, slopes.address, losses.address)?;
    }
    let gradient = batch.gradient(wanted)?;
    if let Some(gradient) = &gradient {
        let launch = gpu.kernel_of("lovasz_gradient", batch.logits.dtype())?.at(batch.logits()?).at(batch.targets()?);
        size.queue(launch.at(slopes.address).at(batch.counts.address).at(gradient.address))?;
    }
    let loss = batch.total(losses.address, size.classes * sorter.chunks, Address::NONE)?;
    Ok((loss, gradient.map(Fresh::into_tensor)))
}

/// Keys of some classes, a row a class, and room to sort them.
struct Sorter<'a> {
    batch: &'a Batch,
    /// Classes at a time.
    rows: usize,
    /// Chunks of a row.
    chunks: usize,
    keys: Fresh,
    other: Fresh,
    /// Counts a row and chunk: of every digit, then of the class' own pixels.
    counts: Fresh,
}

impl<'a> Sorter<'a> {
    fn new(batch: &'a Batch) -> Result<Self> {
        let (pixels, classes) = (batch.size.pixels, batch.size.classes);
        let rows = (KEYS / (2 * 8 * pixels)).clamp(1, classes);
        let chunks = pixels.div_ceil(CHUNK);
        Ok(Self {
            batch,
            rows,
            chunks,
            keys: batch.gpu.fresh((rows, pixels), DType::I64)?,
            other: batch.gpu.fresh((rows, pixels), DType::I64)?,
            counts: batch.gpu.fresh((rows, DIGITS, chunks), DType::U32)?,
        })
    }

    /// Makes the keys of `some` classes from `first` on.
    fn fill(&self, first: usize, some: usize) -> Result<()> {
        let (batch, size) = (self.batch, self.batch.size);
        let launch = batch.gpu.kernel_of("lovasz_keys", batch.logits.dtype())?.at(batch.logits()?);
        let launch = launch.at(batch.targets()?).at(self.keys.address).long(size.pixels).int(size.classes)?;
        launch.int(first)?.int(some)?.grid([size.blocks(), 1, 1], THREADS, 0)
    }

    /// Sorts every row by the upper 32 bits: an even number of passes, so that the keys end where they were.
    fn sort(&self, some: usize) -> Result<()> {
        let (gpu, pixels, grid) = (&self.batch.gpu, self.batch.size.pixels, [self.chunks, some, 1]);
        let [mut from, mut into] = [self.keys.address, self.other.address];
        for shift in (32..64).step_by(DIGIT) {
            let launch = gpu.kernel("sort_count")?.at(from).at(self.counts.address);
            launch.long(pixels).int(shift)?.grid(grid, THREADS, 0)?;
            self.sum_counts(DIGITS * self.chunks, some)?;
            let launch = gpu.kernel("sort_place")?.at(from).at(into).at(self.counts.address);
            launch.long(pixels).int(shift)?.grid(grid, THREADS, 0)?;
            (from, into) = (into, from);
        }
        Ok(())
    }

    fn sum_counts(&self, length: usize, some: usize) -> Result<()> {
        let launch = self.batch.gpu.kernel("sum_counts")?.at(self.counts.address).long(length);
        launch.grid([some, 1, 1], THREADS, 0)
    }

    /// Losses and slopes from the sorted keys.
    fn steps(&self, first: usize, some: usize, slopes: Address, losses: Address) -> Result<()> {
        let (batch, size, grid) = (self.batch, self.batch.size, [self.chunks, some, 1]);
        let launch = batch.gpu.kernel("lovasz_own")?.at(self.keys.address).at(self.counts.address);
        launch.long(size.pixels).grid(grid, THREADS, 0)?;
        self.sum_counts(self.chunks, some)?;
        let launch = batch.gpu.kernel("lovasz_steps")?.at(self.keys.address).at(self.counts.address);
        let launch = launch.at(batch.counts.address).at(slopes).at(losses);
        launch.long(size.pixels).int(size.classes)?.int(first)?.grid(grid, THREADS, 0)
    }
}
