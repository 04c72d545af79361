//! Scenes and maps, row by row, as figures show them.

use std::path::{Path, PathBuf};

use super::kind::StretchParam;
use crate::engine::StageError;
use crate::figure::Stretch;
use crate::raster::{Reader, Samples};
use crate::stages::tile::TileReader;

/// Positions of red, green and blue among the bands; the first three bands, or the first one thrice, where the names
/// do not tell.
fn natural_bands(bands: &[String]) -> [usize; 3] {
    let named = ["red", "green", "blue"].map(|name| bands.iter().position(|b| b.eq_ignore_ascii_case(name)));
    match named {
        [Some(r), Some(g), Some(b)] => [r, g, b],
        _ if bands.len() >= 3 => [0, 1, 2],
        _ => [0, 0, 0],
    }
}

/// Rows that percentiles are taken from, at most.
const SAMPLED_ROWS: usize = 200;

/// A scene in natural colour.
pub(super) struct SceneRows<'a> {
    tile: &'a TileReader,
    bands: [usize; 3],
    stretch: Stretch,
    buffer: RowBuffer,
    rgb: Vec<u8>,
}

impl<'a> SceneRows<'a> {
    pub(super) fn new(tile: &'a TileReader, stretch: StretchParam) -> Result<Self, StageError> {
        let card = tile.card();
        let bands = natural_bands(&card.bands);
        let mut buffer = RowBuffer::new(card.width, card.bands.len());
        let stretch = match stretch {
            StretchParam::Reflectance => Stretch::exercise(),
            StretchParam::Percentiles => {
                let mut all = RowBuffer::new(0, 0);
                for row in (0..card.height).step_by(card.height.div_ceil(SAMPLED_ROWS).max(1)) {
                    buffer.read(tile, row, bands)?;
                    all.append(&buffer);
                }
                Stretch::percentiles(&all.colours[0], &all.colours[1], &all.colours[2], &all.valid)
            }
        };
        Ok(Self { tile, bands, stretch, buffer, rgb: Vec::new() })
    }

    /// Colours of a row, 3 bytes a pixel, and whether each pixel has data.
    pub(super) fn line(&mut self, row: usize) -> Result<(&[u8], &[bool]), StageError> {
        self.buffer.read(self.tile, row, self.bands)?;
        let [red, green, blue] = &self.buffer.colours;
        self.rgb = self.stretch.apply(red, green, blue, &self.buffer.valid);
        Ok((&self.rgb, &self.buffer.valid))
    }
}

/// One row of a tile, taken apart into the three bands that are shown.
struct RowBuffer {
    pixels: Vec<f32>,
    mask: Vec<u8>,
    colours: [Vec<f32>; 3],
    valid: Vec<bool>,
}

impl RowBuffer {
    fn new(width: usize, bands: usize) -> Self {
        Self {
            pixels: vec![0.0; width * bands],
            mask: vec![0; width],
            colours: std::array::from_fn(|_| vec![0.0; width]),
            valid: vec![false; width],
        }
    }

    fn read(&mut self, tile: &TileReader, row: usize, shown: [usize; 3]) -> Result<(), StageError> {
        let (width, bands) = (self.mask.len(), tile.card().bands.len());
        tile.read_bands([row, 0, 1, width], &mut self.pixels)?;
        tile.read_valid([row, 0, 1, width], &mut self.mask)?;
        for (colour, band) in self.colours.iter_mut().zip(shown) {
            colour.iter_mut().zip(self.pixels.chunks_exact(bands)).for_each(|(c, pixel)| *c = pixel[band]);
        }
        self.valid.iter_mut().zip(&self.mask).for_each(|(v, &m)| *v = m == 1);
        Ok(())
    }

    fn append(&mut self, row: &Self) {
        self.colours.iter_mut().zip(&row.colours).for_each(|(all, one)| all.extend_from_slice(one));
        self.valid.extend_from_slice(&row.valid);
    }
}

/// Rows of a map read at a time.
const STRIP_ROWS: usize = 256;

/// The label codes of a map. Rows are asked for in ascending order.
pub(super) struct MapRows {
    reader: Reader,
    path: PathBuf,
    /// First row and codes of the strip at hand.
    strip: (usize, Vec<u8>),
}

impl MapRows {
    pub(super) fn open(path: &Path) -> Result<Self, StageError> {
        let reader = Reader::open(path).map_err(|e| StageError::failed(e.to_string()))?;
        Ok(Self { reader, path: path.to_owned(), strip: (0, Vec::new()) })
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.reader.info().width, self.reader.info().height)
    }

    pub(super) fn line(&mut self, row: usize) -> Result<&[u8], StageError> {
        let (width, height) = self.size();
        if row * width >= self.strip.0 * width + self.strip.1.len() {
            let rows = STRIP_ROWS.min(height - row);
            match self.reader.read_rows(row, rows).map_err(|e| StageError::failed(e.to_string()))? {
                Samples::U8(codes) => self.strip = (row, codes),
                _ => {
                    let path = self.path.display();
                    return Err(StageError::failed(format!("{path}: is not a label map of type uint8")));
                }
            }
        }
        let start = (row - self.strip.0) * width;
        Ok(&self.strip.1[start..start + width])
    }
}
