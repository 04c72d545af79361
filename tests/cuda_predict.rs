//! Prediction of scenes on a GPU, against the same on the CPU.
#![cfg(feature = "cuda")]
#![expect(clippy::unwrap_used, reason = "tests")]

use candle_core::Device;
use s2pipe::net::config::Precision;
use s2pipe::net::rng::Rng;
use s2pipe::net::{
    Augment, Compute, GpuUse, IGNORE, Model, ModelConfig, PredictHooks, PredictOptions, Result, SceneSource,
    UNetConfig, predict_scene_on,
};

mod cuda_device;
use cuda_device::{F32, compute};

const BANDS: usize = 3;
const CLASSES: usize = 4;

/// A scene of noise with a corner without data.
struct Noise {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Noise {
    fn new(height: usize, width: usize) -> Self {
        let mut rng = Rng::new(5);
        Self { width, height, values: (0..height * width * BANDS).map(|_| rng.normal() as f32).collect() }
    }
}

impl SceneSource for Noise {
    fn width(&self) -> usize {
        self.width
    }
    fn height(&self) -> usize {
        self.height
    }
    fn bands(&self) -> usize {
        BANDS
    }
    fn read(&self, row: usize, _: usize, rows: usize, width: usize, out: &mut [f32], valid: &mut [bool]) -> Result<()> {
        out.copy_from_slice(&self.values[row * width * BANDS..][..rows * width * BANDS]);
        for (pixel, valid) in valid.iter_mut().enumerate() {
            *valid = row + pixel / width + pixel % width > 9;
        }
        Ok(())
    }
}

const OPTIONS: PredictOptions =
    PredictOptions { window: 32, overlap: 12, batch: 3, probabilities: true, augment: Augment::None };

fn model() -> Model {
    Model::new(&ModelConfig::UNet(UNetConfig::new(8, 2)), BANDS, CLASSES, 3).unwrap()
}

/// Labels and probabilities of a whole scene.
fn predicted(compute: &Compute, scene: &Noise, options: PredictOptions) -> Result<(Vec<u8>, Vec<f32>)> {
    let model = if matches!(compute, Compute::Cpu) { model() } else { model().on(&compute.device())? };
    let (mut labels, mut probabilities, mut next) = (Vec::new(), Vec::new(), 0);
    let mut sink = |row: usize, rows: usize, l: &[u8], p: &[f32]| {
        assert_eq!((row, l.len()), (next, rows * scene.width));
        assert_eq!(p.len(), if options.probabilities { l.len() * CLASSES } else { 0 });
        next += rows;
        labels.extend_from_slice(l);
        probabilities.extend_from_slice(p);
        Ok(())
    };
    predict_scene_on(compute, &model, scene, &options, &mut sink, &PredictHooks::quiet())?;
    assert_eq!(next, scene.height);
    Ok((labels, probabilities))
}

#[test]
fn scenes_of_any_size_are_what_the_cpu_makes_of_them() {
    for (height, width) in [(70, 95), (32, 32), (13, 21), (33, 200), (1, 40)] {
        let Some(gpu) = compute(F32) else { return };
        let scene = Noise::new(height, width);
        let (labels, probabilities) = predicted(&gpu, &scene, OPTIONS).unwrap();
        let (expected, expected_probabilities) = predicted(&Compute::Cpu, &scene, OPTIONS).unwrap();
        let apart = probabilities.iter().zip(&expected_probabilities).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5, "{height} x {width}: {apart}");
        let other = labels.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert!(other * 1000 <= labels.len(), "{height} x {width}: {other} other labels");
        let ignored = |labels: &[u8]| labels.iter().map(|l| *l == IGNORE).collect::<Vec<_>>();
        assert_eq!(ignored(&labels), ignored(&expected));
        let quiet = PredictOptions { probabilities: false, ..OPTIONS };
        assert_eq!(predicted(&gpu, &scene, quiet).unwrap().0, labels, "the same without probabilities");
    }
}

#[test]
fn from_all_sides_too() {
    for (height, width) in [(70, 95), (13, 21)] {
        for augment in [Augment::Flips, Augment::Eight] {
            let Some(gpu) = compute(F32) else { return };
            let (scene, options) = (Noise::new(height, width), PredictOptions { augment, ..OPTIONS });
            let (_, probabilities) = predicted(&gpu, &scene, options).unwrap();
            let (_, expected) = predicted(&Compute::Cpu, &scene, options).unwrap();
            let apart = probabilities.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-5, "{augment:?}, {height} x {width}: {apart}");
        }
    }
    let Some(gpu) = compute(GpuUse { precision: Precision::Auto, ..F32 }) else { return };
    let (scene, options) = (Noise::new(60, 70), PredictOptions { augment: Augment::Eight, ..OPTIONS });
    let (_, probabilities) = predicted(&gpu, &scene, options).unwrap();
    let (_, expected) = predicted(&Compute::Cpu, &scene, options).unwrap();
    let apart = probabilities.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart > 0.0 && apart < 0.03, "bf16: {apart}");
}

#[test]
fn bf16_is_near_f32() {
    let Some(gpu) = compute(GpuUse { precision: Precision::Auto, ..F32 }) else { return };
    let scene = Noise::new(60, 70);
    let (_, probabilities) = predicted(&gpu, &scene, OPTIONS).unwrap();
    let (_, expected) = predicted(&Compute::Cpu, &scene, OPTIONS).unwrap();
    let apart = probabilities.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart > 0.0 && apart < 0.03, "{apart}");
}

#[test]
fn a_model_goes_to_the_gpu_and_back_unchanged() {
    let Some(gpu) = compute(F32) else { return };
    let bytes = |model: &Model| s2pipe::net::weights::to_bytes(model, &Default::default()).unwrap();
    let model = model();
    assert_eq!(bytes(&model.on(&gpu.device()).unwrap().on(&Device::Cpu).unwrap()), bytes(&model));
}
