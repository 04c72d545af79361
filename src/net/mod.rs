//! Operators, layers, models, losses, optimiser, trainer. Inside this room every image tensor is channels-last,
//! `[batch, height, width, channel]`.

mod types;

pub use types::{IGNORE, Mode, NetError, Result};
