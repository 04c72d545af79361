//! Learning on a GPU: a step is queued, and nothing waits for it.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{DType, Tensor, TensorId, Var};

use super::passes::Forward;
use super::{Learner, Lesson, Step};
use crate::net::checkpoint::Progress;
use crate::net::collective::Team;
use crate::net::config::TrainConfig;
use crate::net::ops::cuda::optimizer::{GpuOptimizer, State, Update, add_share};
use crate::net::ops::{DeviceError, Gpu, GradientsOf};
use crate::net::optim::{Moments, OptimizerConfig};
use crate::net::segmenter::Segmenter;
use crate::net::{NetError, Result};

/// Steps from one look at the loss to the next: a look waits for the GPU.
const LOOK_EVERY: usize = 16;

/// An optimiser on a GPU.
pub(super) struct GpuLearner {
    gpu: Arc<Gpu>,
    optimizer: GpuOptimizer,
    config: OptimizerConfig,
    clip: Option<f64>,
    sizes: Vec<usize>,
    steps: u64,
    /// Parts that a batch is computed in; more than one only where memory is short and the batch may be split.
    parts: usize,
    may_split: bool,
    team: Option<Team>,
}

impl GpuLearner {
    /// For the parameters of `network`, which live on `gpu`, alone or as one of a team.
    ///
    /// # Errors
    /// No memory for the moments.
    pub(super) fn new(
        network: &dyn Segmenter,
        gpu: &Arc<Gpu>,
        config: &TrainConfig,
        team: Option<Team>,
    ) -> Result<Self> {
        let vars: Vec<Var> = network.parameters().iter().map(|(_, var)| var.clone()).collect();
        let sizes = vars.iter().map(|var| var.elem_count()).collect();
        let optimizer = GpuOptimizer::new(vars, gpu, both_moments(config.optimizer))?;
        Ok(Self {
            gpu: Arc::clone(gpu),
            optimizer,
            config: config.optimizer,
            clip: config.clip,
            sizes,
            steps: 0,
            parts: 1,
            // Ranks that cut their shares differently would no longer do the same thing.
            may_split: config.batch.may_split() && team.is_none(),
            team,
        })
    }

    fn try_step(&mut self, lesson: &Lesson<'_>, step: &Step) -> Result<()> {
        let update = match self.config {
            OptimizerConfig::AdamW(config) => Update::AdamW(config.factors(self.steps + 1, step.lr)),
            OptimizerConfig::Sgd(config) => Update::Sgd(config.factors(step.lr)),
        };
        if self.parts == 1 {
            let forward = Forward::new(lesson, self.team.as_ref())?;
            let loss = forward.loss.clone();
            let (loss, gradients) = ((&loss, lesson.labelled), forward.backward()?);
            return Ok(self.optimizer.step(&gradients, loss, self.clip, step.number, update)?);
        }
        let sums = self.sums(lesson)?;
        let loss = (&sums.loss, lesson.labelled);
        Ok(self.optimizer.step(&sums, loss, self.clip, step.number, update)?)
    }

    /// Loss and gradients of a batch that is computed in parts, each of which counts by its share of the patches.
    fn sums(&self, lesson: &Lesson<'_>) -> Result<Sums> {
        let loss = self.gpu.zeros((), DType::F32)?.into_tensor();
        let mut sums = Sums { loss, gradients: HashMap::new() };
        for (_, var) in lesson.network.parameters() {
            sums.gradients.insert(var.id(), self.gpu.zeros(var.shape(), DType::F32)?.into_tensor());
        }
        let patches = lesson.bands.dim(0)?;
        let part = patches.div_ceil(self.parts);
        for first in (0..patches).step_by(part) {
            let count = part.min(patches - first);
            let (bands, labels) = (lesson.bands.narrow(0, first, count)?, lesson.labels.narrow(0, first, count)?);
            let (loss, gradients) = compute(lesson, &bands, &labels)?;
            let share = count as f32 / patches as f32;
            add_share(&sums.loss, &loss, share)?;
            for (_, var) in lesson.network.parameters() {
                if let (Some(sum), Some(gradient)) = (sums.gradients.get(&var.id()), gradients.of(var)) {
                    add_share(sum, gradient, share)?;
                }
            }
        }
        Ok(sums)
    }

    fn look(&mut self, step: &Step) -> Result<State> {
        let state = self.optimizer.read_state()?;
        let (number, loss, norm) = state.bad;
        if number == 0 {
            return Ok(state);
        }
        let epoch = step.epoch_of(number);
        Err(match loss.is_finite() {
            true => NetError::GradientDiverged { epoch, step: number, norm },
            false => NetError::Diverged { epoch, step: number, loss: loss as f32 },
        })
    }
}

/// Whether an optimiser keeps the second moment too.
fn both_moments(config: OptimizerConfig) -> bool {
    matches!(config, OptimizerConfig::AdamW(_))
}

/// Loss and gradients of some patches.
fn compute(lesson: &Lesson<'_>, bands: &Tensor, labels: &Tensor) -> Result<(Tensor, crate::net::ops::Gradients)> {
    let recorded = lesson.network.record(bands)?;
    let (loss, gradient) = lesson.loss.with_gradient(recorded.output(), labels)?;
    Ok((loss, recorded.backward(&gradient)?))
}

/// Sums over the parts of a batch.
struct Sums {
    loss: Tensor,
    gradients: HashMap<TensorId, Tensor>,
}

impl GradientsOf for Sums {
    fn of(&self, var: &Var) -> Option<&Tensor> {
        self.gradients.get(&var.id())
    }
}

impl Learner for GpuLearner {
    fn step(&mut self, lesson: &Lesson<'_>, step: &Step, progress: &mut Progress) -> Result<Option<f32>> {
        let patches = lesson.bands.dim(0)?;
        loop {
            match self.try_step(lesson, step) {
                Err(NetError::Device(DeviceError::OutOfMemory { .. })) if self.may_split && self.parts < patches => {
                    self.parts *= 2;
                    tracing::warn!("the GPU is out of memory: a batch is now computed in {} parts", self.parts);
                }
                done => break done?,
            }
        }
        self.steps += 1;
        progress.optimizer_steps = self.steps;
        if !step.number.is_multiple_of(LOOK_EVERY) {
            return Ok(None);
        }
        Ok(Some(self.look(step)?.loss as f32))
    }

    fn settle(&mut self, step: &Step, progress: &mut Progress) -> Result<()> {
        progress.loss_sum = self.look(step)?.loss_sum;
        Ok(())
    }

    fn start_sum(&mut self, sum: f64) -> Result<()> {
        Ok(self.optimizer.start_sum(sum)?)
    }

    fn parts(&self) -> usize {
        self.parts
    }

    fn moments(&self) -> Result<Vec<Moments>> {
        let moments = self.optimizer.moments()?.into_iter();
        Ok(moments.map(|[first, second]| Moments { first, second }).collect())
    }

    fn restore(&mut self, moments: Vec<Moments>, steps: u64) -> Result<()> {
        Moments::check(&moments, &self.sizes, both_moments(self.config))?;
        self.steps = steps;
        Ok(self.optimizer.restore(moments.iter().map(|m| (m.first.as_slice(), m.second.as_slice())))?)
    }
}
