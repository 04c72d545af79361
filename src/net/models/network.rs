//! What every kind of network can do.

use candle_core::{Result, Tensor};

/// From images `[N, H, W, bands]` to logits `[N, H, W, classes]`, by the operators of `net::ops`: in training, those of candle
/// would pass no gradient (and are refused).
pub(super) trait Network: Send + Sync {
    /// With `train`, normalises by the batch, updates running statistics and leaves a graph; without, none of the three.
    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor>;
}
