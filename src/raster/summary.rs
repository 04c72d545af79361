//! Statistics of bands.

use serde::{Deserialize, Serialize};

use super::samples::{Sample, Samples, with_samples};

/// Values that are gathered before they are merged: small enough to be summed without loss of precision that matters.
const BLOCK: usize = 4096;

/// Statistics of the valid samples of one band: neither nodata nor NaN nor infinite.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct BandSummary {
    /// Number of valid samples.
    pub valid: u64,
    /// Number of all samples.
    pub total: u64,
    /// Smallest valid value; [`None`] when there is none.
    pub min: Option<f64>,
    /// Largest valid value.
    pub max: Option<f64>,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Standard deviation of the population (numpy's default, `ddof=0`).
    pub std: Option<f64>,
}

/// Statistics of each band of `samples` (order band, row, column), passing over `nodata` and non-finite values.
///
/// # Panics
/// When `samples` cannot be cut into `bands` equal parts: a mistake of the caller, not of a file.
pub fn summary(samples: &Samples, bands: usize, nodata: Option<f64>) -> Vec<BandSummary> {
    let mut summarizer = Summarizer::new(bands, nodata);
    summarizer.add(samples);
    summarizer.finish()
}

/// [`summary`] of a raster that is read in parts.
#[derive(Clone, Debug)]
pub struct Summarizer {
    bands: Vec<Moments>,
    nodata: Option<f64>,
}

impl Summarizer {
    /// Nothing added yet.
    pub fn new(bands: usize, nodata: Option<f64>) -> Self {
        Self { bands: vec![Moments::default(); bands], nodata }
    }

    /// Adds the samples of some rows of all bands, in the order band, row, column.
    ///
    /// # Panics
    /// When `samples` cannot be cut into as many equal parts as there are bands.
    pub fn add(&mut self, samples: &Samples) {
        assert_eq!(
            samples.len() % self.bands.len().max(1),
            0,
            "samples must hold the same number of pixels of every band"
        );
        let per_band = samples.len() / self.bands.len().max(1);
        if per_band == 0 {
            return;
        }
        with_samples!(samples, values => {
            for (moments, values) in self.bands.iter_mut().zip(values.chunks(per_band)) {
                moments.add(values, self.nodata);
            }
        });
    }

    /// The statistics of each band.
    pub fn finish(self) -> Vec<BandSummary> {
        self.bands.into_iter().map(Moments::finish).collect()
    }
}

/// Count, mean and sum of squared deviations, merged block by block (Chan, Golub & LeVeque 1983, eq. 2.1).
#[derive(Clone, Copy, Debug)]
struct Moments {
    total: u64,
    valid: u64,
    min: f64,
    max: f64,
    mean: f64,
    squares: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self { total: 0, valid: 0, min: f64::INFINITY, max: f64::NEG_INFINITY, mean: 0.0, squares: 0.0 }
    }
}

impl Moments {
    fn add<T: Sample>(&mut self, values: &[T], nodata: Option<f64>) {
        // Compared in the samples' own type, so that a float32 raster finds its -3.4e38; a nodata value that the type
        // cannot hold (-9999 in uint8) matches nothing.
        let nodata = nodata.map(T::from_f64).filter(|&typed| !representable_differs(typed, nodata));
        let mut block = [0.0; BLOCK];
        for chunk in values.chunks(BLOCK) {
            let mut len = 0;
            for &value in chunk {
                let number = value.to_f64();
                if number.is_finite() && nodata != Some(value) {
                    block[len] = number;
                    len += 1;
                }
            }
            self.total += chunk.len() as u64;
            self.merge(&block[..len]);
        }
    }

