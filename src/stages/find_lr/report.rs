//! `rates.json` and what is drawn and told of it.

use serde::{Deserialize, Serialize};

use crate::engine::StageError;
use crate::figure::{Picture, RateLoss, RatesFigure, rates};
use crate::net::{RatePoint, Suggestion, suggest};

/// Version of `rates.json`.
pub const RATES_VERSION: &str = "s2pipe.rates/1";

/// The content of `rates.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RatesReport {
    /// [`RATES_VERSION`].
    pub format: String,
    /// The `train` stage whose settings were tried.
    pub of: String,
    /// Patches a step.
    pub batch: usize,
    /// What the test suggests; absent where no rate made the loss fall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Suggestion>,
    /// What to write as `optimizer.lr`: the suggested rate, before `scale_lr` makes it go with the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizer_lr: Option<f64>,
    /// Every step.
    pub steps: Vec<RatePoint>,
}

impl RatesReport {
    /// Of the steps of a test, with the settings of stage `of`, whose rate is multiplied by `factor`.
    pub(super) fn new(of: String, (batch, factor): (usize, f64), steps: Vec<RatePoint>) -> Self {
        let suggestion = suggest(&steps);
        let optimizer_lr = suggestion.map(|found| found.lr / factor);
        Self { format: RATES_VERSION.into(), of, batch, suggestion, optimizer_lr, steps }
    }

    /// What to do about it, in a sentence.
    pub(super) fn advice(&self) -> String {
        let Some((found, lr)) = self.suggestion.zip(self.optimizer_lr) else {
            return "the loss fell at none of these rates: lower `from` and raise `to`, or look at the patches".into();
        };
        let Suggestion { steepest, lowest, .. } = found;
        let end = match self.steps.last() {
            Some(last) if last.lr <= lowest => "; it was still falling at the highest rate: raise `to`",
            _ => "",
        };
        format!(
            "`{}.optimizer.lr: {lr:.1e}` (loss fell fastest at {steepest:.1e}, was lowest at {lowest:.1e}{end})",
            self.of
        )
    }

    /// The picture of the test.
    pub(super) fn draw(&self) -> Result<Picture, StageError> {
        let point = |p: &RatePoint| RateLoss { lr: p.lr, loss: p.loss, smoothed: p.smoothed };
        let points: Vec<RateLoss> = self.steps.iter().map(point).collect();
        rates(&RatesFigure {
            title: &format!("{}: loss by learning rate", self.of),
            subtitle: &format!("{} steps of {} patches; dots: each step, curve: smoothed", points.len(), self.batch),
            points: &points,
            marked: self.suggestion.map(|found| [found.lr, found.lowest]),
        })
        .map_err(|e| StageError::failed(e.to_string()))
    }
}
