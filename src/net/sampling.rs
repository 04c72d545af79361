//! Which training patches an epoch sees, and in which order.

use serde::{Deserialize, Serialize};

use super::rng::Rng;
use super::{NetError, Result};

/// How the patches of an epoch are chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Every patch once, in random order. Where `steps_per_epoch` makes an epoch shorter or longer than the patches, epochs
    /// walk on through one shuffled pass after the other, so that all patches are still seen equally often.
    #[default]
    Shuffled,
    /// Draws with replacement, each patch in proportion to its weight.
    Weighted,
    /// Draws with replacement: each time every class that occurs is as likely, then a patch in proportion to the pixels of
    /// that class in it (class-aware sampling; Shen, Lin, Huang 2016).
    ClassBalanced,
}

/// The orders of all epochs: pure functions of seed and epoch.
#[derive(Clone)]
pub(crate) struct Sampler {
    rng: Rng,
    patches: usize,
    per_epoch: usize,
    /// Running sums of the weights; empty when shuffled.
    cumulative: Vec<f64>,
}

impl Sampler {
    /// `per_epoch` samples an epoch from `patches` patches whose weights `weight` gives (asked only when needed).
    ///
    /// # Errors
    /// [`NetError::Config`] when there is no patch, or a weight is negative or not finite, or none is positive.
    pub(crate) fn new(
        sampling: Sampling,
        patches: usize,
        per_epoch: usize,
        weight: impl Fn(usize) -> f32,
        rng: &Rng,
    ) -> Result<Self> {
        if patches == 0 {
            return Err(NetError::Config("there is no training patch to learn from".into()));
        }
        let cumulative = match sampling {
            Sampling::Shuffled => Vec::new(),
            Sampling::Weighted | Sampling::ClassBalanced => cumulative_weights(patches, weight)?,
        };
        Ok(Self { rng: rng.fork("order"), patches, per_epoch, cumulative })
    }

    /// Patch indices of epoch `epoch` (from 0).
    pub(crate) fn epoch(&self, epoch: usize) -> Vec<usize> {
        if self.cumulative.is_empty() { self.shuffled(epoch) } else { self.weighted(epoch) }
    }

    fn shuffled(&self, epoch: usize) -> Vec<usize> {
        let (start, end) = (epoch * self.per_epoch, (epoch + 1) * self.per_epoch);
        let mut order = Vec::with_capacity(self.per_epoch);
        for pass in start / self.patches..=(end - 1) / self.patches {
            let pass_start = pass * self.patches;
            let shuffled = self.pass(pass);
            let from = start.max(pass_start) - pass_start;
            let to = end.min(pass_start + self.patches) - pass_start;
            order.extend_from_slice(&shuffled[from..to]);
        }
        order
    }

    fn pass(&self, pass: usize) -> Vec<usize> {
        let mut patches: Vec<usize> = (0..self.patches).collect();
        self.rng.fork(&format!("pass/{pass}")).shuffle(&mut patches);
        patches
    }

    fn weighted(&self, epoch: usize) -> Vec<usize> {
        let mut rng = self.rng.fork(&format!("draws/{epoch}"));
        let total = self.cumulative[self.patches - 1];
        (0..self.per_epoch)
            .map(|_| {
                // Rounding may lift the product to the total itself, beyond the last patch.
                let target = (rng.uniform() * total).min(total.next_down());
                // The first patch whose running sum lies above the target: never one of weight 0.
                self.cumulative.partition_point(|&sum| sum <= target)
            })
            .collect()
    }
}

/// Weights of patches for [`Sampling::ClassBalanced`], from the labelled pixels of each class in each patch:
/// `sum_c n[c] / N[c]` over the classes that occur, `N` the sum of `n` over all patches. A patch without a label has none.
pub(crate) fn class_balanced_weights(patches: &[Vec<u64>]) -> Vec<f32> {
    let classes = patches.first().map_or(0, Vec::len);
    let totals: Vec<u64> = (0..classes).map(|class| patches.iter().map(|n| n[class]).sum()).collect();
    let share = |(n, total): (&u64, &u64)| if *total > 0 { *n as f64 / *total as f64 } else { 0.0 };
    patches.iter().map(|n| n.iter().zip(&totals).map(share).sum::<f64>() as f32).collect()
}

