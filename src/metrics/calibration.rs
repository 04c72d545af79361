//! Whether probabilities are what they say: expected calibration error, Brier score, reliability by confidence.
//!
//! The *confidence* of a pixel is the highest of its class probabilities, and it is *right* when the class that has it (the
//! first of equals) is the true one. Pixels are put into [`BINS`] bins of equal width by confidence, each open at its low end
//! and closed at its high end. With n pixels in all and n(b) in bin b:
//!
//! - expected calibration error, 0 (best) to 1: sum over bins of n(b)/n |accuracy(b) - mean confidence(b)|
//!   (M. Pakdaman Naeini, G. Cooper, M. Hauskrecht, AAAI 2015; C. Guo et al., "On Calibration of Modern Neural Networks",
//!   ICML 2017);
//! - Brier score, 0 (best) to 2: mean over pixels of the sum over classes of (p - y)², where y is 1 for the true class and 0
//!   for the others (G. Brier, Monthly Weather Review 78(1), 1950). Some divide it by two.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::MetricsError;

/// Bins of confidence.
pub const BINS: usize = 15;

/// Pixels summed at a time. Sums of chunks are added up in order, so that they do not depend on the number of threads.
const CHUNK: usize = 1 << 14;

/// What calibration is computed from: sums over pixels.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct CalibrationSums {
    bins: [BinSums; BINS],
    /// Sum of the pixels' squared errors.
    squared: f64,
}

#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct BinSums {
    pixels: u64,
    right: u64,
    confidence: f64,
}

/// How far probabilities are what they say. All but `brier` (0..=2) are 0..=1.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Calibration {
    /// Pixels with a label and with probabilities.
    pub pixels: u64,
    /// Expected calibration error.
    pub ece: f64,
    /// Brier score.
    pub brier: f64,
    /// Mean of the highest probability.
    pub confidence: f64,
    /// Share of pixels whose highest probability is that of the true class.
    pub accuracy: f64,
    /// From low confidence to high, all [`BINS`] of them.
    pub bins: Vec<ReliabilityBin>,
}

/// Pixels of like confidence.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Confidences above this…
    pub above: f64,
    /// … up to and with this.
    pub to: f64,
    /// Pixels.
    pub pixels: u64,
    /// Their mean confidence; `None` without a pixel.
    pub confidence: Option<f64>,
    /// The share of them that is right; `None` without a pixel.
    pub accuracy: Option<f64>,
}

impl CalibrationSums {
    /// Adds pixels. `probabilities` holds a plane of `truth.len()` values for each of `codes`, in their order. Pixels
    /// whose truth is `ignore` are left out, and so are those whose probabilities are all 0, as where a scene has no data.
    ///
    /// # Errors
    /// When the lengths do not fit, a true label is not among `codes`, or a probability is not within 0..=1. What has been
    /// added then is of no use.
    pub fn add(&mut self, truth: &[u8], probabilities: &[f32], codes: &[u8], ignore: u8) -> Result<(), MetricsError> {
        let (pixels, planes) = (truth.len(), codes.len());
        if probabilities.len() != pixels * planes {
            return Err(MetricsError::Planes { pixels, planes, found: probabilities.len() });
        }
        let starts: Vec<usize> = (0..pixels).step_by(CHUNK).collect();
        let chunks: Vec<Result<Self, MetricsError>> = starts
            .into_par_iter()
            .map(|start| {
                let mut sums = Self::default();
                for at in (start..pixels.min(start + CHUNK)).filter(|&at| truth[at] != ignore) {
                    let of = |class: usize| probabilities[class * pixels + at];
                    sums.add_pixel(truth[at], codes, of)?;
                }
                Ok(sums)
            })
            .collect();
        chunks.into_iter().try_for_each(|chunk| chunk.map(|sums| self.merge(&sums)))
    }

