//! Times a training step or a prediction of the U-Net on a GPU.
//!
//!     cargo run --release --features cuda --example gpu_step -- train --width 32 --batch 32 --size 128 --steps 64 --precision bf16
//!
//! prints one JSON line: median and shortest seconds a step, pixels a second. A training step is the program's own: a batch is
//! made of patches that lie on the GPU, with flips, then forward, loss, backward, clipping and AdamW. The trainer looks at the
//! loss, and so waits for the GPU, every 16 steps: those 16 are timed together. Prediction is the forward pass and the class of
//! each pixel, waited for every time. `--deterministic 1` takes only algorithms that add up in a fixed order. `gpu_step limits`
//! measures what the GPU can do at most: a product of large bf16 matrices, and a copy.

#[cfg(not(feature = "cuda"))]
fn main() {
    eprintln!("gpu_step: this build has no CUDA; build with --features cuda");
    std::process::exit(2);
}

#[cfg(feature = "cuda")]
fn main() {
    if let Err(error) = gpu::main() {
        eprintln!("gpu_step: {error}");
        std::process::exit(1);
    }
}

#[cfg(feature = "cuda")]
mod gpu {
    use std::cell::RefCell;
    use std::time::Instant;

    use candle_core::{D, DType, Tensor};
    use s2pipe::net::augment::AugmentConfig;
    use s2pipe::net::config::{BatchSize, Precision};
    use s2pipe::net::optim::AdamWConfig;
    use s2pipe::net::rng::Rng;
    use s2pipe::net::sampling::Sampling;
    use s2pipe::net::schedule::Schedule;
    use s2pipe::net::{
        Compute, GpuUse, LossConfig, Mode, Model, ModelConfig, OptimizerConfig, Part, PatchSource, Result, TrainConfig,
        TrainHooks, UNetConfig, Wanted, train_on,
    };

    /// Steps from one look of the trainer at the loss to the next.
    const LOOK: usize = 16;

    /// What the command line says.
    struct Options {
        train: bool,
        precision: Precision,
        width: usize,
        depth: usize,
        batch: usize,
        size: usize,
        steps: usize,
        bands: usize,
        classes: usize,
        deterministic: usize,
    }

    impl Options {
        fn parse(args: &[String]) -> std::result::Result<Self, String> {
            let mut options = Self {
                train: match args.first().map(String::as_str) {
                    Some("train") => true,
                    Some("predict") => false,
                    _ => {
                        return Err(
                            "usage: gpu_step train|predict [--width 32] [--batch 32] [--precision bf16] …".into()
                        );
                    }
                },
                precision: Precision::Bf16,
                width: 32,
                depth: 4,
                batch: 32,
                size: 128,
                steps: 64,
                bands: 6,
                classes: 6,
                deterministic: 0,
            };
            for pair in args[1..].chunks(2) {
                let [name, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
                if name == "--precision" {
                    let quoted = format!("{value:?}");
                    options.precision =
                        serde_json::from_str(&quoted).map_err(|e| format!("--precision {value}: {e}"))?;
                    continue;
                }
                let value = value.parse().map_err(|_| format!("{name} needs a number, found {value}"))?;
                *options.field(name).ok_or_else(|| format!("unknown option {name}"))? = value;
            }
            Ok(options)
        }

        fn field(&mut self, name: &str) -> Option<&mut usize> {
            Some(match name {
                "--width" => &mut self.width,
                "--depth" => &mut self.depth,
                "--batch" => &mut self.batch,
                "--size" => &mut self.size,
                "--steps" => &mut self.steps,
                "--bands" => &mut self.bands,
                "--classes" => &mut self.classes,
                "--deterministic" => &mut self.deterministic,
                _ => return None,
            })
        }

        fn model(&self) -> ModelConfig {
            ModelConfig::UNet(UNetConfig::new(self.width, self.depth))
        }
    }

    /// Patches of noise.
    struct Noise {
        size: usize,
        bands: usize,
        classes: usize,
        patches: usize,
    }

    impl PatchSource for Noise {
        fn bands(&self) -> usize {
            self.bands
        }
        fn size(&self) -> usize {
            self.size
        }
        fn train_len(&self) -> usize {
            self.patches
        }
        fn holdout_len(&self) -> usize {
            0
        }
        fn class_pixels(&self) -> Vec<u64> {
            vec![1; self.classes]
        }
        fn read(&self, _: Part, index: usize, bands: &mut [f32], labels: &mut [u8]) -> Result<()> {
            let mut rng = Rng::new(index as u64);
            bands.iter_mut().for_each(|v| *v = rng.normal() as f32);
            labels.iter_mut().for_each(|l| *l = rng.below(self.classes) as u8);
            Ok(())
        }
    }

