//! Confidence intervals of Jaccard scores: a bootstrap over blocks of the scenes.
//!
//! Neighbouring pixels are alike, so pixels drawn one by one would promise far more certainty than there is. What is
//! drawn here, with replacement, are square blocks (E. Carlstein, Annals of Statistics 14(3), 1986; S. N. Lahiri,
//! "Resampling Methods for Dependent Data", 2003): as many as there are, from all scenes together. Each draw is scored as
//! the whole was: intersections and unions are summed, then divided, and a label in neither truth nor prediction of a draw
//! is left out of its mean. The interval runs from percentile to percentile of the draws' scores (B. Efron, R. Tibshirani,
//! "An Introduction to the Bootstrap", 1993, section 13.3).
//!
//! It says how much the score depends on which places of these scenes happened to be scored. What another region, another
//! date or another training would give, it does not know.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::blocks::Block;

/// Labels in fewer blocks than this get a note: few draws differ in more than how often those blocks are in them.
const FEW_BLOCKS: usize = 10;

/// How to draw.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// Draws; 0 for no intervals.
    pub samples: usize,
    /// Side of a block, pixels.
    pub block: usize,
    /// Share of draws inside an interval, above 0 and below 1.
    pub confidence: f64,
}

/// Confidence intervals, each `[low, high]` in 0..=1.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Intervals {
    /// Draws.
    pub samples: usize,
    /// Side of a block, pixels.
    pub block: usize,
    /// Blocks with a labelled pixel, over all scenes; a draw has as many.
    pub blocks: usize,
    /// Share of draws inside an interval.
    pub confidence: f64,
    /// Of the mean Jaccard.
    pub mean: Option<[f64; 2]>,
    /// Of each label's Jaccard, over the draws in which it occurs.
    pub jaccard: BTreeMap<i64, [f64; 2]>,
    /// What a reader must know to read the numbers right, in plain words.
    pub notes: Vec<String>,
}

impl Intervals {
    /// Draws blocks and scores the draws. `picker(i)` begins draw `i` and gives a function that picks a number below the
    /// one it is told, uniformly; a picker that depends on nothing but `i` makes the result the same on any number of
    /// threads. `None` with no draws or fewer than two blocks: one block drawn again is the same block.
    pub fn draw<P: FnMut(usize) -> usize>(
        blocks: &[Block],
        options: &Bootstrap,
        picker: impl Fn(usize) -> P + Sync,
    ) -> Option<Self> {
        if options.samples == 0 || blocks.len() < 2 {
            return None;
        }
        let table = Table::new(blocks);
        let draws: Vec<Vec<f64>> =
            (0..options.samples).into_par_iter().map(|sample| table.score(picker(sample))).collect();
        let column = |at: usize| draws.iter().map(|draw| draw[at]).filter(|score| !score.is_nan()).collect();
        let interval = |at: usize| percentiles(column(at), options.confidence);
        let labels = table.labels.iter().enumerate();
        Some(Self {
            samples: options.samples,
            block: options.block,
            blocks: blocks.len(),
            confidence: options.confidence,
            mean: interval(table.labels.len()),
            jaccard: labels.filter_map(|(at, &label)| Some((i64::from(label), interval(at)?))).collect(),
            notes: notes(blocks, &table.labels),
        })
    }
}

/// Intersections and unions of all blocks, a row a block: `both, either` of each label in turn.
struct Table {
    labels: Vec<u8>,
    counts: Vec<u32>,
}

impl Table {
    fn new(blocks: &[Block]) -> Self {
        let present = |label: &u8| blocks.iter().flatten().any(|counts| counts.label == *label);
        let labels: Vec<u8> = (0..=255).filter(present).collect();
        let mut counts = vec![0; blocks.len() * labels.len() * 2];
        for (row, block) in counts.chunks_exact_mut(labels.len() * 2).zip(blocks) {
            for label in block {
                let at = labels.partition_point(|&l| l < label.label) * 2;
                row[at..at + 2].copy_from_slice(&[label.both, label.either]);
            }
        }
        Self { labels, counts }
    }

