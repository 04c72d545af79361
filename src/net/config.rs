//! The configuration of a training, as the `train` stage's parameters give it.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::augment::AugmentConfig;
use super::average::{AverageConfig, Averaging, SwaConfig};
use super::loss::LossConfig;
use super::models::ModelConfig;
use super::optim::{OptimizerConfig, ScaleLr};
use super::sampling::Sampling;
use super::schedule::Schedule;
use super::source::PatchSource;
use super::{IGNORE, NetError, Result};

/// Everything that decides the outcome of a training but the data.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The network.
    pub model: ModelConfig,
    /// Number of classes, 1..=255.
    pub classes: usize,
    /// Passes over the training patches.
    pub epochs: usize,
    /// Patches a step.
    pub batch: BatchSize,
    /// Steps an epoch, where an epoch is not to be one pass over the patches.
    #[serde(default)]
    pub steps_per_epoch: Option<usize>,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// That the optimiser's rate was found with another batch; without it, it is taken as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_lr: Option<ScaleLr>,
    /// The learning rate's course.
    #[serde(default)]
    pub schedule: Schedule,
    /// The loss.
    #[serde(default)]
    pub loss: LossConfig,
    /// Highest global norm of the gradient; without it gradients are taken as they are.
    #[serde(default)]
    pub clip: Option<f64>,
    /// Running averages of the weights, which are then what is scored and kept; without it those of the last step are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<AverageConfig>,
    /// The mean of the weights at the ends of the last epochs, which is then what is scored and kept; not with `ema`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swa: Option<SwaConfig>,
    /// Augmentation.
    #[serde(default)]
    pub augment: AugmentConfig,
    /// Choice of the patches of an epoch.
    #[serde(default)]
    pub sampling: Sampling,
    /// Score on the hold-out after every so many epochs (and after the last).
    #[serde(default = "every_epoch")]
    pub evaluate_every: usize,
    /// Scores on the hold-out in a row, 1 or more, that may be no higher than the highest before training ends; without it all
    /// epochs are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// Seed of weights, order and augmentation.
    pub seed: u64,
    /// What activations are computed in on a GPU.
    #[serde(default)]
    pub precision: Precision,
    /// Whether a GPU gives the same bits every time, at the cost of some speed. The CPU always does.
    #[serde(default = "always")]
    pub deterministic: bool,
}

const fn every_epoch() -> usize {
    1
}

const fn always() -> bool {
    true
}

/// What activations are computed in on a GPU. Weights, statistics and losses are f32 with all of them, and the CPU computes
/// everything in f32.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// [`Precision::Bf16`] where the GPU has it in its tensor cores (compute capability 8.0 or newer), else
    /// [`Precision::F32`].
    #[default]
    Auto,
    /// f32 throughout.
    F32,
    /// f32 numbers, whose convolutions may round factors to TF32.
    Tf32,
    /// bfloat16.
    Bf16,
}

/// How many patches a step takes. Written as the number, or as `auto`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchSize {
    /// [`BatchSize::AUTO`] patches, in parts where memory is short.
    Auto,
    /// This many, at once.
    Patches(usize),
}

impl BatchSize {
    /// What [`BatchSize::Auto`] takes.
    pub const AUTO: usize = 8;

    /// The word for [`BatchSize::Auto`].
    const WORD: &str = "auto";

    /// Patches a step.
    pub const fn patches(self) -> usize {
        match self {
            Self::Auto => Self::AUTO,
            Self::Patches(patches) => patches,
        }
    }

    /// Whether a step may be computed in parts, their gradients added up, where its patches do not fit into memory at
    /// once. Batch normalisation then sees a part at a time, so it is nothing to do unasked.
    pub const fn may_split(self) -> bool {
        matches!(self, Self::Auto)
    }
}

impl Serialize for BatchSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str(Self::WORD),
            Self::Patches(patches) => patches.serialize(serializer),
        }
    }
}

/// By hand, so that what is neither is refused with both named.
impl<'de> Deserialize<'de> for BatchSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(BatchSizeVisitor)
    }
}

struct BatchSizeVisitor;

impl Visitor<'_> for BatchSizeVisitor {
    type Value = BatchSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number of patches or \"{}\"", BatchSize::WORD)
    }

    fn visit_u64<E: de::Error>(self, patches: u64) -> std::result::Result<BatchSize, E> {
        usize::try_from(patches)
            .map(BatchSize::Patches)
            .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(patches), &self))
    }

    fn visit_str<E: de::Error>(self, word: &str) -> std::result::Result<BatchSize, E> {
        if word == BatchSize::WORD {
            return Ok(BatchSize::Auto);
        }
        Err(E::invalid_value(de::Unexpected::Str(word), &self))
    }
}