fn cumulative_weights(patches: usize, weight: impl Fn(usize) -> f32) -> Result<Vec<f64>> {
    let mut sum = 0.0;
    let mut sums = Vec::with_capacity(patches);
    for patch in 0..patches {
        let weight = f64::from(weight(patch));
        if !(weight.is_finite() && weight >= 0.0) {
            return Err(NetError::Config(format!(
                "training patch {patch} has the sampling weight {weight}: expected a number from 0 up"
            )));
        }
        sum += weight;
        sums.push(sum);
    }
    if sum > 0.0 {
        return Ok(sums);
    }
    Err(NetError::Config("every training patch has the sampling weight 0: use `sampling: shuffled`".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(sampling: Sampling, patches: usize, per_epoch: usize, weights: &[f32]) -> Sampler {
        Sampler::new(sampling, patches, per_epoch, |i| weights[i], &Rng::new(1)).unwrap()
    }

    #[test]
    fn shuffled_sees_every_patch_once_an_epoch_in_ever_new_order() {
        let sampler = sampler(Sampling::Shuffled, 10, 10, &[]);
        let (first, second) = (sampler.epoch(0), sampler.epoch(1));
        assert_ne!(first, second);
        assert_eq!(first, sampler.epoch(0));
        for mut order in [first, second] {
            order.sort_unstable();
            assert_eq!(order, (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn other_epoch_lengths_walk_through_whole_passes() {
        for per_epoch in [3, 7, 25] {
            let sampler = sampler(Sampling::Shuffled, 10, per_epoch, &[]);
            let walked: Vec<usize> = (0..10).flat_map(|e| sampler.epoch(e)).collect();
            assert_eq!(walked.len(), 10 * per_epoch);
            for pass in walked.chunks_exact(10) {
                let mut pass = pass.to_vec();
                pass.sort_unstable();
                assert_eq!(pass, (0..10).collect::<Vec<_>>(), "{per_epoch} an epoch");
            }
        }
    }

    #[test]
    fn weighted_draws_in_proportion_and_never_weight_zero() {
        let sampler = sampler(Sampling::Weighted, 4, 40_000, &[0.0, 1.0, 3.0, 0.0]);
        let mut counts = [0; 4];
        for patch in sampler.epoch(2) {
            counts[patch] += 1;
        }
        assert_eq!((counts[0], counts[3]), (0, 0));
        assert!((9_500..10_500).contains(&counts[1]), "{counts:?}");
        assert_ne!(sampler.epoch(0), sampler.epoch(1));
    }

    #[test]
    fn class_balanced_draws_every_class_as_often() {
        // Class 0 has a hundred pixels in ten patches, class 1 one in one, class 3 three in two; class 2 does not occur.
        let mut patches = vec![vec![10, 0, 0, 0]; 10];
        patches.extend([vec![0, 1, 0, 0], vec![0, 0, 0, 2], vec![0, 0, 0, 1], vec![0; 4]]);
        let weights = class_balanced_weights(&patches);
        let drawn = |range: std::ops::Range<usize>| weights[range].iter().sum::<f32>();
        for of_class in [drawn(0..10), drawn(10..11), drawn(11..13)] {
            assert!((of_class - 1.0).abs() < 1e-6, "{weights:?}");
        }
        assert!((weights[11] - 2.0 * weights[12]).abs() < 1e-6 && weights[13] == 0.0);
        // Where patches are mixed, rare classes are seen more often than before, as far as that goes.
        let mixed = [vec![90, 10], vec![100, 0], vec![100, 0], vec![100, 0]];
        let weights = class_balanced_weights(&mixed);
        let seen = |class: usize| mixed.iter().zip(&weights).map(|(n, w)| n[class] as f32 * w).sum::<f32>();
        assert!(seen(1) / seen(0) > 2.0 * 10.0 / 390.0, "{} {}", seen(0), seen(1));
        assert!(class_balanced_weights(&[]).is_empty());
    }

    #[test]
    fn refuses_what_cannot_be_sampled() {
        let new = |weights: &[f32]| {
            Sampler::new(Sampling::Weighted, weights.len(), 4, |i| weights[i], &Rng::new(1)).map(|_| ())
        };
        assert!(new(&[]).is_err());
        assert!(new(&[0.0, 0.0]).is_err());
        assert!(new(&[1.0, -1.0]).is_err());
        assert!(new(&[1.0, f32::NAN]).is_err());
        assert!(new(&[0.0, 0.5]).is_ok());
    }
}
