//! Which optimiser, and the hyper-parameters of AdamW.

use serde::{Deserialize, Serialize};

use super::sgd::SgdConfig;
use crate::net::{NetError, Result};

/// The optimiser.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum OptimizerConfig {
    /// Adam with decoupled weight decay.
    #[serde(rename = "adamw")]
    AdamW(AdamWConfig),
    /// Stochastic gradient descent with momentum.
    #[serde(rename = "sgd")]
    Sgd(SgdConfig),
}

impl OptimizerConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`NetError::Config`] naming the value that is out of range.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::AdamW(config) => config.check(),
            Self::Sgd(config) => config.check(),
        }
    }

    /// Learning rate; with a schedule: its peak.
    pub fn lr(&self) -> f64 {
        match self {
            Self::AdamW(config) => config.lr,
            Self::Sgd(config) => config.lr,
        }
    }
}

/// Hyper-parameters of [`AdamW`](super::AdamW), PyTorch's names and defaults (but for `lr`, which every task must choose).
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamWConfig {
    /// Learning rate, above 0. With a schedule: its peak.
    pub lr: f64,
    /// Decay per step as a share of `lr`, 0 or more. Applied to convolution kernels and other parameters of two or more
    /// dimensions, not to biases nor to the scale and shift of normalisation, which all have one: pulling those to 0 does not
    /// regularise, it only shifts what the next layer sees.
    #[serde(default = "default_weight_decay")]
    pub weight_decay: f64,
    /// Memory of the first and second moment, each in `[0, 1)`.
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    /// Added to the root of the second moment, above 0.
    #[serde(default = "default_eps")]
    pub eps: f64,
}

const fn default_weight_decay() -> f64 {
    0.01
}

const fn default_betas() -> [f64; 2] {
    [0.9, 0.999]
}

const fn default_eps() -> f64 {
    1e-8
}

/// The numbers of one step, the same for every parameter.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct StepFactors {
    /// What a parameter is first multiplied by, where it decays.
    pub(crate) keep: f32,
    /// One minus the memory of the first moment.
    pub(crate) fresh1: f32,
    /// Memory of the second moment.
    pub(crate) keep2: f32,
    /// One minus that.
    pub(crate) fresh2: f32,
    /// Learning rate over the bias correction of the first moment.
    pub(crate) step_size: f32,
    /// Root of the bias correction of the second moment.
    pub(crate) root_correction2: f32,
    /// Added to the root of the second moment.
    pub(crate) eps: f32,
}

impl AdamWConfig {
    /// The numbers of step `step`, counted from 1, at learning rate `lr`.
    pub(crate) fn factors(&self, step: u64, lr: f64) -> StepFactors {
        let [beta1, beta2] = self.betas;
        let power = i32::try_from(step).unwrap_or(i32::MAX);
        let (correction1, correction2) = (1.0 - beta1.powi(power), 1.0 - beta2.powi(power));
        StepFactors {
            keep: (1.0 - lr * self.weight_decay) as f32,
            fresh1: (1.0 - beta1) as f32,
            keep2: beta2 as f32,
            fresh2: (1.0 - beta2) as f32,
            step_size: (lr / correction1) as f32,
            root_correction2: correction2.sqrt() as f32,
            eps: self.eps as f32,
        }
    }

    /// The defaults around a learning rate.
    pub fn with_lr(lr: f64) -> Self {
        Self { lr, weight_decay: default_weight_decay(), betas: default_betas(), eps: default_eps() }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`NetError::Config`] naming the value that is out of range.
    pub fn check(&self) -> Result<()> {
        let problem = if !(self.lr > 0.0 && self.lr.is_finite()) {
            format!("optimizer.lr is above 0, found {}", self.lr)
        } else if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            format!("optimizer.weight_decay is 0 or more, found {}", self.weight_decay)
        } else if let Some(beta) = self.betas.iter().find(|b| !(0.0..1.0).contains(*b)) {
            format!("optimizer.betas are from 0 to below 1, found {beta}")
        } else if !(self.eps > 0.0 && self.eps.is_finite()) {
            format!("optimizer.eps is above 0, found {}", self.eps)
        } else {
            return Ok(());
        };
        Err(NetError::Config(problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_form_of_the_yaml() {
        let read = |text: &str| serde_json::from_str::<OptimizerConfig>(text);
        let adamw = read(r#"{"kind": "adamw", "lr": 2e-3, "weight_decay": 0.01}"#).unwrap();
        assert_eq!(adamw, OptimizerConfig::AdamW(AdamWConfig::with_lr(2e-3)));
        let sgd = read(r#"{"kind": "sgd", "lr": 0.1}"#).unwrap();
        assert_eq!(sgd, OptimizerConfig::Sgd(SgdConfig::with_lr(0.1)));
        for config in [adamw, sgd] {
            assert_eq!(read(&serde_json::to_string(&config).unwrap()).unwrap(), config);
        }
        assert!(read(r#"{"kind": "adamw", "lr": 2e-3, "momentum": 0.9}"#).is_err());
        assert!(read(r#"{"kind": "sgd", "lr": 2e-3, "eps": 1e-8}"#).is_err());
    }
}
