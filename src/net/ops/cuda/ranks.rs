//! What ranks exchange that lies on their GPUs.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Error, Result, Tensor, bail};

use super::gpu::Gpu;
use super::launch::{Address, address_of};
use super::staged::Staged;
use crate::net::collective::{Collective, Share};
use crate::net::{NetError, RankError};

/// A way from GPU to GPU. Every rank makes the same calls in the same order. Work is queued on the GPU's stream: what was queued
/// before is done before, what is queued afterwards finds the result.
pub(super) trait Way: Send + Sync {
    /// `count` values, f32 or f64, become their sums over all ranks, the same bits everywhere.
    fn sum(&self, values: Address, count: usize, dtype: DType) -> Result<()>;

    /// Of `whole`, every rank has the bytes `parts[rank]` of its own; afterwards it has all.
    fn gather(&self, whole: Address, parts: &[Range<usize>]) -> Result<()>;

    /// For the person at the terminal.
    fn describe(&self) -> String;
}

/// The ranks' GPUs, as this rank sees them.
pub(crate) struct BetweenGpus {
    gpu: Arc<Gpu>,
    way: Box<dyn Way>,
}

/// Opens the way between the GPUs of all ranks, of which `gpu` is this one's: NCCL, where this build has it and all ranks can
/// use it; else through the memory of the hosts.
///
/// # Errors
/// The collective's; NCCL's, where it can be opened and does not work.
pub(crate) fn between_gpus(
    collective: &Arc<dyn Collective>,
    gpu: &Arc<Gpu>,
) -> std::result::Result<Arc<BetweenGpus>, NetError> {
    let way = fast_way(collective, gpu)?;
    let way = way.unwrap_or_else(|| Box::new(Staged::new(Arc::clone(collective), Arc::clone(gpu))));
    Ok(Arc::new(BetweenGpus { gpu: Arc::clone(gpu), way }))
}

#[cfg(feature = "nccl")]
fn fast_way(collective: &Arc<dyn Collective>, gpu: &Arc<Gpu>) -> std::result::Result<Option<Box<dyn Way>>, NetError> {
    super::nccl::Nccl::open(collective, gpu)
}

#[cfg(not(feature = "nccl"))]
fn fast_way(collective: &Arc<dyn Collective>, _: &Arc<Gpu>) -> std::result::Result<Option<Box<dyn Way>>, NetError> {
    // The ranks of a training are one program, but started by hand they may be two.
    collective.gather(b"no NCCL in this build")?;
    Ok(None)
}

impl BetweenGpus {
    /// As [`Way::sum`].
    ///
    /// # Errors
    /// A rank that is gone.
    pub(crate) fn sum(&self, values: Address, count: usize, dtype: DType) -> Result<()> {
        self.way.sum(values, count, dtype)
    }

    /// As [`Way::gather`].
    ///
    /// # Errors
    /// A rank that is gone.
    pub(crate) fn gather(&self, whole: Address, parts: &[Range<usize>]) -> Result<()> {
        self.way.gather(whole, parts)
    }

    /// Images of the whole batch, of the shape `dims`, from those of every rank's share.
    ///
    /// # Errors
    /// A rank that is gone; no memory.
    pub(crate) fn whole_batch(&self, images: &Tensor, share: Share, dims: &[usize]) -> Result<Tensor> {
        const NAME: &str = "whole_batch";
        let images = images.contiguous()?;
        let dtype = images.dtype();
        let image = images.elem_count() / share.mine().len() * dtype.size_in_bytes();
        let whole = self.gpu.fresh(dims, dtype)?;
        let parts: Vec<Range<usize>> = (0..share.ranks)
            .map(|rank| share.of(rank))
            .map(|patches| patches.start * image..patches.end * image)
            .collect();
        let mine = &parts[share.rank];
        self.gpu.copy(address_of(NAME, &images)?, Address(whole.address.0 + mine.start as u64), mine.len())?;
        self.gather(whole.address, &parts)?;
        Ok(whole.into_tensor())
    }

    /// Gradients (f32) one after another, summed over the ranks; zeros in the place of this rank's, where they do not `count`.
    ///
    /// # Errors
    /// A rank that is gone; no memory.
    pub(crate) fn flat_sum(&self, gradients: &[&Tensor], count: bool) -> Result<Tensor> {
        const NAME: &str = "flat_sum";
        let values: usize = gradients.iter().map(|gradient| gradient.elem_count()).sum();
        let flat = if count { self.gpu.fresh(values, DType::F32)? } else { self.gpu.zeros(values, DType::F32)? };
        let mut at = flat.address;
        for gradient in gradients.iter().filter(|_| count) {
            if gradient.dtype() != DType::F32 {
                bail!("{NAME}: gradients are f32, got {:?}", gradient.dtype());
            }
            let gradient = gradient.contiguous()?;
            self.gpu.copy(address_of(NAME, &gradient)?, at, gradient.elem_count() * DType::F32.size_in_bytes())?;
            at = at.plus(gradient.elem_count(), DType::F32);
        }
        self.sum(flat.address, values, DType::F32)?;
        Ok(flat.into_tensor())
    }

    /// For the person at the terminal.
    pub(crate) fn describe(&self) -> String {
        self.way.describe()
    }
}

impl fmt::Debug for BetweenGpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BetweenGpus").field("gpu", self.gpu.info()).field("way", &self.describe()).finish()
    }
}

/// An error of the collective inside candle's.
pub(super) fn of_ranks(error: RankError) -> Error {
    Error::wrap(error)
}
