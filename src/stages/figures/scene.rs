//! One scene: natural colour, truth and map side by side. Read row by row, so that any size fits in memory.

use std::path::Path;

use super::kind::StretchParam;
use crate::engine::{StageError, TaskContext};
use crate::figure::{Panel, Picture, SegmentationFigure, Stretch, segmentation};
use crate::metrics::Score;
use crate::raster::{ClassTable, Reader, Samples};
use crate::stages::evaluate::compare;
use crate::stages::tile::TileReader;

/// Draws one scene.
pub(super) fn draw_scene(
    name: &str,
    map: &Path,
    tile: &Path,
    classes: &ClassTable,
    stretch: StretchParam,
    task: &TaskContext<'_>,
) -> Result<Picture, StageError> {
    let tile = TileReader::open(tile)?;
    let card = tile.card();
    let scores = if card.has_truth { Some(Score::of_classes(&compare(map, &tile)?, classes)) } else { None };
    let scene = scene_panel(&tile, stretch)?;
    if task.cancel.is_cancelled() {
        return Err(StageError::Cancelled);
    }
    let truth = match card.has_truth {
        true => {
            Some(Panel::labels(card.width, card.height, |row, line| tile.read_labels([row, 0, 1, card.width], line))?)
        }
        false => None,
    };
    let prediction = map_panel(map)?;
    segmentation(&SegmentationFigure {
        title: name,
        subtitle: "",
        scene: &scene,
        truth: truth.as_ref(),
        prediction: &prediction,
        classes,
        scores: scores.as_ref(),
        pixel_size_m: card.georeference.metres_per_pixel(),
    })
    .map_err(|e| StageError::failed(e.to_string()))
}

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

fn scene_panel(tile: &TileReader, stretch: StretchParam) -> Result<Panel, StageError> {
    let card = tile.card();
    let bands = natural_bands(&card.bands);
    let stretch = match stretch {
        StretchParam::Reflectance => Stretch::exercise(),
        StretchParam::Percentiles => {
            let mut sample = RowBuffer::new(card.width, card.bands.len());
            let mut all = RowBuffer::new(0, 0);
            for row in (0..card.height).step_by(card.height.div_ceil(SAMPLED_ROWS)) {
                sample.read(tile, row, bands)?;
                all.append(&sample);
            }
            Stretch::percentiles(&all.colours[0], &all.colours[1], &all.colours[2], &all.valid)
        }
    };
    let mut buffer = RowBuffer::new(card.width, card.bands.len());
    Panel::rgb(card.width, card.height, |row, line, valid| {
        buffer.read(tile, row, bands)?;
        let [red, green, blue] = &buffer.colours;
        line.copy_from_slice(&stretch.apply(red, green, blue, &buffer.valid));
        valid.copy_from_slice(&buffer.valid);
        Ok(())
    })
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

fn map_panel(path: &Path) -> Result<Panel, StageError> {
    let reader = Reader::open(path).map_err(|e| StageError::failed(e.to_string()))?;
    let (width, height) = (reader.info().width, reader.info().height);
    let mut strip: (usize, Vec<u8>) = (0, Vec::new());
    Panel::labels(width, height, |row, line| {
        if row * width >= strip.0 * width + strip.1.len() {
            let rows = STRIP_ROWS.min(height - row);
            match reader.read_rows(row, rows).map_err(|e| StageError::failed(e.to_string()))? {
                Samples::U8(codes) => strip = (row, codes),
                _ => return Err(StageError::failed(format!("{}: is not a label map of type uint8", path.display()))),
            }
        }
        let start = (row - strip.0) * width;
        line.copy_from_slice(&strip.1[start..start + width]);
        Ok(())
    })
}
