//! Areas of classes, corrected by the error matrix.
//!
//! Counting the pixels of a map counts its errors too: a class that is mapped too often looks too large. Where part of the
//! map was compared with truth, the error matrix says how much of each mapped class is which class in truth, and the whole
//! map's areas follow with their standard errors (P. Olofsson, G. M. Foody, M. Herold, S. V. Stehman, C. E. Woodcock, M. A.
//! Wulder, "Good practices for estimating area and assessing accuracy of land change", Remote Sensing of Environment 148,
//! 2014, equations 5 to 11; mapped classes are the strata).
//!
//! The standard errors are those of a sample drawn at random within each mapped class. Pixels of a few scenes are not:
//! neighbours are alike, so the true uncertainty is larger, and a note says so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::confusion::ConfusionMatrix;

/// Standard normal quantile of a 95 % interval.
const NORMAL_95: f64 = 1.959_963_984_540_054;

/// Areas of all classes over one region.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Areas {
    /// What areas are counted in: `ha` or `px`.
    pub unit: String,
    /// Area of all mapped classes that could be assessed.
    pub total: f64,
    /// Mapped area of labels of which no pixel has a truth: it belongs to no estimate.
    pub unassessed: BTreeMap<i64, f64>,
    /// Share of the area that is mapped right.
    pub accuracy: Estimate,
    /// By label.
    pub classes: BTreeMap<i64, ClassArea>,
    /// What a reader must know to read the numbers right, in plain words.
    pub notes: Vec<String>,
}

/// Area and accuracies of one class.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct ClassArea {
    /// Area with this label in the map.
    pub mapped: f64,
    /// Area with this label in truth.
    pub estimated: Estimate,
    /// Share of the mapped area that has this label in truth; `None` for a class that is never mapped.
    pub users: Option<Estimate>,
    /// Share of the true area that has this label in the map; `None` for a class that is nowhere in truth.
    pub producers: Option<Estimate>,
}

/// A number and how far it is to be relied on.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Its standard error; `None` where a mapped class with one pixel of truth takes part.
    pub standard_error: Option<f64>,
    /// 95 % interval by the normal approximation, `[low, high]`. It may reach beyond what is possible.
    pub interval: Option<[f64; 2]>,
}

impl Estimate {
    /// `variance`: NaN where it is not known.
    fn new(value: f64, variance: f64) -> Self {
        let error = Some(variance.max(0.0).sqrt()).filter(|_| !variance.is_nan());
        Self { value, standard_error: error, interval: error.map(|e| [value - NORMAL_95 * e, value + NORMAL_95 * e]) }
    }
}

/// One mapped class: a stratum.
struct Stratum {
    label: i64,
    /// Its area over the whole region.
    area: f64,
    /// Pixels with truth, and those of each true label.
    pixels: f64,
    truth: BTreeMap<i64, f64>,
}

impl Stratum {
    /// Share of the stratum with this true label.
    fn share(&self, label: i64) -> f64 {
        self.truth.get(&label).copied().unwrap_or(0.0) / self.pixels
    }

    /// Variance of [`Self::share`]; NaN with a single pixel.
    fn variance(&self, label: i64) -> f64 {
        let share = self.share(label);
        if self.pixels > 1.0 { share * (1.0 - share) / (self.pixels - 1.0) } else { f64::NAN }
    }
}