impl TrainConfig {
    /// Checks every value by itself and against the data.
    ///
    /// # Errors
    /// [`NetError::Config`] naming the value, what was expected and what was found.
    pub fn check(&self, source: &dyn PatchSource) -> Result<()> {
        self.model.check()?;
        self.optimizer.check()?;
        self.scale_lr.map_or(Ok(()), |scale| scale.check())?;
        self.schedule.check()?;
        self.augment.check()?;
        self.loss.check()?;
        self.ema.map_or(Ok(()), |ema| ema.check())?;
        self.swa.map_or(Ok(()), |swa| swa.check())?;
        let counts = source.class_pixels().len();
        let size = source.size();
        let multiple = self.model.multiple();
        let problem = if !(1..=usize::from(IGNORE)).contains(&self.classes) {
            format!("the number of classes is from 1 to {IGNORE}, found {}", self.classes)
        } else if counts != self.classes {
            format!("the patches count pixels of {counts} classes, the configuration has {}", self.classes)
        } else if self.epochs == 0 {
            "epochs is 1 or more, found 0".into()
        } else if self.batch.patches() == 0 {
            "batch is 1 or more, found 0".into()
        } else if self.steps_per_epoch == Some(0) {
            "steps_per_epoch is 1 or more, found 0".into()
        } else if self.evaluate_every == 0 {
            "evaluate_every is 1 or more, found 0".into()
        } else if self.ema.is_some() && self.swa.is_some() {
            "ema and swa both say what is kept of the weights: leave one of them out".into()
        } else if self.patience == Some(0) {
            "patience is 1 or more, found 0".into()
        } else if self.patience.is_some() && source.holdout_len() == 0 {
            "patience counts scores on the hold-out, and there is none: raise `patches.holdout`, or leave patience out"
                .into()
        } else if let Some(clip) = self.clip.filter(|c| !(*c > 0.0 && c.is_finite())) {
            format!("clip is above 0, found {clip}")
        } else if size == 0 || !size.is_multiple_of(multiple) {
            let (below, above) = (size / multiple * multiple, (size / multiple + 1) * multiple);
            let fitting = if below > 0 { format!("{below} or {above}") } else { above.to_string() };
            format!("patches of {size} x {size} pixels do not fit the model: it halves them down, so use {fitting}")
        } else {
            return Ok(());
        };
        Err(NetError::Config(problem))
    }

    /// The averages of the weights that are scored and kept, where the weights themselves are not.
    pub(crate) fn averaging(&self) -> Option<Averaging> {
        let exponential = self.ema.map(Averaging::Exponential);
        exponential.or_else(|| self.swa.map(|swa| Averaging::of_epochs(swa, self.epochs)))
    }

    /// What the optimiser's rate is multiplied by, to go with the batch.
    pub fn lr_factor(&self) -> f64 {
        self.scale_lr.map_or(1.0, |scale| scale.factor(&self.optimizer, self.batch.patches()))
    }

    /// The highest rate of the schedule.
    pub fn peak_lr(&self) -> f64 {
        self.optimizer.lr() * self.lr_factor()
    }

    /// Training samples of an epoch, for a source of `patches` training patches.
    pub fn samples_per_epoch(&self, patches: usize) -> usize {
        self.steps_per_epoch.map_or(patches, |steps| steps * self.batch.patches())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_a_number_or_auto() {
        for (text, batch) in
            [("1", BatchSize::Patches(1)), ("4096", BatchSize::Patches(4096)), ("\"auto\"", BatchSize::Auto)]
        {
            assert_eq!(serde_json::from_str::<BatchSize>(text).unwrap(), batch);
            assert_eq!(serde_json::to_string(&batch).unwrap(), text);
        }
        assert_eq!((BatchSize::Auto.patches(), BatchSize::Patches(3).patches()), (8, 3));
        assert!(BatchSize::Auto.may_split() && !BatchSize::Patches(8).may_split());
        for text in ["-1", "8.0", "\"8\"", "\"Auto\"", "null", "[8]"] {
            let error = serde_json::from_str::<BatchSize>(text).unwrap_err().to_string();
            assert!(error.contains("a number of patches or \"auto\""), "{text}: {error}");
        }
    }

    #[test]
    fn a_record_from_before_gpus_still_reads() {
        let old = r#"{
            "model": {"kind": "unet", "width": 4, "depth": 1}, "classes": 2, "epochs": 3, "batch": 8,
            "optimizer": {"kind": "adamw", "lr": 2e-3}, "seed": 1
        }"#;
        let config: TrainConfig = serde_json::from_str(old).unwrap();
        assert_eq!(
            (config.batch, config.precision, config.deterministic),
            (BatchSize::Patches(8), Precision::Auto, true)
        );
        let mut new = serde_json::to_value(&config).unwrap();
        assert_eq!((&new["precision"], &new["deterministic"]), (&"auto".into(), &true.into()));
        for (word, precision) in [("f32", Precision::F32), ("tf32", Precision::Tf32), ("bf16", Precision::Bf16)] {
            new["precision"] = word.into();
            assert_eq!(serde_json::from_value::<TrainConfig>(new.clone()).unwrap().precision, precision);
        }
    }
}
