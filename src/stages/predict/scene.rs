//! A scene to be mapped: a tile, or a GeoTIFF as it comes.

use std::path::Path;

use crate::engine::StageError;
use crate::net::predict::SceneSource;
use crate::net::{NetError, Result};
use crate::raster::{Georeference, Reader, Window};
use crate::stages::tile::TileReader;
use crate::stages::train::{ModelCard, Normalisation};

/// Where pixels come from.
enum Pixels {
    Tile(TileReader),
    /// Bands of the file that the network reads, in its order.
    File(Reader),
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
            let (width, height) = (tile.card().width, tile.card().height);
            (Pixels::Tile(tile), bands, width, height)
        } else {
            let reader = Reader::open(path).map_err(|e| StageError::failed(e.to_string()))?;
            let info = reader.info();
            if info.bands != card.bands.len() {
                return Err(StageError::with_help(
                    format!(
                        "{}: has {} bands, the network was trained on {} ({})",
                        info.path.display(),
                        info.bands,
                        card.bands.len(),
                        card.bands.join(", ")
                    ),
                    "give it a scene with these bands, in this order",
                ));
            }
            let (width, height) = (info.width, info.height);
            (Pixels::File(reader), (0..card.bands.len()).collect(), width, height)
        };
        Ok(Self { pixels, bands, normalisation: card.normalisation(), width, height })
    }

    /// Where the scene lies.
    pub(super) fn georeference(&self) -> &Georeference {
        match &self.pixels {
            Pixels::Tile(tile) => &tile.card().georeference,
            Pixels::File(reader) => &reader.info().georef,
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
            Pixels::File(reader) => {
                let samples = reader
                    .read_window(Window { row, col, height, width })
                    .map_err(|e| NetError::Config(e.to_string()))?;
                interleave(&samples.as_f32(), reader.info().nodata, out, &mut mask);
            }
        }
        self.normalisation.apply(out, &mask);
        valid.iter_mut().zip(&mask).for_each(|(v, &m)| *v = m == 1);
        Ok(())
    }
}

/// Band, row, column -> row, column, band; a pixel is valid where every band is finite and not nodata.
fn interleave(values: &[f32], nodata: Option<f64>, out: &mut [f32], mask: &mut [u8]) {
    let pixels = mask.len();
    let bands = out.len() / pixels.max(1);
    for (p, (pixel, ok)) in out.chunks_exact_mut(bands).zip(mask).enumerate() {
        pixel.iter_mut().enumerate().for_each(|(b, v)| *v = values[b * pixels + p]);
        *ok = u8::from(pixel.iter().all(|v| v.is_finite() && nodata.is_none_or(|n| n as f32 != *v)));
    }
}
