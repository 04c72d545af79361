//! What a training did, epoch by epoch. No times of day and no durations: the same training leaves the same bytes.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{NetError, Result};

/// The content of `history.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// [`History::VERSION`].
    pub version: u32,
    /// Epochs asked for.
    pub planned_epochs: usize,
    /// One record a finished epoch, in order.
    pub epochs: Vec<EpochRecord>,
    /// The epoch (from 1) whose weights were kept: the first with the highest hold-out mean Jaccard (with `swa`: of those that
    /// a mean was scored after, if any), or the last where there is no hold-out. 0 when not even the first epoch was finished.
    pub best_epoch: usize,
    /// Why it ended.
    pub ended: Ended,
}

/// Why a training ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Ended {
    /// All planned epochs were done.
    #[serde(rename = "all epochs")]
    AllEpochs,
    /// The next epoch would not have ended before the deadline.
    #[serde(rename = "deadline")]
    Deadline,
    /// The score on the hold-out had not risen for as long as patience lasts.
    #[serde(rename = "patience")]
    Patience,
}

/// One epoch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Epochs planned; not stored here, see [`History::planned_epochs`].
    #[serde(skip)]
    pub of: usize,
    /// Mean loss of the epoch's batches, each weighted with its labelled pixels, while the weights were changing.
    pub train_loss: f64,
    /// Learning rate of the epoch's last step.
    pub lr: f64,
    /// Scores on the hold-out after the epoch; `None` where there is none or the epoch was not evaluated.
    pub holdout: Option<HoldoutScore>,
    /// Seconds that it took, evaluation included, as far as in this process. Never stored.
    #[serde(skip)]
    pub seconds: f64,
}

/// Scores on the hold-out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldoutScore {
    /// Mean loss over its labelled pixels, batch by batch.
    pub loss: f64,
    /// Mean Jaccard over the classes that occur in its truth.
    pub mean_jaccard: f64,
    /// Jaccard by class index; `None` for a class that does not occur in its truth.
    pub jaccard: Vec<Option<f64>>,
}

impl History {
    /// Version of the file's form.
    pub const VERSION: u32 = 1;

    /// Writes `history.json`: indented, with a newline at the end.
    ///
    /// # Errors
    /// [`NetError::Io`] when the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let io = |source| NetError::Io { path: path.to_owned(), source };
        let mut text = serde_json::to_string_pretty(self).map_err(|e| io(e.into()))?;
        text.push('\n');
        std::fs::write(path, text).map_err(io)
    }

    /// Reads `history.json`.
    ///
    /// # Errors
    /// [`NetError::Io`] when it cannot be read or is no history of this version.
    pub fn load(path: &Path) -> Result<Self> {
        let io = |source| NetError::Io { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(io)?;
        let history: Self = serde_json::from_str(&text).map_err(|e| io(e.into()))?;
        if history.version == Self::VERSION {
            return Ok(history);
        }
        let problem = format!("history version {}, this program reads version {}", history.version, Self::VERSION);
        Err(io(std::io::Error::new(std::io::ErrorKind::InvalidData, problem)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        let record = EpochRecord {
            epoch: 1,
            of: 3,
            train_loss: 0.1 + 0.2,
            lr: 2e-3,
            holdout: Some(HoldoutScore { loss: 1.0 / 3.0, mean_jaccard: 0.4, jaccard: vec![Some(0.4), None] }),
            seconds: 12.5,
        };
        History { version: 1, planned_epochs: 3, epochs: vec![record], best_epoch: 1, ended: Ended::Deadline }
    }

    #[test]
    fn keeps_every_bit_and_no_seconds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.json");
        history().save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("seconds") && text.contains(r#""ended": "deadline""#), "{text}");
        let loaded = History::load(&path).unwrap();
        assert_eq!(loaded.epochs[0].train_loss.to_bits(), (0.1_f64 + 0.2).to_bits());
        assert_eq!(loaded.epochs[0].holdout, history().epochs[0].holdout);
        assert_eq!(loaded.epochs[0].seconds, 0.0);
    }

    /// serde_json without its `float_roundtrip` feature misreads about one in ten of these by one bit.
    #[test]
    fn every_f64_comes_back_from_json_as_it_was() {
        let mut rng = crate::net::rng::Rng::new(1);
        for _ in 0..2000 {
            let value = rng.uniform() * 10f64.powi(rng.below(12) as i32 - 6);
            let back: f64 = serde_json::from_str(&serde_json::to_string(&value).unwrap()).unwrap();
            assert_eq!(value.to_bits(), back.to_bits());
        }
    }

    #[test]
    fn says_why_it_ended() {
        let words = [Ended::AllEpochs, Ended::Deadline, Ended::Patience].map(|e| serde_json::to_string(&e).unwrap());
        assert_eq!(words, [r#""all epochs""#, r#""deadline""#, r#""patience""#]);
    }

    #[test]
    fn refuses_other_versions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.json");
        History { version: 2, ..history() }.save(&path).unwrap();
        assert!(History::load(&path).unwrap_err().to_string().contains("version 2"));
    }
}
