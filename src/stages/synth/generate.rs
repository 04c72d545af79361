//! The two ways to order a scene: an invented place, or the image that belongs to a given mask.

use serde::{Deserialize, Serialize};

use super::codes::{FOREST, WATER};
use super::error::{MAX_SIDE, SynthError};
use super::layout;
use super::noise::{fork, part};
use super::render::{Cloud, Renderer};

/// Label code of pixels without a label.
const NO_LABEL: u8 = crate::raster::NO_LABEL;
/// Farmland and wetland share what water leaves; beyond these shares there is no room for the rest.
const MAX_SHARE: f32 = 0.8;

/// An invented place. All of it follows from these values, on every machine and with any number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SynthConfig {
    /// Width, pixels of 10 m.
    pub width: usize,
    /// Height, pixels of 10 m.
    pub height: usize,
    /// What makes this place differ from others.
    pub seed: u64,
    /// Share of the scene under water, 0..=0.8. Rivers are there even at 0.
    pub water: f32,
    /// Share of the scene in farms (fields and pastures, with their yards and hedges), 0..=0.8.
    pub farmland: f32,
    /// Share of the scene that is wetland, 0..=0.8. At 0 there is none.
    pub wetland: f32,
    /// Leave a sliver along the left edge and the ground below one cloud without label.
    pub unlabelled: bool,
}

impl SynthConfig {
    /// A mixed landscape of this size.
    pub const fn new(width: usize, height: usize, seed: u64) -> Self {
        Self { width, height, seed, water: 0.12, farmland: 0.38, wetland: 0.004, unlabelled: false }
    }

    fn check(&self) -> Result<(), SynthError> {
        check_size(self.width, self.height)?;
        for (name, value) in [("water", self.water), ("farmland", self.farmland), ("wetland", self.wetland)] {
            if !(0.0..=MAX_SHARE).contains(&value) {
                return Err(SynthError::Share { name, value, max: MAX_SHARE });
            }
        }
        Ok(())
    }
}

/// A scene and its truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynthScene {
    /// Width, pixels.
    pub width: usize,
    /// Height, pixels.
    pub height: usize,
    /// Blue, green, red, nir, swir (reflectance x 10,000, at least 1) and NDVI x 10,000 (-10,000..=10,000), each row
    /// by row from the top left.
    pub bands: [Vec<i32>; 6],
    /// Label codes: 1 urban, 2 cropland, 3 grass, 4 forest, 5 wetland, 6 water, 0 no label.
    pub truth: Vec<u8>,
}

/// Makes an invented place.
///
/// Needs little memory beside the result, which is 25 bytes a pixel: 3 GB for a whole Sentinel-2 tile of 10,980 x
/// 10,980. A test pins the bytes: they change only on purpose.
///
/// # Errors
/// [`SynthError`] where the size is empty or too large, or a share is not within 0..=0.8.
pub fn generate(config: &SynthConfig) -> Result<SynthScene, SynthError> {
    config.check()?;
    let (width, height) = (config.width, config.height);
    let cover = layout::cover(config);
    let cloud = config.unlabelled.then(|| passing_cloud(config));
    let bands = Renderer::new(&cover, width, height, config.seed, cloud).scene();
    let mut truth = cover;
    if let Some(cloud) = cloud {
        for (y, row) in truth.chunks_mut(width).enumerate() {
            for (x, code) in row.iter_mut().enumerate() {
                if in_sliver(x, y, config) || cloud.cover(x as f32, y as f32) > 0.15 {
                    *code = NO_LABEL;
                }
            }
        }
    }
    Ok(SynthScene { width, height, bands, truth })
}

/// Makes the scene that belongs to a truth mask (codes 0..=6, row by row): blue, green, red, nir, swir, NDVI as in
/// [`SynthScene::bands`]. Ground without label (0) looks like what is nearest to it.
///
/// # Errors
/// [`SynthError`] where the size is empty, too large or not that of the mask, or the mask has codes above 6.
pub fn scene_for_truth(truth: &[u8], width: usize, height: usize, seed: u64) -> Result<[Vec<i32>; 6], SynthError> {
    check_size(width, height)?;
    if truth.len() != width * height {
        return Err(SynthError::MaskSize { width, height, found: truth.len() });
    }
    if let Some(&code) = truth.iter().find(|code| **code > WATER) {
        return Err(SynthError::UnknownCode { code, count: truth.iter().filter(|c| **c == code).count() });
    }
    let cover = without_gaps(truth, width);
    Ok(Renderer::new(&cover, width, height, seed, None).scene())
}