impl Areas {
    /// Estimates areas from `matrix` (pixels with truth, those without left out) and `mapped`, the area of each label over the
    /// whole region in `unit`s. `None` where no mapped label has a pixel of truth.
    pub fn estimate(matrix: &ConfusionMatrix, mapped: &BTreeMap<i64, f64>, unit: &str) -> Option<Self> {
        let labels = matrix.labels();
        let (mut strata, mut unassessed) = (Vec::new(), BTreeMap::new());
        for (&label, &area) in mapped.iter().filter(|(_, area)| **area > 0.0) {
            let counts = labels.iter().map(|&truth| (truth, matrix.get(truth, label) as f64));
            let truth: BTreeMap<i64, f64> = counts.filter(|(_, count)| *count > 0.0).collect();
            let pixels: f64 = truth.values().sum();
            if pixels > 0.0 {
                strata.push(Stratum { label, area, pixels, truth });
            } else {
                unassessed.insert(label, area);
            }
        }
        let total: f64 = strata.iter().map(|s| s.area).sum();
        if strata.is_empty() {
            return None;
        }
        let right: f64 = strata.iter().map(|s| s.area * s.share(s.label)).sum();
        let doubt: f64 = strata.iter().map(|s| s.area.powi(2) * s.variance(s.label)).sum();
        let of_label = |&label: &i64| (label, class_area(&strata, label));
        let occurring = labels.iter().filter(|l| strata.iter().any(|s| s.label == **l || s.truth.contains_key(l)));
        Some(Self {
            unit: unit.to_owned(),
            total,
            accuracy: Estimate::new(right / total, doubt / total.powi(2)),
            classes: occurring.map(of_label).collect(),
            notes: notes(&unassessed),
            unassessed,
        })
    }
}

fn class_area(strata: &[Stratum], label: i64) -> ClassArea {
    let estimated: f64 = strata.iter().map(|s| s.area * s.share(label)).sum();
    let variance: f64 = strata.iter().map(|s| s.area.powi(2) * s.variance(label)).sum();
    let own = strata.iter().find(|s| s.label == label);
    let producers = (estimated > 0.0).then(|| {
        let found = own.map_or(0.0, |s| s.area * s.share(label)) / estimated;
        let own_part = own.map_or(0.0, |s| (s.area * (1.0 - found)).powi(2) * s.variance(label));
        let others = strata.iter().filter(|s| s.label != label);
        let other_part: f64 = others.map(|s| s.area.powi(2) * s.variance(label)).sum();
        Estimate::new(found, (own_part + found.powi(2) * other_part) / estimated.powi(2))
    });
    ClassArea {
        mapped: own.map_or(0.0, |s| s.area),
        estimated: Estimate::new(estimated, variance),
        users: own.map(|s| Estimate::new(s.share(label), s.variance(label))),
        producers,
    }
}

