//! The confusion matrix: how often each true label was given each predicted label.

use std::collections::{BTreeMap, BTreeSet};

use super::error::MetricsError;
use super::tally::tally;

/// Pixel counts by (true label, predicted label). Labels are the codes found in the rasters, not class indices.
///
/// Only pairs that occur take memory, so rasters with any `i64` labels can be scored.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfusionMatrix {
    counts: BTreeMap<(i64, i64), u64>,
}

impl ConfusionMatrix {
    /// A matrix with no pixel.
    pub fn new() -> Self {
        Self::default()
    }

    /// A matrix from its dense form: `counts[i][j]` pixels have true label `labels[i]` and predicted label `labels[j]`.
    ///
    /// # Errors
    /// When `counts` is not square over `labels`, or a label is named twice.
    pub fn from_counts(labels: &[i64], counts: &[Vec<u64>]) -> Result<Self, MetricsError> {
        reject_duplicates(labels)?;
        let expected = labels.len();
        if counts.len() != expected {
            let row = counts.len().min(expected);
            return Err(MetricsError::CountsShape { row, expected, found: counts.get(row).map_or(0, Vec::len) });
        }
        let mut matrix = Self::new();
        for (row, (&truth, line)) in labels.iter().zip(counts).enumerate() {
            if line.len() != expected {
                return Err(MetricsError::CountsShape { row, expected, found: line.len() });
            }
            for (&prediction, &count) in labels.iter().zip(line) {
                matrix.count(truth, prediction, count);
            }
        }
        Ok(matrix)
    }

    /// Adds the pixels of an 8-bit truth raster and its prediction, in the same order. Pixels whose *truth* is `ignore`
    /// leave both arrays first; a prediction equal to `ignore` elsewhere counts as any other label.
    ///
    /// # Errors
    /// When the lengths differ; nothing has been added then.
    pub fn add(&mut self, truth: &[u8], prediction: &[u8], ignore: Option<u8>) -> Result<(), MetricsError> {
        check_lengths(truth.len(), prediction.len())?;
        let table = tally(truth, prediction);
        for (truth, row) in (0_u8..=255).zip(table.chunks_exact(256)) {
            if ignore == Some(truth) {
                continue;
            }
            for (prediction, &count) in row.iter().enumerate() {
                self.count(truth.into(), prediction as i64, count);
            }
        }
        Ok(())
    }

    /// [`Self::add`] for rasters with labels outside 0..=255. Slower: meant for tables and odd rasters.
    ///
    /// # Errors
    /// When the lengths differ; nothing has been added then.
    pub fn add_i64(&mut self, truth: &[i64], prediction: &[i64], ignore: Option<i64>) -> Result<(), MetricsError> {
        check_lengths(truth.len(), prediction.len())?;
        let mut pairs = truth.iter().copied().zip(prediction.iter().copied()).filter(|(t, _)| ignore != Some(*t));
        let Some(mut run) = pairs.next() else { return Ok(()) };
        let mut length = 1;
        for pair in pairs {
            if pair != run {
                self.count(run.0, run.1, length);
                (run, length) = (pair, 0);
            }
            length += 1;
        }
        self.count(run.0, run.1, length);
        Ok(())
    }

    /// Adds `count` pixels of one pair of labels.
    pub fn count(&mut self, truth: i64, prediction: i64, count: u64) {
        if count > 0 {
            *self.counts.entry((truth, prediction)).or_default() += count;
        }
    }

    /// Adds all pixels of another matrix.
    pub fn merge(&mut self, other: &Self) {
        for (&(truth, prediction), &count) in &other.counts {
            self.count(truth, prediction, count);
        }
    }

    /// Labels that occur in truth or prediction, ascending.
    pub fn labels(&self) -> Vec<i64> {
        self.counts.keys().flat_map(|&(t, p)| [t, p]).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Pixels with this true and this predicted label.
    pub fn get(&self, truth: i64, prediction: i64) -> u64 {
        self.counts.get(&(truth, prediction)).copied().unwrap_or(0)
    }

    /// The table over these labels, rows by true label, columns by predicted label. Pixels with any other label are
    /// left out, as `sklearn.metrics.confusion_matrix(labels=…)` does.
    pub fn dense(&self, labels: &[i64]) -> Vec<Vec<u64>> {
        labels.iter().map(|&t| labels.iter().map(|&p| self.get(t, p)).collect()).collect()
    }

    /// Pixels counted.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Pixels whose predicted label is the true one.
    pub fn correct(&self) -> u64 {
        self.counts.iter().filter(|((t, p), _)| t == p).map(|(_, count)| count).sum()
    }

    /// True and predicted totals of every label that occurs.
    pub(super) fn marginals(&self) -> BTreeMap<i64, Marginal> {
        let mut marginals: BTreeMap<i64, Marginal> = BTreeMap::new();
        for (&(truth, prediction), &count) in &self.counts {
            marginals.entry(truth).or_default().truth += count;
            marginals.entry(prediction).or_default().prediction += count;
            if truth == prediction {
                marginals.entry(truth).or_default().both += count;
            }
        }
        marginals
    }
}

/// What one label's scores are made of, in pixels.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Marginal {
    /// Pixels with the label in the truth.
    pub(super) truth: u64,
    /// Pixels with the label in the prediction.
    pub(super) prediction: u64,
    /// Pixels with the label in both.
    pub(super) both: u64,
}

pub(super) fn check_lengths(truth: usize, prediction: usize) -> Result<(), MetricsError> {
    if truth == prediction { Ok(()) } else { Err(MetricsError::LengthMismatch { truth, prediction }) }
}

pub(super) fn reject_duplicates(labels: &[i64]) -> Result<(), MetricsError> {
    let mut seen = BTreeSet::new();
    match labels.iter().find(|label| !seen.insert(**label)) {
        Some(&label) => Err(MetricsError::DuplicateLabel(label)),
        None => Ok(()),
    }
}