    /// Jaccard of each label in one draw, NaN where it does not occur, and last their mean.
    fn score(&self, mut pick: impl FnMut(usize) -> usize) -> Vec<f64> {
        let width = self.labels.len() * 2;
        let blocks = self.counts.len() / width;
        let mut sums = vec![0_u64; width];
        for _ in 0..blocks {
            let at = pick(blocks) * width;
            sums.iter_mut().zip(&self.counts[at..at + width]).for_each(|(sum, &count)| *sum += u64::from(count));
        }
        let mut scores: Vec<f64> =
            sums.as_chunks::<2>().0.iter().map(|&[both, either]| both as f64 / either as f64).collect();
        let present = scores.iter().filter(|score| !score.is_nan());
        let mean = present.clone().sum::<f64>() / present.count() as f64;
        scores.push(mean);
        scores
    }
}

/// The two percentiles that leave the same share out on both sides, interpolated linearly between the two nearest values
/// (type 7 of R. Hyndman, Y. Fan, The American Statistician 50(4), 1996; numpy's default).
fn percentiles(mut values: Vec<f64>, confidence: f64) -> Option<[f64; 2]> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let outside = (1.0 - confidence) / 2.0;
    Some([outside, 1.0 - outside].map(|share| {
        let place = share * last as f64;
        let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
        below + (above - below) * place.fract()
    }))
}

fn notes(blocks: &[Block], labels: &[u8]) -> Vec<String> {
    let holding = |label: u8| blocks.iter().filter(|block| block.iter().any(|l| l.label == label)).count();
    let few = labels.iter().map(|&label| (label, holding(label))).filter(|(_, count)| *count < FEW_BLOCKS);
    few.map(|(label, count)| {
        let plural = if count == 1 { "" } else { "s" };
        format!("label {label} is in {count} block{plural} only: its interval is not to be relied on")
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::BlockLabel;

    fn blocks() -> Vec<Block> {
        let label = |label, both, either| BlockLabel { label, both, either };
        vec![vec![label(1, 1, 2), label(2, 0, 1)], vec![label(1, 3, 4)]]
    }

    fn options(samples: usize) -> Bootstrap {
        Bootstrap { samples, block: 16, confidence: 0.5 }
    }

    #[test]
    fn draws_are_scored_by_their_sums_and_absent_labels_leave_the_mean() {
        let table = Table::new(&blocks());
        let picks = |picks: [usize; 2]| {
            table.score({
                let mut picks = picks.into_iter();
                move |_| picks.next().unwrap()
            })
        };
        assert_eq!(picks([0, 1]), [4.0 / 6.0, 0.0, 2.0 / 6.0]);
        assert_eq!(picks([0, 0]), [0.5, 0.0, 0.25]);
        let [one, two, mean] = picks([1, 1]).try_into().unwrap();
        assert!(one == 0.75 && two.is_nan() && mean == 0.75);
    }

    #[test]
    fn an_interval_needs_draws_and_two_blocks() {
        let picker = |sample: usize| move |n: usize| sample % n;
        assert_eq!(Intervals::draw(&blocks(), &options(0), picker), None);
        assert_eq!(Intervals::draw(&blocks()[..1], &options(9), picker), None);
        assert_eq!(Intervals::draw(&[], &options(9), picker), None);
        let found = Intervals::draw(&blocks(), &options(2), picker).unwrap();
        // Draws: the first block twice, the second one twice.
        assert_eq!(found.jaccard[&1], [0.5625, 0.6875]);
        assert_eq!(found.jaccard[&2], [0.0, 0.0]);
        assert_eq!(found.mean, Some([0.375, 0.625]));
        assert_eq!(found.notes[1], "label 2 is in 1 block only: its interval is not to be relied on");
    }
}
