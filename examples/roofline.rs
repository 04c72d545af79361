//! What this machine can do at most, and what the U-Net needs: the two sides of a roofline.
//!
//!     cargo run --release --example roofline -- [THREADS]
//!
//! prints one JSON line: the rate of a large matrix product and of a copy of memory larger than the caches, and for the four
//! points of `benches/step.sh` the multiplications and additions of a training step as a convolution by its definition has
//! them (`gflop`; Winograd's way needs fewer).

use std::hint::black_box;
use std::time::Instant;

use candle_core::{Device, Tensor};
use rayon::prelude::*;

/// Shortest of several runs: what the machine does when nobody else has it.
fn shortest(runs: usize, mut run: impl FnMut()) -> f64 {
    let times = (0..runs).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

/// Billions of multiplications and additions a second in a product of two matrices of 2048 x 2048.
fn product_rate() -> candle_core::Result<f64> {
    let size = 2048;
    let a = Tensor::rand(0f32, 1f32, (size, size), &Device::Cpu)?;
    let mut failed = None;
    let seconds = shortest(7, || failed = a.matmul(&a).map(black_box).err());
    failed.map_or(Ok(2.0 * (size as f64).powi(3) / seconds / 1e9), Err)
}

/// Billions of bytes a second, read and written, in a copy of 512 MiB.
fn copy_rate() -> f64 {
    let from = vec![1.0f32; 128 << 20];
    let mut to = vec![0.0f32; from.len()];
    let chunk = 1 << 16;
    let seconds = shortest(5, || {
        to.par_chunks_mut(chunk).zip(from.par_chunks(chunk)).for_each(|(to, from)| to.copy_from_slice(from));
        black_box(&mut to);
    });
    8.0 * from.len() as f64 / seconds / 1e9
}

/// Billions of multiplications and additions of a forward pass of the U-Net with six bands and classes, depth 4.
fn forward_gflop(width: usize, batch: usize, size: usize) -> f64 {
    let pixels = |level: usize| (batch * (size >> level) * (size >> level)) as f64;
    let channels = |level: usize| (width << level) as f64;
    let mut multiplications = pixels(0) * 6.0 * channels(0);
    for level in 0..=4 {
        let (c, inputs) = (channels(level), if level == 0 { 6.0 } else { channels(level - 1) });
        multiplications += 9.0 * pixels(level) * c * (inputs + c);
        if level < 4 {
            // Up from the level below, then the two convolutions after the concatenation.
            multiplications += pixels(level) * 2.0 * c * c + 9.0 * pixels(level) * c * (2.0 * c + c);
        }
    }
    2.0 * multiplications / 1e9
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let threads = std::env::args().nth(1).map_or(Ok(2), |t| t.parse())?;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let points = [(16, 8, 128), (24, 16, 128), (32, 8, 128), (32, 4, 256)].map(|(width, batch, size)| {
        let forward = forward_gflop(width, batch, size);
        // Backwards each product is there twice: for the input's gradient and for the weights'.
        serde_json::json!({ "width": width, "batch": batch, "size": size, "predict_gflop": forward, "train_gflop": 3.0 * forward })
    });
    let line = serde_json::json!({
        "threads": threads,
        "product_gflop_per_second": product_rate()?,
        "copy_gb_per_second": copy_rate(),
        "points": points,
    });
    println!("{line}");
    Ok(())
}
