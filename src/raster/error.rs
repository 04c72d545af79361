//! What can go wrong with a raster file.

use std::io;
use std::path::{Path, PathBuf};

use super::samples::SampleType;

/// Why a raster could not be read or written. Every message names the file, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RasterError {
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// `open`, `read`, `create`, `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// The first bytes are not those of a TIFF.
    #[error("{path} is no TIFF: expected it to begin with II or MM and 42 or 43, found {found}")]
    NotTiff {
        /// The file.
        path: PathBuf,
        /// The first bytes, printable.
        found: String,
    },

    /// The file ends before the data that it declares.
    #[error("{path} is truncated: {what} needs {expected} bytes, the file has {found}; fetch or copy it again")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Which part of the file.
        what: String,
        /// The least size in bytes that the file would need.
        expected: u64,
        /// Its size in bytes.
        found: u64,
    },

    /// It declares more pixels than the bytes stored could ever decode to.
    #[error(
        "{path} declares {what} = {declared} bytes of pixels, which its {stored} stored bytes cannot hold; the file is damaged"
    )]
    Absurd {
        /// The file.
        path: PathBuf,
        /// The declaration.
        what: String,
        /// Its size in bytes when decoded.
        declared: u64,
        /// The bytes there are for it.
        stored: u64,
    },

    /// A well-formed file of a sort that is not read here.
    #[error("{path} has {what}, which is not supported; {help}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The feature, e.g. `JPEG compression`.
        what: String,
        /// What to do instead.
        help: &'static str,
    },

    /// The file contradicts itself or the TIFF specification.
    #[error("{path} is damaged: {what}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The contradiction.
        what: String,
    },

    /// A strip or tile does not decode.
    #[error("{path} is damaged: {chunk} does not decode: {what}; fetch or copy it again")]
    CorruptChunk {
        /// The file.
        path: PathBuf,
        /// Which one, e.g. `tile 3`.
        chunk: String,
        /// What the decoder met.
        what: String,
    },

    /// The pixels asked for do not fit into memory.
    #[error("{path}: no memory for {bytes} bytes of pixels; read it in windows")]
    OutOfMemory {
        /// The file.
        path: PathBuf,
        /// The size of the array in bytes.
        bytes: u64,
    },

    /// A window that reaches beyond the raster.
    #[error(
        "{path} is {width}x{height} px; the window of {window_width}x{window_height} px at row {row}, column {col} reaches beyond it"
    )]
    WindowOutside {
        /// The file.
        path: PathBuf,
        /// Raster width in pixels.
        width: usize,
        /// Raster height in pixels.
        height: usize,
        /// First row of the window.
        row: usize,
        /// First column of the window.
        col: usize,
        /// Width of the window.
        window_width: usize,
        /// Height of the window.
        window_height: usize,
    },

    /// A band that the raster does not have.
    #[error("{path} has {bands} band(s); band {band} was asked for (bands count from 1)")]
    NoSuchBand {
        /// The file.
        path: PathBuf,
        /// Number of bands.
        bands: usize,
        /// The band asked for, counted from 1.
        band: usize,
    },

    /// A label raster must have one band.
    #[error("{path} has {bands} bands; a label raster has exactly one band of class codes")]
    LabelBands {
        /// The file.
        path: PathBuf,
        /// Number of bands found.
        bands: usize,
    },

    /// A label raster holds whole numbers.
    #[error("{path} holds {found} samples; a label raster holds whole class codes 0..=255 (gdal_translate -ot Byte)")]
    LabelType {
        /// The file.
        path: PathBuf,
        /// Sample type found.
        found: SampleType,
    },

    /// A label code that no class can have.
    #[error(
        "{path} has {count} pixel(s) outside the class codes 0..=255, the first is {value} at row {row}, column {col}"
    )]
    LabelCode {
        /// The file.
        path: PathBuf,
        /// The first such value.
        value: i128,
        /// Number of such pixels.
        count: u64,
        /// Row of the first.
        row: usize,
        /// Column of the first.
        col: usize,
    },

    /// The rows handed to a writer do not fit what it was created for.
    #[error("cannot write {path}: {what}")]
    Rows {
        /// The file.
        path: PathBuf,
        /// The misfit.
        what: String,
    },

    /// Options that no TIFF can have.
    #[error("cannot write {path}: {what}")]
    Options {
        /// The file.
        path: PathBuf,
        /// The contradiction.
        what: String,
    },

    /// The TIFF encoder refused.
    #[error("cannot write {path}: {source}")]
    Encode {
        /// The file.
        path: PathBuf,
        /// What the encoder said.
        source: tiff::TiffError,
    },
}

impl RasterError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    pub(super) fn malformed(path: &Path, what: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), what: what.into() }
    }

    pub(super) fn encode(path: &Path, source: tiff::TiffError) -> Self {
        match source {
            tiff::TiffError::IoError(source) => Self::io("write", path, source),
            source => Self::Encode { path: path.to_owned(), source },
        }
    }

    /// The file that the error is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::NotTiff { path, .. }
            | Self::Truncated { path, .. }
            | Self::Absurd { path, .. }
            | Self::Unsupported { path, .. }
            | Self::Malformed { path, .. }
            | Self::CorruptChunk { path, .. }
            | Self::OutOfMemory { path, .. }
            | Self::WindowOutside { path, .. }
            | Self::NoSuchBand { path, .. }
            | Self::LabelBands { path, .. }
            | Self::LabelType { path, .. }
            | Self::LabelCode { path, .. }
            | Self::Rows { path, .. }
            | Self::Options { path, .. }
            | Self::Encode { path, .. } => path,
        }
    }
}
