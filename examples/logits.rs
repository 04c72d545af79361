//! Writes what a trained network answers to some input, so that another program can be compared with it.
//!
//!     cargo run --release --example logits -- cache/landcover/train/model/model.safetensors logits.safetensors
//!     python examples/pytorch_unet.py cache/landcover/train/model/model.safetensors logits.safetensors
//!
//! The file holds `bands` `[2, 64, 96, bands]`, normally distributed as normalised bands are, and `logits`
//! `[2, 64, 96, classes]`, both f32.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use s2pipe::net::rng::Rng;
use s2pipe::net::{Mode, weights};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, out] = &args[..] else {
        return Err("usage: logits MODEL.safetensors OUT.safetensors".into());
    };
    let (model, _) = weights::load(Path::new(model))?;
    let shape = (2, 64, 96, model.bands());
    let mut rng = Rng::new(7);
    let values: Vec<f32> = (0..2 * 64 * 96 * model.bands()).map(|_| rng.normal() as f32).collect();
    let bands = Tensor::from_vec(values, shape, &Device::Cpu)?;
    let logits = model.forward(&bands, Mode::Eval)?;
    candle_core::safetensors::save(&HashMap::from([("bands", bands), ("logits", logits)]), out)?;
    Ok(())
}
