//! GeoTIFF in and out, georeference, windows, label codes and colours.
//!
//! What there is for GeoTIFF:
//!
//! | | read | written |
//! |---|---|---|
//! | flavour | classic and BigTIFF, both byte orders | classic, BigTIFF where needed; this machine's byte order |
//! | samples | integers of 8, 16, 32, 64 bits; unsigned of 1, 2, 4 bits (as uint8); float 16 (as float32), 32, 64 | all but 1, 2, 4 bits and float 16 |
//! | arrangement | tiles, strips; bands side by side or apart; chunks that are not stored | the same, all chunks stored |
//! | compression | none, PackBits, LZW, Deflate (both codes), Zstandard | none, LZW, Deflate |
//! | predictor | none, horizontal, floating point | the same |
//! | colours | as stored: grey, RGB, palette, CMYK | grey, palette |
//! | place | GeoTIFF keys verbatim, EPSG code, transform, control points, pixel is area or point | the same |
//! | GDAL's | nodata, metadata, band names | the same |
//! | not | JPEG, WebP, LERC, LZMA, fax; complex samples; YCbCr and Lab colours; bands of different types; mask and overview images (counted only) | overviews |
//!
//! Reading is done here, from the directory to the pixels: the `tiff` crate's decoder refuses much of what land-cover
//! people have (palette masks, sparse tiles, planar rasters with extra bands), decodes on one core, and trusts sizes
//! that a damaged file declares. Writing stands on its directory encoder.
//!
//! ```
//! use s2pipe::raster::{Class, ClassTable, Georeference, Rgb, read_labels, write_labels};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let map = folder.path().join("map.tif");
//! let water = Class { code: 6, name: "water".into(), color: Rgb::parse("blue")? };
//! let utm33 = Georeference::from_epsg(32633, [10.0, 0.0, 264890.0, 0.0, -10.0, 6660170.0]);
//! write_labels(&map, 3, 2, &[6, 6, 0, 0, 6, 6], &utm33, &ClassTable::new(vec![water]))?;
//!
//! let labels = read_labels(&map)?;
//! assert_eq!(labels.codes, [6, 6, 0, 0, 6, 6]);
//! assert_eq!(labels.georef.crs_name().as_deref(), Some("EPSG:32633"));
//! # Ok(())
//! # }
//! ```

mod checksum;
mod classes;
mod codec;
mod decode;
mod directory;
mod encode;
mod error;
mod geokeys;
mod georef;
mod grid;
mod head;
mod header;
mod info;
mod labels;
mod layout;
mod metadata;
mod options;
mod reader;
mod samples;
mod sieve;
mod source;
mod summary;
mod writer;

pub use checksum::{checksum, checksum_of};
pub use classes::{Class, ClassTable, ColorError, NO_CLASS, NO_LABEL, Rgb, index_of_code};
pub use error::RasterError;
pub use geokeys::GeoKeys;
pub use georef::{Georeference, PixelIs};
pub use grid::{Footprint, GridMismatch};
pub use info::{ByteOrder, Compression, Layout, RasterInfo};
pub use labels::{LabelRaster, label_options, read_labels, write_labels};
pub use metadata::MetadataItem;
pub use options::{Predictor, WriteOptions};
pub use reader::{Raster, Reader, Window, read};
pub use samples::{Sample, SampleType, Samples};
pub use sieve::sieve;
pub use summary::{BandSummary, Summarizer, summary};
pub use writer::RasterWriter;
