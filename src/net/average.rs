//! Exponential moving averages of a network's weights (Polyak and Juditsky 1992; Tarvainen and Valpola 2017): they waver less
//! than the weights of the last step, and mostly score higher.

use candle_core::Var;
use serde::{Deserialize, Serialize};

use super::checkpoint::Weights;
use super::ops::follow;
use super::segmenter::Segmenter;
use super::values::{copy_in, copy_out};
use super::{NetError, Result};

/// How weights are averaged.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AverageConfig {
    /// What of the average a step leaves in it, in `[0, 1)`; it then looks back over about `1 / (1 - decay)` steps. 0: the
    /// weights themselves.
    pub decay: f64,
}

impl AverageConfig {
    /// Checks the range.
    ///
    /// # Errors
    /// [`NetError::Config`] where `decay` is outside of it.
    pub fn check(&self) -> Result<()> {
        if (0.0..1.0).contains(&self.decay) {
            return Ok(());
        }
        Err(NetError::Config(format!("ema.decay is from 0 to below 1, found {}", self.decay)))
    }

    /// What step `step` (from 1) leaves of the average: `min(decay, step / (9 + step))`, so that the random weights of the
    /// start are soon forgotten, whatever the decay (the warm-up of `tf.train.ExponentialMovingAverage`).
    fn keep(&self, step: u64) -> f32 {
        let warming = step as f64 / (9.0 + step as f64);
        self.decay.min(warming) as f32
    }
}

/// The averages of a network's parameters and running statistics, where the network computes.
pub(crate) struct Average {
    config: AverageConfig,
    parameters: Vec<(String, Var)>,
    buffers: Vec<(String, Var)>,
}

impl Average {
    /// Starts at the weights that the network has.
    ///
    /// # Errors
    /// No memory for the copies.
    pub(crate) fn of(network: &dyn Segmenter, config: AverageConfig) -> Result<Self> {
        let copies = |vars: &[(String, Var)]| {
            let copy = |(name, var): &(String, Var)| Ok((name.clone(), Var::from_tensor(&var.as_tensor().copy()?)?));
            vars.iter().map(copy).collect::<Result<Vec<_>>>()
        };
        Ok(Self { config, parameters: copies(network.parameters())?, buffers: copies(network.buffers())? })
    }

    /// Takes in the weights after step `step` (from 1).
    ///
    /// # Errors
    /// What the device reports.
    pub(crate) fn update(&self, network: &dyn Segmenter, step: u64) -> Result<()> {
        let keep = self.config.keep(step);
        let averages = self.parameters.iter().chain(&self.buffers);
        let values = network.parameters().iter().chain(network.buffers());
        for ((_, average), (_, value)) in averages.zip(values) {
            follow(average, value.as_tensor(), keep)?;
        }
        Ok(())
    }

    /// A copy of them.
    ///
    /// # Errors
    /// What the device reports.
    pub(crate) fn weights(&self) -> Result<Weights> {
        Ok(Weights { parameters: copy_out(&self.parameters)?, buffers: copy_out(&self.buffers)? })
    }

    /// Goes on from saved averages of this network.
    ///
    /// # Errors
    /// What the device reports.
    pub(crate) fn restore(&self, weights: &Weights) -> Result<()> {
        copy_in(&self.parameters, &weights.parameters)?;
        copy_in(&self.buffers, &weights.buffers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Model, ModelConfig, UNetConfig};

    #[test]
    fn is_the_recurrence_of_its_formula() {
        let model = Model::new(&ModelConfig::UNet(UNetConfig::new(2, 1)), 2, 3, 7).unwrap();
        let average = Average::of(&model, AverageConfig { decay: 0.6 }).unwrap();
        let mut expected = Weights::of(&model).unwrap();
        for step in 1..=20u64 {
            for (_, var) in model.parameters().iter().chain(model.buffers()) {
                var.set(&var.affine(0.9, 0.1 * step as f64).unwrap()).unwrap();
            }
            average.update(&model, step).unwrap();
            let decay = f64::min(0.6, step as f64 / (9.0 + step as f64)) as f32;
            let now = Weights::of(&model).unwrap();
            let lists = expected.parameters.iter_mut().chain(&mut expected.buffers);
            for (average, now) in lists.zip(now.parameters.iter().chain(&now.buffers)) {
                average.iter_mut().zip(now).for_each(|(a, v)| *a = *a * decay + v * (1.0 - decay));
            }
        }
        let found = average.weights().unwrap();
        let pairs =
            found.parameters.iter().zip(&expected.parameters).chain(found.buffers.iter().zip(&expected.buffers));
        for (found, expected) in pairs.flat_map(|(f, e)| f.iter().zip(e)) {
            assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{found} {expected}");
        }
        // Restored, it is the same again.
        let other = Average::of(&model, AverageConfig { decay: 0.6 }).unwrap();
        other.restore(&found).unwrap();
        assert_eq!(other.weights().unwrap(), found);
    }

    #[test]
    fn early_steps_move_it_far() {
        let config = AverageConfig { decay: 0.99 };
        let kept = [1, 9, 891, 100_000].map(|step| config.keep(step));
        for (keep, expected) in kept.iter().zip([0.1, 0.5, 0.99, 0.99]) {
            assert!((keep - expected).abs() < 1e-6, "{kept:?}");
        }
        assert!(AverageConfig { decay: 1.0 }.check().is_err() && AverageConfig { decay: f64::NAN }.check().is_err());
        assert!(AverageConfig { decay: 0.0 }.check().is_ok());
    }
}
