//! Operators, layers, models, losses, optimiser, trainer. Inside this room every image tensor is channels-last,
//! `[batch, height, width, channel]`.

pub mod ops;
pub mod rng;
mod types;

pub use types::{IGNORE, Mode, NetError, Result};
