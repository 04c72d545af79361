//! Batches, prepared on a thread of their own while the step before runs.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use candle_core::{Device, Tensor};

use super::Result;
use super::augment::{AugmentConfig, Jitter, Symmetry};
use super::rng::Rng;
use super::sampling::Sampler;
use super::source::{Part, PatchSource, check_patch};

/// Batches that wait ready. Two hide an uneven reader; more would only cost memory.
const READY: usize = 2;

/// Patches side by side, as they go into the network.
pub(crate) struct Batch {
    bands: Vec<f32>,
    labels: Vec<u8>,
    shape: (usize, usize, usize, usize),
    /// Pixels with a label.
    pub(crate) labelled: u64,
}

impl Batch {
    /// Bands `[n, size, size, bands]` f32 and labels `[n, size, size]` u8. On the CPU the values are moved, not copied.
    pub(crate) fn into_tensors(self, device: &Device) -> Result<(Tensor, Tensor)> {
        let (n, height, width, _) = self.shape;
        let bands = Tensor::from_vec(self.bands, self.shape, device)?;
        Ok((bands, Tensor::from_vec(self.labels, (n, height, width), device)?))
    }

    /// The labels, `[n, size, size]`.
    pub(crate) fn labels(&self) -> &[u8] {
        &self.labels
    }
}

