//! Where a raster's strips or tiles are, and whether they can hold what the directory declares.

use std::ops::Range;

use tiff::tags::Tag;

use super::codec;
use super::directory::{Directory, TiffFile};
use super::error::RasterError;
use super::info::{Compression, Layout};

/// A chunk that is not stored at all (GDAL's SPARSE_OK) may decode to this many bytes, not more.
const MAX_SPARSE_CHUNK: u64 = 64 << 20;
/// No raster that people have is wider or higher; keeps all arithmetic far from overflow.
const MAX_SIDE: u64 = 1 << 30;

/// The size of a raster and of its pixels, as declared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) bands: usize,
    /// Bits of a sample as stored.
    pub(super) bits: usize,
}

/// The strips or tiles of a raster.
#[derive(Debug)]
pub(super) struct Chunks {
    pub(super) shape: Shape,
    pub(super) layout: Layout,
    pub(super) planar: bool,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) across: usize,
    pub(super) down: usize,
    offsets: Vec<u64>,
    lengths: Vec<u64>,
}

/// One strip or tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub(super) index: usize,
    pub(super) offset: u64,
    /// Stored bytes; 0 means that it is not stored and holds nodata.
    pub(super) stored: u64,
    /// Rows that it decodes to: all of a tile, what is left of the raster in the last strip.
    pub(super) rows: usize,
}

impl Chunks {
    /// Reads the chunk tables and checks them: enough entries, all inside the file, none declared larger than its stored
    /// bytes could decode to.
    pub(super) fn read(
        file: &TiffFile,
        directory: &Directory,
        shape: Shape,
        planar: bool,
        compression: Compression,
    ) -> Result<Self, RasterError> {
        let (layout, width, height) = geometry(file, directory, shape)?;
        let tiled = matches!(layout, Layout::Tiled { .. });
        let mut chunks = Self {
            shape,
            layout,
            planar,
            width,
            height,
            across: shape.width.div_ceil(width),
            down: shape.height.div_ceil(height),
            offsets: Vec::new(),
            lengths: Vec::new(),
        };
        let (offsets, lengths) =
            if tiled { (Tag::TileOffsets, Tag::TileByteCounts) } else { (Tag::StripOffsets, Tag::StripByteCounts) };
        chunks.offsets = file.unsigned(directory, offsets)?.ok_or_else(|| missing(file, offsets))?;
        chunks.lengths = match file.unsigned(directory, lengths)? {
            Some(lengths) => lengths,
            // Old writers left the lengths out where they follow from the size.
            None if compression == Compression::None => {
                (0..chunks.count()).map(|i| chunks.decoded_bytes(chunks.rows_of(i))).collect()
            }
            None => return Err(missing(file, lengths)),
        };
        chunks.check(file, compression)?;
        Ok(chunks)
    }

    /// Samples of one pixel inside a chunk: all bands, or 1 where each band is stored by itself.
    pub(super) fn samples_per_pixel(&self) -> usize {
        if self.planar { 1 } else { self.shape.bands }
    }

    /// Stored bytes of one row of a chunk when decompressed; rows begin at whole bytes.
    pub(super) fn row_bytes(&self) -> usize {
        (self.width * self.samples_per_pixel() * self.shape.bits).div_ceil(8)
    }

    /// Number of planes of chunks: 1, or one for each band.
    pub(super) fn planes(&self) -> usize {
        if self.planar { self.shape.bands } else { 1 }
    }

    /// The chunk of `plane` in chunk row `down` and chunk column `across`.
    pub(super) fn get(&self, plane: usize, down: usize, across: usize) -> Chunk {
        let index = (plane * self.down + down) * self.across + across;
        let (offset, stored) = (self.offsets[index], self.lengths[index]);
        let rows = self.rows_of(index);
        Chunk { index, offset, stored: if offset == 0 { 0 } else { stored }, rows }
    }

