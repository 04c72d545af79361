//! Reflectance to natural colour.

use crate::raster::Rgb;

/// What [`natural_colour`] paints where there is no data; in a figure a hatch is laid over it.
pub const NODATA_GREY: Rgb = Rgb(0xe9, 0xeb, 0xed);

/// Reflectance x 10,000 that the exercise shows as full white.
const EXERCISE_WHITE: f32 = 2000.0;

/// Valid pixels looked at, at most, to find percentiles: enough to fix them to a thousandth.
const SAMPLE: usize = 1 << 18;

/// How reflectance becomes brightness: per band (red, green, blue) the values shown as black and as full.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stretch {
    black: [f32; 3],
    full: [f32; 3],
}

impl Default for Stretch {
    fn default() -> Self {
        Self::exercise()
    }
}

impl Stretch {
    /// Reflectance x 10,000 over 2000, clipped: how the exercise shows its scenes. Scenes of the same light look the
    /// same.
    pub fn exercise() -> Self {
        Self { black: [0.0; 3], full: [EXERCISE_WHITE; 3] }
    }

    /// From the 2nd to the 98th percentile of the valid pixels, band by band: shows any scene, hazy or in other units.
    /// Falls back to [`Self::exercise`] for a band without a finite valid pixel.
    pub fn percentiles(red: &[f32], green: &[f32], blue: &[f32], valid: &[bool]) -> Self {
        let mut stretch = Self::exercise();
        for (band, values) in [red, green, blue].into_iter().enumerate() {
            if let Some((black, full)) = percentile_range(values, valid) {
                stretch.black[band] = black;
                stretch.full[band] = full;
            }
        }
        stretch
    }

    /// Brightness of one pixel of red, green and blue.
    pub fn colour(&self, bands: [f32; 3]) -> Rgb {
        let [r, g, b] = std::array::from_fn(|band| {
            let (black, full) = (self.black[band], self.full[band]);
            // The cast takes a NaN to 0.
            (((bands[band] - black) / (full - black)).clamp(0.0, 1.0) * 255.0).round() as u8
        });
        Rgb(r, g, b)
    }

    /// 8-bit sRGB, 3 bytes a pixel, of as many pixels as all four slices have; [`NODATA_GREY`] where not valid. Works
    /// on a whole scene and on one row alike.
    pub fn apply(&self, red: &[f32], green: &[f32], blue: &[f32], valid: &[bool]) -> Vec<u8> {
        let bands = red.iter().zip(green).zip(blue).zip(valid);
        bands
            .flat_map(|(((&r, &g), &b), &valid)| {
                let Rgb(r, g, b) = if valid { self.colour([r, g, b]) } else { NODATA_GREY };
                [r, g, b]
            })
            .collect()
    }
}

/// A scene in natural colour as the exercise shows it; see [`Stretch::exercise`] and [`Stretch::apply`]. Bands are
/// reflectance x 10,000.
pub fn natural_colour(red: &[f32], green: &[f32], blue: &[f32], valid: &[bool]) -> Vec<u8> {
    Stretch::exercise().apply(red, green, blue, valid)
}

/// 2nd and 98th percentile (nearest rank) of an even sample of the finite valid values; `None` without any.
fn percentile_range(values: &[f32], valid: &[bool]) -> Option<(f32, f32)> {
    let step = values.len().div_ceil(SAMPLE).max(1);
    let mut sample: Vec<f32> =
        values.iter().zip(valid).step_by(step).filter(|(v, valid)| **valid && v.is_finite()).map(|(v, _)| *v).collect();
    if sample.is_empty() {
        return None;
    }
    let last = sample.len() - 1;
    let mut rank = |share: f64| {
        let at = (share * last as f64).round() as usize;
        *sample.select_nth_unstable_by(at, f32::total_cmp).1
    };
    let (black, full) = (rank(0.02), rank(0.98));
    // A band of one value has no range: half of it would be black, half white, so it is shown as full.
    if full > black { Some((black, full)) } else { Some((black - 1.0, black)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exercise_clips_at_a_reflectance_of_a_fifth() {
        let rgb = natural_colour(&[0.0, 1000.0, 9000.0], &[-50.0, 2000.0, f32::NAN], &[500.0; 3], &[true; 3]);
        assert_eq!(rgb, [0, 0, 64, 128, 255, 64, 255, 0, 64]);
    }

    #[test]
    fn pixels_without_data_are_grey() {
        let rgb = natural_colour(&[100.0; 2], &[100.0; 2], &[100.0; 2], &[true, false]);
        assert_eq!(rgb[3..], [NODATA_GREY.0, NODATA_GREY.1, NODATA_GREY.2]);
    }

    #[test]
    fn percentiles_ignore_outliers_and_pixels_without_data() {
        let mut red: Vec<f32> = (0..1000).map(|i| 100.0 + i as f32).collect();
        let mut valid = vec![true; 1000];
        red[500] = 65_000.0;
        red[0] = -9999.0;
        valid[0] = false;
        red[1] = f32::NAN;
        let stretch = Stretch::percentiles(&red, &red, &[7.0; 1000], &valid);
        assert!((stretch.black[0] - 121.0).abs() <= 2.0, "{stretch:?}");
        assert!((stretch.full[0] - 1079.0).abs() <= 2.0, "{stretch:?}");
        assert_eq!(stretch.colour([121.0 + 479.0, 65_000.0, 7.0]).1, 255);
        assert_eq!(Stretch::percentiles(&[], &[], &[], &[]), Stretch::exercise());
    }
}
