//! CutMix (Yun et al. 2019): rectangles of other patches, bands and labels.

use std::ops::Range;

use crate::net::rng::Rng;

/// A rectangle that a patch gets from another of its batch, at the same place.
#[derive(PartialEq, Debug)]
struct Cut {
    /// Place of the other in the batch.
    from: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Cut {
    /// Draws what patch `place` of a batch of `n` gets, if anything, with probability `probability`.
    ///
    /// As in the paper, the rectangle is a smaller patch whose share of the area is uniform in `[0, 1)` (Beta(1, 1)), its
    /// centre is uniform over the patch, and what is beyond the edge is lost. The other is any other patch of the batch.
    fn draw(probability: f32, (place, n): (usize, usize), size: usize, rng: &mut Rng) -> Option<Self> {
        if n < 2 || rng.uniform() >= f64::from(probability) {
            return None;
        }
        let from = (place + 1 + rng.below(n - 1)) % n;
        let half = (size as f64 * rng.uniform().sqrt()) as usize / 2;
        let mut range = || {
            let centre = rng.below(size);
            centre.saturating_sub(half)..(centre + half).min(size)
        };
        Some(Self { from, rows: range(), columns: range() })
    }

    /// The rectangle's rows within patch `place` of a batch whose pixels have `channels` values.
    fn rows_of(&self, place: usize, size: usize, channels: usize) -> impl Iterator<Item = Range<usize>> {
        let Range { start, end } = self.columns;
        self.rows.clone().map(move |row| {
            let first = (place * size + row) * size;
            (first + start) * channels..(first + end) * channels
        })
    }
}

/// Gives patches of a batch (bands `[n, size, size, bands]`, labels `[n, size, size]`) rectangles of others, with probability
/// `probability` each; `rng` gives the generator of each place. All rectangles are of the patches as they came, so that none
/// is of two others.
pub(crate) fn mix(probability: f32, (bands, labels): (&mut [f32], &mut [u8]), size: usize, rng: impl Fn(usize) -> Rng) {
    let n = labels.len() / (size * size);
    let channels = bands.len() / labels.len().max(1);
    let cuts: Vec<Option<Cut>> =
        (0..n).map(|place| Cut::draw(probability, (place, n), size, &mut rng(place).fork("cutmix"))).collect();
    paste(bands, &cuts, size, channels);
    paste(labels, &cuts, size, 1);
}

/// Copies the rectangles, all of which are lifted before the first is put down.
fn paste<T: Copy>(values: &mut [T], cuts: &[Option<Cut>], size: usize, channels: usize) {
    let lift = |cut: &Cut| cut.rows_of(cut.from, size, channels).flat_map(|row| values[row].to_vec()).collect();
    let lifted: Vec<Vec<T>> = cuts.iter().map(|cut| cut.as_ref().map_or_else(Vec::new, lift)).collect();
    for (place, (cut, lifted)) in cuts.iter().zip(&lifted).enumerate() {
        let Some(cut) = cut else { continue };
        let rows = cut.rows_of(place, size, channels).zip(lifted.chunks_exact((cut.columns.len() * channels).max(1)));
        rows.for_each(|(row, lifted)| values[row].copy_from_slice(lifted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 8;

    #[test]
    fn a_cut_by_hand() {
        // Two patches of 8 x 8 pixels with two bands, which tell patch and pixel.
        let pixels = SIZE * SIZE;
        let mut labels: Vec<u8> = (0..2 * pixels as u8).collect();
        let mut bands: Vec<f32> = labels.iter().flat_map(|l| [f32::from(*l), -f32::from(*l)]).collect();
        let cuts = [Some(Cut { from: 1, rows: 2..4, columns: 5..8 }), None];
        paste(&mut labels, &cuts, SIZE, 1);
        paste(&mut bands, &cuts, SIZE, 2);
        for (at, label) in labels.iter().enumerate() {
            let cut = [21, 22, 23, 29, 30, 31].contains(&at);
            assert_eq!(usize::from(*label), if cut { 64 + at } else { at });
            assert_eq!(bands[2 * at..][..2], [f32::from(*label), -f32::from(*label)]);
        }
    }

    /// A batch whose pixels tell patch and place, mixed: how many pixels each patch has of which other.
    fn mixed(n: usize, probability: f32, seed: u64) -> Vec<Vec<usize>> {
        let pixels = SIZE * SIZE;
        let mut labels: Vec<u8> = (0..n * pixels).map(|at| (at / pixels) as u8).collect();
        let mut bands: Vec<f32> = (0..n * pixels).flat_map(|at| [(at / pixels) as f32, (at % pixels) as f32]).collect();
        let rng = Rng::new(seed);
        mix(probability, (&mut bands, &mut labels), SIZE, |place| rng.fork(&place.to_string()));
        let mut counts = vec![vec![0; n]; n];
        for (at, (label, values)) in labels.iter().zip(bands.chunks(2)).enumerate() {
            assert_eq!(values, [f32::from(*label), (at % pixels) as f32], "bands and labels alike, place for place");
            counts[at / pixels][usize::from(*label)] += 1;
        }
        counts
    }

    #[test]
    fn rectangles_are_of_one_other_patch_as_it_came() {
        for seed in 0..200 {
            for (place, counts) in mixed(4, 1.0, seed).iter().enumerate() {
                let others: Vec<usize> = (0..4).filter(|other| *other != place && counts[*other] > 0).collect();
                assert!(others.len() <= 1, "{counts:?}");
            }
        }
        assert_eq!(mixed(1, 1.0, 0), [[64]], "nobody to take from");
        assert_eq!(mixed(2, 0.0, 0), [[64, 0], [0, 64]]);
    }

    #[test]
    fn as_many_patches_are_cut_as_asked_and_from_all_others_alike() {
        let mut rng = Rng::new(2);
        let (draws, probability) = (20_000, 0.3f32);
        let cuts: Vec<Cut> = (0..draws).filter_map(|_| Cut::draw(probability, (1, 4), 64, &mut rng)).collect();
        // Five standard errors.
        let share = cuts.len() as f64 / f64::from(draws);
        assert!((share - 0.3).abs() < 0.0163, "{share}");
        for other in [0, 2, 3] {
            let share = cuts.iter().filter(|cut| cut.from == other).count() as f64 / cuts.len() as f64;
            assert!((share - 1.0 / 3.0).abs() < 0.0305, "{other}: {share}");
        }
    }

    /// With sides `s = sqrt(u)` of a patch of side 1 and centres uniform, what is left of a side within it is on average
    /// `s - s^2 / 4`; of the area therefore `E[(s - s^2 / 4)^2] = 1/2 - E[s^3] / 2 + E[s^4] / 16 = 1/2 - 1/5 + 1/48`.
    #[test]
    fn shares_of_the_area_are_uniform_before_the_edge_takes_its_part() {
        let mut rng = Rng::new(4);
        let (draws, size) = (20_000, 512);
        let shares: Vec<f64> = (0..draws)
            .filter_map(|_| Cut::draw(1.0, (0, 2), size, &mut rng))
            .map(|cut| (cut.rows.len() * cut.columns.len()) as f64 / (size * size) as f64)
            .collect();
        assert_eq!(shares.len(), draws);
        let mean = shares.iter().sum::<f64>() / draws as f64;
        let expected = 0.5 - 0.2 + 1.0 / 48.0;
        // Sides lose up to two pixels to rounding; five standard errors are 0.009 and a side of 1/512 less, 0.004.
        assert!((mean - expected).abs() < 0.013, "{mean} {expected}");
    }
}