    /// Whether some chunks are not stored.
    pub(super) fn sparse(&self) -> bool {
        self.offsets.contains(&0) || self.lengths.contains(&0)
    }

    /// A chunk's name in messages.
    pub(super) fn name(&self, index: usize) -> String {
        let kind = if matches!(self.layout, Layout::Tiled { .. }) { "tile" } else { "strip" };
        format!("{kind} {index}")
    }

    fn count(&self) -> usize {
        self.planes() * self.down * self.across
    }

    fn rows_of(&self, index: usize) -> usize {
        let row = (index / self.across % self.down) * self.height;
        match self.layout {
            Layout::Tiled { .. } => self.height,
            Layout::Strips { .. } => self.height.min(self.shape.height - row),
        }
    }

    fn decoded_bytes(&self, rows: usize) -> u64 {
        self.row_bytes() as u64 * rows as u64
    }

    fn check(&self, file: &TiffFile, compression: Compression) -> Result<(), RasterError> {
        let have = self.offsets.len().min(self.lengths.len());
        if have < self.count() {
            let kinds = self.name(0).replace(" 0", "s");
            return Err(RasterError::malformed(
                file.path(),
                format!("its size needs {} {kinds}, it lists {have}", self.count()),
            ));
        }
        let range: Range<usize> = 0..self.count();
        for (index, (&offset, &length)) in range.zip(self.offsets.iter().zip(&self.lengths)) {
            let declared = self.decoded_bytes(self.rows_of(index));
            let stored = if offset == 0 { 0 } else { length };
            let capacity = match (stored, compression) {
                (0, _) => MAX_SPARSE_CHUNK,
                // Bytes beyond the declared ones are never read.
                (_, Compression::None) => {
                    file.source.check(offset, declared, || self.name(index))?;
                    declared
                }
                (stored, compression) => {
                    file.source.check(offset, stored, || self.name(index))?;
                    codec::capacity(compression, stored)
                }
            };
            if declared > capacity {
                let what = self.name(index);
                return Err(RasterError::Absurd { path: file.path().to_owned(), what, declared, stored });
            }
        }
        Ok(())
    }
}

/// Layout, chunk width and chunk height.
fn geometry(file: &TiffFile, directory: &Directory, shape: Shape) -> Result<(Layout, usize, usize), RasterError> {
    let get = |tag| file.first_unsigned(directory, tag);
    let (layout, width, height) = match (get(Tag::TileWidth)?, get(Tag::TileLength)?) {
        (Some(width), Some(height)) => {
            let (width, height) = (side(file, "tile width", width)?, side(file, "tile height", height)?);
            (Layout::Tiled { width, height }, width, height)
        }
        _ => {
            // Absent, or as large as it goes: everything in one strip.
            let declared = get(Tag::RowsPerStrip)?.unwrap_or(u64::MAX).min(shape.height as u64);
            let rows = side(file, "rows per strip", declared)?;
            (Layout::Strips { rows }, shape.width, rows)
        }
    };
    let bytes = [height as u64, shape.bands as u64, shape.bits as u64]
        .iter()
        .try_fold(width as u64, |product, &factor| product.checked_mul(factor))
        .filter(|&bits| usize::try_from(bits).is_ok());
    if bytes.is_none() {
        return Err(RasterError::malformed(file.path(), format!("{layout} of {} bands are no sane size", shape.bands)));
    }
    Ok((layout, width, height))
}

/// A width or height: at least 1, and no wilder than any raster ever made.
pub(super) fn side(file: &TiffFile, what: &str, value: u64) -> Result<usize, RasterError> {
    if (1..=MAX_SIDE).contains(&value) {
        Ok(value as usize)
    } else {
        Err(RasterError::malformed(file.path(), format!("{what} is {value}")))
    }
}

fn missing(file: &TiffFile, tag: Tag) -> RasterError {
    RasterError::malformed(file.path(), format!("it has no {tag:?} tag, so there is no telling where its pixels are"))
}
