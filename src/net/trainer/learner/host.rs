//! Learning on the CPU, where every number is at hand.

use super::passes::Forward;
use super::{Learner, Lesson, Step};
use crate::net::checkpoint::Progress;
use crate::net::collective::Team;
use crate::net::optim::{AdamW, Moments, Optimizer, OptimizerConfig, Sgd, clip_factor, global_norm};
use crate::net::segmenter::Segmenter;
use crate::net::{NetError, Result};

/// An optimiser on the CPU.
pub(super) struct HostLearner {
    optimizer: Box<dyn Optimizer>,
    clip: Option<f64>,
    team: Option<Team>,
}

impl HostLearner {
    /// For the parameters of `network`, alone or as one of a team.
    pub(super) fn new(network: &dyn Segmenter, config: OptimizerConfig, clip: Option<f64>, team: Option<Team>) -> Self {
        let vars = network.parameters().iter().map(|(_, var)| var.clone());
        let optimizer: Box<dyn Optimizer> = match config {
            OptimizerConfig::AdamW(config) => Box::new(AdamW::of(vars, config)),
            OptimizerConfig::Sgd(config) => Box::new(Sgd::of(vars, config)),
        };
        Self { optimizer, clip, team }
    }
}

impl Learner for HostLearner {
    fn step(&mut self, lesson: &Lesson<'_>, step: &Step, progress: &mut Progress) -> Result<Option<f32>> {
        let (epoch, number) = (step.epoch_of(step.number), step.number);
        let forward = Forward::new(lesson, self.team.as_ref())?;
        let loss = forward.loss.to_scalar::<f32>()?;
        if !loss.is_finite() {
            return Err(NetError::Diverged { epoch, step: number, loss });
        }
        let gradients = forward.backward()?;
        let norm = global_norm(&gradients, lesson.network.parameters().iter().map(|(_, var)| var))?;
        if !norm.is_finite() {
            return Err(NetError::GradientDiverged { epoch, step: number, norm });
        }
        let scale = self.clip.map_or(1.0, |max_norm| clip_factor(norm, max_norm));
        self.optimizer.step(&gradients, scale, step.lr)?;
        progress.optimizer_steps = self.optimizer.steps();
        progress.loss_sum += f64::from(loss) * lesson.labelled as f64;
        Ok(Some(loss))
    }

    fn settle(&mut self, _: &Step, _: &mut Progress) -> Result<()> {
        Ok(())
    }

    fn start_sum(&mut self, _: f64) -> Result<()> {
        Ok(())
    }

    fn moments(&self) -> Result<Vec<Moments>> {
        Ok(self.optimizer.moments().to_vec())
    }

    fn restore(&mut self, moments: Vec<Moments>, steps: u64) -> Result<()> {
        self.optimizer.restore(moments, steps)
    }
}
