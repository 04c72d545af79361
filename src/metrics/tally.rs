//! Counts (truth, prediction) pairs of 8-bit label rasters as fast as memory gives them.

use rayon::prelude::*;

/// Cells of the table: one for each pair of 8-bit codes.
const CELLS: usize = 256 * 256;

/// Pixels one worker takes at a time, small enough that all workers are done at about the same time.
const CHUNK: usize = 1 << 18;
/// Pixels that a table is worth, which must be cleared and merged: 512 KiB.
const TABLE: usize = 1 << 21;

/// Counts of all pairs; the pair (t, p) stands at `t * 256 + p`.
pub(super) fn tally(truth: &[u8], prediction: &[u8]) -> Vec<u64> {
    let chunks = truth.par_chunks(CHUNK).zip(prediction.par_chunks(CHUNK)).with_min_len(TABLE / CHUNK);
    let tables = chunks.fold(
        || vec![0; CELLS],
        |mut counts, (t, p)| {
            tally_chunk(t, p, &mut counts);
            counts
        },
    );
    tables.reduce_with(merge).unwrap_or_else(|| vec![0; CELLS])
}

fn merge(mut into: Vec<u64>, from: Vec<u64>) -> Vec<u64> {
    into.iter_mut().zip(&from).for_each(|(a, b)| *a += b);
    into
}

/// Codes below this are counted in small tables, several of them.
const FEW: usize = 16;

/// Label maps come in runs. Eight pixels of one and the same pair are one addition; that also spares the CPU a chain
/// of additions to one address, each of which must wait for the last. Where there are few codes, neighbouring pixels are
/// counted in tables of their own, for the same reason.
fn tally_chunk(truth: &[u8], prediction: &[u8], counts: &mut [u64]) {
    let few = |codes: &[u8]| codes.iter().fold(0, |all, code| all | *code) < FEW as u8;
    let mut tables = [[0_u32; FEW * FEW]; 4];
    let few = few(truth) && few(prediction);
    let (truth_words, truth_rest) = truth.as_chunks::<8>();
    let (prediction_words, prediction_rest) = prediction.as_chunks::<8>();
    for (t, p) in truth_words.iter().zip(prediction_words) {
        if is_uniform(*t) && is_uniform(*p) {
            counts[cell(t[0], p[0])] += 8;
        } else if few {
            for i in 0..8 {
                tables[i % 4][(usize::from(t[i]) * FEW + usize::from(p[i])) % (FEW * FEW)] += 1;
            }
        } else {
            t.iter().zip(p).for_each(|(&t, &p)| counts[cell(t, p)] += 1);
        }
    }
    truth_rest.iter().zip(prediction_rest).for_each(|(&t, &p)| counts[cell(t, p)] += 1);
    for table in tables {
        for (small, count) in table.into_iter().enumerate() {
            counts[small / FEW * 256 + small % FEW] += u64::from(count);
        }
    }
}

fn is_uniform(word: [u8; 8]) -> bool {
    u64::from_ne_bytes(word) == u64::from_ne_bytes([word[0]; 8])
}

fn cell(truth: u8, prediction: u8) -> usize {
    usize::from(truth) << 8 | usize::from(prediction)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixel by pixel, with no runs and no chunks.
    fn tally_plainly(truth: &[u8], prediction: &[u8]) -> Vec<u64> {
        let mut counts = vec![0; CELLS];
        truth.iter().zip(prediction).for_each(|(&t, &p)| counts[t as usize * 256 + p as usize] += 1);
        counts
    }

    #[test]
    fn runs_ragged_ends_and_several_chunks_count_like_the_plain_loop() {
        let noise = |i: usize, salt: u32| (i as u32).wrapping_mul(2_654_435_761).wrapping_add(salt) >> 24;
        for length in [0, 1, 7, 8, 9, 1000, 2 * CHUNK + 13, 3 * TABLE + 5] {
            let truth: Vec<u8> =
                (0..length).map(|i| if i % 100 < 60 { (i / 100 % 7) as u8 } else { noise(i, 1) as u8 }).collect();
            let prediction: Vec<u8> =
                (0..length).map(|i| if i % 130 < 90 { (i / 130 % 5) as u8 } else { noise(i, 9) as u8 }).collect();
            assert!(tally(&truth, &prediction) == tally_plainly(&truth, &prediction), "length {length}");
            let few = |codes: Vec<u8>| codes.into_iter().map(|code| code % 16).collect::<Vec<u8>>();
            let (truth, prediction) = (few(truth), few(prediction));
            assert!(tally(&truth, &prediction) == tally_plainly(&truth, &prediction), "few codes, length {length}");
        }
    }
}
