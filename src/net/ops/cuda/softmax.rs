//! Logits: blocks over tiles of pixels (`kernels/tile.cuh`), probabilities, and the confusion matrix.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaStorage;
use candle_core::{D, DType, Layout, Result, Shape, Tensor, bail};

use super::gpu::Gpu;
use super::launch::{Launch, THREADS, address, address_of, gpu_of};

/// Values that a tile holds; `TILE` of the kernels.
const TILE: usize = 6144;
/// Blocks at most. What they leave is added up by block: the number depends on the sizes alone.
const BLOCKS: usize = 2048;

/// Pixels with a logit a class.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logits {
    pub(super) pixels: usize,
    pub(super) classes: usize,
}

impl Logits {
    /// Of `[.., K]`.
    pub(super) fn new(op: &str, dims: &[usize]) -> Result<Self> {
        let (classes, outer) = dims.split_last().map_or((0, [].as_slice()), |(last, outer)| (*last, outer));
        let pixels: usize = outer.iter().product();
        if classes == 0 || pixels == 0 || classes >= TILE {
            bail!("{op}: needs pixels and 1 to {} classes on a GPU, got {dims:?}", TILE - 1);
        }
        Ok(Self { pixels, classes })
    }

    /// Blocks that share the tiles out.
    pub(super) fn blocks(&self) -> usize {
        let pixels = (TILE / (self.classes | 1)).min(THREADS);
        self.pixels.div_ceil(pixels).min(BLOCKS)
    }

    /// Ends a kernel's arguments with the sizes, and queues it.
    pub(super) fn queue(&self, launch: Launch<'_>) -> Result<()> {
        launch.long(self.pixels).int(self.classes)?.grid([self.blocks(), 1, 1], THREADS, 0)
    }
}

/// [`crate::net::ops::softmax_channels`] on the GPU: f32 from logits of either type.
pub(crate) fn softmax(op: &'static str, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let (gpu, logits) = (Gpu::of(&x.device)?, Logits::new(op, layout.dims())?);
    let y = gpu.fresh(layout.shape(), DType::F32)?;
    logits.queue(gpu.kernel_of("softmax", x.dtype())?.at(address(op, x, layout)?).at(y.address))?;
    Ok(y.into_storage())
}

/// Adds the pixels of a batch to `counts: [K, K]` (u32, truth by prediction): the prediction is the class of the highest logit,
/// the first of equals; pixels without a label are left out.
///
/// # Errors
/// When the logits are not on a GPU, or the shapes or types do not fit.
pub fn count_confusion(logits: &Tensor, labels: &Tensor, counts: &Tensor) -> Result<()> {
    const NAME: &str = "confusion";
    let (logits, labels) = (logits.contiguous()?, labels.contiguous()?);
    let (gpu, size) = (gpu_of(NAME, &logits)?, Logits::new(NAME, logits.dims())?);
    check_labels(NAME, &logits, &labels)?;
    if counts.dtype() != DType::U32 || counts.dims() != [size.classes; 2] || !counts.is_contiguous() {
        bail!("{NAME}: counts are {:?} {:?} for {} classes", counts.dtype(), counts.dims(), size.classes);
    }
    let launch = gpu.kernel_of("confusion", logits.dtype())?.at(address_of(NAME, &logits)?);
    size.queue(launch.at(address_of(NAME, &labels)?).at(address_of(NAME, counts)?))
}

/// Refuses labels that do not lie on the logits.
pub(super) fn check_labels(op: &str, logits: &Tensor, labels: &Tensor) -> Result<()> {
    if labels.dtype() != DType::U8 || labels.dims() != &logits.dims()[..logits.rank() - 1] {
        let (dtype, dims) = (labels.dtype(), labels.dims());
        bail!("{op}: targets are {dtype:?} {dims:?}, logits {:?}, {} classes", logits.dims(), logits.dim(D::Minus1)?);
    }
    Ok(())
}
