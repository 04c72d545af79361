//! Whole trainings with other recipes than the plain one.

use std::cell::Cell;

use super::tests::{DISCS, Discs, SIZE, config, fingerprint_of, uninterrupted};
use super::*;
use crate::net::augment::AugmentConfig;
use crate::net::average::{AverageConfig, SwaConfig};
use crate::net::checkpoint::Weights;
use crate::net::loss::LossTerm;
use crate::net::optim::{AdamWConfig, SgdConfig};
use crate::net::rng::Rng;
use crate::net::sampling::Sampling;
use crate::net::schedule::Schedule;
use crate::net::{
    BlockKind, ClassWeights, DeepLabConfig, EncoderKind, FpnConfig, LossConfig, MlpConfig, ModelConfig, NetError,
    OptimizerConfig, Part, SegFormerConfig, UNetConfig,
};

/// Trains with interruptions at random steps, each time going on from the checkpoint.
fn interrupted(config: &TrainConfig, source: &Discs, seed: u64) -> Trained {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng::new(seed);
    for interruptions in 0.. {
        assert!(interruptions < 100, "must get on");
        let patience = Cell::new(1 + rng.below(8));
        let cancelled = || {
            patience.set(patience.get() - 1);
            patience.get() == 0
        };
        match train(config, source, &TrainHooks { cancelled: &cancelled, ..TrainHooks::quiet(dir.path()) }) {
            Ok(trained) if interruptions > 0 => return trained,
            Err(NetError::Cancelled) => {}
            other => panic!("{other:?}"),
        }
    }
    unreachable!("a training ends")
}

/// Highest mean Jaccard on the hold-out.
fn best(trained: &Trained) -> f64 {
    let scores = trained.history.epochs.iter().filter_map(|epoch| epoch.holdout.as_ref());
    scores.map(|score| score.mean_jaccard).fold(0.0, f64::max)
}

/// Trained with 1 and 2 threads, and with interruptions, a recipe gives the same bytes.
fn is_reproducible(config: &TrainConfig) {
    let whole = fingerprint_of(&uninterrupted(config));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(pool.install(|| fingerprint_of(&uninterrupted(config))), whole, "one thread");
    for seed in 0..2 {
        assert_eq!(fingerprint_of(&interrupted(config, &DISCS, seed)), whole, "interrupted");
    }
}

fn sum() -> LossConfig {
    let term = |loss, weight| LossTerm { loss, weight };
    let cross_entropy = LossConfig::cross_entropy(ClassWeights::InverseSqrt, 0.0);
    LossConfig::Sum { terms: vec![term(cross_entropy, 1.0), term(LossConfig::Lovasz {}, 0.5)] }
}

#[test]
fn learns_by_every_loss() {
    let focal = r#"{"kind": "focal", "class_weights": "effective_number", "beta": 0.99, "weight_cap": 2}"#;
    for loss in [serde_json::from_str(focal).unwrap(), LossConfig::Dice { smooth: 1.0 }, LossConfig::Lovasz {}, sum()] {
        let trained = uninterrupted(&TrainConfig { epochs: 40, loss: loss.clone(), ..config() });
        let losses: Vec<f64> = trained.history.epochs.iter().map(|epoch| epoch.train_loss).collect();
        assert!(losses[39] < 0.8 * losses[0], "{loss:?}: {losses:?}");
        assert!(best(&trained) > 0.5, "{loss:?}: {}", best(&trained));
    }
}