fn check_size(width: usize, height: usize) -> Result<(), SynthError> {
    match (width, height) {
        (0, _) | (_, 0) => Err(SynthError::Empty { width, height }),
        _ if width > MAX_SIDE || height > MAX_SIDE => Err(SynthError::TooLarge { width, height }),
        _ => Ok(()),
    }
}

/// One cloud, somewhere in the middle of the scene.
fn passing_cloud(config: &SynthConfig) -> Cloud {
    let seed = fork(config.seed, "cloud");
    let (width, height) = (config.width as f32, config.height as f32);
    let middle = (width * (0.3 + 0.4 * part(seed, 0)), height * (0.3 + 0.4 * part(seed, 1)));
    Cloud { seed, middle, radius: 0.07 * width.min(height) }
}

/// The slanted left edge of a swath: 1 to 2 percent of the width.
fn in_sliver(x: usize, y: usize, config: &SynthConfig) -> bool {
    (x as f32) < config.width as f32 * (0.02 - 0.015 * y as f32 / config.height as f32)
}

/// Gives ground to pixels without label: that of the nearest labelled pixel, along the row and then along the column.
fn without_gaps(truth: &[u8], width: usize) -> Vec<u8> {
    let mut cover = truth.to_vec();
    for row in cover.chunks_mut(width) {
        carry_over(row.iter_mut());
    }
    if cover.contains(&NO_LABEL) {
        for x in 0..width {
            carry_over(cover[x..].iter_mut().step_by(width));
        }
    }
    cover.iter_mut().filter(|code| **code == NO_LABEL).for_each(|code| *code = FOREST);
    cover
}

