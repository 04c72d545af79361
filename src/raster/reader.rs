//! Reads pixels: the whole raster, a window, or rows at a time, with all cores.

use std::path::Path;

use rayon::prelude::*;

use super::codec;
use super::decode::{Half, Packed, Storage, Stored};
use super::directory::TiffFile;
use super::error::RasterError;
use super::header::{Header, StoredKind};
use super::info::{Compression, RasterInfo};
use super::layout::{Chunk, Chunks};
use super::samples::{Sample, SampleType, Samples};

/// Fewer samples than this are decoded before another thread has woken up.
const WORTH_SHARING: usize = 1 << 16;

/// A rectangle of pixels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// First row.
    pub row: usize,
    /// First column.
    pub col: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// A raster in memory.
#[derive(Clone, PartialEq, Debug)]
pub struct Raster {
    /// What the file says about itself.
    pub info: RasterInfo,
    /// All pixels in the order band, row, column.
    pub samples: Samples,
}

/// Reads a whole raster.
///
/// # Errors
/// As [`Reader::open`] and [`Reader::read_all`].
pub fn read(path: impl AsRef<Path>) -> Result<Raster, RasterError> {
    let reader = Reader::open(path)?;
    let samples = reader.read_all()?;
    Ok(Raster { info: reader.info, samples })
}

/// An open GeoTIFF. Reading takes `&self` and may be done from several threads.
#[derive(Debug)]
pub struct Reader {
    file: TiffFile,
    info: RasterInfo,
    chunks: Chunks,
    storage: Storage,
    kind: StoredKind,
    /// FillOrder 2: the bits of every stored byte are in reverse.
    reversed_bits: bool,
}