/// One of each kind but the plain U-Net, and one that goes down by a ResNet.
fn networks() -> [ModelConfig; 6] {
    let (plain, residual) = (BlockKind::Plain, BlockKind::Residual);
    let (blocks, resnet) = (EncoderKind::Blocks, EncoderKind::ResNet18);
    [
        ModelConfig::UNet(UNetConfig { width: 4, depth: 1, block: residual, encoder: blocks }),
        ModelConfig::UNet(UNetConfig { width: 24, depth: 2, block: plain, encoder: resnet }),
        ModelConfig::Mlp(MlpConfig { width: 8, depth: 2 }),
        ModelConfig::Fpn(FpnConfig { width: 4, depth: 2, pyramid: 8, block: plain, encoder: blocks }),
        ModelConfig::DeepLab(DeepLabConfig {
            width: 4,
            depth: 1,
            rates: [1, 2, 3],
            aspp: 8,
            block: residual,
            encoder: blocks,
        }),
        ModelConfig::SegFormer(SegFormerConfig { width: 8, depth: 2, blocks: 1, heads: 2, ffn: 2, decoder: 8 }),
    ]
}

#[test]
fn every_network_learns() {
    for model in networks() {
        let trained = uninterrupted(&TrainConfig { epochs: 40, model, ..config() });
        let losses: Vec<f64> = trained.history.epochs.iter().map(|epoch| epoch.train_loss).collect();
        assert!(losses[39] < 0.8 * losses[0], "{model:?}: {losses:?}");
        // Maps of one class score 0.33 at most. A ResNet, made for large images, has 2x2 pixels left of these patches.
        let bar = if model.has_resnet() { 0.5 } else { 0.6 };
        assert!(best(&trained) > bar, "{model:?}: {}", best(&trained));
    }
}

#[test]
fn every_network_is_reproducible() {
    networks().into_iter().for_each(|model| is_reproducible(&TrainConfig { model, ..config() }));
}

/// Interrupted anywhere, a training from given weights goes on from what it had made of them.
#[test]
fn given_weights_are_where_a_training_begins_and_not_where_it_goes_on() {
    let config = TrainConfig { epochs: 3, ..config() };
    let begun = || draw(&TrainConfig { seed: config.seed + 1, ..config.clone() }, &DISCS).unwrap();
    let run = |dir: &std::path::Path, steps: usize| {
        let left = Cell::new(steps);
        let cancelled = || left.replace(left.get().saturating_sub(1)) == 0;
        let hooks = TrainHooks { cancelled: &cancelled, ..TrainHooks::quiet(dir) };
        train_from(&Compute::Cpu, &config, begun(), &DISCS, &hooks)
    };
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let whole = fingerprint_of(&run(dirs[0].path(), usize::MAX).unwrap());
    assert_ne!(whole, fingerprint_of(&uninterrupted(&config)), "they are other weights");
    assert!(matches!(run(dirs[1].path(), 5), Err(NetError::Cancelled)));
    assert_eq!(fingerprint_of(&run(dirs[1].path(), usize::MAX).unwrap()), whole);
    // A model that was made for something else is refused.
    let wider = UNetConfig::new(5, 1);
    let other = draw(&TrainConfig { model: ModelConfig::UNet(wider), ..config.clone() }, &DISCS).unwrap();
    let error = train_from(&Compute::Cpu, &config, other, &DISCS, &TrainHooks::quiet(dirs[0].path())).unwrap_err();
    assert!(error.to_string().contains("the model was made for"), "{error}");
}

#[test]
fn a_sum_of_losses_is_reproducible() {
    is_reproducible(&TrainConfig { loss: sum(), ..config() });
}

#[test]
fn averages_are_what_is_scored_and_kept() {
    let averaged = |decay| TrainConfig { epochs: 6, ema: Some(AverageConfig { decay }), ..config() };
    let plain = uninterrupted(&TrainConfig { epochs: 6, ..config() });
    // Averages that keep nothing are the weights.
    assert_eq!(fingerprint_of(&uninterrupted(&averaged(0.0))), fingerprint_of(&plain));
    let trained = uninterrupted(&averaged(0.9));
    let losses = |t: &Trained| t.history.epochs.iter().map(|e| e.train_loss).collect::<Vec<_>>();
    assert_eq!(losses(&trained), losses(&plain), "training itself goes on with the weights");
    assert_ne!(trained.history.epochs[5].holdout, plain.history.epochs[5].holdout);
    // Without a hold-out the last averages are kept.
    let dir = tempfile::tempdir().unwrap();
    let unscored = Discs { holdout: 0, ..DISCS };
    let last =
        |config: &TrainConfig| fingerprint_of(&train(config, &unscored, &TrainHooks::quiet(dir.path())).unwrap()).0;
    assert_ne!(last(&averaged(0.9)), last(&TrainConfig { epochs: 6, ..config() }));
}

