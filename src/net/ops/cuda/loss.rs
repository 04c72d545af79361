//! Losses over labelled pixels, each with its gradient. Nothing is copied to the host: a target that is no class makes the loss
//! NaN, where the CPU refuses it.

use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Storage, Tensor, bail};

use super::gpu::Gpu;
use super::launch::{Address, Fresh, THREADS, address_of, gpu_of};
use super::pointwise::scale_by;
use super::softmax::{Logits, check_labels};
use crate::net::ops::{fused::class_weights, tape};

/// A loss (f32, a scalar), and where it was asked for its gradient, of the logits' type.
pub(crate) type LossAndGradient = (Tensor, Option<Tensor>);

/// Operands of a loss, looked at before a kernel sees them.
pub(super) struct Batch {
    pub(super) op: &'static str,
    pub(super) gpu: Arc<Gpu>,
    pub(super) logits: Tensor,
    targets: Tensor,
    pub(super) size: Logits,
    /// Pixels of each class; then those whose target is no class.
    pub(super) counts: Fresh,
}

impl Batch {
    pub(super) fn new(op: &'static str, logits: &Tensor, targets: &Tensor) -> Result<Self> {
        let (logits, targets) = (logits.contiguous()?, targets.contiguous()?);
        check_labels(op, &logits, &targets)?;
        let (gpu, size) = (gpu_of(op, &logits)?, Logits::new(op, logits.dims())?);
        let counts = gpu.zeros(size.classes + 1, DType::I64)?;
        let launch = gpu.kernel("label_counts")?.at(address_of(op, &targets)?).at(counts.address);
        launch.long(size.pixels).int(size.classes)?.over(size.pixels.div_ceil(16))?;
        Ok(Self { op, gpu, logits, targets, size, counts })
    }

    pub(super) fn logits(&self) -> Result<Address> {
        address_of(self.op, &self.logits)
    }

    pub(super) fn targets(&self) -> Result<Address> {
        address_of(self.op, &self.targets)
    }

    /// Class weights on the GPU; none: all are 1.
    fn weights(&self, weights: Option<&[f32]>) -> Result<Option<Tensor>> {
        class_weights(self.op, weights, self.size.classes)?;
        weights.map(|weights| Tensor::new(weights, &self.gpu.device())).transpose()
    }

    /// Room for a gradient, where it is asked for.
    pub(super) fn gradient(&self, wanted: bool) -> Result<Option<Fresh>> {
        wanted.then(|| self.gpu.fresh(self.logits.shape(), self.logits.dtype())).transpose()
    }

    /// The sum of `parts` partial losses (f64), over the number at `norm`, where there is one.
    pub(super) fn total(&self, partials: Address, parts: usize, norm: Address) -> Result<Tensor> {
        let loss = self.gpu.fresh((), DType::F32)?;
        let launch = self.gpu.kernel("loss_total")?.at(partials).at(norm).at(self.counts.address).at(loss.address);
        launch.long(parts).int(self.size.classes)?.grid([1, 1, 1], THREADS, 0)?;
        Ok(loss.into_tensor())
    }
}

/// An operand that may be left out.
fn optional(op: &str, tensor: Option<&Tensor>) -> Result<Address> {
    tensor.map_or(Ok(Address::NONE), |tensor| address_of(op, tensor))
}

/// [`crate::net::ops::softmax_cross_entropy_with_gradient`] on the GPU.
pub(crate) fn cross_entropy(
    logits: &Tensor,
    targets: &Tensor,
    weights: Option<&[f32]>,
    smoothing: f32,
) -> Result<(Tensor, Tensor)> {
    asked("softmax_cross_entropy", cross_entropy_and(logits, targets, weights, smoothing, true)?)
}

/// A loss of `op` with the gradient that was wanted.
pub(crate) fn asked(op: &str, found: LossAndGradient) -> Result<(Tensor, Tensor)> {
    match found {
        (loss, Some(gradient)) => Ok((loss, gradient)),
        (_, None) => bail!("{op}: the gradient that was asked for is missing"),
    }
}

/// [`crate::net::ops::softmax_cross_entropy`] on the GPU, with its gradient where that is `wanted`.
pub(crate) fn cross_entropy_and(
    logits: &Tensor,
    targets: &Tensor,
    weights: Option<&[f32]>,
    smoothing: f32,
    wanted: bool,
) -> Result<LossAndGradient> {
    let batch = Batch::new("softmax_cross_entropy", logits, targets)?;
    if !(0.0..=1.0).contains(&smoothing) {
        bail!("{}: label smoothing must lie in 0..=1, got {smoothing}", batch.op);
    }
    let (gpu, size, terms) = (&batch.gpu, batch.size, Terms::new(&batch, weights, smoothing)?);
    let partials = gpu.fresh(size.blocks(), DType::F64)?;
    let gradient = batch.gradient(wanted)?;
    let launch = gpu.kernel_of("cross_entropy", batch.logits.dtype())?.at(batch.logits()?).at(batch.targets()?);
    let launch = launch.at(terms.factors.address).at(terms.norm.address).at(partials.address);
    size.queue(launch.at(gradient.as_ref().map_or(Address::NONE, |g| g.address)))?;
    let loss = batch.total(partials.address, size.blocks(), terms.norm.address)?;
    Ok((loss, gradient.map(Fresh::into_tensor)))
}

