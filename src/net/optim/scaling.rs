//! The learning rate that goes with a batch of another size.

use serde::{Deserialize, Serialize};

use super::OptimizerConfig;
use crate::net::{NetError, Result};

/// `lr` was found with one batch, and is to go with any.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleLr {
    /// Patches a step that `lr` was found with; 1 or more.
    pub from_batch: usize,
    /// How the rate grows with the batch; without it as suits the optimiser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<ScaleRule>,
}

/// How the rate grows with the batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleRule {
    /// As the batch does: for gradient descent (Goyal et al. 2017).
    Linear,
    /// As the root of the batch: for Adam and its kin (Malladi et al. 2022).
    Sqrt,
}

impl ScaleLr {
    /// Refuses a batch of nothing.
    ///
    /// # Errors
    /// [`NetError::Config`] with what was expected.
    pub fn check(&self) -> Result<()> {
        if self.from_batch == 0 {
            return Err(NetError::Config("scale_lr.from_batch is 1 or more, found 0".into()));
        }
        Ok(())
    }

    /// What `lr` is multiplied by where a step takes `batch` patches.
    pub fn factor(&self, optimizer: &OptimizerConfig, batch: usize) -> f64 {
        let times = batch as f64 / self.from_batch as f64;
        let usual = match optimizer {
            OptimizerConfig::AdamW(_) => ScaleRule::Sqrt,
            OptimizerConfig::Sgd(_) => ScaleRule::Linear,
        };
        match self.rule.unwrap_or(usual) {
            ScaleRule::Linear => times,
            ScaleRule::Sqrt => times.sqrt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AdamWConfig, SgdConfig};
    use super::*;

    #[test]
    fn the_rate_grows_as_the_optimiser_wants_it_or_as_is_said() {
        let adamw = OptimizerConfig::AdamW(AdamWConfig::with_lr(1e-3));
        let sgd = OptimizerConfig::Sgd(SgdConfig::with_lr(1e-3));
        let scale = |rule| ScaleLr { from_batch: 4, rule };
        assert_eq!((scale(None).factor(&adamw, 16), scale(None).factor(&sgd, 16)), (2.0, 4.0));
        assert_eq!(scale(Some(ScaleRule::Linear)).factor(&adamw, 16), 4.0);
        assert_eq!(scale(Some(ScaleRule::Sqrt)).factor(&sgd, 1), 0.5);
        assert_eq!(scale(None).factor(&adamw, 4), 1.0);
        assert!(ScaleLr { from_batch: 0, rule: None }.check().unwrap_err().to_string().contains("found 0"));
    }
}
