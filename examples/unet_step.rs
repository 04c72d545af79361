//! Times a training step or a prediction of the U-Net.
//!
//!     cargo run --release --example unet_step -- train --width 16 --batch 8 --size 128 --steps 10 --threads 2
//!
//! prints one JSON line: median and shortest seconds a step, pixels a second, peak memory of the process. The step is
//! forward, loss, backward and AdamW, as a PyTorch user would write it; prediction ends with the class of each pixel. With
//! `--steps 0` it only gets ready, so that timing the process gives the time to the first step.

use std::time::Instant;

use candle_core::{D, Device, Tensor};
use candle_nn::Optimizer;
use s2pipe::net::optim::{AdamW, AdamWConfig};
use s2pipe::net::rng::Rng;
use s2pipe::net::{CrossEntropy, Mode, Model, ModelConfig, Result, UNetConfig};

// As the program itself does.
#[global_allocator]
static BUFFERS: s2pipe::net::Buffers = s2pipe::net::Buffers::new();

/// What the command line says.
struct Options {
    train: bool,
    width: usize,
    depth: usize,
    batch: usize,
    size: usize,
    steps: usize,
    threads: usize,
    bands: usize,
    classes: usize,
}

impl Options {
    fn parse(args: &[String]) -> std::result::Result<Self, String> {
        let mut options = Self {
            train: match args.first().map(String::as_str) {
                Some("train") => true,
                Some("predict") => false,
                _ => return Err("usage: unet_step train|predict [--width 16] [--batch 8] [--size 128] …".into()),
            },
            width: 16,
            depth: 4,
            batch: 8,
            size: 128,
            steps: 10,
            threads: 2,
            bands: 6,
            classes: 6,
        };
        for pair in args[1..].chunks(2) {
            let [name, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
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
            "--threads" => &mut self.threads,
            "--bands" => &mut self.bands,
            "--classes" => &mut self.classes,
            _ => return None,
        })
    }
}

/// Seconds of each step, after three that are not counted.
fn time(o: &Options) -> Result<Vec<f64>> {
    let config = ModelConfig::UNet(UNetConfig::new(o.width, o.depth));
    let model = Model::new(&config, o.bands, o.classes, 1)?;
    let mut rng = Rng::new(2);
    let pixels = o.batch * o.size * o.size;
    let x: Vec<f32> = (0..pixels * o.bands).map(|_| rng.normal() as f32).collect();
    let x = Tensor::from_vec(x, (o.batch, o.size, o.size, o.bands), &Device::Cpu)?;
    let y: Vec<u8> = (0..pixels).map(|_| (rng.uniform() * o.classes as f64) as u8).collect();
    let y = Tensor::from_vec(y, (o.batch, o.size, o.size), &Device::Cpu)?;
    let variables = model.parameters().iter().map(|(_, var)| var.clone());
    let mut optimizer = AdamW::of(variables, AdamWConfig::with_lr(1e-3));
    let loss = CrossEntropy::new(None, 0.0)?;
    let mut step = || -> Result<()> {
        if o.train {
            let loss = loss.loss(&model.forward(&x, Mode::Train)?, &y)?;
            optimizer.step(&loss.backward()?)?;
        } else {
            model.forward(&x, Mode::Eval)?.argmax(D::Minus1)?;
        }
        Ok(())
    };
    let mut seconds = Vec::new();
    let steps = if o.steps > 0 { o.steps + 3 } else { 0 };
    for i in 0..steps {
        let start = Instant::now();
        step()?;
        if i >= 3 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    Ok(seconds)
}

/// Highest resident memory so far, where the system tells.
fn peak_rss_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let options = Options::parse(&args)?;
    rayon::ThreadPoolBuilder::new().num_threads(options.threads).build_global()?;
    s2pipe::net::Buffers::keep();
    let mut seconds = time(&options)?;
    if options.steps == 0 {
        return Ok(());
    }
    seconds.sort_by(f64::total_cmp);
    let (Some(shortest), Some(median)) = (seconds.first(), seconds.get(seconds.len() / 2)) else {
        return Err("no step was timed".into());
    };
    let pixels = (options.batch * options.size * options.size) as f64;
    let line = serde_json::json!({
        "what": if options.train { "train" } else { "predict" },
        "seconds": median,
        "min": shortest,
        "pixels_per_second": (pixels / median).round(),
        "peak_rss_mb": peak_rss_mb(),
    });
    println!("{line}");
    Ok(())
}