/// [`crate::net::ops::focal_loss`] on the GPU, with its gradient where that is `wanted`.
pub(crate) fn focal(
    logits: &Tensor,
    targets: &Tensor,
    weights: Option<&[f32]>,
    gamma: f32,
    wanted: bool,
) -> Result<LossAndGradient> {
    let batch = Batch::new("focal_loss", logits, targets)?;
    let (gpu, size, terms) = (&batch.gpu, batch.size, Terms::new(&batch, weights, 0.0)?);
    let partials = gpu.fresh(size.blocks(), DType::F64)?;
    let gradient = batch.gradient(wanted)?;
    let launch = gpu.kernel_of("focal", batch.logits.dtype())?.at(batch.logits()?).at(batch.targets()?);
    let launch = launch.at(terms.factors.address).at(terms.norm.address).at(partials.address);
    let launch = launch.at(gradient.as_ref().map_or(Address::NONE, |g| g.address)).float(gamma);
    size.queue(launch)?;
    let loss = batch.total(partials.address, size.blocks(), terms.norm.address)?;
    Ok((loss, gradient.map(Fresh::into_tensor)))
}

/// What of a loss by pixel does not depend on the pixel.
struct Terms {
    /// As `cross_entropy_terms` in the kernels leaves them.
    factors: Fresh,
    /// Weight of the labelled pixels (f64).
    norm: Fresh,
}

impl Terms {
    fn new(batch: &Batch, weights: Option<&[f32]>, smoothing: f32) -> Result<Self> {
        let (gpu, classes, weights) = (&batch.gpu, batch.size.classes, batch.weights(weights)?);
        let factors = gpu.fresh(4 * classes + 2, DType::F32)?;
        let norm = gpu.fresh((), DType::F64)?;
        let launch = gpu.kernel("cross_entropy_terms")?.at(batch.counts.address);
        let launch = launch.at(optional(batch.op, weights.as_ref())?).at(factors.address).at(norm.address);
        launch.float(smoothing).int(classes)?.grid([1, 1, 1], THREADS, 0)?;
        Ok(Self { factors, norm })
    }
}

/// [`crate::net::ops::dice_loss`] on the GPU, with its gradient where that is `wanted`.
pub(crate) fn dice(
    logits: &Tensor,
    targets: &Tensor,
    weights: Option<&[f32]>,
    smooth: f32,
    wanted: bool,
) -> Result<LossAndGradient> {
    let batch = Batch::new("dice_loss", logits, targets)?;
    let (gpu, size, dtype) = (&batch.gpu, batch.size, batch.logits.dtype());
    let (blocks, classes, weights) = (size.blocks(), size.classes, batch.weights(weights)?);
    let partials = gpu.fresh((2 * classes, blocks), DType::F64)?;
    let launch = gpu.kernel_of("dice_sums", dtype)?.at(batch.logits()?).at(batch.targets()?).at(partials.address);
    let launch = launch.long(size.pixels).int(classes)?;
    launch.grid([blocks, classes.div_ceil(THREADS), 1], THREADS, 0)?;
    let slopes = gpu.fresh(2 * classes + 1, DType::F32)?;
    let losses = gpu.fresh(classes, DType::F64)?;
    let launch = gpu.kernel("dice_slopes")?.at(partials.address).at(batch.counts.address);
    let launch = launch.at(optional(batch.op, weights.as_ref())?).at(slopes.address).at(losses.address);
    launch.float(smooth).int(blocks)?.int(classes)?.grid([classes, 1, 1], THREADS, 0)?;
    let gradient = batch.gradient(wanted)?;
    if let Some(gradient) = &gradient {
        let launch = gpu.kernel_of("dice_gradient", dtype)?.at(batch.logits()?).at(batch.targets()?);
        size.queue(launch.at(slopes.address).at(gradient.address))?;
    }
    let loss = batch.total(losses.address, classes, Address::NONE)?;
    Ok((loss, gradient.map(Fresh::into_tensor)))
}

/// A loss of `logits` as an operator, where its gradient is wanted.
pub(crate) fn node(op: &'static str, logits: &Tensor, (loss, gradient): LossAndGradient) -> Result<Tensor> {
    match gradient {
        Some(gradient) => tape::apply1(logits, Known { op, loss, gradient }),
        None => Ok(loss),
    }
}

/// A loss whose gradient was computed with it.
struct Known {
    op: &'static str,
    loss: Tensor,
    gradient: Tensor,
}

impl CustomOp1 for Known {
    fn name(&self) -> &'static str {
        self.op
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("{}: this is the GPU's side of it", self.op)
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        let (storage, layout) = self.loss.storage_and_layout();
        match &*storage {
            Storage::Cuda(storage) => Ok((storage.try_clone(layout)?, Shape::from(()))),
            _ => bail!("{}: the loss is not on the GPU", self.op),
        }
    }

    fn bwd(&self, _logits: &Tensor, _loss: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        scale_by(self.op, &self.gradient, dy).map(Some)
    }
}
