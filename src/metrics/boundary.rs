//! Jaccard along boundaries: how well the outlines of fields, lakes and towns are drawn.
//!
//! Large areas hide ragged edges from the Jaccard score. The boundary score (B. Cheng, R. Girshick, P. Dollár, A. C. Berg, A.
//! Kirillov, "Boundary IoU", CVPR 2021) looks only at pixels within a few pixels of another class, in the truth and in the
//! map: for each class, `|Gd ∩ Pd| / |Gd ∪ Pd|`, where `Gd` are the pixels of the class in truth near its outline, and `Pd`
//! those in the map.
//!
//! Distance is that of the square window (Chebyshev), as eroding by a 3 x 3 square makes it there. Unlike there, the edge of
//! a scene is no boundary, nor are pixels without label: what lies beyond is not known to be another class.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::raster::NO_LABEL;

/// Boundary pixels by label.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BoundaryCounts(BTreeMap<u8, Overlap>);

/// Boundary pixels of one label.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Overlap {
    /// In truth and map.
    both: u64,
    /// In truth or map.
    either: u64,
}

/// Jaccard along boundaries, each 0..=1.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BoundaryScore {
    /// How far from another class a pixel may lie, pixels.
    pub distance: usize,
    /// By label, of those that have a boundary in truth or map.
    pub jaccard: BTreeMap<i64, f64>,
    /// Mean over them; `None` where there is no boundary at all.
    pub mean: Option<f64>,
}

impl BoundaryCounts {
    /// Counts the rows `rows` (first and number) of a truth and a map of this width. Both slices hold these rows and, where
    /// the scene goes on, at least `distance` rows above and below.
    ///
    /// # Panics
    /// When the slices differ in length, or hold no whole rows, or fewer than are to be counted.
    pub fn add(&mut self, truth: &[u8], map: &[u8], width: usize, (first, count): (usize, usize), distance: usize) {
        assert_eq!(truth.len(), map.len(), "truth and map");
        assert!(width > 0 && truth.len().is_multiple_of(width), "whole rows");
        let near_truth = near_another(truth, width, distance);
        let near_map = near_another(map, width, distance);
        for at in first * width..(first + count) * width {
            let (t, m) = (truth[at], map[at]);
            if t == NO_LABEL {
                continue;
            }
            let (in_truth, in_map) = (near_truth[at], m != NO_LABEL && near_map[at]);
            if in_truth && in_map && t == m {
                let overlap = self.0.entry(t).or_default();
                *overlap = Overlap { both: overlap.both + 1, either: overlap.either + 1 };
                continue;
            }
            for label in [(in_truth, t), (in_map, m)].into_iter().filter_map(|(is, label)| is.then_some(label)) {
                self.0.entry(label).or_default().either += 1;
            }
        }
    }

    /// Adds the pixels of another scene.
    pub fn merge(&mut self, other: &Self) {
        for (label, overlap) in &other.0 {
            let sum = self.0.entry(*label).or_default();
            *sum = Overlap { both: sum.both + overlap.both, either: sum.either + overlap.either };
        }
    }

    /// The scores, for pixels counted at this distance.
    pub fn score(&self, distance: usize) -> BoundaryScore {
        let rate = |(label, o): (&u8, &Overlap)| (i64::from(*label), o.both as f64 / o.either as f64);
        let jaccard: BTreeMap<i64, f64> = self.0.iter().map(rate).collect();
        let mean = (!jaccard.is_empty()).then(|| jaccard.values().sum::<f64>() / jaccard.len() as f64);
        BoundaryScore { distance, jaccard, mean }
    }
}

