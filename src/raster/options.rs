//! What to write and how.

use super::classes::ClassTable;
use super::encode;
use super::georef::Georeference;
use super::info::{Compression, Layout};
use super::labels;
use super::metadata::{self, MetadataItem};
use super::samples::SampleType;

/// What is done to samples before compression.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Predictor {
    /// Nothing: best for label codes.
    #[default]
    None,
    /// Differences between neighbours: best for imagery.
    Horizontal,
    /// Differences between the bytes of floats.
    Float,
}

/// What to write and how. Begin with [`WriteOptions::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct WriteOptions<'a> {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Samples per pixel.
    pub bands: usize,
    /// Type of every sample.
    pub sample_type: SampleType,
    /// Where the raster lies.
    pub georef: Georeference,
    /// The value that means "no data here".
    pub nodata: Option<f64>,
    /// Colours and names of label codes, for a raster of one uint8 band.
    pub palette: Option<&'a ClassTable>,
    /// Strips or tiles; the sides of tiles are multiples of 16.
    pub layout: Layout,
    /// [`Compression::None`], [`Compression::Lzw`] or [`Compression::Deflate`].
    pub compression: Compression,
    /// What is done before compression.
    pub predictor: Predictor,
    /// Store each band by itself rather than the bands of a pixel side by side.
    pub planar: bool,
    /// Write BigTIFF also where the pixels take less than 4 GB. Larger ones are BigTIFF anyway.
    pub bigtiff: bool,
    /// Names of the bands; may be fewer than the bands.
    pub band_names: Vec<String>,
    /// Further GDAL metadata.
    pub metadata: Vec<MetadataItem>,
}

impl WriteOptions<'_> {
    /// Tiles of 256x256 px, Deflate, no predictor, bands side by side, not georeferenced.
    pub fn new(width: usize, height: usize, bands: usize, sample_type: SampleType) -> Self {
        Self {
            width,
            height,
            bands,
            sample_type,
            georef: Georeference::default(),
            nodata: None,
            palette: None,
            layout: Layout::tiled(256),
            compression: Compression::Deflate,
            predictor: Predictor::None,
            planar: false,
            bigtiff: false,
            band_names: Vec::new(),
            metadata: Vec::new(),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let sides = [self.width, self.height];
        if sides.iter().any(|side| !(1..=i32::MAX as usize).contains(side)) || !(1..=65_535).contains(&self.bands) {
            return Err(format!("no TIFF is {}x{} px with {} bands", self.width, self.height, self.bands));
        }
        match self.layout {
            Layout::Tiled { width, height } if width == 0 || height == 0 || width % 16 + height % 16 != 0 => {
                return Err(format!("tiles of {width}x{height} px: their sides must be multiples of 16"));
            }
            Layout::Strips { rows: 0 } => return Err("strips of no rows".to_owned()),
            Layout::Tiled { .. } | Layout::Strips { .. } => {}
        }
        if self.palette.is_some() && (self.bands, self.sample_type) != (1, SampleType::U8) {
            return Err(format!("a colour table needs one uint8 band, not {} of {}", self.bands, self.sample_type));
        }
        if self.band_names.len() > self.bands {
            return Err(format!("{} band names for {} band(s)", self.band_names.len(), self.bands));
        }
        encode::check(self.compression, self.predictor, self.sample_type.is_float())
    }

    pub(super) fn uncompressed_bytes(&self) -> u64 {
        self.width as u64 * self.height as u64 * self.bands as u64 * self.sample_type.size() as u64
    }

    /// Everything in the GDAL_METADATA tag: band names, class names, then what the caller gave.
    pub(super) fn all_metadata(&self) -> Vec<MetadataItem> {
        let names = self.band_names.iter().enumerate().map(|(band, name)| metadata::band_name(band, name));
        let classes = self.palette.map(labels::class_items).unwrap_or_default();
        names.chain(classes).chain(self.metadata.iter().cloned()).collect()
    }
}
