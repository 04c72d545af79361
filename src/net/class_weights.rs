//! How rare classes are made to count more in a loss.

use serde::{Deserialize, Serialize};

use super::{NetError, Result};

/// What a class's weight is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// Every pixel counts the same.
    #[default]
    None,
    /// One over the root of the class's pixels in training.
    InverseSqrt,
    /// One over the class's pixels in training: every class weighs the same.
    Inverse,
    /// One over the effective number of the class's `n` pixels in training, `(1 - beta^n) / (1 - beta)` (Cui, Jia, Lin, Song,
    /// Belongie 2019): pixels are like each other, and the more there are the less another one adds.
    EffectiveNumber,
}

/// How a loss weighs classes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Weighting {
    /// What the weights are made of.
    pub class_weights: ClassWeights,
    /// For [`ClassWeights::EffectiveNumber`], and needed there: in `[0, 1)`. A class has at most `1 / (1 - beta)` pixels that
    /// count. With 0 all weights are equal, and near 1 they are those of [`ClassWeights::Inverse`].
    pub beta: Option<f64>,
    /// Greatest weight, 1 or more; the mean is 1 before.
    pub cap: Option<f32>,
}

impl Weighting {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`NetError::Config`] naming the value that is missing or out of range.
    pub fn check(&self) -> Result<()> {
        let problem = match (self.class_weights, self.beta, self.cap) {
            (ClassWeights::EffectiveNumber, None, _) => "loss.beta is missing: effective_number needs it".into(),
            (_, Some(beta), _) if !(0.0..1.0).contains(&beta) => {
                format!("loss.beta is from 0 to below 1, found {beta}")
            }
            (_, _, Some(cap)) if !(cap >= 1.0 && cap.is_finite()) => {
                format!("loss.weight_cap is 1 or more, found {cap}")
            }
            _ => return Ok(()),
        };
        Err(NetError::Config(problem))
    }

    /// Weights by class index from the classes' pixel counts in training: scaled to mean 1 over the classes that occur, then
    /// capped. A class that does not occur gets 1. `None` for equal weights.
    pub fn weights(&self, pixels: &[u64]) -> Option<Vec<f32>> {
        let beta = self.beta.unwrap_or(0.0);
        let raw = |pixels: u64| match self.class_weights {
            ClassWeights::None => 1.0,
            ClassWeights::InverseSqrt => 1.0 / (pixels as f64).sqrt(),
            ClassWeights::Inverse => 1.0 / pixels as f64,
            ClassWeights::EffectiveNumber => 1.0 / effective_number(pixels, beta),
        };
        if self.class_weights == ClassWeights::None {
            return None;
        }
        let present = pixels.iter().filter(|&&n| n > 0);
        let mean = present.clone().map(|&n| raw(n)).sum::<f64>() / present.count().max(1) as f64;
        let cap = self.cap.unwrap_or(f32::INFINITY);
        let weight = |&n: &u64| if n > 0 { ((raw(n) / mean) as f32).min(cap) } else { 1.0 };
        Some(pixels.iter().map(weight).collect())
    }
}

/// `(1 - beta^n) / (1 - beta)`, to the last digits also where `beta` is next to 1.
fn effective_number(pixels: u64, beta: f64) -> f64 {
    let fresh = 1.0 - beta;
    -(pixels as f64 * (-fresh).ln_1p()).exp_m1() / fresh
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(class_weights: ClassWeights) -> Weighting {
        Weighting { class_weights, ..Weighting::default() }
    }

    #[test]
    fn weights_have_mean_1_over_what_occurs() {
        assert_eq!(of(ClassWeights::None).weights(&[1, 2]), None);
        // 1/10 : 1/5 : - : 1/1, mean 13/30.
        let roots = of(ClassWeights::InverseSqrt).weights(&[100, 25, 0, 1]).unwrap();
        let expected = [0.1, 0.2, 13.0 / 30.0, 1.0].map(|w| w * 30.0 / 13.0);
        for (weight, expected) in roots.iter().zip(expected) {
            assert!((f64::from(*weight) - expected).abs() < 1e-6, "{roots:?}");
        }
        assert_eq!(of(ClassWeights::Inverse).weights(&[30, 10]).unwrap(), [0.5, 1.5]);
        assert_eq!(of(ClassWeights::Inverse).weights(&[0, 0]).unwrap(), [1.0, 1.0]);
    }

    #[test]
    fn an_effective_number_is_the_sum_of_the_powers() {
        for (pixels, beta) in [(1, 0.9), (7, 0.9), (40, 0.5), (12, 0.999_999), (5, 0.0)] {
            let expected: f64 = (0..pixels).map(|power| f64::powi(beta, power)).sum();
            let found = effective_number(pixels as u64, beta);
            assert!((found - expected).abs() < 1e-12 * expected, "{pixels}, {beta}: {found} {expected}");
        }
        // Beyond 1 / (1 - beta) pixels there is nothing new.
        assert!((effective_number(u64::MAX, 0.999) - 1000.0).abs() < 1e-9);
    }

    #[test]
    fn effective_numbers_lie_between_equal_and_inverse() {
        let pixels = [1000, 10];
        let weights =
            |beta| Weighting { beta: Some(beta), ..of(ClassWeights::EffectiveNumber) }.weights(&pixels).unwrap();
        assert_eq!(weights(0.0), [1.0, 1.0]);
        let inverse = of(ClassWeights::Inverse).weights(&pixels).unwrap();
        for (near, inverse) in weights(0.999_999_999_9).iter().zip(&inverse) {
            assert!((near - inverse).abs() < 1e-5);
        }
        // (1 - 0.99) / (1 - 0.99^n) by hand: 0.0100004 and 0.1045795.
        let between = weights(0.99);
        assert!((between[1] / between[0] - 10.457_5).abs() < 1e-3, "{between:?}");
    }

    #[test]
    fn a_cap_comes_after_the_scaling() {
        let capped = Weighting { cap: Some(1.25), ..of(ClassWeights::Inverse) };
        assert_eq!(capped.weights(&[30, 10]).unwrap(), [0.5, 1.25]);
    }

    #[test]
    fn refuses_what_is_out_of_range() {
        let effective = of(ClassWeights::EffectiveNumber);
        for bad in [
            effective,
            Weighting { beta: Some(1.0), ..effective },
            Weighting { beta: Some(f64::NAN), ..effective },
            Weighting { cap: Some(0.5), ..of(ClassWeights::Inverse) },
            Weighting { cap: Some(f32::INFINITY), ..of(ClassWeights::Inverse) },
        ] {
            assert!(matches!(bad.check(), Err(NetError::Config(_))), "{bad:?}");
        }
        assert!(Weighting { beta: Some(0.999), cap: Some(1.0), ..effective }.check().is_ok());
    }
}
