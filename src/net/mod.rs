//! Operators, layers, models, losses, optimiser, trainer. Inside this room every image tensor is channels-last,
//! `[batch, height, width, channel]`.

pub mod layers;
pub mod loss;
pub mod models;
pub mod ops;
pub mod rng;
mod types;
pub mod weights;

pub use loss::CrossEntropy;
pub use models::{Model, ModelConfig, UNetConfig};
pub use types::{IGNORE, Mode, NetError, Result};
