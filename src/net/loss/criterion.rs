//! Losses with their gradients, as training asks for them.

use candle_core::Tensor;

use crate::net::ops::{
    dice_loss_with_gradient, focal_loss_with_gradient, lovasz_softmax_with_gradient, softmax_cross_entropy,
    softmax_cross_entropy_with_gradient, weighted_sum,
};
use crate::net::types::{NetError, Result};

/// A loss of a batch.
pub trait Criterion {
    /// Loss (a scalar) of `logits: [N, H, W, K]` against `targets: [N, H, W]` (u8,
    /// [`IGNORE`](crate::net::IGNORE) = no label), and its gradient by logits, without a graph.
    ///
    /// # Errors
    /// Operands that do not fit; on the CPU a target that is no class.
    fn with_gradient(&self, logits: &Tensor, targets: &Tensor) -> Result<(Tensor, Tensor)>;

    /// The loss alone, for logits that nothing is learned from.
    ///
    /// # Errors
    /// As [`Self::with_gradient`].
    fn value(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        Ok(self.with_gradient(logits, targets)?.0)
    }
}

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
        let class_weights = checked(class_weights)?;
        if !(0.0..=1.0).contains(&smoothing) {
            return Err(NetError::Config(format!("label smoothing must lie in 0..=1, found {smoothing}")));
        }
        Ok(Self { class_weights, smoothing })
    }

    /// Mean loss (a scalar) of `logits: [N, H, W, K]` against `targets: [N, H, W]` (u8,
    /// [`IGNORE`](crate::net::IGNORE) = no label).
    ///
    /// # Errors
    /// As [`softmax_cross_entropy`].
    pub fn loss(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        Ok(softmax_cross_entropy(logits, targets, self.class_weights.as_deref(), self.smoothing)?)
    }
}

impl Criterion for CrossEntropy {
    fn with_gradient(&self, logits: &Tensor, targets: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok(softmax_cross_entropy_with_gradient(logits, targets, self.class_weights.as_deref(), self.smoothing)?)
    }

    fn value(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        self.loss(logits, targets)
    }
}

/// Focal loss with class weights, over labelled pixels.
#[derive(Clone, PartialEq, Debug)]
pub struct Focal {
    class_weights: Option<Vec<f32>>,
    gamma: f32,
}

impl Focal {
    /// `class_weights`: one a class, finite and not negative; `gamma`: 0 or more.
    ///
    /// # Errors
    /// Class weights outside their range; `gamma` is looked at by the operator.
    pub fn new(class_weights: Option<Vec<f32>>, gamma: f32) -> Result<Self> {
        Ok(Self { class_weights: checked(class_weights)?, gamma })
    }
}

impl Criterion for Focal {
    fn with_gradient(&self, logits: &Tensor, targets: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok(focal_loss_with_gradient(logits, targets, self.class_weights.as_deref(), self.gamma)?)
    }
}

/// Dice loss over the classes that occur in the batch.
#[derive(Clone, PartialEq, Debug)]
pub struct Dice {
    smooth: f32,
}

impl Dice {
    /// `smooth` is added above and below the fraction: 0 or more.
    pub fn new(smooth: f32) -> Self {
        Self { smooth }
    }
}

impl Criterion for Dice {
    fn with_gradient(&self, logits: &Tensor, targets: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok(dice_loss_with_gradient(logits, targets, None, self.smooth)?)
    }
}

/// Lovász-softmax loss over the classes that occur in the batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LovaszSoftmax;

impl Criterion for LovaszSoftmax {
    fn with_gradient(&self, logits: &Tensor, targets: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok(lovasz_softmax_with_gradient(logits, targets)?)
    }
}

/// Several losses, each times its weight.
pub struct WeightedSum {
    terms: Vec<(f32, Box<dyn Criterion>)>,
}

impl WeightedSum {
    /// Of one term or more.
    pub fn new(terms: Vec<(f32, Box<dyn Criterion>)>) -> Self {
        Self { terms }
    }
}

impl Criterion for WeightedSum {
    fn with_gradient(&self, logits: &Tensor, targets: &Tensor) -> Result<(Tensor, Tensor)> {
        let (mut losses, mut gradients) = (Vec::new(), Vec::new());
        for (weight, term) in &self.terms {
            let (loss, gradient) = term.with_gradient(logits, targets)?;
            losses.push((*weight, loss));
            gradients.push((*weight, gradient));
        }
        Ok((weighted_sum(&losses)?, weighted_sum(&gradients)?))
    }
}

/// Class weights that are finite and not negative.
fn checked(class_weights: Option<Vec<f32>>) -> Result<Option<Vec<f32>>> {
    match class_weights.iter().flatten().find(|w| !w.is_finite() || **w < 0.0) {
        Some(bad) => Err(NetError::Config(format!("class weights must be finite and not negative, found {bad}"))),
        None => Ok(class_weights),
    }
}
