//! Figures of numbers: scores, confusion matrix, training curves.

use std::path::Path;

use crate::engine::StageError;
use crate::figure::{
    ConfusionFigure, CurvesFigure, Epoch, JaccardFigure, Picture, ReliabilityFigure, confusion, curves, jaccard_bars,
    reliability,
};
use crate::metrics::Score;
use crate::net::{Ended, History};
use crate::raster::ClassTable;
use crate::stages::evaluate::Metrics;

/// Jaccard per class, and the mean.
pub(super) fn draw_jaccard(title: &str, metrics: &Metrics, classes: &ClassTable) -> Result<Picture, StageError> {
    let score = &metrics.all;
    jaccard_bars(&JaccardFigure {
        title: &format!("{title}: Jaccard score (IoU) per class"),
        subtitle: &scored(metrics, score),
        classes,
        per_class: &JaccardFigure::per_class_of(score, classes),
        mean: score.mean,
        intervals: metrics.intervals.as_ref(),
    })
    .map_err(|e| StageError::failed(e.to_string()))
}

/// Which true classes were mapped as which.
pub(super) fn draw_confusion(title: &str, metrics: &Metrics, classes: &ClassTable) -> Result<Picture, StageError> {
    let score = &metrics.all;
    confusion(&ConfusionFigure {
        title: &format!("{title}: confusion matrix"),
        subtitle: &scored(metrics, score),
        classes,
        labels: &score.labels,
        counts: &score.confusion,
    })
    .map_err(|e| StageError::failed(e.to_string()))
}

/// How often the network is right by how sure it is.
pub(super) fn draw_reliability(title: &str, metrics: &Metrics) -> Result<Picture, StageError> {
    let Some(calibration) = &metrics.calibration else {
        return Err(StageError::failed("no pixel has both a label and probabilities: there is nothing to draw"));
    };
    let scenes = metrics.scenes.len();
    let plural = if scenes == 1 { "" } else { "s" };
    reliability(&ReliabilityFigure {
        title: &format!("{title}: reliability of the probabilities"),
        subtitle: &format!("{scenes} scene{plural}, {} labelled pixels", grouped(calibration.pixels)),
        calibration,
    })
    .map_err(|e| StageError::failed(e.to_string()))
}

fn scored(metrics: &Metrics, score: &Score) -> String {
    let scenes = metrics.scenes.len();
    let accuracy = score.accuracy.map_or_else(String::new, |a| format!(", accuracy {a:.3}"));
    let plural = if scenes == 1 { "" } else { "s" };
    format!("{scenes} scene{plural}, {} labelled pixels{accuracy}", grouped(score.pixels))
}

/// 1234567 -> 1 234 567, with narrow no-break spaces.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Losses and hold-out scores by epoch.
pub(super) fn draw_curves(title: &str, history: &Path) -> Result<Picture, StageError> {
    let history = History::load(history).map_err(|e| StageError::failed(e.to_string()))?;
    let epochs: Vec<Epoch> = history
        .epochs
        .iter()
        .map(|e| Epoch {
            epoch: e.epoch,
            train_loss: e.train_loss,
            holdout_loss: e.holdout.as_ref().map(|h| h.loss),
            holdout_jaccard: e.holdout.as_ref().map(|h| h.mean_jaccard),
        })
        .collect();
    let subtitle = match history.ended {
        Ended::AllEpochs => format!("{} epochs; the best one was kept", history.planned_epochs),
        Ended::Patience => {
            let (done, planned) = (epochs.len(), history.planned_epochs);
            format!("ended after {done} of {planned} epochs, no longer rising; the best one was kept")
        }
        Ended::Deadline => {
            format!("cut short by the budget after {} of {} epochs", epochs.len(), history.planned_epochs)
        }
    };
    curves(&CurvesFigure {
        title: &format!("{title}: training"),
        subtitle: &subtitle,
        epochs: &epochs,
        best_epoch: (history.best_epoch > 0).then_some(history.best_epoch),
    })
    .map_err(|e| StageError::failed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(grouped(100_000), "100\u{202f}000");
    }
}
