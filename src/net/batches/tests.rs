//! Batches of patches that tell where they are from.

use super::*;
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
        augment: AugmentConfig { flips, ..AugmentConfig::default() },
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

fn everything() -> AugmentConfig {
    AugmentConfig {
        jitter: 0.2,
        jitter_scene: 0.2,
        scale: [0.5, 2.0],
        noise: 0.1,
        drop_bands: 0.3,
        cutmix: 0.5,
        ..AugmentConfig::default()
    }
}

#[test]
fn batches_with_every_augmentation_depend_on_epoch_and_step_only() {
    let (loader, sampler) = (Loader { augment: everything(), ..loader(true) }, sampler());
    let whole = bands_of(loader.train_batches(&sampler, (0, 0), 3));
    for start in 0..9 {
        assert_eq!(bands_of(loader.train_batches(&sampler, (start / 3, start % 3), 3)), whole[start..]);
    }
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(one_thread.install(|| bands_of(loader.train_batches(&sampler, (0, 0), 3))), whole);
    let held: Vec<Vec<f32>> = bands_of(loader.holdout_batches((0, 1)));
    assert_eq!(held[0][..4], [1000.0, 1000.0, 1001.0, 1001.0], "the hold-out stays as it is");
}

#[test]
fn labelled_pixels_are_those_that_the_batch_has() {
    let sampler = sampler();
    let one = [
        AugmentConfig { scale: [0.5, 4.0], ..AugmentConfig::default() },
        AugmentConfig { cutmix: 1.0, ..AugmentConfig::default() },
        AugmentConfig { noise: 0.1, ..AugmentConfig::default() },
    ];
    let mut others = 0;
    for augment in one.into_iter().chain([everything()]) {
        let loader = Loader { augment, ..loader(true) };
        for batch in loader.train_batches(&sampler, (0, 0), 4).map(Result::unwrap) {
            let labelled = labels(&batch).iter().filter(|label| **label != IGNORE).count();
            assert_eq!(batch.labelled, labelled as u64, "{augment:?}");
            others += usize::from(labelled != 15 * batch.shape.0);
        }
    }
    assert!(others > 5, "zooms and rectangles hide and double the pixel without a label: {others}");
}

#[test]
fn rectangles_bring_the_bands_and_labels_of_another_patch_of_the_batch() {
    let augment = AugmentConfig { cutmix: 1.0, ..AugmentConfig::default() };
    let (loader, sampler) = (Loader { batch: 4, augment, ..loader(true) }, sampler());
    let mut from_others = 0;
    for epoch in 0..10 {
        let order = sampler.epoch(epoch);
        for (step, batch) in loader.train_batches(&sampler, (epoch, 0), epoch + 1).map(Result::unwrap).enumerate() {
            for (at, (values, &label)) in bands(&batch).chunks(2).zip(labels(&batch)).enumerate() {
                let (patch, pixel) = (values[0] as usize / 100, values[0] as usize % 100);
                assert_eq!((values[0], label), (values[1], if pixel == 0 { IGNORE } else { (pixel % 3) as u8 }));
                let own = order[4 * step + at / 16];
                assert!(order[4 * step..].iter().take(4).any(|in_batch| *in_batch == patch));
                assert!(step == 0 || own == patch, "the last batch is of one patch");
                from_others += usize::from(own != patch);
            }
        }
    }
    // A third of 10 x 4 patches of 16 pixels, roughly: small rectangles round to nothing.
    assert!((50..320).contains(&from_others), "{from_others}");
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
    let host = Loader { augment: AugmentConfig { jitter: 0.2, ..AugmentConfig::default() }, ..loader(true) };
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
        .holdout_batches((0, 1))
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
    let batches: Vec<Batch> = loader(true).holdout_batches((0, 1)).map(Result::unwrap).collect();
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
    let error = few.holdout_batches((0, 1)).next().unwrap().err().unwrap().to_string();
    assert!(error.contains("hold-out patch 0") && error.contains("class index 2"), "{error}");
    let error = check_patch(Part::Train, 7, 2, &[0.0, f32::NAN], &[0]).unwrap_err().to_string();
    assert!(error.contains("training patch 7") && error.contains("NaN"), "{error}");
}
