//! Batches, prepared on a thread of their own while the step before runs.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::augment::{AugmentConfig, Jitter, PatchShape, Symmetry, Variation, mix};
use super::rng::Rng;
use super::sampling::Sampler;
use super::source::{Part, PatchSource, check_patch};
use super::{IGNORE, NetError, Result};

/// Batches that wait ready. Two hide an uneven reader; more would only cost memory.
const READY: usize = 2;

/// Patches side by side, as they go into the network.
pub(crate) struct Batch {
    pub(crate) content: Content,
    /// Number of patches, height, width, bands.
    pub(crate) shape: (usize, usize, usize, usize),
    /// Pixels with a label.
    pub(crate) labelled: u64,
}

/// What a batch carries.
pub(crate) enum Content {
    /// Bands `[n, size, size, bands]` and labels `[n, size, size]`.
    Values { bands: Vec<f32>, labels: Vec<u8> },
    /// Which of the patches that lie on the device already, and how they are varied.
    #[cfg_attr(not(any(test, feature = "cuda")), expect(dead_code, reason = "only a GPU makes batches of draws"))]
    Draws(Draws),
}

/// The random choices of a batch.
pub(crate) struct Draws {
    #[cfg_attr(not(any(test, feature = "cuda")), expect(dead_code, reason = "only a GPU makes batches of draws"))]
    pub(crate) part: Part,
    /// Number and symmetry of every patch.
    pub(crate) patches: Vec<(usize, Symmetry)>,
    /// Gain and offset of every patch and band; empty without jitter.
    pub(crate) jitter: Vec<f32>,
}

impl Batch {
    /// Bands `[n, size, size, bands]` f32 and labels `[n, size, size]` u8 on the CPU: moved, not copied.
    pub(crate) fn into_tensors(self) -> Result<(Tensor, Tensor)> {
        let (n, height, width, _) = self.shape;
        let Content::Values { bands, labels } = self.content else {
            return Err(NetError::Config("a batch of patches on a GPU was given to the CPU".into()));
        };
        let bands = Tensor::from_vec(bands, self.shape, &Device::Cpu)?;
        Ok((bands, Tensor::from_vec(labels, (n, height, width), &Device::Cpu)?))
    }

    /// The values, to be written.
    fn values(&mut self) -> (&mut [f32], &mut [u8]) {
        match &mut self.content {
            Content::Values { bands, labels } => (bands, labels),
            Content::Draws(_) => (&mut [], &mut []),
        }
    }
}

/// Labelled pixels of every patch, of training and hold-out, where the patches lie on the device.
pub(crate) struct OnDevice {
    pub(crate) train: Vec<u64>,
    pub(crate) holdout: Vec<u64>,
}

/// Reads and augments batches. What a batch holds depends on seed, epoch and step only.
#[derive(Clone)]
pub(crate) struct Loader<'a> {
    pub(crate) source: &'a dyn PatchSource,
    pub(crate) classes: usize,
    pub(crate) batch: usize,
    pub(crate) augment: AugmentConfig,
    pub(crate) rng: Rng,
    /// Where the patches lie on the device: batches then say which ones, and carry no values.
    pub(crate) on_device: Option<Arc<OnDevice>>,
}

