//! Synthetic Sentinel-2 scenes with truth, in the format of the exercise: six `i32` bands (blue, green, red, nir, swir
//! as reflectance x 10,000, and NDVI x 10,000) and `u8` label codes, 10 m a pixel.

mod codes;
mod error;
mod files;
mod generate;
mod ground;
mod kind;
mod layout;
mod noise;
mod orders;
mod parcels;
mod render;
mod roads;
mod sample;
mod settlement;
mod spectra;
mod terrain;

pub use error::SynthError;
pub use files::{write_pair, write_pair_for};
pub use generate::{SynthConfig, SynthScene, generate, scene_for_truth};
pub use kind::Synth;
pub use orders::{SAMPLE_SEED, orders};
pub use sample::{SAMPLE, SAMPLE_EPSG, SAMPLE_PIXEL, SampleScene, Split};
