//! From ground to digital numbers: mixed pixels, air, sensor noise, the 20 m band, NDVI.

use std::ops::Range;

use rayon::prelude::*;

use super::codes::{FOREST, URBAN, WATER, WETLAND};
use super::ground::{Ground, Surroundings};
use super::noise::{bell, cell, fork, gradient, part, ramp};
use super::spectra::{CLOUD, Spectrum, mix};

/// Rows made at once by one thread; even, as the 20 m band needs.
const STRIP: usize = 32;
/// Weight of each direct neighbour in the point spread, per axis: what passes at the Nyquist frequency is
/// `1 - 4 * SPREAD` = 0.32, as measured for Sentinel-2's 10 m bands.
const SPREAD: f32 = 0.17;
/// How far the label mask may lie from the ground, pixels.
const MISFIT: f32 = 0.65;
/// Position of swir among the bands: the one with 20 m pixels.
const SWIR: usize = 4;

/// A cloud that hides the ground.
#[derive(Clone, Copy)]
pub(super) struct Cloud {
    pub(super) seed: u64,
    pub(super) middle: (f32, f32),
    pub(super) radius: f32,
}

impl Cloud {
    /// 0 (clear) to 1 (nothing but cloud).
    pub(super) fn cover(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.middle.0, y - self.middle.1);
        let distance = (dx * dx + dy * dy).sqrt() / self.radius;
        if distance > 2.0 {
            return 0.0;
        }
        let ragged = 0.5 * gradient(self.seed, x / 13.0, y / 13.0) + 0.25 * gradient(self.seed ^ 1, x / 5.0, y / 5.0);
        ramp(1.1, 0.55, distance + ragged)
    }
}

/// Makes the bands of a scene over a given ground cover, any rows at a time, always the same values.
pub(super) struct Renderer<'a> {
    cover: &'a [u8],
    width: usize,
    height: usize,
    ground: Ground,
    air: Air,
    cloud: Option<Cloud>,
    misfit: u64,
}

/// Light and air of the day, and the sensor's noise.
struct Air {
    gain: Spectrum,
    haze: Spectrum,
    seed: u64,
}

impl Air {
    fn new(seed: u64) -> Self {
        let seed = fork(seed, "air");
        let (day, dust) = (part(seed, 0) - 0.5, part(seed, 1));
        // Air scatters the short waves most; light and calibration change all bands, and each a little by itself.
        let haze = [0.016, 0.010, 0.006, 0.003, 0.001].map(|h| h * dust);
        let gain = std::array::from_fn(|band| 1.0 + 0.2 * day + 0.06 * (part(cell(seed, band as i32, 0), 0) - 0.5));
        Self { gain, haze, seed }
    }

    /// What arrives at the sensor, with its noise.
    fn seen(&self, x: i32, y: i32, band: usize, reflectance: f32) -> f32 {
        // Thin high cloud comes and goes over kilometres: more of it is more haze and less light.
        let veil = gradient(self.seed, x as f32 / 150.0, y as f32 / 150.0);
        let signal = reflectance * self.gain[band] * (1.0 - 0.13 * veil) + self.haze[band] * (1.0 + 0.5 * veil);
        let draw = bell(cell(self.seed.wrapping_add(band as u64 + 1), x, y));
        signal + draw * (0.0011 + 0.011 * signal)
    }
}

/// A reflectance as the product stores it.
fn digital_number(reflectance: f32) -> i32 {
    ((reflectance * 10_000.0).round() as i32).clamp(1, 16_000)
}

/// NDVI x 10,000 of two digital numbers.
pub(super) fn ndvi(red: i32, nir: i32) -> i32 {
    let (red, nir) = (f64::from(red), f64::from(nir));
    (10_000.0 * (nir - red) / (nir + red)).round() as i32
}

impl<'a> Renderer<'a> {
    /// `cover` has no code 0: under every pixel there is some ground.
    pub(super) fn new(cover: &'a [u8], width: usize, height: usize, seed: u64, cloud: Option<Cloud>) -> Self {
        let (ground, air, misfit) = (Ground::new(seed), Air::new(seed), fork(seed, "misfit"));
        Self { cover, width, height, ground, air, cloud, misfit }
    }

    /// All bands of the scene.
    pub(super) fn scene(&self) -> [Vec<i32>; 6] {
        let mut bands: [Vec<i32>; 6] = std::array::from_fn(|_| vec![0; self.width * self.height]);
        let mut strips: Vec<Vec<&mut [i32]>> =
            (0..self.height.div_ceil(STRIP)).map(|_| Vec::with_capacity(6)).collect();
        for band in &mut bands {
            for (strip, part) in strips.iter_mut().zip(band.chunks_mut(STRIP * self.width)) {
                strip.push(part);
            }
        }
        strips.into_par_iter().enumerate().for_each(|(i, mut parts)| {
            let rows = i * STRIP..((i + 1) * STRIP).min(self.height);
            self.rows(rows, &mut parts);
        });
        bands
    }

