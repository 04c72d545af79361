//! Builds the patch index from the tiles of a split.

use std::collections::BTreeMap;

use super::blocks::{Unit, choose, cut};
use super::index::{PATCH_INDEX_VERSION, PatchIndex, PatchScene, PatchWindow, inside, overlap};
use super::kind::PatchParams;
use crate::engine::{Cancel, StageError};
use crate::raster::{NO_CLASS, index_of_code};
use crate::stages::tile::{Moments, TileReader};

/// Builds the index. `tiles` in slot order; `codes` are the classes' label codes.
pub(super) fn build(
    tiles: &[(String, TileReader)],
    codes: &[u8],
    params: &PatchParams,
    seed: u64,
    cancel: &Cancel,
) -> Result<PatchIndex, StageError> {
    let bands = check(tiles, params.size)?;
    let mut scenes: Vec<PatchScene> = tiles
        .iter()
        .map(|(name, tile)| PatchScene {
            name: name.clone(),
            width: tile.card().width,
            height: tile.card().height,
            blocks: Vec::new(),
        })
        .collect();
    let sizes: Vec<[usize; 2]> = scenes.iter().map(|s| [s.height, s.width]).collect();
    let mut units = Vec::new();
    for (scene, rect) in cut(&sizes, params.block.unwrap_or(params.size), params.holdout) {
        let counts = count_classes(&tiles[scene].1, rect, codes)?;
        units.push(Unit { scene, rect, counts });
    }
    let mut train_pixels = vec![0; codes.len()];
    let mut holdout_pixels = vec![0; codes.len()];
    let held = choose(&units, params.holdout, seed);
    for (position, unit) in units.iter().enumerate() {
        let sum = if held.binary_search(&position).is_ok() {
            scenes[unit.scene].blocks.push(unit.rect);
            &mut holdout_pixels
        } else {
            &mut train_pixels
        };
        sum.iter_mut().zip(&unit.counts).for_each(|(s, c)| *s += c);
    }
    if train_pixels.iter().sum::<u64>() == 0 {
        return Err(StageError::with_help(
            "no labelled pixel is left to train on",
            "the truth rasters hold only 0 (no label), or all of them was held out: look at `class_counts` in scene.json",
        ));
    }
    let (mut train, mut holdout) = (Vec::new(), Vec::new());
    let mut moments = vec![Moments::default(); bands.len()];
    for (position, (_, tile)) in tiles.iter().enumerate() {
        if cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        add_moments(tile, &scenes[position], &mut moments)?;
        train.extend(train_windows(position, tile, &scenes[position], codes, params)?);
        holdout.extend(holdout_windows(position, tile, &scenes[position], codes, params.size)?);
    }
    weigh(&mut train, codes, &train_pixels);
    Ok(PatchIndex {
        format: PATCH_INDEX_VERSION.into(),
        size: params.size,
        bands,
        mean: moments.iter().map(Moments::mean).collect(),
        std: moments.iter().map(|m| if m.std() > 0.0 { m.std() } else { 1.0 }).collect(),
        codes: codes.to_vec(),
        train_pixels: by_code(codes, &train_pixels),
        holdout_pixels: by_code(codes, &holdout_pixels),
        scenes,
        train,
        holdout,
    })
}

fn check(tiles: &[(String, TileReader)], size: usize) -> Result<Vec<String>, StageError> {
    let Some((first_name, first)) = tiles.first() else {
        return Err(StageError::failed("there are no tiles to cut patches from"));
    };
    for (name, tile) in tiles {
        let card = tile.card();
        if card.bands != first.card().bands {
            return Err(StageError::failed(format!(
                "scene {name:?} has bands {}, scene {first_name:?} has {}: all scenes of a split must have the same",
                card.bands.join(", "),
                first.card().bands.join(", ")
            )));
        }
        let (ours, theirs) = (&card.preparation, &first.card().preparation);
        if (ours.scale, &ours.indices) != (theirs.scale, &theirs.indices) {
            return Err(StageError::failed(format!(
                "scene {name:?} was ingested with scale {} and indices [{}], scene {first_name:?} with {} and [{}]: all \
                 scenes of a split must be alike",
                ours.scale,
                ours.indices.join(", "),
                theirs.scale,
                theirs.indices.join(", ")
            )));
        }
        if card.width < size || card.height < size {
            return Err(StageError::with_help(
                format!(
                    "scene {name:?} is {}x{} px: smaller than a patch of {size}x{size} px",
                    card.width, card.height
                ),
                "choose a smaller `size` for the patches stage",
            ));
        }
    }
    Ok(first.card().bands.clone())
}

fn by_code(codes: &[u8], counts: &[u64]) -> BTreeMap<u8, u64> {
    codes.iter().copied().zip(counts.iter().copied()).collect()
}

fn count_classes(tile: &TileReader, rect: [usize; 4], codes: &[u8]) -> Result<Vec<u64>, StageError> {
    let mut labels = vec![0; rect[2] * rect[3]];
    tile.read_labels(rect, &mut labels)?;
    let table = index_of_code(codes);
    let mut counts = vec![0; codes.len()];
    labels.iter().map(|&l| table[l as usize]).filter(|&i| i != NO_CLASS).for_each(|i| counts[i as usize] += 1);
    Ok(counts)
}

