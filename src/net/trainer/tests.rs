//! Whole trainings of a small U-Net on made-up patches.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::*;
use crate::net::augment::AugmentConfig;
use crate::net::config::{BatchSize, Precision};
use crate::net::optim::AdamWConfig;
use crate::net::rng::Rng;
use crate::net::sampling::Sampling;
use crate::net::schedule::Schedule;
use crate::net::{
    ClassWeights, CrossEntropy, IGNORE, LossConfig, ModelConfig, NetError, OptimizerConfig, Part, UNetConfig, weights,
};

pub(super) const SIZE: usize = 8;

/// Patches of discs on a ground: the label depends on a blurred band, so that a network has something to learn.
pub(super) struct Discs {
    pub(super) train: usize,
    pub(super) holdout: usize,
    pub(super) scale: f32,
    pub(super) unlabelled: bool,
}

pub(super) const DISCS: Discs = Discs { train: 11, holdout: 5, scale: 1.0, unlabelled: false };

impl PatchSource for Discs {
    fn bands(&self) -> usize {
        2
    }

    fn size(&self) -> usize {
        SIZE
    }

    fn train_len(&self) -> usize {
        self.train
    }

    fn holdout_len(&self) -> usize {
        self.holdout
    }

    fn class_pixels(&self) -> Vec<u64> {
        vec![500, 150, 54]
    }

    fn weight(&self, index: usize) -> f32 {
        1.0 + index as f32
    }

    fn read(&self, part: Part, index: usize, bands: &mut [f32], labels: &mut [u8]) -> Result<()> {
        let mut rng = Rng::new(index as u64).fork(&part.to_string());
        let centre = [rng.below(SIZE) as f64, rng.below(SIZE) as f64];
        for (pixel, (values, label)) in bands.chunks_mut(2).zip(labels.iter_mut()).enumerate() {
            let (row, column) = ((pixel / SIZE) as f64, (pixel % SIZE) as f64);
            let distance = (row - centre[0]).hypot(column - centre[1]);
            *label = if distance < 1.5 { 2 } else { u8::from(distance < 3.5) };
            values[0] = self.scale * (f32::from(*label) - 1.0 + 0.3 * rng.normal() as f32);
            values[1] = rng.normal() as f32;
            if self.unlabelled || pixel == 5 {
                *label = IGNORE;
            }
        }
        Ok(())
    }
}

pub(super) fn config() -> TrainConfig {
    TrainConfig {
        model: ModelConfig::UNet(UNetConfig::new(4, 1)),
        classes: 3,
        epochs: 3,
        batch: BatchSize::Patches(4),
        steps_per_epoch: None,
        optimizer: OptimizerConfig::AdamW(AdamWConfig::with_lr(0.02)),
        scale_lr: None,
        schedule: Schedule::default(),
        loss: LossConfig::cross_entropy(ClassWeights::InverseSqrt, 0.05),
        clip: Some(1.0),
        ema: None,
        swa: None,
        augment: AugmentConfig { jitter: 0.1, ..AugmentConfig::default() },
        sampling: Sampling::Shuffled,
        evaluate_every: 1,
        patience: None,
        seed: 42,
        precision: Precision::Auto,
        deterministic: true,
    }
}

/// What two equal trainings must have in common, byte for byte.
pub(super) fn fingerprint_of(trained: &Trained) -> (Vec<u8>, String) {
    let weights = weights::to_bytes(&trained.model, &BTreeMap::new()).unwrap();
    (weights, serde_json::to_string(&trained.history).unwrap())
}

pub(super) fn uninterrupted(config: &TrainConfig) -> Trained {
    let dir = tempfile::tempdir().unwrap();
    train(config, &DISCS, &TrainHooks::quiet(dir.path())).unwrap()
}

#[test]
fn learns_and_returns_the_weights_of_the_best_epoch() {
    let config = TrainConfig { epochs: 40, ..config() };
    let dir = tempfile::tempdir().unwrap();
    let told = RefCell::new(Vec::new());
    let steps = Cell::new(0);
    let hooks = TrainHooks {
        on_epoch: &|record| told.borrow_mut().push(record.clone()),
        on_step: &|done, total, loss| {
            steps.set(steps.get() + 1);
            assert_eq!((done, total), (steps.get(), 120));
            assert!(loss.is_finite());
        },
        ..TrainHooks::quiet(dir.path())
    };
    let trained = train(&config, &DISCS, &hooks).unwrap();
    let History { epochs, best_epoch, ended, planned_epochs, .. } = &trained.history;
    assert_eq!((epochs.len(), *planned_epochs, *ended), (40, 40, Ended::AllEpochs));
    assert_eq!(*told.borrow(), *epochs);
    assert!(told.borrow().iter().all(|r| r.of == 40 && r.seconds > 0.0));
    assert!(epochs[39].train_loss < 0.7 * epochs[0].train_loss, "{epochs:?}");

    let scores: Vec<f64> = epochs.iter().map(|e| e.holdout.as_ref().unwrap().mean_jaccard).collect();
    let highest = scores.iter().copied().fold(f64::MIN, f64::max);
    assert!(highest > 0.6, "{scores:?}");
    assert_eq!(scores.iter().position(|s| *s == highest), Some(best_epoch - 1), "the first of the highest");

    // The returned weights are those that scored so: score them again, in batches of another size.
    let loss = CrossEntropy::new(None, 0.0).unwrap();
    let loader = crate::net::batches::Loader {
        source: &DISCS,
        classes: 3,
        batch: 2,
        augment: AugmentConfig::default(),
        rng: Rng::new(0),
        on_device: None,
    };
    let scored = evaluate::evaluate((&trained.model, &loss), &loader, &mut feed::Feed::Host, &|| false, None);
    let score = scored.unwrap().unwrap();
    assert_eq!(score.mean_jaccard, highest);
    assert_eq!(Some(score.jaccard), epochs[best_epoch - 1].holdout.as_ref().map(|h| h.jaccard.clone()));
}