    /// Fills one slice a band with these rows, which start at an even one.
    fn rows(&self, rows: Range<usize>, out: &mut [&mut [i32]]) {
        let (columns, count) = (self.width.next_multiple_of(2), rows.len().next_multiple_of(2));
        let ground = self.blurred(rows.start, count, columns);
        for (band, part) in out[..5].iter_mut().enumerate() {
            for (y, row) in part.chunks_mut(self.width).enumerate() {
                for (x, dn) in row.iter_mut().enumerate() {
                    // The 20 m band: the mean over the block, sensed once, given to its four pixels.
                    let block = if band == SWIR { 2 } else { 1 };
                    let (bx, by) = (x / block * block, y / block * block);
                    let places = (by..by + block).flat_map(|y| (bx..bx + block).map(move |x| y * columns + x));
                    let mean = places.map(|i| ground[i][band]).sum::<f32>() / (block * block) as f32;
                    *dn = digital_number(self.air.seen(bx as i32, (rows.start + by) as i32, band, mean));
                }
            }
        }
        for i in 0..out[5].len() {
            out[5][i] = ndvi(out[2][i], out[3][i]);
        }
    }

    /// Ground reflectance after the optics' blur and clouds, `count` rows of `columns` from row `start`.
    fn blurred(&self, start: usize, count: usize, columns: usize) -> Vec<Spectrum> {
        let wide = columns + 2;
        let sharp: Vec<Spectrum> = (0..count + 2)
            .flat_map(|j| (0..wide).map(move |i| (i as i32 - 1, (start + j) as i32 - 1)))
            .map(|(x, y)| self.sharp(x, y))
            .collect();
        let spread = |a: &Spectrum, b: &Spectrum, c: &Spectrum| -> Spectrum {
            std::array::from_fn(|n| SPREAD * (a[n] + c[n]) + (1.0 - 2.0 * SPREAD) * b[n])
        };
        let down: Vec<Spectrum> =
            (0..count * wide).map(|i| spread(&sharp[i], &sharp[i + wide], &sharp[i + 2 * wide])).collect();
        let mut out = Vec::with_capacity(count * columns);
        for (j, row) in down.chunks(wide).enumerate() {
            for (i, around) in row.windows(3).enumerate() {
                let ground = spread(&around[0], &around[1], &around[2]);
                let cloud = self.cloud.map_or(0.0, |c| c.cover(i as f32, (start + j) as f32));
                out.push(if cloud > 0.0 { mix(ground, CLOUD, cloud) } else { ground });
            }
        }
        out
    }

    /// Ground reflectance at a pixel, perhaps just outside the scene.
    fn sharp(&self, x: i32, y: i32) -> Spectrum {
        let (px, py) = (x as f32, y as f32);
        // The mask was drawn from another source: it lies a little beside the ground, here one way, there another.
        let px = px + MISFIT * gradient(self.misfit, px / 9.0, py / 9.0);
        let py = py + MISFIT * gradient(self.misfit ^ 1, px / 9.0, py / 9.0);
        let (qx, qy) = (px.round() as i32, py.round() as i32);
        let code = self.code(qx, qy);
        self.ground.reflectance(px, py, code, self.surroundings(qx, qy, code))
    }

    /// Code of the nearest pixel of the scene.
    fn code(&self, x: i32, y: i32) -> u8 {
        let inside = |v: i32, side: usize| v.clamp(0, side as i32 - 1) as usize;
        self.cover[inside(y, self.height) * self.width + inside(x, self.width)]
    }

    fn surroundings(&self, x: i32, y: i32, code: u8) -> Surroundings {
        let window = |r: i32, step: i32| (-r..=r).flat_map(move |dy| (-r..=r).map(move |dx| (dx * step, dy * step)));
        let share = |r: i32, step: i32, of: u8| {
            let hits = window(r, step).filter(|(dx, dy)| self.code(x + dx, y + dy) == of).count();
            hits as f32 / ((2 * r + 1) * (2 * r + 1)) as f32
        };
        Surroundings {
            // A line one or two pixels wide fills at most 10 of 25 pixels; 12 leaves room for bends.
            road: code == URBAN && share(2, 1, URBAN) <= 0.48,
            shore: if matches!(code, WATER | WETLAND) { 1.0 - share(1, 2, WATER) } else { 1.0 },
            // The sun stands in the south-east, its shadows point north-west.
            shade: code != FOREST && self.code(x + 1, y + 1) == FOREST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ndvi_is_signed_and_scaled() {
        assert_eq!(ndvi(200, 3000), 8750);
        assert_eq!(ndvi(130, 70), -3000);
        assert_eq!(ndvi(1, 1), 0);
    }

    #[test]
    fn digital_numbers_stay_positive() {
        assert_eq!(digital_number(-0.01), 1);
        assert_eq!(digital_number(0.123_44), 1234);
    }

    #[test]
    fn a_cloud_is_thick_in_the_middle_and_gone_outside() {
        let cloud = Cloud { seed: 3, middle: (50.0, 50.0), radius: 20.0 };
        assert!(cloud.cover(50.0, 50.0) > 0.9);
        assert_eq!(cloud.cover(50.0, 95.0), 0.0);
    }

    #[test]
    fn a_line_of_built_up_pixels_is_a_road_and_a_block_is_not() {
        let (width, height) = (40, 30);
        let mut cover = vec![FOREST; width * height];
        for x in 0..width {
            cover[4 * width + x] = URBAN;
        }
        for (y, x) in (12..26).flat_map(|y| (10..30).map(move |x| (y, x))) {
            cover[y * width + x] = URBAN;
        }
        let renderer = Renderer::new(&cover, width, height, 1, None);
        assert!(renderer.surroundings(20, 4, URBAN).road);
        assert!(!renderer.surroundings(20, 18, URBAN).road);
    }
}
