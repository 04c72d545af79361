//! GeoTIFF in and out, georeference, windows, label codes and colours.
//!
//! Reading is done here, from the directory to the pixels: the `tiff` crate's decoder refuses much of what land-cover
//! people have (palette masks, sparse tiles, planar rasters with extra bands), decodes on one core, and trusts sizes
//! that a damaged file declares. Writing stands on its directory encoder.

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
mod source;
mod summary;
mod writer;

pub use checksum::{checksum, checksum_of};
pub use classes::{Class, ClassTable, ColorError, NO_CLASS, NO_LABEL, Rgb};
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
pub use summary::{BandSummary, Summarizer, summary};
pub use writer::RasterWriter;