impl<'a> Loader<'a> {
    /// All training batches from step `step` of epoch `epoch` to the end of epoch `epochs - 1`.
    pub(crate) fn train_batches(
        &'a self,
        sampler: &'a Sampler,
        (epoch, step): (usize, usize),
        epochs: usize,
    ) -> impl Iterator<Item = Result<Batch>> + Send + 'a {
        (epoch..epochs).flat_map(move |e| {
            let skipped = if e == epoch { step } else { 0 };
            let order = sampler.epoch(e);
            let steps = order.len().div_ceil(self.batch);
            (skipped..steps).map(move |s| {
                let first = s * self.batch;
                let patches = &order[first..order.len().min(first + self.batch)];
                self.train_batch(e, first, patches)
            })
        })
    }

    /// Of the hold-out's batches, in order and as they are, every `ranks`-th from number `rank` on.
    pub(crate) fn holdout_batches(
        &'a self,
        (rank, ranks): (usize, usize),
    ) -> impl Iterator<Item = Result<Batch>> + Send + 'a {
        let patches = self.source.holdout_len();
        (0..patches).step_by(self.batch).skip(rank).step_by(ranks).map(move |first| {
            let chosen = first..patches.min(first + self.batch);
            if let Some(on_device) = &self.on_device {
                let upright = chosen.clone().map(|patch| (patch, Symmetry::IDENTITY)).collect();
                let labelled = on_device.holdout[chosen].iter().sum();
                return Ok(self.drawn(Draws { part: Part::Holdout, patches: upright, jitter: Vec::new() }, labelled));
            }
            let mut batch = self.empty(chosen.len());
            for (slot, patch) in chosen.enumerate() {
                let (bands, labels) = self.slot(&mut batch, slot);
                self.source.read(Part::Holdout, patch, bands, labels)?;
                let labelled = check_patch(Part::Holdout, patch, self.classes, bands, labels)?;
                batch.labelled += labelled;
            }
            Ok(batch)
        })
    }

    /// `first`: the place of the first patch within its epoch.
    fn train_batch(&self, epoch: usize, first: usize, patches: &[usize]) -> Result<Batch> {
        if let Some(on_device) = &self.on_device {
            let labelled = patches.iter().map(|patch| on_device.train[*patch]).sum();
            return Ok(self.drawn(self.draw_batch(epoch, first, patches), labelled));
        }
        let mut batch = self.empty(patches.len());
        let (bands, labels) = batch.values();
        let counts = self.varied_patches(epoch, first, patches, (&mut *bands, &mut *labels))?;
        if self.augment.cutmix > 0.0 {
            mix(self.augment.cutmix, (bands, &mut *labels), self.source.size(), |slot| {
                self.sample(epoch, first + slot)
            });
        }
        batch.labelled = match self.augment.changes_labels() {
            true => labels.iter().filter(|label| **label != IGNORE).count() as u64,
            false => counts.iter().sum(),
        };
        Ok(batch)
    }

    /// Fills a batch with patches, each varied by itself, and counts the labelled pixels that each of them has in the source.
    fn varied_patches(
        &self,
        epoch: usize,
        first: usize,
        patches: &[usize],
        (bands, labels): (&mut [f32], &mut [u8]),
    ) -> Result<Vec<u64>> {
        let shape = self.shape();
        let pixels = shape.size * shape.size;
        let values = pixels * shape.bands;
        let make = |(slot, (bands, labels)): (usize, (&mut [f32], &mut [u8]))| {
            let labelled = self.read(patches[slot], bands, labels)?;
            self.draw(epoch, first + slot).apply(bands, labels, shape);
            Ok(labelled)
        };
        if self.augment.needs_host() {
            // Noise for a batch takes longer than a GPU needs for a step of it.
            let slots = bands.par_chunks_mut(values).zip(labels.par_chunks_mut(pixels)).enumerate();
            return slots.map(make).collect::<Vec<_>>().into_iter().collect();
        }
        bands.chunks_mut(values).zip(labels.chunks_mut(pixels)).enumerate().map(make).collect()
    }

    /// The generator of the sample at `place` of an epoch.
    fn sample(&self, epoch: usize, place: usize) -> Rng {
        self.rng.fork(&format!("augment/{epoch}/{place}"))
    }

    /// How that sample is varied.
    fn draw(&self, epoch: usize, place: usize) -> Variation {
        Variation::draw(&self.augment, self.shape(), &self.sample(epoch, place))
    }

    fn shape(&self) -> PatchShape {
        PatchShape { size: self.source.size(), bands: self.source.bands() }
    }

    fn draw_batch(&self, epoch: usize, first: usize, patches: &[usize]) -> Draws {
        let mut draws = Draws { part: Part::Train, patches: Vec::new(), jitter: Vec::new() };
        for (slot, &patch) in patches.iter().enumerate() {
            let Variation { symmetry, jitter, .. } = self.draw(epoch, first + slot);
            draws.patches.push((patch, symmetry));
            draws.jitter.extend(jitter.iter().flat_map(Jitter::pairs).flatten());
        }
        draws
    }

    fn drawn(&self, draws: Draws, labelled: u64) -> Batch {
        let size = self.source.size();
        let shape = (draws.patches.len(), size, size, self.source.bands());
        Batch { content: Content::Draws(draws), shape, labelled }
    }

    fn read(&self, patch: usize, bands: &mut [f32], labels: &mut [u8]) -> Result<u64> {
        self.source.read(Part::Train, patch, bands, labels)?;
        check_patch(Part::Train, patch, self.classes, bands, labels)
    }

    fn empty(&self, n: usize) -> Batch {
        let (size, bands) = (self.source.size(), self.source.bands());
        Batch {
            content: Content::Values { bands: vec![0.0; n * size * size * bands], labels: vec![0; n * size * size] },
            shape: (n, size, size, bands),
            labelled: 0,
        }
    }

    fn slot<'b>(&self, batch: &'b mut Batch, slot: usize) -> (&'b mut [f32], &'b mut [u8]) {
        let pixels = self.source.size() * self.source.size();
        let values = pixels * self.source.bands();
        let (bands, labels) = batch.values();
        (&mut bands[slot * values..][..values], &mut labels[slot * pixels..][..pixels])
    }
}

/// Draws `batches` on a thread of `scope`, a few ahead. The thread ends when the receiver is dropped, after the last batch,
/// or after the first error.
pub(crate) fn prefetch<'scope>(
    scope: &'scope Scope<'scope, '_>,
    batches: impl Iterator<Item = Result<Batch>> + Send + 'scope,
) -> Receiver<Result<Batch>> {
    let (sender, receiver) = sync_channel(READY);
    scope.spawn(move || {
        for batch in batches {
            let failed = batch.is_err();
            if sender.send(batch).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests;
