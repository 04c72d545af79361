//! Operators, layers, models, losses, optimiser, trainer. Inside this room every image tensor is channels-last,
//! `[batch, height, width, channel]`.

mod types;

pub mod augment;
pub mod optim;
pub mod rng;
pub mod sampling;
pub mod schedule;
mod values;

pub use types::{IGNORE, Mode, NetError, Result};