/// Fills each gap in a line half from the code before it and half from the one after.
fn carry_over<'a>(line: impl Iterator<Item = &'a mut u8>) {
    let mut line: Vec<&mut u8> = line.collect();
    let mut gap = 0usize;
    for end in 0..=line.len() {
        let code = line.get(end).map(|code| **code);
        if code == Some(NO_LABEL) {
            continue;
        }
        let before = gap.checked_sub(1).map(|i| *line[i]);
        let count = end - gap;
        for (i, pixel) in line[gap..end].iter_mut().enumerate() {
            let nearest = if 2 * i < count { before.or(code) } else { code.or(before) };
            **pixel = nearest.unwrap_or(NO_LABEL);
        }
        gap = end + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::codes::{CROPLAND, GRASS, URBAN, WETLAND};
    use super::*;

    fn digest(bands: &[Vec<i32>; 6], truth: &[u8]) -> String {
        let mut hasher = blake3::Hasher::new();
        for value in bands.iter().flatten() {
            hasher.update(&value.to_le_bytes());
        }
        hasher.update(truth);
        hasher.finalize().to_hex()[..16].to_owned()
    }

    fn small() -> SynthConfig {
        SynthConfig { unlabelled: true, wetland: 0.01, ..SynthConfig::new(131, 117, 7) }
    }

    #[test]
    fn the_bytes_are_the_same_on_every_machine() {
        let scene = generate(&small()).unwrap();
        assert_eq!(digest(&scene.bands, &scene.truth), "8905a5c96be8b143");
        let mask: Vec<u8> = (0..61 * 47).map(|i| ((i % 61 / 9 + i / 61 / 8) % 7) as u8).collect();
        assert_eq!(digest(&scene_for_truth(&mask, 61, 47, 3).unwrap(), &mask), "1a0bfc6b479e8eec");
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| generate(&small()).unwrap())
        };
        assert!(with(1) == with(3));
    }

    #[test]
    fn the_format_is_the_exercise_s() {
        let SynthScene { width, height, bands, truth } = generate(&small()).unwrap();
        assert!(truth.len() == width * height && bands.iter().all(|band| band.len() == width * height));
        let [.., red, nir, swir, ndvi] = &bands;
        for y in 0..height {
            for x in 0..width {
                let block = (y / 2 * 2) * width + x / 2 * 2;
                assert_eq!(swir[y * width + x], swir[block], "swir has 20 m pixels");
            }
        }
        for i in 0..truth.len() {
            let (red, nir) = (f64::from(red[i]), f64::from(nir[i]));
            assert_eq!(ndvi[i], (10_000.0 * (nir - red) / (nir + red)).round() as i32);
        }
        assert!(ndvi.iter().any(|v| *v < -1000) && ndvi.iter().any(|v| *v > 8000));
        assert!(bands[..5].iter().flatten().all(|dn| (1..=16_000).contains(dn)));
        assert!((0..=6).all(|code| truth.contains(&code)), "every code occurs");
    }

    #[test]
    fn both_ways_make_the_same_image_of_the_same_ground() {
        let scene = generate(&SynthConfig::new(97, 83, 12)).unwrap();
        assert!(scene_for_truth(&scene.truth, 97, 83, 12).unwrap() == scene.bands);
        assert!(scene_for_truth(&scene.truth, 97, 83, 13).unwrap() != scene.bands);
    }

    #[test]
    fn each_cover_looks_like_itself() {
        let mean = |code: u8, band: usize| {
            let bands = scene_for_truth(&[code; 90 * 90], 90, 90, 5).unwrap();
            bands[band].iter().map(|v| f64::from(*v)).sum::<f64>() / 8100.0
        };
        let (nir, ndvi) = (3, 5);
        assert!(mean(WATER, nir) < 400.0 && mean(WATER, ndvi) < 0.0);
        assert!(mean(FOREST, ndvi) > mean(WETLAND, ndvi) && mean(WETLAND, ndvi) > mean(WATER, ndvi));
        assert!(mean(GRASS, ndvi) > mean(URBAN, ndvi));
        assert!(mean(CROPLAND, 2) > mean(FOREST, 2), "fields are brighter than forest in red");
    }

    #[test]
    fn gaps_take_the_nearest_label() {
        assert_eq!(without_gaps(&[0, 0, 1, 0, 0, 0, 2, 0], 8), [1, 1, 1, 1, 1, 2, 2, 2]);
        assert_eq!(without_gaps(&[0, 0, 3, 3, 0, 0, 0, 0], 2), [3, 3, 3, 3, 3, 3, 3, 3]);
        assert_eq!(without_gaps(&[0, 0], 2), [FOREST, FOREST]);
    }

    #[test]
    fn the_smallest_scene_is_one_pixel() {
        let scene = generate(&SynthConfig::new(1, 1, 0)).unwrap();
        assert!((1..=6).contains(&scene.truth[0]) && scene.bands.iter().all(|band| band.len() == 1));
    }

    #[test]
    fn wrong_orders_are_refused() {
        let refused = |config| generate(&config).unwrap_err();
        assert_eq!(refused(SynthConfig::new(0, 9, 1)), SynthError::Empty { width: 0, height: 9 });
        let huge = SynthConfig::new(MAX_SIDE + 1, 9, 1);
        assert_eq!(refused(huge), SynthError::TooLarge { width: MAX_SIDE + 1, height: 9 });
        let flood = SynthConfig { water: 1.5, ..SynthConfig::new(9, 9, 1) };
        assert_eq!(refused(flood), SynthError::Share { name: "water", value: 1.5, max: MAX_SHARE });
        let odd = SynthConfig { wetland: f32::NAN, ..SynthConfig::new(9, 9, 1) };
        assert!(matches!(refused(odd), SynthError::Share { name: "wetland", .. }));
        let mask = [1, 2, 9, 9];
        assert_eq!(scene_for_truth(&mask, 3, 2, 1), Err(SynthError::MaskSize { width: 3, height: 2, found: 4 }));
        assert_eq!(scene_for_truth(&mask, 2, 2, 1), Err(SynthError::UnknownCode { code: 9, count: 2 }));
    }
}