    /// Seconds a step, each a mean over [`LOOK`] steps.
    fn train(o: &Options, compute: &Compute) -> Result<Vec<f64>> {
        let source = Noise { size: o.size, bands: o.bands, classes: o.classes, patches: 2 * o.batch };
        // The first two looks are not counted: algorithms are chosen there.
        let config = TrainConfig {
            model: o.model(),
            classes: o.classes,
            epochs: 1,
            batch: BatchSize::Patches(o.batch),
            steps_per_epoch: Some((o.steps.div_ceil(LOOK) + 2) * LOOK),
            optimizer: OptimizerConfig::AdamW(AdamWConfig::with_lr(1e-3)),
            scale_lr: None,
            schedule: Schedule::Constant,
            loss: LossConfig::default(),
            clip: None,
            ema: None,
            swa: None,
            augment: AugmentConfig::default(),
            sampling: Sampling::Shuffled,
            evaluate_every: 1,
            patience: None,
            seed: 1,
            precision: o.precision,
            deterministic: o.deterministic != 0,
        };
        let looks = RefCell::new(Vec::new());
        let on_step = |done: usize, _: usize, _: f32| {
            if done.is_multiple_of(LOOK) {
                looks.borrow_mut().push(Instant::now());
            }
        };
        let folder =
            tempfile::tempdir().map_err(|e| s2pipe::net::NetError::Config(format!("a temporary folder: {e}")))?;
        train_on(compute, &config, &source, &TrainHooks { on_step: &on_step, ..TrainHooks::quiet(folder.path()) })?;
        let looks = looks.into_inner();
        Ok(looks[1..].windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() / LOOK as f64).collect())
    }

    /// Seconds of each prediction, after three that are not counted.
    fn predict(o: &Options, compute: &Compute) -> Result<Vec<f64>> {
        let Compute::Gpu { gpu, .. } = compute else { return Ok(Vec::new()) };
        let model = Model::new(&o.model(), o.bands, o.classes, 1)?.on(&compute.device())?;
        let mut rng = Rng::new(2);
        let x: Vec<f32> = (0..o.batch * o.size * o.size * o.bands).map(|_| rng.normal() as f32).collect();
        let x = Tensor::from_vec(x, (o.batch, o.size, o.size, o.bands), &compute.device())?;
        let x = x.to_dtype(compute.activations())?;
        let mut seconds = Vec::new();
        for i in 0..o.steps + 3 {
            let start = Instant::now();
            model.forward(&x, Mode::Eval)?.argmax(D::Minus1)?;
            gpu.synchronize()?;
            if i >= 3 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        Ok(seconds)
    }

    /// Seconds of the fastest of ten calls.
    fn fastest(compute: &Compute, work: impl Fn() -> candle_core::Result<Tensor>) -> Result<f64> {
        let Compute::Gpu { gpu, .. } = compute else { return Ok(f64::NAN) };
        let mut best = f64::INFINITY;
        for _ in 0..10 {
            let start = Instant::now();
            let result = work()?;
            gpu.synchronize()?;
            best = best.min(start.elapsed().as_secs_f64());
            drop(result);
        }
        Ok(best)
    }

    fn limits() -> Result<()> {
        let compute = Compute::open(Wanted::Gpu(0), GpuUse::default())?;
        let side = 8192_usize;
        let matrix = Tensor::zeros((side, side), DType::BF16, &compute.device())?;
        let product = fastest(&compute, || matrix.matmul(&matrix))?;
        let values = Tensor::zeros(1 << 28, DType::F32, &compute.device())?;
        let copy = fastest(&compute, || values.copy())?;
        let line = serde_json::json!({
            "bf16_tflops": 2.0 * (side as f64).powi(3) / product / 1e12,
            "copy_gbps": 2.0 * 4.0 * f64::from(1 << 28) / copy / 1e9,
        });
        println!("{line}");
        Ok(())
    }

    pub(super) fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let args: Vec<String> = std::env::args().skip(1).collect();
        if args.first().is_some_and(|arg| arg == "limits") {
            return Ok(limits()?);
        }
        let options = Options::parse(&args)?;
        let with = GpuUse { precision: options.precision, deterministic: options.deterministic != 0, memory: None };
        let compute = Compute::open(Wanted::Gpu(0), with)?;
        let mut seconds = if options.train { train(&options, &compute)? } else { predict(&options, &compute)? };
        seconds.sort_by(f64::total_cmp);
        let (Some(shortest), Some(median)) = (seconds.first(), seconds.get(seconds.len() / 2)) else {
            return Err("no step was timed".into());
        };
        let pixels = (options.batch * options.size * options.size) as f64;
        let line = serde_json::json!({
            "what": if options.train { "train" } else { "predict" },
            "on": compute.describe(),
            "seconds": median,
            "min": shortest,
            "pixels_per_second": (pixels / median).round(),
        });
        println!("{line}");
        Ok(())
    }
}
