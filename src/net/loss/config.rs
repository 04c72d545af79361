//! The loss as the `train` stage's parameters give it.

use serde::{Deserialize, Serialize};

use super::criterion::{Criterion, CrossEntropy, Dice, Focal, LovaszSoftmax, WeightedSum};
use crate::net::class_weights::{ClassWeights, Weighting};
use crate::net::types::{NetError, Result};

/// The loss.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum LossConfig {
    /// Softmax cross-entropy over the labelled pixels.
    CrossEntropy {
        /// Weight of a class's pixels.
        #[serde(default)]
        class_weights: ClassWeights,
        /// As [`Weighting::beta`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        beta: Option<f64>,
        /// As [`Weighting::cap`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight_cap: Option<f32>,
        /// Label smoothing, in `[0, 1)`.
        #[serde(default)]
        smoothing: f32,
    },
    /// Focal loss over the labelled pixels (Lin, Goyal, Girshick, He, Dollár 2017).
    Focal {
        /// How much less pixels count that are right already, 0 or more; with 0 it is cross-entropy.
        #[serde(default = "two")]
        gamma: f32,
        /// Weight of a class's pixels.
        #[serde(default)]
        class_weights: ClassWeights,
        /// As [`Weighting::beta`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        beta: Option<f64>,
        /// As [`Weighting::cap`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight_cap: Option<f32>,
    },
    /// Dice loss over the classes that occur in a batch (Milletari, Navab, Ahmadi 2016).
    Dice {
        /// Added above and below the fraction, 0 or more.
        #[serde(default = "one")]
        smooth: f32,
    },
    /// Lovász-softmax loss over the classes that occur in a batch (Berman, Triki, Blaschko 2018).
    Lovasz {},
    /// Several losses, each times its weight.
    Sum {
        /// One or more.
        terms: Vec<LossTerm>,
    },
}

/// A loss that is a part of a sum.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossTerm {
    /// Which.
    pub loss: LossConfig,
    /// What it is multiplied by, above 0.
    #[serde(default = "one")]
    pub weight: f32,
}

const fn one() -> f32 {
    1.0
}

const fn two() -> f32 {
    2.0
}

impl Default for LossConfig {
    fn default() -> Self {
        Self::cross_entropy(ClassWeights::None, 0.0)
    }
}

impl LossConfig {
    /// Cross-entropy without a cap on its class weights.
    pub const fn cross_entropy(class_weights: ClassWeights, smoothing: f32) -> Self {
        Self::CrossEntropy { class_weights, beta: None, weight_cap: None, smoothing }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`NetError::Config`] naming the value that is out of range.
    pub fn check(&self) -> Result<()> {
        self.weighting().check()?;
        let problem = match self {
            Self::CrossEntropy { smoothing, .. } if !(0.0..1.0).contains(smoothing) => {
                format!("loss.smoothing is from 0 to below 1, found {smoothing}")
            }
            Self::Focal { gamma, .. } if !(*gamma >= 0.0 && gamma.is_finite()) => {
                format!("loss.gamma is 0 or more, found {gamma}")
            }
            Self::Dice { smooth } if !(*smooth >= 0.0 && smooth.is_finite()) => {
                format!("loss.smooth is 0 or more, found {smooth}")
            }
            Self::Sum { terms } if terms.is_empty() => "loss.terms has one term or more, found none".into(),
            Self::Sum { terms } => return terms.iter().try_for_each(LossTerm::check),
            _ => return Ok(()),
        };
        Err(NetError::Config(problem))
    }

    /// How classes are weighed; equally by losses that have no weights of their own.
    fn weighting(&self) -> Weighting {
        match self {
            Self::CrossEntropy { class_weights, beta, weight_cap, .. }
            | Self::Focal { class_weights, beta, weight_cap, .. } => {
                Weighting { class_weights: *class_weights, beta: *beta, cap: *weight_cap }
            }
            _ => Weighting::default(),
        }
    }

    /// Whether rare classes count more in it, or in a part of it.
    pub fn weighs_classes(&self) -> bool {
        match self {
            Self::Sum { terms } => terms.iter().any(|term| term.loss.weighs_classes()),
            _ => self.weighting().class_weights != ClassWeights::None,
        }
    }

    /// The loss, for classes with so many labelled pixels in training.
    ///
    /// # Errors
    /// [`NetError::Config`] as [`Self::check`].
    pub fn criterion(&self, pixels: &[u64]) -> Result<Box<dyn Criterion>> {
        self.check()?;
        let weights = self.weighting().weights(pixels);
        Ok(match self {
            Self::CrossEntropy { smoothing, .. } => Box::new(CrossEntropy::new(weights, *smoothing)?),
            Self::Focal { gamma, .. } => Box::new(Focal::new(weights, *gamma)?),
            Self::Dice { smooth } => Box::new(Dice::new(*smooth)),
            Self::Lovasz {} => Box::new(LovaszSoftmax),
            Self::Sum { terms } => {
                let terms = terms.iter().map(|term| Ok((term.weight, term.loss.criterion(pixels)?)));
                Box::new(WeightedSum::new(terms.collect::<Result<_>>()?))
            }
        })
    }
}