#[test]
fn averages_are_reproducible() {
    is_reproducible(&TrainConfig { epochs: 5, ema: Some(AverageConfig { decay: 0.9 }), ..config() });
}

#[test]
fn class_balanced_sampling_is_reproducible_and_another_choice() {
    let balanced = TrainConfig { sampling: Sampling::ClassBalanced, steps_per_epoch: Some(4), ..config() };
    is_reproducible(&balanced);
    let shuffled = TrainConfig { sampling: Sampling::Shuffled, ..balanced.clone() };
    assert_ne!(fingerprint_of(&uninterrupted(&balanced)).0, fingerprint_of(&uninterrupted(&shuffled)).0);
}

#[test]
fn a_source_counts_the_pixels_of_its_patches() {
    let counts = DISCS.patch_pixels(3).unwrap();
    let (mut bands, mut labels) = (vec![0.0; SIZE * SIZE * 2], vec![0; SIZE * SIZE]);
    DISCS.read(Part::Train, 3, &mut bands, &mut labels).unwrap();
    let expected: Vec<u64> =
        (0..3).map(|class| labels.iter().filter(|label| **label == class).count() as u64).collect();
    assert_eq!((counts.iter().sum::<u64>(), counts), ((SIZE * SIZE - 1) as u64, expected));
}

#[test]
fn sgd_learns_and_is_reproducible() {
    let optimizer = OptimizerConfig::Sgd(SgdConfig::with_lr(0.1));
    let trained = uninterrupted(&TrainConfig { epochs: 40, optimizer, ..config() });
    assert!(best(&trained) > 0.5, "{}", best(&trained));
    is_reproducible(&TrainConfig { optimizer, ..config() });
}

#[test]
fn every_augmentation_learns_and_is_reproducible() {
    let augment = AugmentConfig {
        jitter_scene: 0.1,
        scale: [0.75, 1.5],
        noise: 0.1,
        drop_bands: 0.1,
        cutmix: 0.3,
        ..config().augment
    };
    let trained = uninterrupted(&TrainConfig { epochs: 40, augment, ..config() });
    assert!(best(&trained) > 0.5, "{}", best(&trained));
    is_reproducible(&TrainConfig { augment, ..config() });
}

/// Parameters and running statistics.
fn weights_of(trained: &Trained) -> Vec<f32> {
    let weights = Weights::of(&trained.model).unwrap();
    weights.parameters.into_iter().chain(weights.buffers).flatten().collect()
}

/// `epochs` epochs, the mean from the third on.
fn swa(epochs: usize) -> TrainConfig {
    TrainConfig { epochs, swa: Some(SwaConfig { start: 2.0 / epochs as f64 }), ..config() }
}

#[test]
fn the_mean_of_the_last_epochs_is_kept() {
    let unscored = Discs { holdout: 0, ..DISCS };
    let kept = |config: TrainConfig| {
        let dir = tempfile::tempdir().unwrap();
        weights_of(&train(&config, &unscored, &TrainHooks::quiet(dir.path())).unwrap())
    };
    // With a rate that does not depend on the number of epochs, a shorter training ends where a longer one passes by.
    let schedule = Schedule::Constant;
    let ends = [3, 4, 5, 6].map(|epochs| kept(TrainConfig { epochs, schedule, ..config() }));
    let found = kept(TrainConfig { schedule, ..swa(6) });
    for (i, found) in found.into_iter().enumerate() {
        let mean = ends.iter().map(|end| f64::from(end[i])).sum::<f64>() / 4.0;
        assert!((f64::from(found) - mean).abs() <= 1e-6 * mean.abs().max(1.0), "{found} {mean}");
    }
}

