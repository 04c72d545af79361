//! The score of a map, as `metrics.json` holds it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::confusion::{ConfusionMatrix, Marginal, reject_duplicates};
use super::error::MetricsError;
use super::rates::{Average, Averaged};
use crate::raster::ClassTable;

/// Format and version that stand in every score file.
pub const SCORE_VERSION: &str = "s2pipe.score/1";

/// How to score a confusion matrix.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ScoreOptions {
    /// Labels to score, in this order, absent ones included; `None`: those that occur in truth or prediction.
    pub labels: Option<Vec<i64>>,
    /// Codes of the class table. Those that do not occur are named as absent; this changes no score.
    pub declared: Vec<i64>,
    /// How the labels' scores become the mean.
    pub average: Average,
    /// Score of a label with 0/0, finite; 0 as scikit-learn's default.
    pub zero_division: f64,
}

/// Scores of one confusion matrix. All are 0..=1 (kappa -1..=1); where scikit-learn has no number, there is `None`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// Format and version of this record.
    pub score: ScoreVersion,
    /// Labels scored; the order of the rows and columns of `confusion`.
    pub labels: Vec<i64>,
    /// TP / (TP + FP + FN) of each label.
    pub jaccard: BTreeMap<i64, f64>,
    /// Average of `jaccard` as `average` says; `None` where there is no label, or no average was asked for.
    pub mean: Option<f64>,
    /// How the means are made.
    pub average: Average,
    /// What a label with 0/0 scores.
    pub zero_division: f64,
    /// Share of all pixels with the right label, labels outside `labels` included.
    pub accuracy: Option<f64>,
    /// Cohen's kappa over all pixels; `None` where both rasters hold one and the same label only.
    pub kappa: Option<f64>,
    /// User's accuracy of each label.
    pub precision: BTreeMap<i64, f64>,
    /// Producer's accuracy of each label.
    pub recall: BTreeMap<i64, f64>,
    /// Dice coefficient of each label.
    pub f1: BTreeMap<i64, f64>,
    /// Averages of `precision`, `recall` and `f1`, made like `mean`.
    pub means: Means,
    /// Pixels of each label in the truth.
    pub support: BTreeMap<i64, u64>,
    /// Pixels of each label in the prediction.
    pub predicted: BTreeMap<i64, u64>,
    /// Pixels scored, those with an ignored truth left out.
    pub pixels: u64,
    /// Pixels by true label (rows) and predicted label (columns).
    pub confusion: Vec<Vec<u64>>,
    /// Labels of the class table, or asked for, that are neither in truth nor in prediction.
    pub absent: Vec<i64>,
    /// What a reader must know to read the numbers right, in plain words: how absent labels were counted, and the like.
    pub notes: Vec<String>,
}

/// Averages beside the mean Jaccard.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Means {
    /// Average user's accuracy.
    pub precision: Option<f64>,
    /// Average producer's accuracy.
    pub recall: Option<f64>,
    /// Average Dice coefficient.
    pub f1: Option<f64>,
}

/// Stands for [`SCORE_VERSION`]; reading any other version fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScoreVersion;

impl TryFrom<String> for ScoreVersion {
    type Error = String;

    fn try_from(found: String) -> Result<Self, Self::Error> {
        if found == SCORE_VERSION {
            Ok(Self)
        } else {
            Err(format!(
                "the score is of version {found:?}, and this program reads {SCORE_VERSION:?}: score the map again"
            ))
        }
    }
}

impl From<ScoreVersion> for String {
    fn from(_: ScoreVersion) -> Self {
        SCORE_VERSION.to_owned()
    }
}

/// One of the scores of [`ConfusionMatrix`].
type Rate = fn(&ConfusionMatrix, Option<&[i64]>, Average, f64) -> Averaged;

