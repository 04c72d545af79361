//! The optimiser: AdamW with visible moments, and clipping by the global gradient norm.

mod adamw;
mod clip;
mod config;

pub use adamw::{AdamW, Moments};
pub use clip::{clip_factor, global_norm};
pub use config::AdamWConfig;
#[cfg(feature = "cuda")]
pub(crate) use config::StepFactors;
