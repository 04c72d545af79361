//! Confusion matrix, Jaccard and friends, with the semantics of scikit-learn; and how far they are to be relied on.

mod area;
mod blocks;
mod bootstrap;
mod boundary;
mod calibration;
mod confusion;
mod csv;
mod error;
mod rates;
mod score;
mod tally;

pub use area::{Areas, ClassArea, Estimate};
pub use blocks::{Block, BlockLabel, count_blocks};
pub use bootstrap::{Bootstrap, Intervals};
pub use boundary::{BoundaryCounts, BoundaryScore};
pub use calibration::{BINS, Calibration, CalibrationSums, ReliabilityBin};
pub use confusion::ConfusionMatrix;
pub use csv::{confusion_csv, csv_row, metrics_csv};
pub use error::MetricsError;
pub use rates::{Average, Averaged};
pub use score::{Means, SCORE_VERSION, Score, ScoreOptions, ScoreVersion};