impl Score {
    /// Scores a matrix.
    ///
    /// # Errors
    /// When a label is named twice, or `zero_division` is not finite.
    pub fn new(matrix: &ConfusionMatrix, options: &ScoreOptions) -> Result<Self, MetricsError> {
        if !options.zero_division.is_finite() {
            return Err(MetricsError::ZeroDivision(options.zero_division));
        }
        let labels = options.labels.clone().unwrap_or_else(|| matrix.labels());
        reject_duplicates(&labels)?;
        let by_label = |rate: Rate| -> BTreeMap<i64, f64> {
            let scores = rate(matrix, Some(&labels), Average::None, options.zero_division);
            labels.iter().copied().zip(scores.per_label().unwrap_or_default().iter().copied()).collect()
        };
        let mean = |rate: Rate| {
            rate(matrix, Some(&labels), options.average, options.zero_division).mean().filter(|mean| mean.is_finite())
        };
        let marginals = matrix.marginals();
        let pixels = |of: fn(&Marginal) -> u64| -> BTreeMap<i64, u64> {
            labels.iter().map(|&label| (label, marginals.get(&label).map_or(0, of))).collect()
        };
        Ok(Self {
            score: ScoreVersion,
            jaccard: by_label(ConfusionMatrix::jaccard),
            mean: mean(ConfusionMatrix::jaccard),
            average: options.average,
            zero_division: options.zero_division,
            accuracy: Some(matrix.accuracy()).filter(|accuracy| accuracy.is_finite()),
            kappa: Some(matrix.kappa()).filter(|kappa| kappa.is_finite()),
            precision: by_label(ConfusionMatrix::precision),
            recall: by_label(ConfusionMatrix::recall),
            f1: by_label(ConfusionMatrix::f1),
            means: Means {
                precision: mean(ConfusionMatrix::precision),
                recall: mean(ConfusionMatrix::recall),
                f1: mean(ConfusionMatrix::f1),
            },
            support: pixels(|m| m.truth),
            predicted: pixels(|m| m.prediction),
            pixels: matrix.total(),
            confusion: matrix.dense(&labels),
            absent: absent(matrix, options),
            notes: notes(matrix, &labels, options),
            labels,
        })
    }

    /// Scores a map against a class table: labels that occur are scored, classes that do not are left out of the mean.
    pub fn of_classes(matrix: &ConfusionMatrix, classes: &ClassTable) -> Self {
        let declared = classes.codes().into_iter().map(i64::from).collect();
        Self::new(matrix, &ScoreOptions { declared, ..ScoreOptions::default() })
            .expect("labels of a matrix are distinct, and the default zero_division is finite")
    }
}

fn absent(matrix: &ConfusionMatrix, options: &ScoreOptions) -> Vec<i64> {
    let known: BTreeSet<i64> = options.declared.iter().chain(options.labels.iter().flatten()).copied().collect();
    let present: BTreeSet<i64> = matrix.labels().into_iter().collect();
    known.difference(&present).copied().collect()
}

fn notes(matrix: &ConfusionMatrix, labels: &[i64], options: &ScoreOptions) -> Vec<String> {
    if matrix.total() == 0 {
        return vec!["no pixel was scored: the truth is empty, or all of it is ignored".to_owned()];
    }
    let mut notes = Vec::new();
    for label in absent(matrix, options) {
        notes.push(if labels.contains(&label) {
            format!(
                "label {label} is in neither truth nor prediction: it was asked for, and counts with {}",
                options.zero_division
            )
        } else {
            format!("label {label} is in neither truth nor prediction: left out of the mean")
        });
    }
    for (label, pixels) in matrix.marginals() {
        if !labels.contains(&label) {
            notes.push(format!("label {label} occurs but was not asked for: left out of the mean"));
        } else if pixels.prediction == 0 {
            notes.push(format!("label {label} is in the truth but never predicted: its Jaccard is 0, and counts"));
        } else if pixels.truth == 0 {
            notes.push(format!("label {label} is predicted but not in the truth: its Jaccard is 0, and counts"));
        }
    }
    notes
}
