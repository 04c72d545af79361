//! Jaccard, precision, recall, F1, accuracy and kappa of a confusion matrix, as scikit-learn defines them.
//!
//! With TP, FP, FN the pixels of one label that are right, wrongly given and missed:
//! Jaccard = TP / (TP + FP + FN), precision = TP / (TP + FP), recall = TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN).
//!
//! **Nothing to score.** scikit-learn 1.9 raises `ValueError` on empty arrays. Here an empty matrix (no pixel, or all
//! ignored) is an ordinary input, since a scene may have no labelled pixel: labels asked for score `zero_division`, as
//! absent labels do elsewhere; a mean over no label at all is NaN, as scikit-learn's own for `labels=[]`; accuracy and
//! kappa are NaN.

use serde::{Deserialize, Serialize};

use super::confusion::{ConfusionMatrix, Marginal};

/// How the scores of several labels become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Average {
    /// Not at all: one score a label.
    None,
    /// The plain mean over labels.
    #[default]
    Macro,
    /// Counts are summed over labels first, then divided.
    Micro,
    /// The mean over labels, weighted by each label's pixels in the truth.
    Weighted,
}

/// One score a label, or their average.
#[derive(Clone, PartialEq, Debug)]
pub enum Averaged {
    /// With [`Average::None`]: in the order of the labels.
    PerLabel(Vec<f64>),
    /// With any other average.
    Mean(f64),
}

impl Averaged {
    /// The average, or nothing when scores were asked for label by label.
    pub fn mean(&self) -> Option<f64> {
        match self {
            Self::PerLabel(_) => None,
            Self::Mean(mean) => Some(*mean),
        }
    }

    /// Label by label, or nothing when an average was asked for.
    pub fn per_label(&self) -> Option<&[f64]> {
        match self {
            Self::PerLabel(scores) => Some(scores),
            Self::Mean(_) => None,
        }
    }
}

/// Numerator and denominator of a score, from the pixels of one label (or of all, summed).
type Ratio = fn(Marginal) -> (u64, u64);

const JACCARD: Ratio = |m| (m.both, m.truth + m.prediction - m.both);
const PRECISION: Ratio = |m| (m.both, m.prediction);
const RECALL: Ratio = |m| (m.both, m.truth);
const F1: Ratio = |m| (2 * m.both, m.truth + m.prediction);

impl ConfusionMatrix {
    /// `sklearn.metrics.jaccard_score`, 0..=1. Labels are those that occur in truth or prediction unless given; given
    /// ones may be a subset, may be absent from the data, and are scored in the order given. A label with 0/0 scores
    /// `zero_division`.
    pub fn jaccard(&self, labels: Option<&[i64]>, average: Average, zero_division: f64) -> Averaged {
        self.rate(JACCARD, labels, average, zero_division)
    }

    /// `sklearn.metrics.precision_score` (user's accuracy), 0..=1; arguments as for [`Self::jaccard`]. With a NaN
    /// `zero_division`, labels with 0/0 leave the average.
    pub fn precision(&self, labels: Option<&[i64]>, average: Average, zero_division: f64) -> Averaged {
        self.rate(PRECISION, labels, average, zero_division)
    }

    /// `sklearn.metrics.recall_score` (producer's accuracy), 0..=1; arguments as for [`Self::precision`].
    pub fn recall(&self, labels: Option<&[i64]>, average: Average, zero_division: f64) -> Averaged {
        self.rate(RECALL, labels, average, zero_division)
    }

    /// `sklearn.metrics.f1_score` (Dice), 0..=1; arguments as for [`Self::precision`].
    pub fn f1(&self, labels: Option<&[i64]>, average: Average, zero_division: f64) -> Averaged {
        self.rate(F1, labels, average, zero_division)
    }

    /// `sklearn.metrics.accuracy_score`: share of pixels with the right label, 0..=1. NaN without a pixel.
    pub fn accuracy(&self) -> f64 {
        self.correct() as f64 / self.total() as f64
    }

    /// `sklearn.metrics.cohen_kappa_score` (Cohen 1960): agreement beyond chance, -1..=1. NaN where chance alone agrees
    /// fully, that is with one label only, and without a pixel.
    pub fn kappa(&self) -> f64 {
        let total = self.total();
        // Pixels expected to disagree by chance, times `total`. Summed as such, and not as one minus the agreement,
        // so that nothing cancels on a map of nearly one class.
        let by_chance: f64 = self.marginals().values().map(|m| m.truth as f64 * (total - m.prediction) as f64).sum();
        if by_chance == 0.0 {
            return f64::NAN;
        }
        let disagreeing = (total - self.correct()) as f64;
        1.0 - disagreeing / (by_chance / total as f64)
    }

    fn rate(&self, ratio: Ratio, labels: Option<&[i64]>, average: Average, zero_division: f64) -> Averaged {
        let all = self.marginals();
        let chosen: Vec<Marginal> = match labels {
            Some(labels) => labels.iter().map(|label| all.get(label).copied().unwrap_or_default()).collect(),
            None => all.into_values().collect(),
        };
        let divide = |m: Marginal| match ratio(m) {
            (_, 0) => zero_division,
            (numerator, denominator) => numerator as f64 / denominator as f64,
        };
        let mean_by = |weight: fn(Marginal) -> u64| {
            let weighted: Vec<_> = chosen.iter().map(|&m| (divide(m), weight(m))).collect();
            Averaged::Mean(mean(&weighted))
        };
        match average {
            Average::None => Averaged::PerLabel(chosen.into_iter().map(divide).collect()),
            Average::Micro => Averaged::Mean(divide(sum(&chosen))),
            Average::Macro => mean_by(|_| 1),
            Average::Weighted => mean_by(|m| m.truth),
        }
    }
}

fn sum(marginals: &[Marginal]) -> Marginal {
    marginals.iter().fold(Marginal::default(), |a, b| Marginal {
        truth: a.truth + b.truth,
        prediction: a.prediction + b.prediction,
        both: a.both + b.both,
    })
}

/// Mean of (value, weight) pairs without those whose value is NaN; the plain mean where no weight is left, and NaN where
/// no value is.
fn mean(weighted: &[(f64, u64)]) -> f64 {
    let numbers = weighted.iter().filter(|(value, _)| !value.is_nan());
    let all: u64 = numbers.clone().map(|(_, weight)| weight).sum();
    if all == 0 {
        let count = numbers.clone().count();
        return numbers.map(|(value, _)| value).sum::<f64>() / count as f64;
    }
    numbers.map(|&(value, weight)| value * weight as f64).sum::<f64>() / all as f64
}