/// Whether another label lies within `distance` of each labelled pixel: whether the smallest and the largest label of its
/// window differ. Pixels without label take no part.
fn near_another(labels: &[u8], width: usize, distance: usize) -> Vec<bool> {
    let height = labels.len() / width;
    // Unlabelled pixels must never be the smallest.
    let mut low: Vec<u8> = labels.iter().map(|&l| if l == NO_LABEL { u8::MAX } else { l }).collect();
    let mut high = labels.to_vec();
    for (values, better) in [(&mut low, u8::min as fn(u8, u8) -> u8), (&mut high, u8::max)] {
        for row in values.chunks_exact_mut(width) {
            let along = row.to_vec();
            for (column, value) in row.iter_mut().enumerate() {
                let window = &along[column.saturating_sub(distance)..(column + distance + 1).min(width)];
                *value = window.iter().copied().fold(*value, better);
            }
        }
        let down = values.clone();
        for (row, into) in values.chunks_exact_mut(width).enumerate() {
            for other in row.saturating_sub(distance)..(row + distance + 1).min(height) {
                let other = &down[other * width..(other + 1) * width];
                into.iter_mut().zip(other).for_each(|(value, &o)| *value = better(*value, o));
            }
        }
    }
    labels.iter().zip(low.iter().zip(&high)).map(|(&label, (low, high))| label != NO_LABEL && low != high).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By looking at every pixel of every window.
    fn plain(labels: &[u8], width: usize, distance: usize) -> Vec<bool> {
        let (height, d) = ((labels.len() / width) as isize, distance as isize);
        let at = |row: isize, column: isize| labels[row as usize * width + column as usize];
        let inside = |row: isize, column: isize| (0..height).contains(&row) && (0..width as isize).contains(&column);
        let mut near = Vec::new();
        for row in 0..height {
            for column in 0..width as isize {
                let own = at(row, column);
                let window = (-d..=d).flat_map(|r| (-d..=d).map(move |c| (row + r, column + c)));
                let mut others = window.filter(|&(r, c)| inside(r, c)).map(|(r, c)| at(r, c));
                near.push(own != NO_LABEL && others.any(|l| l != NO_LABEL && l != own));
            }
        }
        near
    }

    /// Runs of labels, pixels without label among them; the same for the same salt.
    fn noise(salt: u32, pixels: usize) -> Vec<u8> {
        let draw = |i: usize| (i as u32 ^ salt << 16).wrapping_mul(2_654_435_761) >> 20;
        let mut label = 1;
        let mut next = |i: usize| {
            if draw(i).is_multiple_of(5) {
                label = [0, 1, 2, 255][draw(i) as usize / 5 % 4];
            }
            label
        };
        (0..pixels).map(&mut next).collect()
    }

    #[test]
    fn nearness_equals_looking_at_every_window() {
        for (width, height, distance) in [(1, 1, 1), (7, 5, 1), (13, 9, 2), (6, 20, 4), (5, 5, 9)] {
            let labels = noise(3, width * height);
            assert_eq!(near_another(&labels, width, distance), plain(&labels, width, distance));
        }
    }

    #[test]
    fn a_shifted_outline_scores_what_was_counted_by_hand() {
        // Truth 1 1 1 | 2 2 2, map 1 1 | 2 2 2 2, two rows of each; distance 1.
        let truth = [1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2];
        let map = [1, 1, 2, 2, 2, 2, 1, 1, 2, 2, 2, 2];
        let mut counts = BoundaryCounts::default();
        counts.add(&truth, &map, 6, (0, 2), 1);
        let score = counts.score(1);
        // Label 1: truth's boundary is column 2, the map's column 1. Label 2: column 3, and column 2.
        assert_eq!((score.jaccard[&1], score.jaccard[&2], score.mean), (0.0, 0.0, Some(0.0)));
        let mut wide = BoundaryCounts::default();
        wide.add(&truth, &map, 6, (0, 2), 2);
        let score = wide.score(2);
        // Label 1: columns 1, 2 and 0, 1. Label 2: columns 3, 4 and 2, 3.
        assert_eq!((score.jaccard[&1], score.jaccard[&2]), (1.0 / 3.0, 1.0 / 3.0));
        let mut same = BoundaryCounts::default();
        same.add(&truth, &truth, 6, (0, 2), 1);
        assert_eq!(same.score(1).mean, Some(1.0));
    }

    #[test]
    fn strips_with_margins_count_as_the_whole_does() {
        let (width, height, distance) = (17, 40, 3);
        let (truth, map) = (noise(1, width * height), noise(2, width * height));
        let mut whole = BoundaryCounts::default();
        whole.add(&truth, &map, width, (0, height), distance);
        let mut strips = BoundaryCounts::default();
        for first in (0..height).step_by(7) {
            let count = 7.min(height - first);
            let (above, below) = (first.saturating_sub(distance), (first + count + distance).min(height));
            let rows = above * width..below * width;
            let mut strip = BoundaryCounts::default();
            strip.add(&truth[rows.clone()], &map[rows], width, (first - above, count), distance);
            strips.merge(&strip);
        }
        assert_eq!(strips, whole);
        assert!(whole.score(distance).mean.is_some());
    }

    #[test]
    fn one_class_has_no_boundary() {
        let mut counts = BoundaryCounts::default();
        counts.add(&[1, 1, 0, 1], &[1, 1, 1, 1], 2, (0, 2), 2);
        assert_eq!(counts.score(2), BoundaryScore { distance: 2, jaccard: BTreeMap::new(), mean: None });
    }
}