#[test]
fn means_are_scored_once_there_are_any_and_only_they_are_kept() {
    let (averaged, plain) = (uninterrupted(&swa(6)), uninterrupted(&TrainConfig { epochs: 6, ..config() }));
    let scores = |t: &Trained| t.history.epochs.iter().map(|e| e.holdout.clone().unwrap()).collect::<Vec<_>>();
    let losses = |t: &Trained| t.history.epochs.iter().map(|e| e.train_loss).collect::<Vec<_>>();
    assert_eq!(losses(&averaged), losses(&plain), "training itself goes on with the weights");
    // The mean of one epoch is that epoch.
    assert_eq!(scores(&averaged)[..3], scores(&plain)[..3]);
    assert!((3..6).all(|epoch| scores(&averaged)[epoch] != scores(&plain)[epoch]));
    let highest = |from: usize| {
        let jaccards: Vec<f64> = scores(&averaged)[from..].iter().map(|score| score.mean_jaccard).collect();
        let highest = jaccards.iter().copied().fold(f64::MIN, f64::max);
        from + 1 + jaccards.iter().position(|jaccard| *jaccard == highest).unwrap()
    };
    assert_eq!(averaged.best_epoch, highest(2));
    // Where scores go up and down, the best of the first epochs is not kept all the same.
    let mut passed_over = 0;
    for seed in 0..8 {
        let wild = uninterrupted(&TrainConfig { epochs: 4, swa: Some(SwaConfig { start: 0.5 }), seed, ..wavering() });
        let jaccards: Vec<f64> = scores(&wild).iter().map(|score| score.mean_jaccard).collect();
        assert!(wild.best_epoch >= 3, "{jaccards:?}");
        passed_over += usize::from(f64::max(jaccards[0], jaccards[1]) > f64::max(jaccards[2], jaccards[3]));
    }
    assert!(passed_over > 0);
}

#[test]
fn means_are_reproducible() {
    is_reproducible(&swa(5));
    is_reproducible(&TrainConfig { evaluate_every: 2, patience: Some(1), ..swa(6) });
}

#[test]
fn averages_of_two_kinds_are_refused() {
    let both = TrainConfig { ema: Some(AverageConfig { decay: 0.9 }), ..swa(5) };
    let dir = tempfile::tempdir().unwrap();
    let refused = |config: &TrainConfig, source: &Discs| match train(config, source, &TrainHooks::quiet(dir.path())) {
        Err(NetError::Config(problem)) => problem,
        other => panic!("{other:?}"),
    };
    assert!(refused(&both, &DISCS).contains("ema and swa"));
    let patient = TrainConfig { patience: Some(1), ..config() };
    assert!(refused(&patient, &Discs { holdout: 0, ..DISCS }).contains("patches.holdout"));
    assert!(refused(&TrainConfig { patience: Some(0), ..config() }, &DISCS).contains("patience"));
}

/// A training whose scores go up and down.
fn wavering() -> TrainConfig {
    let optimizer = OptimizerConfig::AdamW(AdamWConfig::with_lr(0.2));
    TrainConfig { epochs: 24, optimizer, schedule: Schedule::Constant, seed: 2, ..config() }
}

/// The number of epochs after which `patience` scores in a row were no higher than the highest before, if any.
fn runs_out(whole: &History, patience: usize) -> usize {
    let (mut highest, mut waited) = (f64::MIN, 0);
    for record in &whole.epochs {
        let Some(score) = &record.holdout else { continue };
        waited = if score.mean_jaccard > highest { 0 } else { waited + 1 };
        highest = highest.max(score.mean_jaccard);
        if waited == patience {
            return record.epoch;
        }
    }
    whole.epochs.len()
}

