//! Label rasters: one band of class codes, with colours and names.

use std::path::Path;

use super::classes::{Class, ClassTable, NO_LABEL, Rgb};
use super::error::RasterError;
use super::georef::Georeference;
use super::info::{Layout, RasterInfo};
use super::metadata::MetadataItem;
use super::options::WriteOptions;
use super::reader::{Reader, Window};
use super::samples::{SampleType, Samples};
use super::writer::RasterWriter;

/// Marks a label raster whose class names are in its metadata, with the version of that convention.
const FORMAT_ITEM: &str = "S2PIPE_LABELS";
const FORMAT_VERSION: &str = "1";
/// Band metadata `CLASS_1` = `urban`.
const CLASS_PREFIX: &str = "CLASS_";
/// What the band is called in GDAL and QGIS.
const BAND_NAME: &str = "land cover";
/// Rows read together.
const ROWS: usize = 512;

/// A label raster in memory.
#[derive(Clone, PartialEq, Debug)]
pub struct LabelRaster {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Label codes, row by row. Pixels that hold the file's nodata value are [`NO_LABEL`].
    pub codes: Vec<u8>,
    /// Where the raster lies.
    pub georef: Georeference,
    /// The file's nodata value, as it was.
    pub nodata: Option<f64>,
    /// The colour of each code, where the file has a colour table.
    pub palette: Option<Vec<Rgb>>,
    /// Code, name and colour of each class, where [`write_labels`] wrote the file.
    pub classes: Option<ClassTable>,
}

/// Reads a label raster: one band of whole numbers of any type, all within 0..=255.
///
/// # Errors
/// [`RasterError::LabelBands`], [`RasterError::LabelType`], [`RasterError::LabelCode`] naming the first value outside
/// 0..=255 and how many there are; and as [`Reader::open`] and [`Reader::read_rows`].
pub fn read_labels(path: impl AsRef<Path>) -> Result<LabelRaster, RasterError> {
    let reader = Reader::open(path)?;
    let info = reader.info();
    if info.bands != 1 {
        return Err(RasterError::LabelBands { path: info.path.clone(), bands: info.bands });
    }
    if info.sample_type.is_float() {
        return Err(RasterError::LabelType { path: info.path.clone(), found: info.sample_type });
    }
    let mut outside = Outside::default();
    let mut codes = Vec::new();
    for window in reader.row_blocks(ROWS) {
        let samples = reader.read_rows(window.row, window.height)?;
        append_codes(&samples, info.nodata, window, &mut codes, &mut outside);
    }
    if let Some((value, row, col)) = outside.first {
        return Err(RasterError::LabelCode { path: info.path.clone(), value, count: outside.count, row, col });
    }
    Ok(LabelRaster {
        width: info.width,
        height: info.height,
        codes,
        georef: info.georef.clone(),
        nodata: info.nodata,
        palette: info.palette.clone(),
        classes: classes(info),
    })
}

/// Writes label codes, row by row, so that GDAL and QGIS show them in the classes' colours: one uint8 band in tiles of
/// 256x256 px, Deflate, colour table, nodata 0. The same input gives the same bytes.
///
/// # Errors
/// [`RasterError::Rows`] when there are not `width` x `height` codes; [`RasterError::Io`].
pub fn write_labels(
    path: impl AsRef<Path>,
    width: usize,
    height: usize,
    codes: &[u8],
    georef: &Georeference,
    classes: &ClassTable,
) -> Result<(), RasterError> {
    let mut writer = RasterWriter::create(path, &label_options(width, height, georef, classes))?;
    let step = ROWS * width.max(1);
    for rows in codes.chunks(step) {
        writer.write_rows(&Samples::U8(rows.to_vec()))?;
    }
    writer.finish()
}

/// What [`write_labels`] writes with, for a map that is written row by row with a [`RasterWriter`].
pub fn label_options<'a>(
    width: usize,
    height: usize,
    georef: &Georeference,
    classes: &'a ClassTable,
) -> WriteOptions<'a> {
    WriteOptions {
        georef: georef.clone(),
        nodata: Some(f64::from(NO_LABEL)),
        palette: Some(classes),
        layout: Layout::tiled(256),
        band_names: vec![BAND_NAME.to_owned()],
        ..WriteOptions::new(width, height, 1, SampleType::U8)
    }
}

/// The metadata that carries the class names.
pub(super) fn class_items(classes: &ClassTable) -> Vec<MetadataItem> {
    let item = |name: String, band, value: &str| MetadataItem { name, band, role: None, value: value.to_owned() };
    let names = classes.iter().map(|class| item(format!("{CLASS_PREFIX}{}", class.code), Some(0), &class.name));
    std::iter::once(item(FORMAT_ITEM.to_owned(), None, FORMAT_VERSION)).chain(names).collect()
}

/// The class table of a raster that [`write_labels`] wrote.
fn classes(info: &RasterInfo) -> Option<ClassTable> {
    info.metadata.iter().find(|item| item.name == FORMAT_ITEM && item.value == FORMAT_VERSION)?;
    let palette = info.palette.as_ref()?;
    let class = |item: &MetadataItem| {
        let code: u8 = item.name.strip_prefix(CLASS_PREFIX)?.parse().ok()?;
        Some(Class { code, name: item.value.clone(), color: *palette.get(usize::from(code))? })
    };
    Some(ClassTable::new(info.metadata.iter().filter_map(class).collect()))
}

/// Pixels that no class code can stand for.
#[derive(Default)]
struct Outside {
    first: Option<(i128, usize, usize)>,
    count: u64,
}

fn append_codes(samples: &Samples, nodata: Option<f64>, window: Window, codes: &mut Vec<u8>, outside: &mut Outside) {
    macro_rules! append {
        ($values:expr) => {
            codes.extend($values.iter().enumerate().map(|(index, &value)| {
                if nodata == Some(value as f64) {
                    return NO_LABEL;
                }
                u8::try_from(value).unwrap_or_else(|_| {
                    outside.count += 1;
                    let place = (i128::from(value), window.row + index / window.width, index % window.width);
                    outside.first.get_or_insert(place);
                    NO_LABEL
                })
            }))
        };
    }
    match samples {
        Samples::U8(values) => match nodata {
            Some(nodata) if nodata != f64::from(NO_LABEL) => {
                codes.extend(values.iter().map(|&code| if f64::from(code) == nodata { NO_LABEL } else { code }));
            }
            _ => codes.extend_from_slice(values),
        },
        Samples::I8(values) => append!(values),
        Samples::U16(values) => append!(values),
        Samples::I16(values) => append!(values),
        Samples::U32(values) => append!(values),
        Samples::I32(values) => append!(values),
        Samples::U64(values) => append!(values),
        Samples::I64(values) => append!(values),
        // Refused before anything is read.
        Samples::F32(_) | Samples::F64(_) => {}
    }
}
