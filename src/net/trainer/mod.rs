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
mod checkpoint_tests;
#[cfg(test)]
mod ranks_tests;
#[cfg(test)]
mod recipe_tests;
#[cfg(test)]
mod tests;

pub use hooks::TrainHooks;

use candle_core::Device;

use self::session::Session;
use super::collective::Team;
use super::config::TrainConfig;
use super::device::Compute;
use super::history::History;
use super::loss::Criterion;
use super::models::Model;
use super::ops::Buffers;
use super::range_test::{RangeTest, RatePoint};
use super::source::PatchSource;
use super::{Ended, NetError, Result};

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
/// [`NetError::Config`] when the configuration does not fit the data; [`NetError::Diverged`] and
/// [`NetError::GradientDiverged`] when loss or gradients are no longer finite; [`NetError::Cancelled`] when the caller asked
/// to stop, after a checkpoint was written; [`NetError::Io`] when the checkpoint folder cannot be used; and whatever
/// `source` reports.
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
    train_from(compute, config, draw(config, source)?, source, hooks)
}

/// A model as [`train`] begins with it: for this configuration and these data, drawn by the configuration's seed.
///
/// # Errors
/// [`NetError::Config`] when the configuration does not fit the data.
pub fn draw(config: &TrainConfig, source: &dyn PatchSource) -> Result<Model> {
    config.check(source)?;
    Model::new(&config.model, source.bands(), config.classes, config.seed)
}

/// As [`train_on`], from the weights of `model`, which was made by [`draw`] and may since have been given others, such as by
/// [`init`](super::init::init). Where there is a checkpoint, training goes on from that and not from them.
///
/// # Errors
/// As [`train_on`].
pub fn train_from(
    compute: &Compute,
    config: &TrainConfig,
    model: Model,
    source: &dyn PatchSource,
    hooks: &TrainHooks<'_>,
) -> Result<Trained> {
    train_together((compute, None), config, model, source, hooks)
}

/// As [`train_from`], as one of the ranks of a team; all of them call this with the same model, configuration and data. The
/// result is the same on all, and but for the order of sums that of one process. Rank 0 alone writes checkpoints, uses its
/// hooks, and decides when to stop; the others follow.
///
/// # Errors
/// As [`train_on`]; [`NetError::Ranks`] when a rank is gone or begins elsewhere.
pub fn train_together(
    (compute, team): (&Compute, Option<&Team>),
    config: &TrainConfig,
    model: Model,
    source: &dyn PatchSource,
    hooks: &TrainHooks<'_>,
) -> Result<Trained> {
    let trained = begin(compute, config, model, source).and_then(|(model, loss)| {
        let history = Session::new(config, (compute, team), (&model, loss.as_ref()), source, hooks)?.run()?;
        Ok((model, history))
    });
    let (model, history) = match (trained, team) {
        (Err(error), Some(team)) => {
            let error = team.explain(error);
            team.give_up(&error);
            return Err(error);
        }
        (trained, _) => trained?,
    };
    let cut_short = history.ended == Ended::Deadline;
    let model = if matches!(compute, Compute::Cpu) { model } else { model.on(&Device::Cpu)? };
    Ok(Trained { model, best_epoch: history.best_epoch, history, cut_short })
}

/// Trains a model that was made by [`draw`], and may have been given other weights since, at rates that rise from step to
/// step, to see which of them suit the task: the loss of each step. `config` says everything else but for how long; its own
/// rate and schedule are not used, and neither are averages nor the hold-out.
///
/// # Errors
/// As [`train_on`], but for losses and gradients that are not finite, which end the test.
pub fn range_test(
    compute: &Compute,
    config: &TrainConfig,
    (model, test): (Model, RangeTest),
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
    let (model, loss) = begin(compute, &config, model, source)?;
    Session::new(&config, (compute, None), (&model, loss.as_ref()), source, hooks)?.rates(test)
}

/// The model where `compute` says, and the loss, of a configuration that fits the data and the model.
fn begin(
    compute: &Compute,
    config: &TrainConfig,
    model: Model,
    source: &dyn PatchSource,
) -> Result<(Model, Box<dyn Criterion>)> {
    config.check(source)?;
    let made_for = (*model.config(), model.bands(), model.classes());
    if made_for != (config.model, source.bands(), config.classes) {
        return Err(NetError::Config(format!(
            "the model was made for {made_for:?} (network, bands, classes), and training is of {:?}",
            (config.model, source.bands(), config.classes)
        )));
    }
    Buffers::keep();
    let model = if matches!(compute, Compute::Cpu) { model } else { model.on(&compute.device())? };
    Ok((model, config.loss.criterion(&source.class_pixels())?))
}
