//! `metrics.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::StageError;
use crate::metrics::{Areas, BoundaryScore, Calibration, Intervals, Score};
use crate::stages::document::read_document;

/// Version of `metrics.json`. A field that may be missing does not change it.
pub const METRICS_VERSION: &str = "s2pipe.metrics/1";

/// `metrics.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Metrics {
    /// [`METRICS_VERSION`].
    pub format: String,
    /// Score of all scenes together: their confusion matrices are summed first.
    pub all: Score,
    /// Score of each scene on its own.
    pub scenes: BTreeMap<String, Score>,
    /// How far the Jaccard scores of `all` are to be relied on; `None` where no interval was asked for or could be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Intervals>,
    /// Whether the probabilities of all scenes are what they say; `None` where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// Jaccard along boundaries, over all scenes; `None` where it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<BoundaryScore>,
    /// Area of each class over the maps connected as `region`; `None` where there were none, or nothing of them could be assessed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub areas: Option<Areas>,
}

impl Metrics {
    /// Reads `metrics.json`.
    ///
    /// # Errors
    /// A sentence naming the file when it is missing, damaged or of another version.
    pub fn read(path: &Path) -> Result<Self, StageError> {
        read_document(path, "a metrics file", METRICS_VERSION)
    }
}
