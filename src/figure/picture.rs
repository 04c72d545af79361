//! A finished figure.

use std::path::Path;

use image::ExtendedColorType;
use image::codecs::jpeg::{JpegEncoder, PixelDensity};

use super::error::{FigureError, Result};

/// JPEG quality: high enough that flat class colours and letters show no ringing. The encoder keeps colour at full
/// resolution (4:4:4), without which one-pixel classes would bleed.
const QUALITY: u8 = 92;

/// Said in the file, so that a figure of 3,200 px comes out 27 cm wide in print.
const DOTS_PER_INCH: u16 = 300;

/// An sRGB picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Picture {
    /// `rgb` has 3 bytes a pixel, row by row; both sides are at most 65,535.
    pub(super) fn new(width: u32, height: u32, rgb: Vec<u8>) -> Self {
        debug_assert_eq!(rgb.len(), width as usize * height as usize * 3);
        Self { width, height, rgb }
    }

    /// Columns.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// 8-bit sRGB, 3 bytes a pixel, row by row.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The colour at a column and row, which must lie inside.
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let at = (y as usize * self.width as usize + x as usize) * 3;
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    /// The bytes of a baseline JPEG; the same picture gives the same bytes.
    ///
    /// # Errors
    /// When the encoder fails.
    pub fn encode_jpeg(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
        encoder.set_pixel_density(PixelDensity::dpi(DOTS_PER_INCH));
        encoder.encode(&self.rgb, self.width, self.height, ExtendedColorType::Rgb8)?;
        Ok(bytes)
    }

    /// Writes a JPEG file, replacing what is there.
    ///
    /// # Errors
    /// When the encoder fails or the file cannot be written.
    pub fn write_jpeg(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        std::fs::write(path, self.encode_jpeg()?).map_err(|source| FigureError::Write { path: path.to_owned(), source })
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {})", self.width, self.height)
    }
}
