//! The two ways to order a scene: an invented place, or the image that belongs to a given mask.

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
#[derive(Debug, Clone, Copy, PartialEq)]
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
/// Takes about 5 bytes a pixel beside the result (25 a pixel). A test pins the bytes: they change only on purpose.
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