impl LossTerm {
    fn check(&self) -> Result<()> {
        if !(self.weight > 0.0 && self.weight.is_finite()) {
            return Err(NetError::Config(format!("loss.terms.weight is above 0, found {}", self.weight)));
        }
        self.loss.check()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::net::IGNORE;
    use crate::net::values::with_values;

    fn read(text: &str) -> LossConfig {
        serde_json::from_str(text).unwrap()
    }

    /// Loss and gradient of six pixels of three classes.
    fn computed(loss: &LossConfig) -> (f32, Vec<f32>) {
        let logits: Vec<f32> = (0..18).map(|i| ((i * 7) % 5) as f32 * 0.4 - 0.9).collect();
        let logits = Tensor::from_vec(logits, (1, 2, 3, 3), &Device::Cpu).unwrap();
        let targets = Tensor::from_vec(vec![0u8, 1, 2, IGNORE, 1, 0], (1, 2, 3), &Device::Cpu).unwrap();
        let criterion = loss.criterion(&[200, 50, 10]).unwrap();
        let (loss, gradient) = criterion.with_gradient(&logits, &targets).unwrap();
        (loss.to_scalar().unwrap(), with_values(&gradient, <[f32]>::to_vec).unwrap())
    }

    #[test]
    fn reads_the_form_of_the_yaml() {
        let loss = read(r#"{"kind": "cross_entropy", "class_weights": "inverse_sqrt"}"#);
        assert_eq!(loss, LossConfig::cross_entropy(ClassWeights::InverseSqrt, 0.0));
        // What is left out is left out again: the fingerprint of a training does not change.
        assert_eq!(
            serde_json::to_string(&loss).unwrap(),
            r#"{"kind":"cross_entropy","class_weights":"inverse_sqrt","smoothing":0.0}"#
        );
        let focal = read(r#"{"kind": "focal"}"#);
        assert!(matches!(focal, LossConfig::Focal { gamma: 2.0, class_weights: ClassWeights::None, .. }));
        assert_eq!(read(r#"{"kind": "dice"}"#), LossConfig::Dice { smooth: 1.0 });
        let sum = read(
            r#"{"kind": "sum", "terms": [{"loss": {"kind": "lovasz"}}, {"loss": {"kind": "dice"}, "weight": 3}]}"#,
        );
        let LossConfig::Sum { terms } = &sum else { panic!("{sum:?}") };
        assert_eq!((terms[0].weight, terms[1].weight, &terms[0].loss), (1.0, 3.0, &LossConfig::Lovasz {}));
        assert_eq!(read(&serde_json::to_string(&sum).unwrap()), sum);
        for wrong in [r#"{"kind": "lovasz", "gamma": 1}"#, r#"{"kind": "sum"}"#, r#"{"kind": "hinge"}"#] {
            assert!(serde_json::from_str::<LossConfig>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_sum_is_the_sum_of_its_weighted_terms() {
        let (cross_entropy, lovasz) = (LossConfig::cross_entropy(ClassWeights::Inverse, 0.1), LossConfig::Lovasz {});
        let dice = LossConfig::Dice { smooth: 1.0 };
        let terms = [(&cross_entropy, 1.0), (&lovasz, 0.5), (&dice, 3.0)];
        let sum = LossConfig::Sum {
            terms: terms.iter().map(|(loss, weight)| LossTerm { loss: (*loss).clone(), weight: *weight }).collect(),
        };
        let (value, gradient) = computed(&sum);
        let (mut expected, mut slopes) = (0.0, vec![0.0; gradient.len()]);
        for (loss, weight) in terms {
            let (value, gradient) = computed(loss);
            expected += weight * value;
            slopes.iter_mut().zip(gradient).for_each(|(sum, slope)| *sum += weight * slope);
        }
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
        for (found, expected) in gradient.iter().zip(&slopes) {
            assert!((found - expected).abs() < 1e-7, "{found} {expected}");
        }
        assert!(sum.weighs_classes() && !lovasz.weighs_classes());
    }

    #[test]
    fn a_sum_of_one_term_has_its_bits() {
        for loss in [LossConfig::default(), LossConfig::Lovasz {}] {
            let sum = LossConfig::Sum { terms: vec![LossTerm { loss: loss.clone(), weight: 1.0 }] };
            assert_eq!(computed(&sum), computed(&loss));
        }
    }

    #[test]
    fn refuses_what_is_out_of_range() {
        let sum = |weight| LossConfig::Sum { terms: vec![LossTerm { loss: LossConfig::default(), weight }] };
        let bad = [
            (LossConfig::cross_entropy(ClassWeights::None, 1.0), "smoothing"),
            (LossConfig::cross_entropy(ClassWeights::EffectiveNumber, 0.0), "beta"),
            (read(r#"{"kind": "focal", "gamma": -1}"#), "gamma"),
            (read(r#"{"kind": "focal", "weight_cap": 0.5, "class_weights": "inverse"}"#), "weight_cap"),
            (LossConfig::Dice { smooth: f32::NAN }, "smooth"),
            (LossConfig::Sum { terms: Vec::new() }, "terms"),
            (sum(0.0), "weight"),
            (LossConfig::Sum { terms: vec![LossTerm { loss: sum(-1.0), weight: 1.0 }] }, "weight"),
        ];
        for (loss, named) in bad {
            let error = loss.check().unwrap_err().to_string();
            assert!(error.contains(&format!("loss.{named}")) || error.contains(&format!(".{named}")), "{error}");
            assert!(loss.criterion(&[1, 1, 1]).is_err());
        }
    }
}