    fn merge(&mut self, block: &[f64]) {
        if block.is_empty() {
            return;
        }
        let count = block.len() as f64;
        // Shifting by the first value keeps the sum exact where values are large and close together.
        let shift = block[0];
        let mean = shift + block.iter().map(|v| v - shift).sum::<f64>() / count;
        let squares: f64 = block.iter().map(|v| (v - mean) * (v - mean)).sum();
        let before = self.valid as f64;
        let all = before + count;
        let delta = mean - self.mean;
        self.mean += delta * count / all;
        self.squares += squares + delta * delta * before * count / all;
        self.valid += block.len() as u64;
        self.min = block.iter().copied().fold(self.min, f64::min);
        self.max = block.iter().copied().fold(self.max, f64::max);
    }

    fn finish(self) -> BandSummary {
        let some = |value: f64| (self.valid > 0).then_some(value);
        BandSummary {
            valid: self.valid,
            total: self.total,
            min: some(self.min),
            max: some(self.max),
            mean: some(self.mean),
            std: some((self.squares / self.valid as f64).sqrt()),
        }
    }
}

/// Whether a nodata value changed by more than rounding when it became a `T`.
fn representable_differs<T: Sample>(typed: T, nodata: Option<f64>) -> bool {
    let Some(nodata) = nodata else { return false };
    let back = typed.to_f64();
    !(back == nodata || T::TYPE.is_float() && (back - nodata).abs() <= nodata.abs() * 1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodata_and_nonfinite_values_do_not_count() {
        let samples = Samples::F32(vec![1.0, -9999.0, 3.0, f32::NAN, f32::INFINITY, 2.0, 2.0, 2.0, 2.0, 2.0]);
        let bands = summary(&samples, 2, Some(-9999.0));
        assert_eq!((bands[0].valid, bands[0].total, bands[0].min, bands[0].max), (2, 5, Some(1.0), Some(3.0)));
        assert_eq!((bands[0].mean, bands[0].std), (Some(2.0), Some(1.0)));
        assert_eq!((bands[1].valid, bands[1].std), (5, Some(0.0)));
    }

    #[test]
    fn a_band_of_nodata_has_no_statistics() {
        let bands = summary(&Samples::U8(vec![0; 9]), 1, Some(0.0));
        assert_eq!(bands[0], BandSummary { valid: 0, total: 9, min: None, max: None, mean: None, std: None });
    }

    #[test]
    fn nodata_beyond_the_type_matches_nothing() {
        assert_eq!(summary(&Samples::U8(vec![0, 255]), 1, Some(-9999.0))[0].valid, 2);
        let lowest = f64::from(f32::MIN);
        assert_eq!(summary(&Samples::F32(vec![f32::MIN, 1.0]), 1, Some(lowest))[0].valid, 1);
        assert_eq!(summary(&Samples::F32(vec![-3.4e38, 1.0]), 1, Some(-3.4e38))[0].valid, 1);
    }

    #[test]
    fn large_values_close_together_keep_their_spread() {
        // 1e9 + {0, 1, 2, 3}: the textbook sum of squares loses every digit of the variance in f32 and most in f64.
        let values: Vec<u32> = (0..100_000).map(|i| 1_000_000_000 + i % 4).collect();
        let band = summary(&Samples::U32(values), 1, None)[0];
        assert!((band.std.expect("valid values") - 1.25f64.sqrt()).abs() < 1e-12, "{band:?}");
        assert!((band.mean.expect("valid values") - 1_000_000_001.5).abs() < 1e-6);
    }

    #[test]
    fn parts_give_what_the_whole_gives() {
        let values: Vec<f64> = (0..20_000).map(|i| f64::from(i * i % 977) / 7.0).collect();
        let whole = summary(&Samples::F64(values.clone()), 1, None)[0];
        let mut parts = Summarizer::new(1, None);
        values.chunks(777).for_each(|part| parts.add(&Samples::F64(part.to_vec())));
        let parts = parts.finish()[0];
        assert_eq!((whole.valid, whole.min, whole.max), (parts.valid, parts.min, parts.max));
        assert!((whole.std.expect("valid") - parts.std.expect("valid")).abs() < 1e-12);
    }
}