#[test]
fn is_byte_identical_twice_and_with_any_number_of_threads() {
    let config = TrainConfig { sampling: Sampling::Weighted, steps_per_epoch: Some(4), ..config() };
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fingerprint_of(&uninterrupted(&config)))
    };
    let one = run(1);
    assert_eq!(one, run(1));
    assert_eq!(one, run(2));
    assert_ne!(one.0, fingerprint_of(&uninterrupted(&TrainConfig { seed: 43, ..config.clone() })).0);
}

#[test]
fn ends_at_the_deadline_with_the_best_so_far() {
    let endless = TrainConfig { epochs: 1_000_000, ..config() };
    let dir = tempfile::tempdir().unwrap();
    let seen = Cell::new(0);
    let deadline = Some(Instant::now() + Duration::from_millis(400));
    let hooks = TrainHooks { deadline, on_epoch: &|r| seen.set(r.epoch), ..TrainHooks::quiet(dir.path()) };
    let trained = train(&endless, &DISCS, &hooks).unwrap();
    assert!(trained.cut_short);
    assert_eq!(trained.history.ended, Ended::Deadline);
    assert_eq!(trained.history.epochs.len(), seen.get());
    assert_eq!(trained.best_epoch == 0, seen.get() == 0);

    let passed = TrainHooks { deadline: Some(Instant::now()), ..TrainHooks::quiet(dir.path()) };
    let fresh = tempfile::tempdir().unwrap();
    let trained = train(&config(), &DISCS, &TrainHooks { checkpoint_dir: fresh.path(), ..passed }).unwrap();
    assert!(trained.cut_short && trained.history.epochs.is_empty());
    assert_eq!(trained.best_epoch, 0);
    // With more time the same folder leads to the full result.
    let trained = train(&config(), &DISCS, &TrainHooks::quiet(fresh.path())).unwrap();
    assert_eq!(fingerprint_of(&trained), fingerprint_of(&uninterrupted(&config())));
}

#[test]
fn without_a_holdout_the_last_epoch_counts() {
    let dir = tempfile::tempdir().unwrap();
    let source = Discs { holdout: 0, ..DISCS };
    let trained = train(&config(), &source, &TrainHooks::quiet(dir.path())).unwrap();
    assert_eq!(trained.best_epoch, 3);
    assert!(trained.history.epochs.iter().all(|e| e.holdout.is_none()));
    let seldom = uninterrupted(&TrainConfig { evaluate_every: 2, ..config() });
    let evaluated: Vec<bool> = seldom.history.epochs.iter().map(|e| e.holdout.is_some()).collect();
    assert_eq!(evaluated, [false, true, true], "every second and the last");
}

#[test]
fn batches_without_a_label_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let source = Discs { unlabelled: true, ..DISCS };
    let trained = train(&config(), &source, &TrainHooks::quiet(dir.path())).unwrap();
    let untouched = Model::new(&config().model, 2, 3, 42).unwrap();
    let bytes = |model| weights::to_bytes(model, &BTreeMap::new()).unwrap();
    assert_eq!(bytes(&trained.model), bytes(&untouched));
    assert_eq!(trained.history.epochs[0].train_loss, 0.0);
}

#[test]
fn refuses_what_cannot_be_trained() {
    let refused = |config: &TrainConfig, source: &Discs| {
        let dir = tempfile::tempdir().unwrap();
        match train(config, source, &TrainHooks::quiet(dir.path())) {
            Err(NetError::Config(problem)) => problem,
            other => panic!("{other:?}"),
        }
    };
    assert!(refused(&TrainConfig { classes: 4, ..config() }, &DISCS).contains("3 classes"));
    assert!(refused(&TrainConfig { epochs: 0, ..config() }, &DISCS).contains("epochs"));
    assert!(refused(&TrainConfig { batch: BatchSize::Patches(0), ..config() }, &DISCS).contains("batch"));
    assert!(refused(&TrainConfig { clip: Some(0.0), ..config() }, &DISCS).contains("clip"));
    let deep = ModelConfig::UNet(UNetConfig::new(4, 4));
    assert!(refused(&TrainConfig { model: deep, ..config() }, &DISCS).contains("use 16"));
    assert!(refused(&config(), &Discs { train: 0, ..DISCS }).contains("no training patch"));
    assert!(refused(&config(), &Discs { scale: f32::NAN, ..DISCS }).contains("training patch"));
}
