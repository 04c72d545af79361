//! A scene to be mapped: a tile, or a GeoTIFF as it comes.

use std::path::Path;

use crate::engine::StageError;
use crate::net::predict::SceneSource;
use crate::net::{NetError, Result};
use crate::raster::{Georeference, Reader, Window};
use crate::stages::tile::{Plan, Preparation, SceneCard, TileReader};
use crate::stages::train::{ModelCard, Normalisation};

/// Where pixels come from.
enum Pixels {
    Tile(TileReader),
    /// The network's bands, but for those that are derived, in its order.
    File(Reader, Plan),
}

/// A scene, normalised as the network expects.
pub(super) struct Scene {
    pixels: Pixels,
    /// Position of each of the network's bands among the scene's.
    bands: Vec<usize>,
    normalisation: Normalisation,
    width: usize,
    height: usize,
}

impl Scene {
    /// Opens a tile (a directory) or a GeoTIFF (a file).
    pub(super) fn open(path: &Path, card: &ModelCard) -> std::result::Result<Self, StageError> {
        let (pixels, bands, width, height) = if path.is_dir() {
            let tile = TileReader::open(path)?;
            let bands = bands_by_name(tile.card().bands.as_slice(), card, &tile.card().name)?;
            check_scale(tile.card(), card)?;
            let (width, height) = (tile.card().width, tile.card().height);
            (Pixels::Tile(tile), bands, width, height)
        } else {
            let reader = Reader::open(path).map_err(|e| StageError::failed(e.to_string()))?;
            let info = reader.info();
            let preparation = preparation_of_files(card)?;
            let of_file = &card.bands[..card.bands.len().saturating_sub(preparation.indices.len())];
            let plan = preparation.plan(of_file).map_err(|missing| StageError::failed(missing.to_string()))?;
            if info.bands != of_file.len() {
                return Err(StageError::with_help(
                    format!(
                        "{}: has {} bands, the network was trained on {} ({})",
                        info.path.display(),
                        info.bands,
                        of_file.len(),
                        of_file.join(", ")
                    ),
                    "give it a scene with these bands, in this order",
                ));
            }
            let (width, height) = (info.width, info.height);
            (Pixels::File(reader, plan), (0..card.bands.len()).collect(), width, height)
        };
        Ok(Self { pixels, bands, normalisation: card.normalisation(), width, height })
    }

    /// Where the scene lies.
    pub(super) fn georeference(&self) -> &Georeference {
        match &self.pixels {
            Pixels::Tile(tile) => &tile.card().georeference,
            Pixels::File(reader, _) => &reader.info().georef,
        }
    }
}

/// Offsets may differ from scene to scene: they bring scenes to one footing. Scales may not.
fn check_scale(scene: &SceneCard, card: &ModelCard) -> std::result::Result<(), StageError> {
    let trained = card.preparations.first().map_or(1.0, |preparation| preparation.scale);
    if scene.preparation.scale == trained {
        return Ok(());
    }
    Err(StageError::with_help(
        format!(
            "scene {:?} was ingested with scale {}, the network was trained with {trained}",
            scene.name, scene.preparation.scale
        ),
        "ingest both with the same `scale`",
    ))
}

/// What must be made of a file's values, as was made of the training scenes'.
fn preparation_of_files(card: &ModelCard) -> std::result::Result<Preparation, StageError> {
    match card.preparations.as_slice() {
        [] => Ok(Preparation::default()),
        [only] => Ok(only.clone()),
        several => {
            let offsets: Vec<String> = several.iter().map(|p| p.offset.to_string()).collect();
            Err(StageError::with_help(
                format!("the network was trained on scenes with different offsets ({})", offsets.join(", ")),
                "which one a file needs is not known: give it the tiles of an `ingest` stage that says so",
            ))
        }
    }
}

fn bands_by_name(found: &[String], card: &ModelCard, scene: &str) -> std::result::Result<Vec<usize>, StageError> {
    let position = |band: &String| {
        found.iter().position(|b| b == band).ok_or_else(|| {
            StageError::with_help(
                format!("scene {scene:?} has no band {band:?}; it has {}", found.join(", ")),
                format!("the network was trained on {}: ingest scenes with the same bands", card.bands.join(", ")),
            )
        })
    };
    card.bands.iter().map(position).collect()
}

impl SceneSource for Scene {
    fn width(&self) -> usize {
        self.width
    }

    fn height(&self) -> usize {
        self.height
    }

    fn bands(&self) -> usize {
        self.bands.len()
    }

    fn read(
        &self,
        row: usize,
        col: usize,
        height: usize,
        width: usize,
        out: &mut [f32],
        valid: &mut [bool],
    ) -> Result<()> {
        let mut mask = vec![0; height * width];
        match &self.pixels {
            Pixels::Tile(tile) => {
                let rect = [row, col, height, width];
                let all = tile.card().bands.len();
                let stage_error = |e: StageError| NetError::Config(e.to_string());
                let mut values = vec![0.0; height * width * all];
                tile.read_bands(rect, &mut values).map_err(stage_error)?;
                tile.read_valid(rect, &mut mask).map_err(stage_error)?;
                for (pixel, source) in out.chunks_exact_mut(self.bands.len()).zip(values.chunks_exact(all)) {
                    pixel.iter_mut().zip(&self.bands).for_each(|(v, &band)| *v = source[band]);
                }
            }
            Pixels::File(reader, plan) => {
                let samples = reader
                    .read_window(Window { row, col, height, width })
                    .map_err(|e| NetError::Config(e.to_string()))?;
                interleave(&samples.as_f32(), reader.info().nodata, plan, out, &mut mask);
            }
        }
        self.normalisation.apply(out, &mask);
        valid.iter_mut().zip(&mask).for_each(|(v, &m)| *v = m == 1);
        Ok(())
    }
}

/// Band, row, column -> row, column, band, prepared; a pixel is valid where every band of the file is finite and not nodata.
fn interleave(values: &[f32], nodata: Option<f64>, plan: &Plan, out: &mut [f32], mask: &mut [u8]) {
    let pixels = mask.len();
    let of_file = values.len() / pixels.max(1);
    let mut prepared = vec![0.0; plan.bands()];
    for (p, (pixel, ok)) in out.chunks_exact_mut(plan.bands()).zip(mask).enumerate() {
        let mut good = true;
        for (b, value) in prepared[..of_file].iter_mut().enumerate() {
            let found = values[b * pixels + p];
            good &= found.is_finite() && nodata.is_none_or(|n| n as f32 != found);
            *value = f64::from(found);
        }
        *ok = u8::from(good);
        plan.apply(&mut prepared);
        pixel.iter_mut().zip(&prepared).for_each(|(to, from)| *to = *from as f32);
    }
}
