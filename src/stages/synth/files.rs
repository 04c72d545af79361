//! Scenes and truth as GeoTIFF, in the exercise's format.

use std::path::Path;

use crate::engine::StageError;
use crate::raster::{
    Compression, Georeference, Layout, Predictor, RasterError, RasterWriter, SampleType, Samples, WriteOptions,
    read_labels,
};

use super::generate::{SynthScene, generate, scene_for_truth};
use super::sample::{SAMPLE_EPSG, SAMPLE_PIXEL, SampleScene};

/// Makes a scene and its truth and writes both.
///
/// # Errors
/// When the order cannot be met or a file cannot be written.
pub fn write_pair(order: &SampleScene, scene: &Path, truth: &Path) -> Result<(), StageError> {
    let made = generate(&order.config).map_err(|e| StageError::failed(e.to_string()))?;
    let SynthScene { width, height, bands, truth: codes } = made;
    let (east, north) = order.origin;
    let georef = Georeference::from_epsg(SAMPLE_EPSG, [SAMPLE_PIXEL, 0.0, east, 0.0, -SAMPLE_PIXEL, north]);
    write_scene(scene, width, height, bands, &georef)
        .and_then(|()| write_truth(truth, width, height, codes, &georef))
        .map_err(|e| StageError::failed(e.to_string()))
}

/// Makes the scene that belongs to a truth raster and writes both; the truth's pixels and placement are kept.
///
/// # Errors
/// When the mask holds other codes than the exercise's, or a file cannot be read or written.
pub fn write_pair_for(mask: &Path, seed: u64, scene: &Path, truth: &Path) -> Result<(), StageError> {
    let labels = read_labels(mask).map_err(|e| StageError::failed(e.to_string()))?;
    let (width, height) = (labels.width, labels.height);
    let bands = scene_for_truth(&labels.codes, width, height, seed)
        .map_err(|e| StageError::failed(format!("{}: {e}", mask.display())))?;
    write_scene(scene, width, height, bands, &labels.georef)
        .and_then(|()| write_truth(truth, width, height, labels.codes, &labels.georef))
        .map_err(|e| StageError::failed(e.to_string()))
}

fn write_scene(
    path: &Path,
    width: usize,
    height: usize,
    bands: [Vec<i32>; 6],
    georef: &Georeference,
) -> Result<(), RasterError> {
    let options = WriteOptions {
        georef: georef.clone(),
        layout: Layout::tiled(256),
        compression: Compression::Deflate,
        predictor: Predictor::Horizontal,
        planar: true,
        band_names: ["blue", "green", "red", "nir", "swir", "ndvi"].map(str::to_owned).to_vec(),
        ..WriteOptions::new(width, height, 6, SampleType::I32)
    };
    write(path, &options, &Samples::I32(bands.concat()))
}

fn write_truth(
    path: &Path,
    width: usize,
    height: usize,
    codes: Vec<u8>,
    georef: &Georeference,
) -> Result<(), RasterError> {
    let options = WriteOptions {
        georef: georef.clone(),
        compression: Compression::Lzw,
        ..WriteOptions::new(width, height, 1, SampleType::U8)
    };
    write(path, &options, &Samples::U8(codes))
}

fn write(path: &Path, options: &WriteOptions<'_>, samples: &Samples) -> Result<(), RasterError> {
    let mut writer = RasterWriter::create(path, options)?;
    writer.write_rows(samples)?;
    writer.finish()
}
