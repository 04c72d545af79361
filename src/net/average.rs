//! Averages of a network's weights, which waver less than the weights of the last step and mostly score higher:
//! exponential moving averages (Polyak and Juditsky 1992; Tarvainen and Valpola 2017), and stochastic weight averaging, the
//! plain mean over epochs (Izmailov et al. 2018).
//!
//! Both average the running statistics of normalisation along with the weights, where the authors of the latter go over the
//! training data once more: means of statistics are nearly the statistics of the means, and cost nothing.

use candle_core::Var;
use serde::{Deserialize, Serialize};

use super::checkpoint::Weights;
use super::ops::follow;
use super::segmenter::Segmenter;
use super::values::{copy_in, copy_out};
use super::{NetError, Result};

/// How exponential averages are made.
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

/// How plain means are made: of the weights at the end of each epoch from some epoch on.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwaConfig {
    /// Share of the epochs before the first that counts, in `[0, 1)`. The last one counts in any case.
    #[serde(default = "default_start")]
    pub start: f64,
}

/// Where Izmailov et al. begin in most of their trainings.
const fn default_start() -> f64 {
    0.75
}

impl SwaConfig {
    /// Checks the range.
    ///
    /// # Errors
    /// [`NetError::Config`] where `start` is outside of it.
    pub fn check(&self) -> Result<()> {
        if (0.0..1.0).contains(&self.start) {
            return Ok(());
        }
        Err(NetError::Config(format!("swa.start is from 0 to below 1, found {}", self.start)))
    }

    /// The first epoch (from 1) of `epochs` that counts.
    fn first(&self, epochs: usize) -> usize {
        ((self.start * epochs as f64).round() as usize).min(epochs - 1) + 1
    }
}

/// Which averages.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Averaging {
    /// Exponential ones, over steps.
    Exponential(AverageConfig),
    /// Plain means, over the ends of epochs from this one on (from 1).
    From(usize),
}

impl Averaging {
    /// Plain means for a training of `epochs` epochs, 1 or more.
    pub(crate) fn of_epochs(config: SwaConfig, epochs: usize) -> Self {
        Self::From(config.first(epochs))
    }
}

/// The averages of a network's parameters and running statistics, where the network computes.
pub(crate) struct Average {
    averaging: Averaging,
    parameters: Vec<(String, Var)>,
    buffers: Vec<(String, Var)>,
}

impl Average {
    /// Starts at the weights that the network has.
    ///
    /// # Errors
    /// No memory for the copies.
    pub(crate) fn of(network: &dyn Segmenter, averaging: Averaging) -> Result<Self> {
        let copies = |vars: &[(String, Var)]| {
            let copy = |(name, var): &(String, Var)| Ok((name.clone(), Var::from_tensor(&var.as_tensor().copy()?)?));
            vars.iter().map(copy).collect::<Result<Vec<_>>>()
        };
        Ok(Self { averaging, parameters: copies(network.parameters())?, buffers: copies(network.buffers())? })
    }

    /// Whether they are averages of anything once epoch `epoch` (from 1) is over.
    pub(crate) fn has_begun(&self, epoch: usize) -> bool {
        match self.averaging {
            Averaging::Exponential(_) => true,
            Averaging::From(first) => epoch >= first,
        }
    }

    /// Takes in the weights after step `step` (from 1), where steps count.
    ///
    /// # Errors
    /// What the device reports.
    pub(crate) fn after_step(&self, network: &dyn Segmenter, step: u64) -> Result<()> {
        match self.averaging {
            Averaging::Exponential(config) => self.follow(network, config.keep(step)),
            Averaging::From(_) => Ok(()),
        }
    }

    /// Takes in the weights after the last step of epoch `epoch` (from 1), where epochs count. To be called once an epoch.
    ///
    /// # Errors
    /// What the device reports.
    pub(crate) fn after_epoch(&self, network: &dyn Segmenter, epoch: usize) -> Result<()> {
        match self.averaging {
            Averaging::From(first) if epoch >= first => {
                // The mean of n is n / (n + 1) of the mean of n + 1; of none nothing is left.
                let before = (epoch - first) as f64;
                self.follow(network, (before / (before + 1.0)) as f32)
            }
            Averaging::From(_) | Averaging::Exponential(_) => Ok(()),
        }
    }

    fn follow(&self, network: &dyn Segmenter, keep: f32) -> Result<()> {
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

    fn model() -> Model {
        Model::new(&ModelConfig::UNet(UNetConfig::new(2, 1)), 2, 3, 7).unwrap()
    }

    fn exponential(model: &Model) -> Average {
        Average::of(model, Averaging::Exponential(AverageConfig { decay: 0.6 })).unwrap()
    }

    fn all(weights: &Weights) -> Vec<f32> {
        weights.parameters.iter().chain(&weights.buffers).flatten().copied().collect()
    }

    /// Weights that are others every time.
    fn change(model: &Model, time: u64) -> Vec<f32> {
        for (_, var) in model.parameters().iter().chain(model.buffers()) {
            var.set(&var.affine(0.9, 0.1 * time as f64).unwrap()).unwrap();
        }
        all(&Weights::of(model).unwrap())
    }

    #[test]
    fn means_are_those_of_the_ends_of_epochs_from_the_first_on() {
        let model = model();
        let average = Average::of(&model, Averaging::From(3)).unwrap();
        let mut ends: Vec<Vec<f32>> = Vec::new();
        for epoch in 1..=9 {
            for step in 0..4 {
                change(&model, 4 * epoch + step);
                average.after_step(&model, 4 * epoch + step).unwrap();
            }
            average.after_epoch(&model, epoch as usize).unwrap();
            assert_eq!(average.has_begun(epoch as usize), epoch >= 3);
            if epoch >= 3 {
                ends.push(all(&Weights::of(&model).unwrap()));
                for (i, found) in all(&average.weights().unwrap()).into_iter().enumerate() {
                    let mean = ends.iter().map(|end| f64::from(end[i])).sum::<f64>() / ends.len() as f64;
                    assert!((f64::from(found) - mean).abs() <= 1e-6 * mean.abs().max(1.0), "{found} {mean}");
                }
            }
        }
        // The first of them, to the last bit.
        let fresh = Average::of(&model, Averaging::From(2)).unwrap();
        let weights = change(&model, 1);
        fresh.after_epoch(&model, 2).unwrap();
        assert_eq!(all(&fresh.weights().unwrap()), weights);
    }

    #[test]
    fn means_begin_after_their_share_of_the_epochs() {
        let first = |start: f64, epochs: usize| SwaConfig { start }.first(epochs);
        assert_eq!([first(0.75, 40), first(0.0, 40), first(0.29, 100), first(0.5, 3)], [31, 1, 30, 3]);
        assert_eq!([first(0.75, 1), first(0.99, 10)], [1, 10], "the last counts in any case");
        assert!(SwaConfig { start: 1.0 }.check().is_err() && SwaConfig { start: f64::NAN }.check().is_err());
        assert_eq!(serde_json::from_str::<SwaConfig>("{}").unwrap(), SwaConfig { start: 0.75 });
    }

    #[test]
    fn is_the_recurrence_of_its_formula() {
        let model = model();
        let average = exponential(&model);
        let mut expected = Weights::of(&model).unwrap();
        for step in 1..=20u64 {
            change(&model, step);
            average.after_step(&model, step).unwrap();
            average.after_epoch(&model, step as usize).unwrap();
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
        let other = exponential(&model);
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
