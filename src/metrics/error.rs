//! What can go wrong in this room.

/// The arrays or counts given do not make a confusion matrix or a score.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MetricsError {
    /// Truth and prediction do not pair up.
    #[error("truth has {truth} pixels and the prediction {prediction}: both must cover the same grid")]
    LengthMismatch {
        /// Pixels of the truth.
        truth: usize,
        /// Pixels of the prediction.
        prediction: usize,
    },
    /// The table of counts is not square over the labels.
    #[error("row {row} of the confusion counts has {found} columns, expected {expected} (one a label)")]
    CountsShape {
        /// First offending row, from 0; `expected` itself when a row is missing or one too many.
        row: usize,
        /// Number of labels.
        expected: usize,
        /// Columns found in that row, 0 for a missing row.
        found: usize,
    },
    /// A label is named twice, so that it would be counted twice.
    #[error("label {0} is named twice: name each label once")]
    DuplicateLabel(i64),
    /// Probabilities that are not a plane a class.
    #[error("{planes} classes of {pixels} pixels have {found} probabilities: expected one for each class and pixel")]
    Planes {
        /// Pixels.
        pixels: usize,
        /// Classes.
        planes: usize,
        /// Probabilities given.
        found: usize,
    },
    /// A true label that has no probability.
    #[error("label {0} of the truth has no probabilities: they must be of the same classes")]
    NoProbability(i64),
    /// A number that is no probability.
    #[error("{0} is no probability: expected 0 to 1")]
    Probability(f32),
    /// The value that stands for 0/0 cannot be averaged or written as JSON.
    #[error("zero_division is {0}: expected a finite number, usually 0 or 1")]
    ZeroDivision(f64),
}