/// Where windows of `size` start along an axis of `length`: every `stride`, and one flush with the end.
fn starts(length: usize, size: usize, stride: usize) -> Vec<usize> {
    let last = length - size;
    let mut starts: Vec<usize> = (0..=last).step_by(stride).collect();
    if starts.last() != Some(&last) {
        starts.push(last);
    }
    starts
}

/// A training window must show at least this share of pixels outside the hold-out blocks.
const MIN_TRAIN_SHARE: f64 = 0.25;

fn train_windows(
    position: usize,
    tile: &TileReader,
    scene: &PatchScene,
    codes: &[u8],
    params: &PatchParams,
) -> Result<Vec<PatchWindow>, StageError> {
    let size = params.size;
    let mut windows = Vec::new();
    for &row in &starts(scene.height, size, params.stride) {
        for &col in &starts(scene.width, size, params.stride) {
            let held: usize =
                scene.blocks.iter().filter_map(|&b| overlap(b, [row, col, size, size])).map(|r| r[2] * r[3]).sum();
            if (held as f64) <= (1.0 - MIN_TRAIN_SHARE) * (size * size) as f64 {
                windows.extend(window(position, tile, scene, codes, size, (row, col), None)?);
            }
        }
    }
    Ok(windows)
}

/// Covers every hold-out block with windows, each pixel counted in exactly one of them, with as much context around it
/// as the scene gives.
fn holdout_windows(
    position: usize,
    tile: &TileReader,
    scene: &PatchScene,
    codes: &[u8],
    size: usize,
) -> Result<Vec<PatchWindow>, StageError> {
    let mut windows = Vec::new();
    for &[top, left, height, width] in &scene.blocks {
        for row in (top..top + height).step_by(size) {
            for col in (left..left + width).step_by(size) {
                let keep = [row, col, size.min(top + height - row), size.min(left + width - col)];
                let centred = |start: usize, kept: usize, length: usize| {
                    start.saturating_sub((size - kept) / 2).min(length - size)
                };
                let at = (centred(row, keep[2], scene.height), centred(col, keep[3], scene.width));
                windows.extend(window(position, tile, scene, codes, size, at, Some(keep))?);
            }
        }
    }
    Ok(windows)
}

/// The window at this place with its class histogram; `None` when no label counts in it.
fn window(
    position: usize,
    tile: &TileReader,
    scene: &PatchScene,
    codes: &[u8],
    size: usize,
    (row, col): (usize, usize),
    keep: Option<[usize; 4]>,
) -> Result<Option<PatchWindow>, StageError> {
    let mut window = PatchWindow { scene: position, row, col, keep, classes: BTreeMap::new(), weight: 1.0 };
    let mut labels = vec![0; size * size];
    tile.read_labels([row, col, size, size], &mut labels)?;
    window.mask(size, scene, &mut labels, 0);
    let mut counts = [0u32; 256];
    labels.iter().for_each(|&l| counts[l as usize] += 1);
    window.classes = codes.iter().map(|&c| (c, counts[c as usize])).filter(|(_, n)| *n > 0).collect();
    Ok((!window.classes.is_empty()).then_some(window))
}

fn weigh(windows: &mut [PatchWindow], codes: &[u8], pixels: &[u64]) {
    let total: u64 = pixels.iter().sum();
    let value: BTreeMap<u8, f64> = codes
        .iter()
        .zip(pixels)
        .filter(|(_, n)| **n > 0)
        .map(|(&c, &n)| (c, (total as f64 / n as f64).sqrt()))
        .collect();
    let raw: Vec<f64> = windows
        .iter()
        .map(|w| {
            let labelled: f64 = w.classes.values().map(|&n| f64::from(n)).sum();
            w.classes.iter().map(|(c, &n)| value.get(c).copied().unwrap_or(0.0) * f64::from(n)).sum::<f64>() / labelled
        })
        .collect();
    let mean = raw.iter().sum::<f64>() / raw.len().max(1) as f64;
    windows.iter_mut().zip(raw).for_each(|(w, raw)| w.weight = (raw / mean) as f32);
}

/// Rows read at a time.
const STRIP_ROWS: usize = 64;

/// Adds the valid pixels outside the hold-out blocks, labelled or not.
fn add_moments(tile: &TileReader, scene: &PatchScene, moments: &mut [Moments]) -> Result<(), StageError> {
    let bands = moments.len();
    let mut of_scene = vec![Moments::default(); bands];
    for top in (0..scene.height).step_by(STRIP_ROWS) {
        let rows = STRIP_ROWS.min(scene.height - top);
        let window = [top, 0, rows, scene.width];
        let mut values = vec![0.0; rows * scene.width * bands];
        let mut valid = vec![0; rows * scene.width];
        tile.read_bands(window, &mut values)?;
        tile.read_valid(window, &mut valid)?;
        for (i, pixel) in values.chunks_exact(bands).enumerate() {
            let (row, col) = (top + i / scene.width, i % scene.width);
            if valid[i] == 1 && !scene.blocks.iter().any(|&b| inside(b, row, col)) {
                of_scene.iter_mut().zip(pixel).for_each(|(m, &v)| m.push(f64::from(v)));
            }
        }
    }
    moments.iter_mut().zip(&of_scene).for_each(|(all, one)| all.merge(one));
    Ok(())
}
