//! A digest of a raster's pixels that does not depend on how they are stored.

use std::fmt::Write as _;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::RasterError;
use super::reader::{Reader, Window};

/// Rasters up to this size are read at once; larger ones band by band, which decodes pixel-interleaved files once a band.
const AT_ONCE: u64 = 1 << 30;
/// Rows read together of larger ones.
const ROWS: usize = 512;
/// Samples converted to bytes together.
const SAMPLES: usize = 1 << 16;

/// SHA-256, in lower-case hexadecimal, of all samples in the order band, row, column, each least significant byte first
/// in the type that it is read as (float16 as float32). Equal to
/// `hashlib.sha256(rasterio.open(path).read().astype('<' + …).tobytes())`.
///
/// # Errors
/// As [`Reader::open`] and [`Reader::read_window`].
pub fn checksum(path: impl AsRef<Path>) -> Result<String, RasterError> {
    checksum_of(&Reader::open(path)?)
}

/// [`checksum`] of a raster that is open.
///
/// # Errors
/// As [`Reader::read_window`].
pub fn checksum_of(reader: &Reader) -> Result<String, RasterError> {
    let info = reader.info();
    let mut sha = Sha256::new();
    let bands: Vec<usize> = (0..info.bands).collect();
    if info.decoded_bytes() <= AT_ONCE {
        let all = Window { row: 0, col: 0, height: info.height, width: info.width };
        update(&mut sha, reader, all, &bands)?;
    } else {
        for band in bands {
            for window in reader.row_blocks(ROWS) {
                update(&mut sha, reader, window, &[band])?;
            }
        }
    }
    Ok(sha.finalize().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

fn update(sha: &mut Sha256, reader: &Reader, window: Window, bands: &[usize]) -> Result<(), RasterError> {
    let samples = reader.read_bands(window, bands)?;
    let mut bytes = Vec::with_capacity(SAMPLES * 8);
    for start in (0..samples.len()).step_by(SAMPLES) {
        bytes.clear();
        samples.extend_le_bytes(start..samples.len().min(start + SAMPLES), &mut bytes);
        sha.update(&bytes);
    }
    Ok(())
}
