//! Writes GeoTIFFs row by row, with memory for one row of tiles.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tempfile::NamedTempFile;
use tiff::TiffResult;
use tiff::encoder::{TiffEncoder, TiffKind, TiffKindBig, TiffKindStandard};

use super::encode::{BandRows, ChunkEncoder};
use super::error::RasterError;
use super::head::{ChunkTables, Head};
use super::info::Layout;
use super::options::WriteOptions;
use super::samples::Samples;

/// Classic TIFF addresses 4 GiB; from this many bytes of pixels on, BigTIFF is written. The margin is for compression
/// that makes noise larger, and for the tags.
const CLASSIC_LIMIT: u64 = 4_000_000_000;

/// A GeoTIFF being written. The file appears under its name, whole, with [`RasterWriter::finish`]; until then, and when
/// the writer is dropped before that, whatever was there stays as it was.
#[derive(Debug)]
pub struct RasterWriter {
    path: PathBuf,
    file: NamedTempFile,
    encoder: Encoder,
    head: Head,
    chunk: ChunkEncoder,
    /// Rows not yet written, one buffer a band.
    pending: Vec<Vec<u8>>,
    rows_taken: usize,
    chunk_rows_done: usize,
    offsets: Vec<u64>,
    lengths: Vec<u64>,
}

/// The encoder of the `tiff` crate, for either flavour.
enum Encoder {
    Classic(TiffEncoder<File, TiffKindStandard>),
    Big(TiffEncoder<File, TiffKindBig>),
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Classic(_)) { "Classic" } else { "Big" })
    }
}

impl RasterWriter {
    /// Begins a GeoTIFF at `path`; BigTIFF where the pixels could need more than 4 GB.
    ///
    /// # Errors
    /// [`RasterError::Options`] for options that contradict each other, [`RasterError::Io`].
    pub fn create(path: impl AsRef<Path>, options: &WriteOptions<'_>) -> Result<Self, RasterError> {
        let path = path.as_ref();
        options.check().map_err(|what| RasterError::Options { path: path.to_owned(), what })?;
        let fail = |source| RasterError::io("create", path, source);
        let file = temporary_beside(path).map_err(fail)?;
        let out = file.as_file().try_clone().map_err(fail)?;
        let big = options.bigtiff || options.uncompressed_bytes() > CLASSIC_LIMIT;
        let encoder =
            if big { TiffEncoder::new_big(out).map(Encoder::Big) } else { TiffEncoder::new(out).map(Encoder::Classic) };
        let encoder = encoder.map_err(|source| RasterError::encode(path, source))?;

        let head = Head::new(options);
        let chunks = head.planes() * head.down() * head.across();
        Ok(Self {
            path: path.to_owned(),
            file,
            encoder,
            chunk: ChunkEncoder {
                width: head.chunk_width(),
                sample_size: head.sample_type.size(),
                compression: options.compression,
                predictor: options.predictor,
            },
            pending: vec![Vec::new(); head.bands],
            rows_taken: 0,
            chunk_rows_done: 0,
            offsets: vec![0; chunks],
            lengths: vec![0; chunks],
            head,
        })
    }

    /// Takes the next rows of all bands, in the order band, row, column.
    ///
    /// # Errors
    /// [`RasterError::Rows`] when type or number of the samples do not fit, [`RasterError::Io`].
    pub fn write_rows(&mut self, samples: &Samples) -> Result<(), RasterError> {
        let misfit = |what: String| RasterError::Rows { path: self.path.clone(), what };
        let Head { width, height, bands, sample_type, .. } = self.head;
        if samples.sample_type() != sample_type {
            return Err(misfit(format!("expected {sample_type} samples, got {}", samples.sample_type())));
        }
        if !samples.len().is_multiple_of(width * bands) {
            return Err(misfit(format!(
                "{} samples are no whole rows of {width} px with {bands} band(s)",
                samples.len()
            )));
        }
        let rows = samples.len() / (width * bands);
        if self.rows_taken + rows > height {
            return Err(misfit(format!("it has {height} rows, got {}", self.rows_taken + rows)));
        }
        // Chunk row by chunk row, so that a whole raster handed over at once is not copied whole.
        let mut taken = 0;
        while taken < rows {
            let row_bytes = width * sample_type.size();
            let room = self.head.layout.rows() - self.pending[0].len() / row_bytes;
            let now = room.min(rows - taken);
            for (band, pending) in self.pending.iter_mut().enumerate() {
                let start = (band * rows + taken) * width;
                samples.extend_ne_bytes(start..start + now * width, pending);
            }
            taken += now;
            self.rows_taken += now;
            if now == room || self.rows_taken == height {
                self.write_chunk_row()?;
            }
        }
        Ok(())
    }

