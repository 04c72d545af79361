//! What training makes small.

mod config;
mod criterion;

pub use config::{LossConfig, LossTerm};
pub use criterion::{Criterion, CrossEntropy, Dice, Focal, LovaszSoftmax, WeightedSum};
