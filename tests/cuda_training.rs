//! Training and prediction on a GPU, against the same on the CPU.
#![cfg(feature = "cuda")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use s2pipe::net::augment::AugmentConfig;
use s2pipe::net::average::AverageConfig;
use s2pipe::net::config::{BatchSize, Precision};
use s2pipe::net::optim::{AdamWConfig, SgdConfig};
use s2pipe::net::rng::Rng;
use s2pipe::net::sampling::Sampling;
use s2pipe::net::schedule::Schedule;
use s2pipe::net::{
    ClassWeights, Compute, EncoderKind, GpuUse, IGNORE, LossConfig, ModelConfig, NetError, OptimizerConfig, Part,
    PatchSource, Result, SegFormerConfig, TrainConfig, TrainHooks, Trained, UNetConfig, train_on, weights,
};

mod cuda_device;
use cuda_device::{F32, compute};

const SIZE: usize = 16;
const BANDS: usize = 3;

/// Patches of discs on a ground.
struct Discs;

impl PatchSource for Discs {
    fn bands(&self) -> usize {
        BANDS
    }
    fn size(&self) -> usize {
        SIZE
    }
    fn train_len(&self) -> usize {
        11
    }
    fn holdout_len(&self) -> usize {
        5
    }
    fn class_pixels(&self) -> Vec<u64> {
        vec![2000, 600, 216]
    }
    fn read(&self, part: Part, index: usize, bands: &mut [f32], labels: &mut [u8]) -> Result<()> {
        let mut rng = Rng::new(index as u64).fork(&part.to_string());
        let centre = [rng.below(SIZE) as f64, rng.below(SIZE) as f64];
        for (pixel, (values, label)) in bands.chunks_mut(BANDS).zip(labels.iter_mut()).enumerate() {
            let (row, column) = ((pixel / SIZE) as f64, (pixel % SIZE) as f64);
            let distance = (row - centre[0]).hypot(column - centre[1]);
            *label = if distance < 3.0 { 2 } else { u8::from(distance < 7.0) };
            values[0] = f32::from(*label) - 1.0 + 0.3 * rng.normal() as f32;
            values[1] = rng.normal() as f32;
            values[2] = row as f32 / SIZE as f32;
            if pixel == 5 {
                *label = IGNORE;
            }
        }
        Ok(())
    }
}

fn config() -> TrainConfig {
    TrainConfig {
        model: ModelConfig::UNet(UNetConfig::new(8, 2)),
        classes: 3,
        epochs: 3,
        batch: BatchSize::Patches(4),
        steps_per_epoch: None,
        optimizer: OptimizerConfig::AdamW(AdamWConfig::with_lr(0.01)),
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
        precision: Precision::F32,
        deterministic: true,
    }
}

fn trained(compute: &Compute, config: &TrainConfig) -> Trained {
    let dir = tempfile::tempdir().unwrap();
    train_on(compute, config, &Discs, &TrainHooks::quiet(dir.path())).unwrap()
}

fn bytes(trained: &Trained) -> Vec<u8> {
    weights::to_bytes(&trained.model, &BTreeMap::new()).unwrap()
}

/// Largest difference between the parameters of two models, over the largest value.
fn distance(a: &Trained, b: &Trained) -> f64 {
    let values = |t: &Trained| -> Vec<f32> {
        let state = weights::state(&t.model).unwrap();
        state.iter().flat_map(|(_, t)| t.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect()
    };
    let (a, b) = (values(a), values(b));
    let largest = b.iter().fold(0.0_f64, |m, v| m.max(f64::from(v.abs())));
    a.iter().zip(&b).fold(0.0_f64, |m, (a, b)| m.max(f64::from((a - b).abs()))) / largest
}

#[test]
fn the_first_steps_are_those_of_the_cpu() {
    let Some(gpu) = compute(F32) else { return };
    // One epoch without a hold-out score to choose by: three steps, whose weights are compared.
    let config = TrainConfig { epochs: 1, ..config() };
    let (here, there) = (trained(&Compute::Cpu, &config), trained(&gpu, &config));
    let apart = distance(&there, &here);
    assert!(apart < 2e-3, "{apart}");
    let (a, b) = (&there.history.epochs[0], &here.history.epochs[0]);
    assert!((a.train_loss - b.train_loss).abs() < 1e-4 * b.train_loss, "{} {}", a.train_loss, b.train_loss);
    let (a, b) = (a.holdout.as_ref().unwrap(), b.holdout.as_ref().unwrap());
    assert!((a.loss - b.loss).abs() < 1e-2 * b.loss, "{} {}", a.loss, b.loss);
}

#[test]
fn other_recipes_are_those_of_the_cpu_too() {
    let sum = r#"{"kind": "sum", "terms": [
        {"loss": {"kind": "focal", "class_weights": "effective_number", "beta": 0.999, "weight_cap": 2}},
        {"loss": {"kind": "lovasz"}, "weight": 0.5}, {"loss": {"kind": "dice"}, "weight": 0.25}
    ]}"#;
    let averaged = TrainConfig { ema: Some(AverageConfig { decay: 0.9 }), epochs: 1, ..config() };
    let sgd = TrainConfig { optimizer: OptimizerConfig::Sgd(SgdConfig::with_lr(0.05)), ..averaged.clone() };
    let sum = TrainConfig { loss: serde_json::from_str(sum).unwrap(), ..averaged.clone() };
    let resnet = UNetConfig { encoder: EncoderKind::ResNet18, ..UNetConfig::new(8, 2) };
    let resnet = TrainConfig { model: ModelConfig::UNet(resnet), ..sgd.clone() };
    // By gradient descent: AdamW would make whole steps of the rounding that is the gradient of the keys' bias.
    let model = SegFormerConfig { width: 8, depth: 2, blocks: 1, heads: 2, ffn: 2, decoder: 8 };
    let attention = TrainConfig { model: ModelConfig::SegFormer(model), ..sgd.clone() };
    for config in [averaged, sgd, sum, resnet, attention] {
        let Some(gpu) = compute(F32) else { return };
        let (here, there) = (trained(&Compute::Cpu, &config), trained(&gpu, &config));
        let apart = distance(&there, &here);
        assert!(apart < 2e-3, "{apart}: {config:?}");
        assert_eq!(bytes(&there), bytes(&trained(&gpu, &config)), "twice: {config:?}");
    }
}

