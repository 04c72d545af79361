//! Writes `tile.safetensors` strip by strip.
//!
//! The safetensors format (a little-endian u64 header length, a JSON header, then the tensors back to back) is written
//! by hand because the crate wants every tensor in memory at once, and a full Sentinel-2 scene is gigabytes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::json;

use crate::raster::SampleType;

/// Number type of the `bands` tensor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TileType {
    /// Unsigned 8 bits.
    U8,
    /// Signed 16 bits.
    I16,
    /// Unsigned 16 bits.
    U16,
    /// Signed 32 bits.
    I32,
    /// 32-bit float.
    F32,
}

impl TileType {
    /// The word that safetensors uses.
    pub fn word(self) -> &'static str {
        match self {
            Self::U8 => "U8",
            Self::I16 => "I16",
            Self::U16 => "U16",
            Self::I32 => "I32",
            Self::F32 => "F32",
        }
    }

    /// Bytes a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::F32 => 4,
        }
    }

    /// The type to try first for a source type: reflectances in 32-bit integers nearly always fit in 16 bits.
    pub fn first_guess(source: SampleType) -> Self {
        match source {
            SampleType::U8 => Self::U8,
            SampleType::U16 => Self::U16,
            SampleType::I8
            | SampleType::I16
            | SampleType::U32
            | SampleType::I32
            | SampleType::U64
            | SampleType::I64 => Self::I16,
            SampleType::F32 | SampleType::F64 => Self::F32,
        }
    }

    /// The next wider type for a value that did not fit.
    pub fn wider(self) -> Self {
        match self {
            Self::U8 | Self::I16 | Self::U16 => Self::I32,
            Self::I32 | Self::F32 => Self::F32,
        }
    }

    /// Appends the value's little-endian bytes; `false`, and nothing appended, when the type cannot hold it exactly
    /// (F32 takes everything, rounded to nearest).
    #[inline]
    pub fn push(self, value: f64, out: &mut Vec<u8>) -> bool {
        macro_rules! exact {
            ($t:ty) => {{
                let cast = value as $t;
                if f64::from(cast) != value {
                    return false;
                }
                out.extend_from_slice(&cast.to_le_bytes());
            }};
        }
        match self {
            Self::U8 => exact!(u8),
            Self::I16 => exact!(i16),
            Self::U16 => exact!(u16),
            Self::I32 => exact!(i32),
            Self::F32 => out.extend_from_slice(&(value as f32).to_le_bytes()),
        }
        true
    }
}

/// Writes one tile: strips of interleaved pixels first, then the two masks.
pub struct TileWriter {
    out: BufWriter<File>,
    expected: usize,
    written: usize,
    pixels: usize,
}

impl TileWriter {
    /// Starts a file for `height` x `width` pixels of `bands` values.
    ///
    /// # Errors
    /// As [`File::create`] and writing.
    pub fn create(path: &Path, height: usize, width: usize, bands: usize, dtype: TileType) -> io::Result<Self> {
        let pixels = height * width;
        let bytes = pixels * bands * dtype.bytes();
        let mut header = json!({
            "__metadata__": { "format": super::SCENE_CARD_VERSION },
            "bands": { "dtype": dtype.word(), "shape": [height, width, bands], "data_offsets": [0, bytes] },
            "labels": { "dtype": "U8", "shape": [height, width], "data_offsets": [bytes, bytes + pixels] },
            "valid": { "dtype": "U8", "shape": [height, width], "data_offsets": [bytes + pixels, bytes + 2 * pixels] },
        })
        .to_string();
        // Readers may map the file: the data starts at a multiple of 8.
        while !header.len().is_multiple_of(8) {
            header.push(' ');
        }
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        Ok(Self { out, expected: bytes, written: 0, pixels })
    }

    /// Appends encoded pixels, rows from top to bottom.
    ///
    /// # Errors
    /// As writing.
    pub fn write_bands(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len();
        self.out.write_all(bytes)
    }

    /// Appends the masks (`height * width` values each) and closes the file.
    ///
    /// # Errors
    /// As writing; [`io::ErrorKind::InvalidInput`] when the rows written do not fill the tile.
    pub fn finish(mut self, labels: &[u8], valid: &[u8]) -> io::Result<()> {
        if self.written != self.expected || labels.len() != self.pixels || valid.len() != self.pixels {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the tile's rows are not complete"));
        }
        self.out.write_all(labels)?;
        self.out.write_all(valid)?;
        self.out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()
    }
}
