//! Batches on their way to where the network computes.

use std::sync::Arc;

use candle_core::Tensor;

use crate::net::Result;
use crate::net::batches::{Batch, OnDevice};
use crate::net::device::Compute;
use crate::net::source::PatchSource;

/// Makes tensors of batches.
pub(crate) enum Feed {
    /// On the CPU, where the values are.
    Host,
    /// On a GPU.
    #[cfg(feature = "cuda")]
    Gpu(Box<gpu::GpuFeed>),
}

impl Feed {
    /// For batches of `source`, whose labels are below `classes`. A GPU that has room for all patches gets them now, unless
    /// batches are varied in a way that only the host knows (`on_host`).
    ///
    /// # Errors
    /// What the source or the GPU reports.
    #[cfg_attr(not(feature = "cuda"), expect(unused_variables, reason = "the CPU takes batches as they come"))]
    pub(crate) fn new(compute: &Compute, source: &dyn PatchSource, classes: usize, on_host: bool) -> Result<Self> {
        match compute {
            Compute::Cpu => Ok(Self::Host),
            #[cfg(feature = "cuda")]
            Compute::Gpu { gpu, .. } => {
                let feed = gpu::GpuFeed::new(gpu.shared(), compute.activations(), (source, classes), on_host)?;
                Ok(Self::Gpu(Box::new(feed)))
            }
        }
    }

    /// Bands `[n, size, size, bands]` in the network's type, and labels `[n, size, size]`.
    ///
    /// # Errors
    /// What the GPU reports.
    pub(crate) fn tensors(&mut self, batch: Batch) -> Result<(Tensor, Tensor)> {
        match self {
            Self::Host => batch.into_tensors(),
            #[cfg(feature = "cuda")]
            Self::Gpu(feed) => feed.tensors(batch),
        }
    }

    /// What the loader must know of patches that lie on the device already.
    pub(crate) fn on_device(&self) -> Option<Arc<OnDevice>> {
        match self {
            Self::Host => None,
            #[cfg(feature = "cuda")]
            Self::Gpu(feed) => feed.on_device(),
        }
    }
}

#[cfg(feature = "cuda")]
mod gpu {
    use std::sync::Arc;

    use candle_core::{DType, Tensor};
    use rayon::prelude::*;

    use crate::net::Result;
    use crate::net::batches::{Batch, Content, Draws, OnDevice};
    use crate::net::ops::Gpu;
    use crate::net::ops::cuda::batch::{Draw, Resident, Uploads};
    use crate::net::source::{Part, PatchSource, check_patch};

    /// The share of the free memory that the patches may take; the rest is the network's.
    const SHARE: u64 = 2;
    /// Patches that are read before they are sent together.
    const TOGETHER: usize = 64;

    /// Batches for a GPU.
    pub(crate) struct GpuFeed {
        gpu: Arc<Gpu>,
        dtype: DType,
        uploads: Uploads,
        /// All patches of training and hold-out, where they fit.
        resident: Option<(Resident, Resident, Arc<OnDevice>)>,
    }

    impl GpuFeed {
        pub(super) fn new(
            gpu: &Arc<Gpu>,
            dtype: DType,
            (source, classes): (&dyn PatchSource, usize),
            on_host: bool,
        ) -> Result<Self> {
            let pixels = (source.size() * source.size()) as u64;
            let patches = (source.train_len() + source.holdout_len()) as u64;
            let bytes = patches * pixels * (4 * source.bands() as u64 + 1);
            let (free, _) = gpu.memory()?;
            let resident = if on_host {
                tracing::info!("the augmentation is made on the CPU: every batch is sent to the GPU");
                None
            } else if bytes <= free / SHARE {
                let (train, train_labelled) = upload(gpu, source, Part::Train, classes)?;
                let (holdout, holdout_labelled) = upload(gpu, source, Part::Holdout, classes)?;
                let on_device = OnDevice { train: train_labelled, holdout: holdout_labelled };
                Some((train, holdout, Arc::new(on_device)))
            } else {
                tracing::info!("the patches do not fit into the GPU's memory: every batch is sent to it");
                None
            };
            Ok(Self { gpu: Arc::clone(gpu), dtype, uploads: Uploads::new(gpu)?, resident })
        }

        /// A square of counters, all 0.
        pub(in crate::net::trainer) fn counters(&self, side: usize) -> Result<Tensor> {
            Ok(self.gpu.zeros((side, side), DType::U32)?.into_tensor())
        }

        pub(super) fn on_device(&self) -> Option<Arc<OnDevice>> {
            self.resident.as_ref().map(|(_, _, on_device)| Arc::clone(on_device))
        }

        pub(super) fn tensors(&mut self, batch: Batch) -> Result<(Tensor, Tensor)> {
            let (n, size, _, channels) = batch.shape;
            Ok(match (&batch.content, &self.resident) {
                (Content::Values { bands, labels }, _) => {
                    self.uploads.batch(bands, labels, [n, size, channels], self.dtype)?
                }
                (Content::Draws(draws), Some((train, holdout, _))) => {
                    let Draws { part, patches, jitter } = draws;
                    let draw = |(patch, symmetry): &(usize, crate::net::augment::Symmetry)| Draw {
                        patch: *patch,
                        symmetry: symmetry.bits(),
                    };
                    let draws: Vec<Draw> = patches.iter().map(draw).collect();
                    let from = if *part == Part::Train { train } else { holdout };
                    from.batch(&draws, Some(jitter.as_slice()).filter(|j| !j.is_empty()), self.dtype)?
                }
                (Content::Draws(_), None) => unreachable!("draws are made for patches that lie on the GPU"),
            })
        }
    }

    /// All patches of a part, and the labelled pixels of each.
    fn upload(gpu: &Arc<Gpu>, source: &dyn PatchSource, part: Part, classes: usize) -> Result<(Resident, Vec<u64>)> {
        let count = if part == Part::Train { source.train_len() } else { source.holdout_len() };
        let (size, channels) = (source.size(), source.bands());
        // An empty allocation is refused by some drivers.
        let resident = Resident::new(gpu, count.max(1), size, channels)?;
        let mut labelled = Vec::with_capacity(count);
        let pixels = size * size;
        for first in (0..count).step_by(TOGETHER) {
            let together = TOGETHER.min(count - first);
            let (mut bands, mut labels) = (vec![0.0; together * pixels * channels], vec![0; together * pixels]);
            let read: Vec<u64> = bands
                .par_chunks_mut(pixels * channels)
                .zip(labels.par_chunks_mut(pixels))
                .enumerate()
                .map(|(at, (bands, labels))| {
                    source.read(part, first + at, bands, labels)?;
                    check_patch(part, first + at, classes, bands, labels)
                })
                .collect::<Result<_>>()?;
            labelled.extend(read);
            resident.put(first, &bands, &labels)?;
        }
        Ok((resident, labelled))
    }
}