    /// Writes the directory and puts the file in its place.
    ///
    /// # Errors
    /// [`RasterError::Rows`] when rows are missing, [`RasterError::Io`].
    pub fn finish(mut self) -> Result<(), RasterError> {
        if self.rows_taken < self.head.height {
            let what = format!("it has {} rows, got only {}", self.head.height, self.rows_taken);
            return Err(RasterError::Rows { path: self.path, what });
        }
        let wide = matches!(self.encoder, Encoder::Big(_));
        let tables = ChunkTables { offsets: &self.offsets, lengths: &self.lengths, wide };
        let written = match &mut self.encoder {
            Encoder::Classic(encoder) => {
                encoder.image_directory().and_then(|d| self.head.write(d, &self.chunk, tables))
            }
            Encoder::Big(encoder) => encoder.image_directory().and_then(|d| self.head.write(d, &self.chunk, tables)),
        };
        written.map_err(|source| RasterError::encode(&self.path, source))?;
        self.file.persist(&self.path).map_err(|e| RasterError::io("create", &self.path, e.error))?;
        Ok(())
    }

    fn write_chunk_row(&mut self) -> Result<(), RasterError> {
        let head = &self.head;
        let row_bytes = head.width * head.sample_type.size();
        let rows = match head.layout {
            Layout::Tiled { height, .. } => height,
            Layout::Strips { .. } => self.pending[0].len() / row_bytes,
        };
        let bands_of = |plane: usize| if head.planar { plane..plane + 1 } else { 0..head.bands };
        let places: Vec<(usize, usize)> =
            (0..head.planes()).flat_map(|plane| (0..head.across()).map(move |across| (plane, across))).collect();
        let encoded: Vec<Vec<u8>> = places
            .par_iter()
            .map(|&(plane, across)| {
                let bands: Vec<BandRows<'_>> =
                    self.pending[bands_of(plane)].iter().map(|bytes| BandRows { bytes, width: head.width }).collect();
                self.chunk.encode(&bands, across * self.chunk.width, rows)
            })
            .collect();

        for ((plane, across), bytes) in places.into_iter().zip(encoded) {
            let index = (plane * self.head.down() + self.chunk_rows_done) * self.head.across() + across;
            let offset = self.encoder.append(&bytes).map_err(|source| RasterError::encode(&self.path, source))?;
            self.offsets[index] = offset;
            self.lengths[index] = bytes.len() as u64;
        }
        self.chunk_rows_done += 1;
        self.pending.iter_mut().for_each(Vec::clear);
        Ok(())
    }
}

impl Encoder {
    /// Appends bytes to the file and returns where they begin.
    fn append(&mut self, bytes: &[u8]) -> TiffResult<u64> {
        fn append<K: TiffKind>(encoder: &mut TiffEncoder<File, K>, bytes: &[u8]) -> TiffResult<u64> {
            // The encoder lends out its file through a directory only. This one is never finished, and must not be
            // dropped, as that would write it.
            ManuallyDrop::new(encoder.extra_directory()?).write_data(bytes)
        }
        match self {
            Self::Classic(encoder) => append(encoder, bytes),
            Self::Big(encoder) => append(encoder, bytes),
        }
    }
}

/// A new file in the directory of `path`, to be renamed to it, with the permissions that any new file gets.
fn temporary_beside(path: &Path) -> std::io::Result<NamedTempFile> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".s2pipe-").suffix(".tif.part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::SampleType;

    #[test]
    fn bigtiff_begins_where_classic_tiff_could_end() {
        let folder = tempfile::tempdir().unwrap();
        let is_big = |side, bands, sample_type| {
            let options = WriteOptions::new(side, side, bands, sample_type);
            let writer = RasterWriter::create(folder.path().join("a.tif"), &options).unwrap();
            matches!(writer.encoder, Encoder::Big(_))
        };
        assert!(!is_big(10_980, 6, SampleType::I32));
        assert!(is_big(10_980, 9, SampleType::I32));
        assert!(!is_big(40_000, 1, SampleType::U16));
        assert!(is_big(40_000, 1, SampleType::F32));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let options = WriteOptions::new(1, 1, 1, SampleType::U8);
        let error = RasterWriter::create("no/such/folder/a.tif", &options).unwrap_err().to_string();
        assert!(error.starts_with("cannot create no/such/folder/a.tif:"), "{error}");
    }
}
