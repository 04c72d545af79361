//! Training: steps, scores on the hold-out, checkpoints, the choice of the best epoch.
//!
//! The same configuration, data and seed give the same bits: whatever the number of threads, and however often the training
//! was stopped and taken up again.

mod evaluate;
mod feed;
mod hooks;
mod learner;
mod pace;
mod session;

#[cfg(test)]
mod recipe_tests;
#[cfg(test)]
mod tests;

pub use hooks::TrainHooks;

use candle_core::Device;

use self::session::Session;
use super::config::TrainConfig;
use super::device::Compute;
use super::history::History;
use super::loss::Criterion;
use super::models::Model;
use super::ops::Buffers;
use super::range_test::{RangeTest, RatePoint};
use super::source::PatchSource;
use super::{Ended, Result};

/// A trained model.
#[derive(Debug)]
pub struct Trained {
    /// With the weights of the best epoch.
    pub model: Model,
    /// What happened.
    pub history: History,
    /// The epoch (from 1) of the weights, see [`History::best_epoch`]; 0 where the deadline came before the first epoch was
    /// over.
    pub best_epoch: usize,
    /// The deadline ended it before the last epoch.
    pub cut_short: bool,
}

/// Trains a model. Goes on from the newest whole checkpoint of this very training in `hooks.checkpoint_dir`, if there is one.
///
/// # Errors
/// [`NetError::Config`](super::NetError::Config) when the configuration does not fit the data;
/// [`NetError::Diverged`](super::NetError::Diverged) and [`NetError::GradientDiverged`](super::NetError::GradientDiverged)
/// when loss or gradients are no longer finite; [`NetError::Cancelled`](super::NetError::Cancelled) when the caller asked to
/// stop, after a checkpoint was written; [`NetError::Io`](super::NetError::Io) when the checkpoint folder cannot be used; and
/// whatever `source` reports.
pub fn train(config: &TrainConfig, source: &dyn PatchSource, hooks: &TrainHooks<'_>) -> Result<Trained> {
    train_on(&Compute::Cpu, config, source, hooks)
}

/// As [`train`], where `compute` says. The trained model is on the CPU in any case.
///
/// # Errors
/// As [`train`], and what the GPU reports.
pub fn train_on(
    compute: &Compute,
    config: &TrainConfig,
    source: &dyn PatchSource,
    hooks: &TrainHooks<'_>,
) -> Result<Trained> {
    let (model, loss) = begin(compute, config, source)?;
    let history = Session::new(config, compute, (&model, loss.as_ref()), source, hooks)?.run()?;
    let cut_short = history.ended == Ended::Deadline;
    let model = if matches!(compute, Compute::Cpu) { model } else { model.on(&Device::Cpu)? };
    Ok(Trained { model, best_epoch: history.best_epoch, history, cut_short })
}

/// Trains anew at rates that rise from step to step, to see which of them suit the task: the loss of each step. `config` says
/// everything else but for how long; its own rate and schedule are not used, and neither are averages nor the hold-out.
///
/// # Errors
/// As [`train_on`], but for losses and gradients that are not finite, which end the test.
pub fn range_test(
    compute: &Compute,
    config: &TrainConfig,
    test: RangeTest,
    source: &dyn PatchSource,
    hooks: &TrainHooks<'_>,
) -> Result<Vec<RatePoint>> {
    test.check()?;
    let config = TrainConfig {
        epochs: 1,
        steps_per_epoch: Some(test.steps),
        ema: None,
        swa: None,
        patience: None,
        ..config.clone()
    };
    let (model, loss) = begin(compute, &config, source)?;
    Session::new(&config, compute, (&model, loss.as_ref()), source, hooks)?.rates(test)
}

/// A new model where `compute` says, and the loss, of a configuration that fits the data.
fn begin(compute: &Compute, config: &TrainConfig, source: &dyn PatchSource) -> Result<(Model, Box<dyn Criterion>)> {
    config.check(source)?;
    Buffers::keep();
    let drawn = Model::new(&config.model, source.bands(), config.classes, config.seed)?;
    let model = if matches!(compute, Compute::Cpu) { drawn } else { drawn.on(&compute.device())? };
    Ok((model, config.loss.criterion(&source.class_pixels())?))
}