/// Reads and augments batches. What a batch holds depends on seed, epoch and step only.
#[derive(Clone)]
pub(crate) struct Loader<'a> {
    pub(crate) source: &'a dyn PatchSource,
    pub(crate) classes: usize,
    pub(crate) batch: usize,
    pub(crate) augment: AugmentConfig,
    pub(crate) rng: Rng,
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

    /// The hold-out in order, as it is.
    pub(crate) fn holdout_batches(&'a self) -> impl Iterator<Item = Result<Batch>> + Send + 'a {
        let patches = self.source.holdout_len();
        (0..patches).step_by(self.batch).map(move |first| {
            let mut batch = self.empty(self.batch.min(patches - first));
            for (slot, patch) in (first..patches).take(self.batch).enumerate() {
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
        let mut batch = self.empty(patches.len());
        let mut upright = self.empty(1);
        for (slot, &patch) in patches.iter().enumerate() {
            let mut rng = self.rng.fork(&format!("augment/{epoch}/{}", first + slot));
            let symmetry = if self.augment.flips { Symmetry::draw(&mut rng) } else { Symmetry::IDENTITY };
            let (bands, labels) = self.slot(&mut batch, slot);
            let labelled = if symmetry == Symmetry::IDENTITY {
                self.read(patch, bands, labels)?
            } else {
                let labelled = self.read(patch, &mut upright.bands, &mut upright.labels)?;
                symmetry.copy(&upright.bands, bands, self.source.size(), self.source.bands());
                symmetry.copy(&upright.labels, labels, self.source.size(), 1);
                labelled
            };
            if let Some(jitter) = Jitter::draw(self.augment.jitter, self.source.bands(), &mut rng) {
                jitter.apply(bands);
            }
            batch.labelled += labelled;
        }
        Ok(batch)
    }

    fn read(&self, patch: usize, bands: &mut [f32], labels: &mut [u8]) -> Result<u64> {
        self.source.read(Part::Train, patch, bands, labels)?;
        check_patch(Part::Train, patch, self.classes, bands, labels)
    }

    fn empty(&self, n: usize) -> Batch {
        let (size, bands) = (self.source.size(), self.source.bands());
        Batch {
            bands: vec![0.0; n * size * size * bands],
            labels: vec![0; n * size * size],
            shape: (n, size, size, bands),
            labelled: 0,
        }
    }

    fn slot<'b>(&self, batch: &'b mut Batch, slot: usize) -> (&'b mut [f32], &'b mut [u8]) {
        let pixels = self.source.size() * self.source.size();
        let values = pixels * self.source.bands();
        (&mut batch.bands[slot * values..][..values], &mut batch.labels[slot * pixels..][..pixels])
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
mod tests {
    use super::*;
    use crate::net::IGNORE;
    use crate::net::sampling::Sampling;

    /// Patches whose pixels tell where they are: value = patch * 100 + pixel, label = pixel % 3.
    struct Counting;

    impl PatchSource for Counting {
        fn bands(&self) -> usize {
            2
        }
        fn size(&self) -> usize {
            4
        }
        fn train_len(&self) -> usize {
            5
        }
        fn holdout_len(&self) -> usize {
            3
        }
        fn class_pixels(&self) -> Vec<u64> {
            vec![1; 3]
        }
        fn read(&self, part: Part, index: usize, bands: &mut [f32], labels: &mut [u8]) -> Result<()> {
            let base = if part == Part::Holdout { 1000 } else { 0 } + index * 100;
            for (pixel, (values, label)) in bands.chunks_mut(2).zip(labels).enumerate() {
                values.fill((base + pixel) as f32);
                *label = if pixel == 0 { IGNORE } else { (pixel % 3) as u8 };
            }
            Ok(())
        }
    }

    fn loader(flips: bool) -> Loader<'static> {
        Loader {
            source: &Counting,
            classes: 3,
            batch: 2,
            augment: AugmentConfig { flips, jitter: 0.0 },
            rng: Rng::new(4),
        }
    }

    fn bands_of(batches: impl Iterator<Item = Result<Batch>>) -> Vec<Vec<f32>> {
        batches.map(|b| b.unwrap().bands).collect()
    }

    fn sampler() -> Sampler {
        Sampler::new(Sampling::Shuffled, 5, 5, |_| 1.0, &Rng::new(4)).unwrap()
    }

    #[test]
    fn an_epoch_holds_every_patch_once_the_last_batch_being_smaller() {
        let (loader, sampler) = (loader(false), sampler());
        let batches: Vec<Batch> = loader.train_batches(&sampler, (0, 0), 1).map(Result::unwrap).collect();
        assert_eq!(batches.iter().map(|b| b.shape.0).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(batches.iter().map(|b| b.labelled).sum::<u64>(), 5 * 15);
        let order: Vec<usize> = batches.iter().flat_map(|b| b.bands.chunks(32).map(|p| p[0] as usize / 100)).collect();
        assert_eq!(order, sampler.epoch(0));
        let (bands, labels) = batches.into_iter().next().unwrap().into_tensors(&Device::Cpu).unwrap();
        assert_eq!((bands.dims(), labels.dims()), (&[2, 4, 4, 2][..], &[2, 4, 4][..]));
    }

    #[test]
    fn resuming_within_an_epoch_gives_the_same_batches_as_going_through() {
        let (loader, sampler) = (loader(true), sampler());
        let whole = bands_of(loader.train_batches(&sampler, (0, 0), 3));
        assert_eq!(whole.len(), 9);
        for start in 0..9 {
            assert_eq!(bands_of(loader.train_batches(&sampler, (start / 3, start % 3), 3)), whole[start..]);
        }
    }

    #[test]
    fn augmented_bands_and_labels_still_match() {
        let (loader, sampler) = (loader(true), sampler());
        let mut moved = 0;
        for batch in loader.train_batches(&sampler, (0, 0), 4) {
            let batch = batch.unwrap();
            for (pixel, (values, &label)) in batch.bands.chunks(2).zip(batch.labels()).enumerate() {
                let from = values[0] as usize % 100;
                assert_eq!(label, if from == 0 { IGNORE } else { (from % 3) as u8 });
                moved += usize::from(from != pixel % 16);
            }
        }
        assert!(moved > 100, "flips move pixels");
    }

    #[test]
    fn the_holdout_comes_in_order_and_unchanged() {
        let batches: Vec<Batch> = loader(true).holdout_batches().map(Result::unwrap).collect();
        assert_eq!(batches.len(), 2);
        assert_eq!(batches[0].bands[..4], [1000.0, 1000.0, 1001.0, 1001.0]);
        assert_eq!(batches[1].bands[0], 1200.0);
        assert_eq!(batches[1].shape.0, 1);
    }

    #[test]
    fn prefetching_keeps_the_order_and_may_be_left_early() {
        let (loader, sampler) = (loader(true), sampler());
        let plain = bands_of(loader.train_batches(&sampler, (0, 0), 3));
        std::thread::scope(|scope| {
            let received = prefetch(scope, loader.train_batches(&sampler, (0, 0), 3));
            assert_eq!(bands_of(received.iter()), plain);
            let left_early = prefetch(scope, loader.train_batches(&sampler, (0, 0), 3));
            assert!(left_early.recv().unwrap().is_ok());
        });
    }

    #[test]
    fn refuses_labels_beyond_the_classes_and_values_that_are_not_finite() {
        let few = Loader { classes: 2, ..loader(false) };
        let error = few.holdout_batches().next().unwrap().err().unwrap().to_string();
        assert!(error.contains("hold-out patch 0") && error.contains("class index 2"), "{error}");
        let error = check_patch(Part::Train, 7, 2, &[0.0, f32::NAN], &[0]).unwrap_err().to_string();
        assert!(error.contains("training patch 7") && error.contains("NaN"), "{error}");
    }
}
