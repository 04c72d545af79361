//! Counts by square blocks of the scene grid: the units that the bootstrap draws.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::confusion::check_lengths;
use super::error::MetricsError;

/// What the Jaccard score of one label in one block is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "(u8, u32, u32)", into = "(u8, u32, u32)")]
pub struct BlockLabel {
    /// The label.
    pub label: u8,
    /// Pixels with the label in truth and prediction.
    pub both: u32,
    /// Pixels with the label in truth or prediction; never 0.
    pub either: u32,
}

impl From<(u8, u32, u32)> for BlockLabel {
    fn from((label, both, either): (u8, u32, u32)) -> Self {
        Self { label, both, either }
    }
}

impl From<BlockLabel> for (u8, u32, u32) {
    fn from(counts: BlockLabel) -> Self {
        (counts.label, counts.both, counts.either)
    }
}

/// The labels of one block, ascending. As JSON, `[[label, both, either], …]`.
pub type Block = Vec<BlockLabel>;

/// Counts rows of `width` pixels in blocks of `side` x `side` pixels, from the upper left corner on, row by row of blocks.
/// Blocks at the right and the lower edge may be smaller. Pixels whose truth is `ignore` are left out, and so is a block
/// that has no other. Strips of one raster can be counted one after the other where their heights are multiples of `side`.
///
/// # Errors
/// When the lengths differ.
pub fn count_blocks(
    truth: &[u8],
    prediction: &[u8],
    width: usize,
    side: usize,
    ignore: u8,
) -> Result<Vec<Block>, MetricsError> {
    check_lengths(truth.len(), prediction.len())?;
    let (width, side) = (width.max(1), side.max(1));
    let columns = width.div_ceil(side);
    let rows = (truth.len() / width).div_ceil(side);
    let blocks: Vec<Block> = (0..rows * columns)
        .into_par_iter()
        .map(|at| {
            let band = at / columns * side * width..truth.len().min((at / columns + 1) * side * width);
            let span = at % columns * side..width.min((at % columns + 1) * side);
            let lines = truth[band.clone()].chunks_exact(width).zip(prediction[band].chunks_exact(width));
            count_block(lines.map(|(t, p)| (&t[span.clone()], &p[span.clone()])), ignore)
        })
        .collect();
    Ok(blocks.into_iter().filter(|block| !block.is_empty()).collect())
}

fn count_block<'a>(lines: impl Iterator<Item = (&'a [u8], &'a [u8])>, ignore: u8) -> Block {
    // Pixels by label in the truth, in the prediction, in both.
    let mut counts = [[0_u32; 3]; 256];
    let mut add = |t: u8, p: u8, pixels: u32| {
        if t != ignore {
            counts[usize::from(t)][0] += pixels;
            counts[usize::from(p)][1] += pixels;
            counts[usize::from(t)][2] += if t == p { pixels } else { 0 };
        }
    };
    for (truth, prediction) in lines {
        // Label maps come in runs: eight pixels of one pair are one addition.
        let (truth_words, truth_rest) = truth.as_chunks::<8>();
        let (prediction_words, prediction_rest) = prediction.as_chunks::<8>();
        for (t, p) in truth_words.iter().zip(prediction_words) {
            if *t == [t[0]; 8] && *p == [p[0]; 8] {
                add(t[0], p[0], 8);
            } else {
                t.iter().zip(p).for_each(|(&t, &p)| add(t, p, 1));
            }
        }
        truth_rest.iter().zip(prediction_rest).for_each(|(&t, &p)| add(t, p, 1));
    }
    let labels = (0_u8..=255).zip(counts).map(|(label, [t, p, both])| BlockLabel { label, both, either: t + p - both });
    labels.filter(|counts| counts.either > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixel by pixel, each asked for its block.
    fn count_plainly(truth: &[u8], prediction: &[u8], width: usize, side: usize, ignore: u8) -> Vec<Block> {
        let height = truth.len() / width;
        let mut blocks = Vec::new();
        for (top, left) in (0..height).step_by(side).flat_map(|y| (0..width).step_by(side).map(move |x| (y, x))) {
            let inside = |i: &usize| {
                (top..top + side).contains(&(i / width))
                    && (left..left + side).contains(&(i % width))
                    && truth[*i] != ignore
            };
            let count = |f: &dyn Fn(usize) -> bool| (0..truth.len()).filter(inside).filter(|&i| f(i)).count() as u32;
            let labels = (0..=255_u8).map(|label| BlockLabel {
                label,
                both: count(&|i| truth[i] == label && prediction[i] == label),
                either: count(&|i| truth[i] == label || prediction[i] == label),
            });
            blocks.push(labels.filter(|counts| counts.either > 0).collect());
        }
        blocks.retain(|block: &Block| !block.is_empty());
        blocks
    }

    #[test]
    fn blocks_runs_edges_and_strips_count_like_the_plain_loop() {
        let (width, height) = (37, 23);
        let code = |i: usize, salt: usize| ((i / 9 * 7 + salt) % 5) as u8;
        let truth: Vec<u8> =
            (0..width * height).map(|i| if i % width > 20 && i / width < 8 { 0 } else { code(i, 0) }).collect();
        let prediction: Vec<u8> =
            (0..width * height).map(|i| if i % 4 == 0 { code(i, 3) } else { code(i, 0) }).collect();
        for side in [4, 8, 16, 40] {
            let found = count_blocks(&truth, &prediction, width, side, 0).unwrap();
            assert_eq!(found, count_plainly(&truth, &prediction, width, side, 0), "side {side}");
            let cut = side.min(height) * width;
            let mut strips = count_blocks(&truth[..cut], &prediction[..cut], width, side, 0).unwrap();
            strips.extend(count_blocks(&truth[cut..], &prediction[cut..], width, side, 0).unwrap());
            assert_eq!(strips, found, "side {side}, in two strips");
        }
        assert_eq!(count_blocks(&[], &[], 0, 64, 0).unwrap(), Vec::<Block>::new());
        assert!(count_blocks(&[1], &[], 1, 64, 0).is_err());
    }
}
