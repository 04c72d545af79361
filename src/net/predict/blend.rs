//! Weighted sums of the windows' probabilities.

use rayon::prelude::*;

use super::axis::Axis;
use crate::net::IGNORE;
use crate::net::confusion::argmax;

/// Sums for the rows that the present windows see.
pub(super) struct Blend {
    width: usize,
    classes: usize,
    /// `[height, width, classes]`. Weights sum to 1, so a row that all its windows were added to holds probabilities.
    sums: Vec<f32>,
    labels: Vec<u8>,
    wants_probabilities: bool,
}

impl Blend {
    pub(super) fn new([height, width]: [usize; 2], classes: usize, wants_probabilities: bool) -> Self {
        let (sums, labels) = (vec![0.0; height * width * classes], vec![0; height * width]);
        Self { width, classes, sums, labels, wants_probabilities }
    }

    /// Adds windows side by side: `probabilities` is `[windows, height, width, classes]` of the windows `batch` of
    /// `columns`, `row_weights` belongs to their common row span.
    pub(super) fn add(&mut self, probabilities: &[f32], row_weights: &[f32], columns: &Axis, batch: &[usize]) {
        let (width, classes) = (self.width, self.classes);
        let window_row = columns.extent() * classes;
        let window = probabilities.len() / batch.len();
        // Threads share out rows, so that every sum is added up in the order of the windows.
        self.sums.par_chunks_exact_mut(width * classes).zip(row_weights).enumerate().for_each(
            |(row, (sums, w_row))| {
                for (place, &x) in batch.iter().enumerate() {
                    let from = &probabilities[place * window + row * window_row..][..window_row];
                    let into = &mut sums[columns.start(x) * classes..];
                    let pixels = into.chunks_exact_mut(classes).zip(from.chunks_exact(classes));
                    for ((into, from), w_column) in pixels.zip(columns.weights(x)) {
                        let weight = w_row * w_column;
                        into.iter_mut().zip(from).for_each(|(sum, p)| *sum += weight * p);
                    }
                }
            },
        );
    }

    /// Labels and, where wanted, probabilities of the first `rows` rows; `valid` says which of their pixels have data.
    pub(super) fn finish(&mut self, rows: usize, valid: &[bool]) -> (&[u8], &[f32]) {
        let pixels = rows * self.width;
        let (labels, sums) = (&mut self.labels[..pixels], &mut self.sums[..pixels * self.classes]);
        for ((label, sums), valid) in labels.iter_mut().zip(sums.chunks_exact_mut(self.classes)).zip(valid) {
            *label = if *valid { argmax(sums) as u8 } else { IGNORE };
            if !valid {
                sums.fill(0.0);
            }
        }
        (labels, if self.wants_probabilities { sums } else { &[] })
    }

    /// Drops the first `rows` rows.
    pub(super) fn advance(&mut self, rows: usize) {
        let dropped = rows * self.width * self.classes;
        let kept = self.sums.len() - dropped;
        self.sums.copy_within(dropped.., 0);
        self.sums[kept..].fill(0.0);
    }
}
