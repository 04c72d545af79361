//! Batches, prepared on a thread of their own while the step before runs.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use candle_core::{Device, Tensor};

use super::augment::{AugmentConfig, Jitter, Symmetry};
use super::rng::Rng;
use super::sampling::Sampler;
use super::source::{Part, PatchSource, check_patch};
use super::{NetError, Result};

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

    /// The hold-out in order, as it is.
    pub(crate) fn holdout_batches(&'a self) -> impl Iterator<Item = Result<Batch>> + Send + 'a {
        let patches = self.source.holdout_len();
        (0..patches).step_by(self.batch).map(move |first| {
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
        let mut upright = self.empty(1);
        for (slot, &patch) in patches.iter().enumerate() {
            let (symmetry, jitter) = self.draw(epoch, first + slot);
            let (bands, labels) = self.slot(&mut batch, slot);
            let labelled = if symmetry == Symmetry::IDENTITY {
                self.read(patch, bands, labels)?
            } else {
                let (upright_bands, upright_labels) = upright.values();
                let labelled = self.read(patch, upright_bands, upright_labels)?;
                symmetry.copy(upright_bands, bands, self.source.size(), self.source.bands());
                symmetry.copy(upright_labels, labels, self.source.size(), 1);
                labelled
            };
            if let Some(jitter) = jitter {
                jitter.apply(bands);
            }
            batch.labelled += labelled;
        }
        Ok(batch)
    }

    /// How the sample at `place` of an epoch is varied.
    fn draw(&self, epoch: usize, place: usize) -> (Symmetry, Option<Jitter>) {
        let mut rng = self.rng.fork(&format!("augment/{epoch}/{place}"));
        let symmetry = if self.augment.flips { Symmetry::draw(&mut rng) } else { Symmetry::IDENTITY };
        (symmetry, Jitter::draw(self.augment.jitter, self.source.bands(), &mut rng))
    }

    fn draw_batch(&self, epoch: usize, first: usize, patches: &[usize]) -> Draws {
        let mut draws = Draws { part: Part::Train, patches: Vec::new(), jitter: Vec::new() };
        for (slot, &patch) in patches.iter().enumerate() {
            let (symmetry, jitter) = self.draw(epoch, first + slot);
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
            on_device: None,
        }
    }

    fn bands(batch: &Batch) -> &[f32] {
        match &batch.content {
            Content::Values { bands, .. } => bands,
            Content::Draws(_) => panic!("no values"),
        }
    }

    fn labels(batch: &Batch) -> &[u8] {
        match &batch.content {
            Content::Values { labels, .. } => labels,
            Content::Draws(_) => panic!("no values"),
        }
    }

    fn bands_of(batches: impl Iterator<Item = Result<Batch>>) -> Vec<Vec<f32>> {
        batches.map(|b| bands(&b.unwrap()).to_vec()).collect()
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
        let order: Vec<usize> = batches.iter().flat_map(|b| bands(b).chunks(32).map(|p| p[0] as usize / 100)).collect();
        assert_eq!(order, sampler.epoch(0));
        let (bands, labels) = batches.into_iter().next().unwrap().into_tensors().unwrap();
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
            for (pixel, (values, &label)) in bands(&batch).chunks(2).zip(labels(&batch)).enumerate() {
                let from = values[0] as usize % 100;
                assert_eq!(label, if from == 0 { IGNORE } else { (from % 3) as u8 });
                moved += usize::from(from != pixel % 16);
            }
        }
        assert!(moved > 100, "flips move pixels");
    }

    /// What a device that holds the patches would make of the draws.
    fn made_of(draws: &Draws) -> Vec<f32> {
        let mut made = Vec::new();
        for (place, (patch, symmetry)) in draws.patches.iter().enumerate() {
            let (mut upright, mut turned) = (vec![0.0; 32], vec![0.0; 32]);
            Counting.read(draws.part, *patch, &mut upright, &mut [0; 16]).unwrap();
            symmetry.copy(&upright, &mut turned, 4, 2);
            for pixel in turned.chunks_mut(2) {
                for (band, value) in pixel.iter_mut().enumerate() {
                    let line = &draws.jitter[(place * 2 + band) * 2..];
                    *value = *value * line[0] + line[1];
                }
            }
            made.extend(turned);
        }
        made
    }

    #[test]
    fn draws_for_a_device_say_what_the_host_would_have_made() {
        let host = Loader { augment: AugmentConfig { flips: true, jitter: 0.2 }, ..loader(true) };
        let on_device = Arc::new(OnDevice { train: vec![15; 5], holdout: vec![15; 3] });
        let device = Loader { on_device: Some(on_device), ..host.clone() };
        let sampler = sampler();
        let pairs = host.train_batches(&sampler, (0, 1), 3).zip(device.train_batches(&sampler, (0, 1), 3));
        for (host, device) in pairs {
            let (host, device) = (host.unwrap(), device.unwrap());
            let Content::Draws(draws) = &device.content else { panic!("values") };
            assert_eq!((bands(&host), host.shape, host.labelled), (&made_of(draws)[..], device.shape, device.labelled));
        }
        let held: Vec<usize> = device
            .holdout_batches()
            .flat_map(|batch| match batch.unwrap().content {
                Content::Draws(Draws { part: Part::Holdout, patches, .. }) => patches,
                _ => panic!("values, or training patches"),
            })
            .map(|(patch, symmetry)| if symmetry == Symmetry::IDENTITY { patch } else { 99 })
            .collect();
        assert_eq!(held, [0, 1, 2]);
    }

    #[test]
    fn the_holdout_comes_in_order_and_unchanged() {
        let batches: Vec<Batch> = loader(true).holdout_batches().map(Result::unwrap).collect();
        assert_eq!(batches.len(), 2);
        assert_eq!(bands(&batches[0])[..4], [1000.0, 1000.0, 1001.0, 1001.0]);
        assert_eq!(bands(&batches[1])[0], 1200.0);
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