#[test]
fn a_whole_training_scores_as_on_the_cpu_in_every_precision() {
    let config = TrainConfig { epochs: 12, ..config() };
    let best = |t: &Trained| t.history.epochs[t.best_epoch - 1].holdout.as_ref().unwrap().mean_jaccard;
    let expected = best(&trained(&Compute::Cpu, &config));
    assert!(expected > 0.5, "{expected}");
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        let Some(gpu) = compute(GpuUse { precision, ..F32 }) else { return };
        let found = best(&trained(&gpu, &TrainConfig { precision, ..config.clone() }));
        println!("{precision:?}: {found:.4}, CPU {expected:.4}");
        assert!((found - expected).abs() < 0.05, "{precision:?}: {found} {expected}");
    }
}

#[test]
fn twice_gives_the_same_bits_also_after_interruptions() {
    let Some(gpu) = compute(F32) else { return };
    let (first, second) = (trained(&gpu, &config()), trained(&gpu, &config()));
    assert_eq!(bytes(&first), bytes(&second));
    let history = |t: &Trained| serde_json::to_string(&t.history).unwrap();
    assert_eq!(history(&first), history(&second));
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng::new(3);
    let resumed = loop {
        let patience = Cell::new(1 + rng.below(6));
        let cancelled = || {
            patience.set(patience.get() - 1);
            patience.get() == 0
        };
        let hooks = TrainHooks { cancelled: &cancelled, ..TrainHooks::quiet(dir.path()) };
        match train_on(&gpu, &config(), &Discs, &hooks) {
            Ok(trained) => break trained,
            Err(NetError::Cancelled) => {}
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(bytes(&resumed), bytes(&first));
    assert_eq!(history(&resumed), history(&first));
}

#[test]
fn a_gpu_checkpoint_is_gone_on_with_on_the_cpu() {
    let Some(gpu) = compute(F32) else { return };
    let dir = tempfile::tempdir().unwrap();
    let steps = Cell::new(0);
    let cancelled = || {
        steps.set(steps.get() + 1);
        steps.get() == 5
    };
    let hooks = TrainHooks { cancelled: &cancelled, ..TrainHooks::quiet(dir.path()) };
    assert!(matches!(train_on(&gpu, &config(), &Discs, &hooks), Err(NetError::Cancelled)));
    let resumed = train_on(&Compute::Cpu, &config(), &Discs, &TrainHooks::quiet(dir.path())).unwrap();
    let apart = distance(&resumed, &trained(&Compute::Cpu, &config()));
    assert!(apart < 2e-2, "{apart}");
}

#[test]
fn a_loss_that_is_not_finite_ends_the_training_at_its_step() {
    let Some(gpu) = compute(F32) else { return };
    let optimizer = OptimizerConfig::AdamW(AdamWConfig::with_lr(1e30));
    let config = TrainConfig { optimizer, clip: None, schedule: Schedule::Constant, ..config() };
    let fails = |compute: &Compute, dir: &Path| match train_on(compute, &config, &Discs, &TrainHooks::quiet(dir)) {
        Err(NetError::Diverged { epoch, step, .. } | NetError::GradientDiverged { epoch, step, .. }) => (epoch, step),
        other => panic!("{other:?}"),
    };
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    assert_eq!(fails(&gpu, dirs[0].path()), fails(&Compute::Cpu, dirs[1].path()));
}