fn notes(unassessed: &BTreeMap<i64, f64>) -> Vec<String> {
    let alike = "standard errors are those of a random sample within each mapped class; pixels of neighbouring places are \
                 alike, so the true uncertainty is larger";
    let missing = unassessed
        .keys()
        .map(|label| format!("label {label} is mapped, but no pixel of it has a truth: its area is in no estimate"));
    std::iter::once(alike.to_owned()).chain(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of Olofsson et al. 2014, section 5: rows are map classes.
    const SAMPLE: [[u64; 4]; 4] = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]];
    /// Shares of 10,000,000 pixels of 30 m, in hectares.
    const MAPPED: [f64; 4] = [18_000.0, 13_500.0, 288_000.0, 580_500.0];

    fn example() -> Areas {
        let mut matrix = ConfusionMatrix::new();
        for (map, row) in (1..).zip(SAMPLE) {
            (1..).zip(row).for_each(|(truth, count)| matrix.count(truth, map, count));
        }
        Areas::estimate(&matrix, &(1..).zip(MAPPED).collect(), "ha").unwrap()
    }

    fn half_width(estimate: &Estimate) -> f64 {
        1.96 * estimate.standard_error.unwrap()
    }

    #[test]
    fn equals_the_published_example() {
        let areas = example();
        let published = [(21_158.0, 6_158.0), (11_686.0, 3_756.0), (285_770.0, 15_510.0), (581_386.0, 16_282.0)];
        for (class, (area, width)) in areas.classes.values().zip(published) {
            assert!((class.estimated.value - area).abs() < 0.6, "{class:?}");
            assert!((half_width(&class.estimated) - width).abs() < 1.0, "{class:?} {}", half_width(&class.estimated));
        }
        assert_eq!(areas.total, 900_000.0);
        assert!((areas.accuracy.value - 0.947).abs() < 5e-4 && (half_width(&areas.accuracy) - 0.018).abs() < 1e-3);
        let rates = |of: fn(&ClassArea) -> Option<Estimate>| {
            let rounded = |x: f64| (x * 100.0).round() / 100.0;
            let all = areas.classes.values().map(|c| of(c).unwrap());
            all.map(|e| (rounded(e.value), rounded(half_width(&e)))).collect::<Vec<_>>()
        };
        assert_eq!(rates(|c| c.users), [(0.88, 0.07), (0.73, 0.1), (0.93, 0.04), (0.96, 0.02)]);
        let shares: Vec<f64> = rates(|c| c.producers).into_iter().map(|(share, _)| share).collect();
        assert_eq!(shares, [0.75, 0.85, 0.93, 0.96]);
    }

    /// A ratio's variance by the delta method: the squared derivative by each sampled share, by differences, times that share's.
    #[test]
    fn producers_errors_are_those_of_the_delta_method() {
        let areas = example();
        let share = |map: usize, truth: usize| SAMPLE[map][truth] as f64 / SAMPLE[map].iter().sum::<u64>() as f64;
        for truth in 0..4 {
            let producers = |moved: usize, by: f64| {
                let part = |map: usize| MAPPED[map] * (share(map, truth) + if map == moved { by } else { 0.0 });
                part(truth) / (0..4).map(part).sum::<f64>()
            };
            let variance: f64 = (0..4)
                .map(|map| {
                    let slope = (producers(map, 1e-5) - producers(map, -1e-5)) / 2e-5;
                    let (p, pixels) = (share(map, truth), SAMPLE[map].iter().sum::<u64>() as f64);
                    slope.powi(2) * p * (1.0 - p) / (pixels - 1.0)
                })
                .sum();
            let found = areas.classes[&(truth as i64 + 1)].producers.unwrap().standard_error.unwrap();
            assert!((found - variance.sqrt()).abs() < 1e-7, "{found} {}", variance.sqrt());
        }
    }

    #[test]
    fn with_truth_everywhere_the_estimate_is_the_truth() {
        let mut matrix = ConfusionMatrix::new();
        for (truth, map, count) in [(1, 1, 70), (1, 2, 30), (2, 1, 5), (2, 2, 95), (3, 2, 10)] {
            matrix.count(truth, map, count);
        }
        let areas = Areas::estimate(&matrix, &BTreeMap::from([(1, 75.0), (2, 135.0)]), "px").unwrap();
        for (label, truth) in [(1, 100.0), (2, 100.0), (3, 10.0)] {
            assert!((areas.classes[&label].estimated.value - truth).abs() < 1e-9);
        }
        assert!((areas.accuracy.value - 165.0 / 210.0).abs() < 1e-12);
        // Never mapped: no user's accuracy, and nothing of it is found.
        assert_eq!((areas.classes[&3].users, areas.classes[&3].producers.unwrap().value), (None, 0.0));
    }

    #[test]
    fn what_has_no_truth_is_named_and_left_out() {
        let mut matrix = ConfusionMatrix::new();
        matrix.count(1, 1, 1);
        let areas = Areas::estimate(&matrix, &BTreeMap::from([(1, 8.0), (2, 2.0), (3, 0.0)]), "px").unwrap();
        assert_eq!((areas.total, &areas.unassessed), (8.0, &BTreeMap::from([(2, 2.0)])));
        assert!(areas.notes[1].starts_with("label 2 is mapped"), "{:?}", areas.notes);
        // One pixel of truth tells nothing about its variance.
        assert_eq!(areas.classes[&1].estimated, Estimate { value: 8.0, standard_error: None, interval: None });
        assert_eq!(Areas::estimate(&matrix, &BTreeMap::from([(2, 2.0)]), "px"), None);
    }
}