impl Reader {
    /// Opens a GeoTIFF and reads all about it but its pixels. The whole file is checked for being long enough.
    ///
    /// # Errors
    /// [`RasterError`]: no such file, not a TIFF, truncated, damaged, or of an unsupported sort.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RasterError> {
        let file = TiffFile::open(path.as_ref())?;
        let Header { info, chunks, storage, kind, reversed_bits } = Header::read(&file)?;
        Ok(Self { file, info, chunks, storage, kind, reversed_bits })
    }

    /// What the file says about itself.
    pub fn info(&self) -> &RasterInfo {
        &self.info
    }

    /// Reads every pixel, in the order band, row, column.
    ///
    /// # Errors
    /// [`RasterError::CorruptChunk`], [`RasterError::OutOfMemory`], [`RasterError::Io`].
    pub fn read_all(&self) -> Result<Samples, RasterError> {
        self.read_rows(0, self.info.height)
    }

    /// Reads all bands of whole rows, in the order band, row, column. Chunks are decoded as a whole: ask for multiples
    /// of [`rows`](super::Layout::rows) to decode none twice, or use [`Reader::row_blocks`].
    ///
    /// # Errors
    /// As [`Reader::read_window`].
    pub fn read_rows(&self, row: usize, height: usize) -> Result<Samples, RasterError> {
        self.read_window(Window { row, col: 0, height, width: self.info.width })
    }

    /// Reads all bands of a window, in the order band, row, column.
    ///
    /// # Errors
    /// [`RasterError::WindowOutside`], [`RasterError::CorruptChunk`], [`RasterError::OutOfMemory`], [`RasterError::Io`].
    pub fn read_window(&self, window: Window) -> Result<Samples, RasterError> {
        let bands: Vec<usize> = (0..self.info.bands).collect();
        self.read_bands(window, &bands)
    }

    /// Reads some bands (counted from 0) of a window, in the order asked for, row, column.
    ///
    /// # Errors
    /// [`RasterError::NoSuchBand`], and as [`Reader::read_window`].
    pub fn read_bands(&self, window: Window, bands: &[usize]) -> Result<Samples, RasterError> {
        if let Some(band) = bands.iter().find(|&&band| band >= self.info.bands) {
            let (path, bands) = (self.info.path.clone(), self.info.bands);
            return Err(RasterError::NoSuchBand { path, bands, band: band + 1 });
        }
        self.check_window(window)?;
        use SampleType::{F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};
        Ok(match self.kind {
            StoredKind::Plain(U8) => self.read_as::<u8>(window, bands)?.into(),
            StoredKind::Plain(I8) => self.read_as::<i8>(window, bands)?.into(),
            StoredKind::Plain(U16) => self.read_as::<u16>(window, bands)?.into(),
            StoredKind::Plain(I16) => self.read_as::<i16>(window, bands)?.into(),
            StoredKind::Plain(U32) => self.read_as::<u32>(window, bands)?.into(),
            StoredKind::Plain(I32) => self.read_as::<i32>(window, bands)?.into(),
            StoredKind::Plain(U64) => self.read_as::<u64>(window, bands)?.into(),
            StoredKind::Plain(I64) => self.read_as::<i64>(window, bands)?.into(),
            StoredKind::Plain(F32) => self.read_as::<f32>(window, bands)?.into(),
            StoredKind::Plain(F64) => self.read_as::<f64>(window, bands)?.into(),
            StoredKind::Half => self.read_as::<Half>(window, bands)?.into(),
            StoredKind::Packed(1) => self.read_as::<Packed<1>>(window, bands)?.into(),
            StoredKind::Packed(2) => self.read_as::<Packed<2>>(window, bands)?.into(),
            StoredKind::Packed(_) => self.read_as::<Packed<4>>(window, bands)?.into(),
        })
    }

    /// Windows of whole rows, top to bottom, that cover the raster: each a multiple of the chunk height and of about
    /// `target_rows` rows, the last one what is left.
    pub fn row_blocks(&self, target_rows: usize) -> impl Iterator<Item = Window> + use<> {
        let (width, height, chunk) = (self.info.width, self.info.height, self.chunks.height);
        let step = (target_rows / chunk).max(1) * chunk;
        (0..height).step_by(step).map(move |row| Window { row, col: 0, height: step.min(height - row), width })
    }

    fn check_window(&self, window: Window) -> Result<(), RasterError> {
        let Window { row, col, height, width } = window;
        let fits = |from: usize, len: usize, all: usize| from.checked_add(len).is_some_and(|end| end <= all);
        if fits(row, height, self.info.height) && fits(col, width, self.info.width) {
            return Ok(());
        }
        Err(RasterError::WindowOutside {
            path: self.info.path.clone(),
            width: self.info.width,
            height: self.info.height,
            row,
            col,
            window_width: width,
            window_height: height,
        })
    }

    fn read_as<S: Stored>(&self, window: Window, bands: &[usize]) -> Result<Vec<S::Out>, RasterError> {
        let per_band = window.height.saturating_mul(window.width);
        let mut out = self.allocate::<S::Out>(per_band.saturating_mul(bands.len()))?;
        if out.is_empty() {
            return Ok(out);
        }
        let samples = out.len();
        let mut jobs = self.jobs(window, bands, &mut out);
        if samples < WORTH_SHARING {
            let mut scratch = Scratch::new(self.info.compression);
            jobs.iter_mut().try_for_each(|job| self.fill::<S>(job, window, &mut scratch))?;
        } else {
            let fill = |scratch: &mut _, job: &mut _| self.fill::<S>(job, window, scratch);
            jobs.par_iter_mut().try_for_each_init(|| Scratch::new(self.info.compression), fill)?;
        }
        Ok(out)
    }

    fn allocate<T: Sample>(&self, len: usize) -> Result<Vec<T>, RasterError> {
        let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
        let fail = |_| RasterError::OutOfMemory { path: self.info.path.clone(), bytes };
        // Asked for once to see whether it can be had, as `vec!` would end the process; `vec!` gets pages that are zero
        // already.
        Vec::<T>::new().try_reserve_exact(len).map_err(fail)?;
        // Pixels of chunks that are not stored stay as they are here.
        match self.info.nodata.map(T::from_f64) {
            Some(nodata) if self.chunks.sparse() => Ok(vec![nodata; len]),
            _ => Ok(vec![T::default(); len]),
        }
    }

    /// Cuts `out` (band, row, column) into what the chunk rows of each plane fill: disjoint, so that they can be filled
    /// side by side.
    fn jobs<'a, T>(&self, window: Window, bands: &[usize], out: &'a mut [T]) -> Vec<Job<'a, T>> {
        let chunk_rows = window.row / self.chunks.height..(window.row + window.height).div_ceil(self.chunks.height);
        let mut jobs: Vec<Job<'a, T>> = Vec::new();
        for (order, (&band, mut rest)) in bands.iter().zip(out.chunks_mut(window.height * window.width)).enumerate() {
            for (position, down) in chunk_rows.clone().enumerate() {
                let first = window.row.max(down * self.chunks.height);
                let end = (window.row + window.height).min((down + 1) * self.chunks.height);
                let (slice, after) = rest.split_at_mut((end - first) * window.width);
                rest = after;
                if self.chunks.planar {
                    jobs.push(Job { plane: band, down, rows: (first, end), targets: vec![(0, slice)] });
                } else if order == 0 {
                    jobs.push(Job { plane: 0, down, rows: (first, end), targets: vec![(band, slice)] });
                } else {
                    jobs[position].targets.push((band, slice));
                }
            }
        }
        jobs
    }

    /// Decodes the chunks of one chunk row that touch the window and copies their pixels to where they belong.
    fn fill<S: Stored>(
        &self,
        job: &mut Job<'_, S::Out>,
        window: Window,
        scratch: &mut Scratch<S::Out>,
    ) -> Result<(), RasterError> {
        let chunks = &self.chunks;
        let columns = window.col / chunks.width..(window.col + window.width).div_ceil(chunks.width);
        let top = job.down * chunks.height;
        let rows = (job.rows.0 - top, job.rows.1 - top);
        for across in columns {
            let chunk = chunks.get(job.plane, job.down, across);
            if chunk.stored == 0 {
                continue;
            }
            self.decode(chunk, rows, scratch)?;
            let left = across * chunks.width;
            let first = window.col.max(left);
            let end = (window.col + window.width).min(left + chunks.width);
            let row_bytes = scratch.decoded.chunks_exact_mut(chunks.row_bytes());
            for (line, bytes) in row_bytes.enumerate() {
                S::decode_row(self.storage, bytes, &mut scratch.row);
                let stride = chunks.samples_per_pixel();
                let from = &scratch.row[(first - left) * stride..(end - left) * stride];
                for (band, target) in &mut job.targets {
                    let at = line * window.width + first - window.col;
                    let to = &mut target[at..at + end - first];
                    if stride == 1 {
                        to.copy_from_slice(from);
                    } else {
                        let band_of_each = from[*band..].iter().step_by(stride);
                        to.iter_mut().zip(band_of_each).for_each(|(to, &from)| *to = from);
                    }
                }
            }
        }
        Ok(())
    }

    /// Leaves the bytes of rows `first..end` of a chunk in `scratch.decoded`.
    fn decode<T>(
        &self,
        chunk: Chunk,
        (first, end): (usize, usize),
        scratch: &mut Scratch<T>,
    ) -> Result<(), RasterError> {
        let row_bytes = self.chunks.row_bytes();
        let name = || self.chunks.name(chunk.index);
        let (skip, wanted) = (first * row_bytes, (end - first) * row_bytes);
        if self.info.compression == Compression::None {
            let offset = chunk.offset + skip as u64;
            self.file.source.read(offset, wanted as u64, &mut scratch.decoded, name)?;
            self.reverse_bits(&mut scratch.decoded);
            return Ok(());
        }
        self.file.source.read(chunk.offset, chunk.stored, &mut scratch.stored, name)?;
        self.reverse_bits(&mut scratch.stored);
        // Rows after the wanted ones need not be decompressed; those before are needed to get there.
        let needed = end.min(chunk.rows) * row_bytes;
        scratch.decoded.resize(needed, 0);
        let corrupt = |what| RasterError::CorruptChunk { path: self.info.path.clone(), chunk: name(), what };
        let found = scratch.decoder.decompress(&scratch.stored, &mut scratch.decoded).map_err(corrupt)?;
        if found < needed {
            return Err(corrupt(format!("expected {needed} bytes, found {found}")));
        }
        scratch.decoded.drain(..skip);
        Ok(())
    }

    fn reverse_bits(&self, bytes: &mut [u8]) {
        if self.reversed_bits {
            bytes.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
        }
    }
}

/// What one chunk row fills: for each band (its place inside a pixel of the chunk) the rows `rows` of the window.
struct Job<'a, T> {
    plane: usize,
    down: usize,
    rows: (usize, usize),
    targets: Vec<(usize, &'a mut [T])>,
}

/// Buffers that a thread uses again for every chunk.
struct Scratch<T> {
    stored: Vec<u8>,
    decoded: Vec<u8>,
    row: Vec<T>,
    decoder: codec::Decoder,
}

impl<T> Scratch<T> {
    fn new(compression: Compression) -> Self {
        Self { stored: Vec::new(), decoded: Vec::new(), row: Vec::new(), decoder: codec::Decoder::new(compression) }
    }
}
