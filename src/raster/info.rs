//! What a raster file says about itself, without its pixels.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::classes::Rgb;
use super::georef::Georeference;
use super::grid::GridMismatch;
use super::metadata::MetadataItem;
use super::samples::SampleType;

/// Order of the bytes of a number in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByteOrder {
    /// Least significant byte first (`II`).
    LittleEndian,
    /// Most significant byte first (`MM`).
    BigEndian,
}

impl ByteOrder {
    /// This machine's order.
    pub(super) const NATIVE: Self = if cfg!(target_endian = "big") { Self::BigEndian } else { Self::LittleEndian };
}

/// How strips or tiles are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// Run lengths (TIFF 6.0 section 9).
    PackBits,
    /// LZW (TIFF 6.0 section 13).
    Lzw,
    /// zlib, under its present and its former code (8 and 32946).
    Deflate,
    /// Zstandard (libtiff's code 50000).
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::PackBits => "packbits",
            Self::Lzw => "lzw",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        })
    }
}

/// How the raster is cut into chunks that are stored, and decoded, as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Tiles; those at the right and lower edge are padded.
    Tiled {
        /// Tile width in pixels.
        width: usize,
        /// Tile height in pixels.
        height: usize,
    },
    /// Whole rows.
    Strips {
        /// Rows per strip.
        rows: usize,
    },
}

impl Layout {
    /// Square tiles.
    pub const fn tiled(side: usize) -> Self {
        Self::Tiled { width: side, height: side }
    }

    /// Rows in one chunk: reading whole multiples of it decodes nothing twice.
    pub const fn rows(&self) -> usize {
        match *self {
            Self::Tiled { height, .. } => height,
            Self::Strips { rows } => rows,
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tiled { width, height } => write!(f, "tiles of {width}x{height} px"),
            Self::Strips { rows } => write!(f, "strips of {rows} row(s)"),
        }
    }
}

/// Everything a GeoTIFF says about itself but its pixels.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RasterInfo {
    /// The file.
    pub path: PathBuf,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Samples per pixel.
    pub bands: usize,
    /// Type of every sample as it is read.
    pub sample_type: SampleType,
    /// Where on Earth the pixels lie.
    pub georef: Georeference,
    /// The value that means "no data here", in any band (GDAL_NODATA).
    pub nodata: Option<f64>,
    /// Colour of each value 0.. of a palette raster.
    pub palette: Option<Vec<Rgb>>,
    /// A name for each band, where the file has one (GDAL's band description).
    pub band_names: Vec<Option<String>>,
    /// GDAL's further metadata, as it stands in the file.
    pub metadata: Vec<MetadataItem>,
    /// How chunks are compressed.
    pub compression: Compression,
    /// TIFF predictor: 1 none, 2 horizontal differences, 3 floating point.
    pub predictor: u16,
    /// How the raster is cut into chunks.
    pub layout: Layout,
    /// True where each band is stored by itself, false where the bands of a pixel lie side by side.
    pub planar: bool,
    /// Number of reduced images (pyramid levels) in the file.
    pub overviews: usize,
    /// True for BigTIFF.
    pub bigtiff: bool,
    /// Byte order of the file.
    pub byte_order: ByteOrder,
}

impl RasterInfo {
    /// Bytes of all pixels, not compressed, in the type they are read as.
    pub fn decoded_bytes(&self) -> u64 {
        let samples = (self.width as u64).saturating_mul(self.height as u64).saturating_mul(self.bands as u64);
        samples.saturating_mul(self.sample_type.size() as u64)
    }

    /// Whether the other raster has the same size, CRS and transform, so that pixel (row, column) is the same place in both.
    ///
    /// # Errors
    /// [`GridMismatch`] with the first difference; [`GridMismatch::between`] words it with names.
    pub fn same_grid(&self, other: &Self) -> Result<(), GridMismatch> {
        GridMismatch::of_sizes((self.width, self.height), (other.width, other.height))?;
        self.georef.same_grid(&other.georef)
    }
}
