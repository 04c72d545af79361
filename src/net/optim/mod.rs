//! Optimisers with visible state, AdamW and SGD with momentum; and clipping by the global gradient norm.

mod adamw;
mod clip;
mod config;
mod scaling;
mod sgd;

pub use adamw::{AdamW, Moments};
pub use clip::{clip_factor, global_norm};
#[cfg(feature = "cuda")]
pub(crate) use config::StepFactors;
pub use config::{AdamWConfig, OptimizerConfig};
pub use scaling::{ScaleLr, ScaleRule};
#[cfg(feature = "cuda")]
pub(crate) use sgd::SgdFactors;
pub use sgd::{Sgd, SgdConfig};

use super::Result;
use super::ops::GradientsOf;

/// Changes parameters by their gradients.
pub trait Optimizer {
    /// One step on gradients multiplied by `scale` (see [`clip_factor`]) at learning rate `lr`. A variable without a gradient
    /// stays as it is, moments too.
    ///
    /// # Errors
    /// [`candle_core::Error`] when a parameter or gradient is not a contiguous f32 tensor on the CPU.
    fn step(&mut self, gradients: &dyn GradientsOf, scale: f64, lr: f64) -> candle_core::Result<()>;

    /// Steps taken.
    fn steps(&self) -> u64;

    /// Moments of every parameter, in parameter order.
    fn moments(&self) -> &[Moments];

    /// Goes on from saved moments.
    ///
    /// # Errors
    /// [`NetError::Config`](super::NetError::Config) when their number or lengths are not those of the parameters.
    fn restore(&mut self, moments: Vec<Moments>, steps: u64) -> Result<()>;
}
