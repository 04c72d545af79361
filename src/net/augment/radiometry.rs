//! What changes values and moves no pixel: jitter, noise, bands left out.

use crate::net::rng::Rng;

/// Gains and offsets of one patch, one pair a band; or one pair for all bands.
#[derive(Clone, PartialEq, Debug)]
pub struct Jitter(Vec<(f32, f32)>);

impl Jitter {
    /// Draws the pairs for `bands` bands; `None` where `width` is 0, so that nothing is touched. The single pair of
    /// `bands = 1` applies to every value.
    pub fn draw(width: f32, bands: usize, rng: &mut Rng) -> Option<Self> {
        if width == 0.0 {
            return None;
        }
        let mut symmetric = || width * (2.0 * rng.uniform() - 1.0) as f32;
        Some(Self((0..bands).map(|_| (1.0 + symmetric(), symmetric())).collect()))
    }

    /// Gain and offset of every band.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = [f32; 2]> {
        self.0.iter().map(|(gain, offset)| [*gain, *offset])
    }

    /// Changes the bands `[pixels, bands]` in place.
    pub fn apply(&self, bands: &mut [f32]) {
        for pixel in bands.chunks_exact_mut(self.0.len()) {
            for (value, (gain, offset)) in pixel.iter_mut().zip(&self.0) {
                *value = *value * gain + offset;
            }
        }
    }
}

/// Gaussian noise of one patch: a draw of its own for every value.
pub(super) struct Noise {
    deviation: f32,
    rng: Rng,
}

impl Noise {
    /// Noise of standard deviation `deviation`; `None` where that is 0.
    pub(super) fn new(deviation: f32, rng: Rng) -> Option<Self> {
        (deviation > 0.0).then_some(Self { deviation, rng })
    }

    /// Adds it to `bands`.
    pub(super) fn apply(mut self, bands: &mut [f32]) {
        for pair in bands.chunks_mut(2) {
            for (value, draw) in pair.iter_mut().zip(self.rng.normal_pair()) {
                *value += self.deviation * draw as f32;
            }
        }
    }
}

/// Bands of a patch that are left out, as a broken detector or a missing index would be.
#[derive(PartialEq, Debug)]
pub(super) struct Dropped(Vec<bool>);

impl Dropped {
    /// Leaves each of `bands` bands out with probability `probability`. Where that would be all, a random one is left.
    /// `None` where none is left out.
    pub(super) fn draw(probability: f32, bands: usize, rng: &mut Rng) -> Option<Self> {
        let mut dropped: Vec<bool> = (0..bands).map(|_| rng.uniform() < f64::from(probability)).collect();
        if dropped.iter().all(|dropped| *dropped) {
            dropped[rng.below(bands)] = false;
        }
        dropped.contains(&true).then_some(Self(dropped))
    }

    /// Makes the left-out bands of `bands` `[pixels, bands]` 0, which is their mean.
    pub(super) fn apply(&self, bands: &mut [f32]) {
        for pixel in bands.chunks_exact_mut(self.0.len()) {
            pixel.iter_mut().zip(&self.0).filter(|(_, dropped)| **dropped).for_each(|(value, _)| *value = 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_one_line_a_band_within_its_width() {
        let mut rng = Rng::new(9);
        assert_eq!(Jitter::draw(0.0, 3, &mut rng), None);
        let jitter = Jitter::draw(0.2, 3, &mut rng).unwrap();
        let mut bands = vec![0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0];
        jitter.apply(&mut bands);
        for b in 0..3 {
            let (offset, gain) = (bands[b], bands[3 + b] - bands[b]);
            assert!(offset.abs() <= 0.2 && (gain - 1.0).abs() <= 0.2 + 1e-6);
            assert!((bands[6 + b] - (2.0 * gain + offset)).abs() < 1e-6);
        }
        assert!(bands[0] != bands[1] && bands[1] != bands[2], "each band has its own");
    }

    #[test]
    fn a_single_pair_is_for_all_values() {
        let mut bands = vec![0.0, 1.0, 1.0, 0.0, 0.0, 1.0];
        Jitter::draw(0.2, 1, &mut Rng::new(9)).unwrap().apply(&mut bands);
        let (offset, with_gain) = (bands[0], bands[1]);
        assert_eq!(bands, [offset, with_gain, with_gain, offset, offset, with_gain]);
        assert!(offset != 0.0 && with_gain - offset != 1.0);
    }

    #[test]
    fn noise_has_mean_0_and_its_deviation_and_no_memory() {
        assert!(Noise::new(0.0, Rng::new(3)).is_none());
        let (count, deviation) = (100_001, 0.25);
        let mut bands = vec![1.0f32; count];
        Noise::new(deviation as f32, Rng::new(3)).unwrap().apply(&mut bands);
        let noise: Vec<f64> = bands.iter().map(|value| f64::from(*value) - 1.0).collect();
        let mean_of = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / count as f64;
        let mean = mean_of(&mut noise.iter().copied());
        let variance = mean_of(&mut noise.iter().map(|n| n * n));
        let beside = mean_of(&mut noise.windows(2).map(|pair| pair[0] * pair[1]));
        let beyond_2 = noise.iter().filter(|n| n.abs() > 2.0 * deviation).count() as f64 / count as f64;
        // Five standard errors of each.
        assert!(mean.abs() < 0.016 * deviation, "mean {mean}");
        assert!((variance / deviation.powi(2) - 1.0).abs() < 0.023, "variance {variance}");
        assert!(beside.abs() < 0.016 * deviation.powi(2), "neighbours {beside}");
        assert!((beyond_2 - 0.0455).abs() < 0.0033, "share beyond two sigma {beyond_2}");
    }

    #[test]
    fn bands_are_left_out_as_often_as_asked_but_never_all() {
        let (patches, bands, probability) = (20_000, 3, 0.3f32);
        let mut rng = Rng::new(8);
        let (mut dropped, mut most) = (vec![0; bands], 0);
        for _ in 0..patches {
            let mut pixels = vec![5.0; 2 * bands];
            if let Some(choice) = Dropped::draw(probability, bands, &mut rng) {
                choice.apply(&mut pixels);
            }
            assert_eq!(pixels[..bands], pixels[bands..], "the same bands in every pixel");
            let zeros: Vec<usize> = (0..bands).filter(|band| pixels[*band] == 0.0).collect();
            most = most.max(zeros.len());
            zeros.into_iter().for_each(|band| dropped[band] += 1);
        }
        assert_eq!(most, bands - 1);
        // p - p^3 / 3: of the cases in which all would go, each band is kept in a third. Five standard errors.
        let p = f64::from(probability);
        let expected = p - p.powi(3) / 3.0;
        let error = 5.0 * (expected * (1.0 - expected) / f64::from(patches)).sqrt();
        for count in dropped {
            assert!((f64::from(count) / f64::from(patches) - expected).abs() < error, "{count}");
        }
        assert_eq!(Dropped::draw(0.0, 3, &mut rng), None);
        assert!((0..1000).all(|_| Dropped::draw(0.9, 1, &mut rng).is_none()), "the only band stays");
    }
}
