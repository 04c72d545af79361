//! What a step of learning is, on the CPU and on a GPU.

#[cfg(feature = "cuda")]
mod gpu;
mod host;
mod passes;

use candle_core::Tensor;

#[cfg(feature = "cuda")]
use self::gpu::GpuLearner;
use self::host::HostLearner;
use crate::net::Result;
use crate::net::checkpoint::Progress;
use crate::net::collective::Team;
use crate::net::config::TrainConfig;
use crate::net::device::Compute;
use crate::net::loss::Criterion;
use crate::net::optim::Moments;
use crate::net::segmenter::Segmenter;

/// A step's place in the training.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// From 1, over the whole training.
    pub(super) number: usize,
    /// Steps of an epoch.
    pub(super) per_epoch: usize,
    /// Learning rate.
    pub(super) lr: f64,
}

impl Step {
    /// The epoch (from 1) of step `number`.
    fn epoch_of(&self, number: usize) -> usize {
        (number - 1) / self.per_epoch + 1
    }
}

/// What is learned from, and by what.
pub(super) struct Lesson<'a> {
    pub(super) network: &'a dyn Segmenter,
    pub(super) loss: &'a dyn Criterion,
    /// Bands `[n, size, size, bands]`.
    pub(super) bands: Tensor,
    /// Labels `[n, size, size]`, some of them a class.
    pub(super) labels: Tensor,
    /// Labelled pixels.
    pub(super) labelled: u64,
}

/// The optimiser of a network, and what it keeps from step to step.
pub(super) trait Learner {
    /// One step: forward, backward, update. Adds the loss to the sum of the epoch, now or when it settles. Gives the loss
    /// where it is known without waiting for it.
    ///
    /// # Errors
    /// A loss or gradients that are not finite, as soon as that is known; what the operators report.
    fn step(&mut self, lesson: &Lesson<'_>, step: &Step, progress: &mut Progress) -> Result<Option<f32>>;

    /// Waits until all steps are done, and brings the epoch's sum of losses up to date.
    ///
    /// # Errors
    /// As [`Self::step`], of any step since it settled last.
    fn settle(&mut self, step: &Step, progress: &mut Progress) -> Result<()>;

    /// Goes on with an epoch whose losses so far come to `sum`.
    ///
    /// # Errors
    /// The device's.
    fn start_sum(&mut self, sum: f64) -> Result<()>;

    /// Parts that a batch is computed in.
    fn parts(&self) -> usize {
        1
    }

    /// Moments of every parameter, in parameter order.
    ///
    /// # Errors
    /// The device's.
    fn moments(&self) -> Result<Vec<Moments>>;

    /// Goes on from saved moments.
    ///
    /// # Errors
    /// Moments of another model.
    fn restore(&mut self, moments: Vec<Moments>, steps: u64) -> Result<()>;
}

/// The learner of a network, where it computes, alone or as one of a team.
///
/// # Errors
/// A GPU without memory for it.
pub(super) fn learner(
    config: &TrainConfig,
    (compute, team): (&Compute, Option<&Team>),
    network: &dyn Segmenter,
) -> Result<Box<dyn Learner>> {
    Ok(match compute {
        Compute::Cpu => Box::new(HostLearner::new(network, config.optimizer, config.clip, team.cloned())),
        #[cfg(feature = "cuda")]
        Compute::Gpu { gpu, .. } => Box::new(GpuLearner::new(network, gpu.shared(), config, team.cloned())?),
    })
}
