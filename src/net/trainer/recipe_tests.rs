//! Whole trainings with other recipes than the plain one.

use std::cell::Cell;

use super::tests::{DISCS, Discs, SIZE, config, fingerprint_of, uninterrupted};
use super::*;
use crate::net::average::AverageConfig;
use crate::net::loss::LossTerm;
use crate::net::optim::SgdConfig;
use crate::net::rng::Rng;
use crate::net::sampling::Sampling;
use crate::net::{
    BlockKind, ClassWeights, DeepLabConfig, FpnConfig, LossConfig, MlpConfig, ModelConfig, NetError, OptimizerConfig,
    Part, UNetConfig,
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

/// One of each kind but the plain U-Net.
fn networks() -> [ModelConfig; 4] {
    let (plain, residual) = (BlockKind::Plain, BlockKind::Residual);
    [
        ModelConfig::UNet(UNetConfig { width: 4, depth: 1, block: residual }),
        ModelConfig::Mlp(MlpConfig { width: 8, depth: 2 }),
        ModelConfig::Fpn(FpnConfig { width: 4, depth: 2, pyramid: 8, block: plain }),
        ModelConfig::DeepLab(DeepLabConfig { width: 4, depth: 1, rates: [1, 2, 3], aspp: 8, block: residual }),
    ]
}

#[test]
fn every_network_learns() {
    for model in networks() {
        let trained = uninterrupted(&TrainConfig { epochs: 40, model, ..config() });
        let losses: Vec<f64> = trained.history.epochs.iter().map(|epoch| epoch.train_loss).collect();
        assert!(losses[39] < 0.8 * losses[0], "{model:?}: {losses:?}");
        assert!(best(&trained) > 0.6, "{model:?}: {}", best(&trained));
    }
}

#[test]
fn every_network_is_reproducible() {
    networks().into_iter().for_each(|model| is_reproducible(&TrainConfig { model, ..config() }));
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
