//! The optimiser: AdamW with visible moments, and clipping by the global gradient norm.

mod adamw;
mod clip;

pub use adamw::{AdamW, AdamWConfig, Moments};
pub use clip::{clip_factor, global_norm};