#[test]
fn training_ends_when_scores_have_not_risen_for_as_long_as_patience_lasts() {
    let mut early = 0;
    for evaluate_every in [1, 2] {
        let plain = TrainConfig { evaluate_every, ..wavering() };
        let whole = uninterrupted(&plain);
        for patience in [1, 2, 3, 30] {
            let ended = uninterrupted(&TrainConfig { patience: Some(patience), ..plain.clone() }).history;
            let expected = runs_out(&whole.history, patience);
            assert_eq!(ended.epochs.len(), expected, "patience {patience}");
            for (found, same) in ended.epochs.iter().zip(&whole.history.epochs) {
                assert_eq!(
                    (found.epoch, found.train_loss, &found.holdout),
                    (same.epoch, same.train_loss, &same.holdout)
                );
            }
            assert_eq!(ended.ended, if expected < 24 { Ended::Patience } else { Ended::AllEpochs });
            early += usize::from(expected < 24);
        }
    }
    assert!(early >= 4, "{early}");
}

#[test]
fn patience_is_reproducible_and_an_ended_training_stays_ended() {
    let patient = TrainConfig { patience: Some(2), ..wavering() };
    is_reproducible(&patient);
    let dir = tempfile::tempdir().unwrap();
    let trained = train(&patient, &DISCS, &TrainHooks::quiet(dir.path())).unwrap();
    assert_eq!((trained.history.ended, trained.cut_short), (Ended::Patience, false));
    let hooks = TrainHooks { on_step: &|_, _, _| panic!("no step is left"), ..TrainHooks::quiet(dir.path()) };
    assert_eq!(fingerprint_of(&train(&patient, &DISCS, &hooks).unwrap()), fingerprint_of(&trained));
}

#[test]
fn patience_waits_for_the_means_to_begin() {
    let early = uninterrupted(&TrainConfig { patience: Some(2), ..wavering() }).history.epochs.len();
    assert!(early < 18, "{early}");
    let averaged = TrainConfig { patience: Some(2), swa: Some(SwaConfig { start: 0.75 }), ..wavering() };
    let averaged = uninterrupted(&averaged);
    assert!(
        averaged.best_epoch > 18 && averaged.history.epochs.len() >= averaged.best_epoch,
        "{}",
        averaged.best_epoch
    );
}

#[test]
fn a_range_test_takes_the_steps_of_a_training_at_its_rates() {
    let flat = AugmentConfig { flips: false, ..AugmentConfig::default() };
    let config =
        TrainConfig { epochs: 9, steps_per_epoch: Some(1), schedule: Schedule::Constant, augment: flat, ..config() };
    let losses: Vec<f64> = uninterrupted(&config).history.epochs.iter().map(|epoch| epoch.train_loss).collect();
    let dir = tempfile::tempdir().unwrap();
    let tested = |from, to: f64, steps| {
        let hooks = TrainHooks::quiet(dir.path());
        range_test(
            &Compute::Cpu,
            &config,
            (draw(&config, &DISCS).unwrap(), RangeTest { from, to, steps }),
            &DISCS,
            &hooks,
        )
        .unwrap()
    };
    // As good as no range at all.
    let lr = config.optimizer.lr();
    assert_eq!(tested(lr, lr.next_up(), 9).iter().map(|point| point.loss).collect::<Vec<_>>(), losses);
    // The first step sees untrained weights whatever its rate; the second sees what the first did.
    let wide = tested(lr, 2.0 * lr, 3);
    assert_eq!(wide.iter().map(|point| point.loss).take(2).collect::<Vec<_>>(), losses[..2]);
    assert_ne!(wide[2].loss, losses[2]);
    // Rates that no network survives end the test, not the run.
    let wild = tested(lr, 1e30, 60);
    assert!((2..59).contains(&wild.len()) && wild.iter().all(|point| point.loss.is_finite()), "{wild:?}");
}
