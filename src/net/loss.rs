//! What training makes small.

use candle_core::Tensor;

use super::ops::{softmax_cross_entropy, softmax_cross_entropy_with_gradient};
use super::types::{NetError, Result};

/// Cross-entropy with class weights and label smoothing, over labelled pixels.
#[derive(Clone, PartialEq, Debug)]
pub struct CrossEntropy {
    class_weights: Option<Vec<f32>>,
    smoothing: f32,
}

impl CrossEntropy {
    /// `class_weights`: one a class, finite and not negative; `smoothing` in `0..=1`.
    ///
    /// # Errors
    /// Values outside those ranges.
    pub fn new(class_weights: Option<Vec<f32>>, smoothing: f32) -> Result<Self> {
        let bad = class_weights.iter().flatten().find(|w| !w.is_finite() || **w < 0.0);
        if let Some(bad) = bad {
            return Err(NetError::Config(format!("class weights must be finite and not negative, found {bad}")));
        }
        if !(0.0..=1.0).contains(&smoothing) {
            return Err(NetError::Config(format!("label smoothing must lie in 0..=1, found {smoothing}")));
        }
        Ok(Self { class_weights, smoothing })
    }

    /// Mean loss (a scalar) of `logits: [N, H, W, K]` against `targets: [N, H, W]` (u8,
    /// [`IGNORE`](super::types::IGNORE) = no label).
    ///
    /// # Errors
    /// As [`softmax_cross_entropy`].
    pub fn loss(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        Ok(softmax_cross_entropy(logits, targets, self.class_weights.as_deref(), self.smoothing)?)
    }

    /// As [`Self::loss`], with the gradient of the logits, and without a graph.
    ///
    /// # Errors
    /// As [`softmax_cross_entropy_with_gradient`].
    pub fn with_gradient(&self, logits: &Tensor, targets: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok(softmax_cross_entropy_with_gradient(logits, targets, self.class_weights.as_deref(), self.smoothing)?)
    }
}