    fn add_pixel(&mut self, truth: u8, codes: &[u8], of: impl Fn(usize) -> f32) -> Result<(), MetricsError> {
        let true_class =
            codes.iter().position(|&code| code == truth).ok_or(MetricsError::NoProbability(truth.into()))?;
        let (mut best, mut confidence, mut squared) = (0, 0.0, 0.0);
        for class in 0..codes.len() {
            let p = of(class);
            // A hair above 1 is rounding.
            if !(0.0..=1.001).contains(&p) {
                return Err(MetricsError::Probability(p));
            }
            let p = f64::from(p);
            if p > confidence {
                (best, confidence) = (class, p);
            }
            let y = if class == true_class { 1.0 } else { 0.0 };
            squared += (p - y) * (p - y);
        }
        if confidence > 0.0 {
            let bin = &mut self.bins[bin_of(confidence)];
            bin.pixels += 1;
            bin.right += u64::from(best == true_class);
            bin.confidence += confidence;
            self.squared += squared;
        }
        Ok(())
    }

    /// Adds all pixels of other sums.
    pub fn merge(&mut self, other: &Self) {
        for (bin, other) in self.bins.iter_mut().zip(&other.bins) {
            bin.pixels += other.pixels;
            bin.right += other.right;
            bin.confidence += other.confidence;
        }
        self.squared += other.squared;
    }

    /// The calibration of all pixels added; `None` without one.
    pub fn calibration(&self) -> Option<Calibration> {
        let pixels: u64 = self.bins.iter().map(|bin| bin.pixels).sum();
        let share = |sum: f64| sum / pixels as f64;
        let gap = |bin: &BinSums| (bin.right as f64 - bin.confidence).abs();
        (pixels > 0).then(|| Calibration {
            pixels,
            ece: share(self.bins.iter().map(gap).sum()),
            brier: share(self.squared),
            confidence: share(self.bins.iter().map(|bin| bin.confidence).sum()),
            accuracy: share(self.bins.iter().map(|bin| bin.right).sum::<u64>() as f64),
            bins: self.bins.iter().enumerate().map(|(at, bin)| bin.reliability(at)).collect(),
        })
    }
}

impl BinSums {
    fn reliability(&self, at: usize) -> ReliabilityBin {
        let mean = |sum: f64| (self.pixels > 0).then(|| sum / self.pixels as f64);
        ReliabilityBin {
            above: at as f64 / BINS as f64,
            to: (at + 1) as f64 / BINS as f64,
            pixels: self.pixels,
            confidence: mean(self.confidence),
            accuracy: mean(self.right as f64),
        }
    }
}

fn bin_of(confidence: f64) -> usize {
    ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_pixels_by_hand() {
        let mut sums = CalibrationSums::default();
        // Classes 2 and 5; pixels: right with 0.9, wrong with 0.62, without label, without data.
        let probabilities = [0.9, 0.38, 0.5, 0.0, 0.1, 0.62, 0.5, 0.0];
        sums.add(&[2, 2, 0, 5], &probabilities, &[2, 5], 0).unwrap();
        let found = sums.calibration().unwrap();
        assert_eq!((found.pixels, found.accuracy), (2, 0.5));
        assert!((found.ece - (0.1 + 0.62) / 2.0).abs() < 1e-7, "{}", found.ece);
        assert!((found.brier - (0.02 + 0.7688) / 2.0).abs() < 1e-7, "{}", found.brier);
        assert!((found.confidence - 0.76).abs() < 1e-7);
        assert_eq!(found.bins.iter().map(|bin| bin.pixels).collect::<Vec<_>>()[8..14], [0, 1, 0, 0, 0, 1]);
        assert_eq!((found.bins[13].accuracy, found.bins[0].accuracy), (Some(1.0), None));
    }

    #[test]
    fn an_edge_belongs_to_the_bin_below_it() {
        assert_eq!([0.0, 1e-9, 1.0 / 15.0, 0.07, 1.0, 1.0005].map(bin_of), [0, 0, 0, 1, 14, 14]);
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        let add = |truth: &[u8], p: &[f32]| CalibrationSums::default().add(truth, p, &[1, 2], 0).unwrap_err();
        assert_eq!(add(&[1, 1], &[0.5; 3]), MetricsError::Planes { pixels: 2, planes: 2, found: 3 });
        assert_eq!(add(&[3], &[0.5; 2]), MetricsError::NoProbability(3));
        assert_eq!(add(&[1], &[1.5, 0.0]), MetricsError::Probability(1.5));
        assert!(matches!(add(&[1], &[f32::NAN, 0.0]), MetricsError::Probability(_)));
        assert_eq!(CalibrationSums::default().calibration(), None);
    }
}
