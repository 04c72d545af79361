//! Writes GeoTIFFs row by row, with memory for one row of tiles.

use std::borrow::Cow;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tempfile::NamedTempFile;
use tiff::TiffResult;
use tiff::encoder::{DirectoryEncoder, TiffEncoder, TiffKind, TiffKindBig, TiffKindStandard, TiffValue};
use tiff::tags::{CompressionMethod, PhotometricInterpretation, PlanarConfiguration, SampleFormat, Tag, Type};

use super::classes::ClassTable;
use super::encode::{self, BandRows, ChunkEncoder};
use super::error::RasterError;
use super::georef::Georeference;
use super::info::{Compression, Layout};
use super::labels;
use super::metadata::{self, MetadataItem};
use super::samples::{SampleType, Samples};

const GDAL_METADATA: Tag = Tag::Unknown(42112);
/// Classic TIFF addresses 4 GiB; from this many bytes of pixels on, BigTIFF is written. The margin is for compression
/// that makes noise larger, and for the tags.
const CLASSIC_LIMIT: u64 = 4_000_000_000;

/// What is done to samples before compression.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Predictor {
    /// Nothing: best for label codes.
    #[default]
    None,
    /// Differences between neighbours: best for imagery.
    Horizontal,
    /// Differences between the bytes of floats.
    Float,
}

/// What to write and how. Begin with [`WriteOptions::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct WriteOptions<'a> {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Samples per pixel.
    pub bands: usize,
    /// Type of every sample.
    pub sample_type: SampleType,
    /// Where the raster lies.
    pub georef: Georeference,
    /// The value that means "no data here".
    pub nodata: Option<f64>,
    /// Colours and names of label codes, for a raster of one uint8 band.
    pub palette: Option<&'a ClassTable>,
    /// Strips or tiles; the sides of tiles are multiples of 16.
    pub layout: Layout,
    /// [`Compression::None`], [`Compression::Lzw`] or [`Compression::Deflate`].
    pub compression: Compression,
    /// What is done before compression.
    pub predictor: Predictor,
    /// Store each band by itself rather than the bands of a pixel side by side.
    pub planar: bool,
    /// Names of the bands; may be fewer than the bands.
    pub band_names: Vec<String>,
    /// Further GDAL metadata.
    pub metadata: Vec<MetadataItem>,
}

impl WriteOptions<'_> {
    /// Tiles of 256x256 px, Deflate, no predictor, bands side by side, not georeferenced.
    pub fn new(width: usize, height: usize, bands: usize, sample_type: SampleType) -> Self {
        Self {
            width,
            height,
            bands,
            sample_type,
            georef: Georeference::default(),
            nodata: None,
            palette: None,
            layout: Layout::tiled(256),
            compression: Compression::Deflate,
            predictor: Predictor::None,
            planar: false,
            band_names: Vec::new(),
            metadata: Vec::new(),
        }
    }

    fn check(&self) -> Result<(), String> {
        let sides = [self.width, self.height];
        if sides.iter().any(|side| !(1..=i32::MAX as usize).contains(side)) || !(1..=65_535).contains(&self.bands) {
            return Err(format!("no TIFF is {}x{} px with {} bands", self.width, self.height, self.bands));
        }
        match self.layout {
            Layout::Tiled { width, height } if width == 0 || height == 0 || width % 16 + height % 16 != 0 => {
                return Err(format!("tiles of {width}x{height} px: their sides must be multiples of 16"));
            }
            Layout::Strips { rows: 0 } => return Err("strips of no rows".to_owned()),
            Layout::Tiled { .. } | Layout::Strips { .. } => {}
        }
        if self.palette.is_some() && (self.bands, self.sample_type) != (1, SampleType::U8) {
            return Err(format!("a colour table needs one uint8 band, not {} of {}", self.bands, self.sample_type));
        }
        if self.band_names.len() > self.bands {
            return Err(format!("{} band names for {} band(s)", self.band_names.len(), self.bands));
        }
        encode::check(self.compression, self.predictor, self.sample_type.is_float())
    }

    fn uncompressed_bytes(&self) -> u64 {
        self.width as u64 * self.height as u64 * self.bands as u64 * self.sample_type.size() as u64
    }

    /// Everything in the GDAL_METADATA tag: band names, class names, then what the caller gave.
    fn all_metadata(&self) -> Vec<MetadataItem> {
        let names = self.band_names.iter().enumerate().map(|(band, name)| metadata::band_name(band, name));
        let classes = self.palette.map(labels::class_items).unwrap_or_default();
        names.chain(classes).chain(self.metadata.iter().cloned()).collect()
    }
}

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

/// What the directory will say, and the geometry of chunks.
#[derive(Debug)]
struct Head {
    width: usize,
    height: usize,
    bands: usize,
    sample_type: SampleType,
    georef: Georeference,
    nodata: Option<f64>,
    color_map: Option<Vec<u16>>,
    layout: Layout,
    planar: bool,
    metadata: Vec<MetadataItem>,
}

impl RasterWriter {
    /// Begins a GeoTIFF at `path`; BigTIFF where the pixels could need more than 4 GB.
    ///
    /// # Errors
    /// [`RasterError::Options`] for options that contradict each other, [`RasterError::Io`].
    pub fn create(path: impl AsRef<Path>, options: &WriteOptions<'_>) -> Result<Self, RasterError> {
        Self::create_as(path.as_ref(), options, options.uncompressed_bytes() > CLASSIC_LIMIT)
    }

    fn create_as(path: &Path, options: &WriteOptions<'_>, big: bool) -> Result<Self, RasterError> {
        options.check().map_err(|what| RasterError::Options { path: path.to_owned(), what })?;
        let fail = |source| RasterError::io("create", path, source);
        let file = temporary_beside(path).map_err(fail)?;
        let out = file.as_file().try_clone().map_err(fail)?;
        let encoder =
            if big { TiffEncoder::new_big(out).map(Encoder::Big) } else { TiffEncoder::new(out).map(Encoder::Classic) };
        let encoder = encoder.map_err(|source| RasterError::encode(path, source))?;

        let head = Head {
            width: options.width,
            height: options.height,
            bands: options.bands,
            sample_type: options.sample_type,
            georef: options.georef.clone(),
            nodata: options.nodata,
            color_map: options.palette.map(color_map),
            layout: match options.layout {
                Layout::Strips { rows } => Layout::Strips { rows: rows.min(options.height) },
                tiled @ Layout::Tiled { .. } => tiled,
            },
            planar: options.planar && options.bands > 1,
            metadata: options.all_metadata(),
        };
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

/// Where the chunks are; 64-bit entries in BigTIFF.
#[derive(Clone, Copy)]
struct ChunkTables<'a> {
    offsets: &'a [u64],
    lengths: &'a [u64],
    wide: bool,
}

impl Head {
    fn chunk_width(&self) -> usize {
        match self.layout {
            Layout::Tiled { width, .. } => width,
            Layout::Strips { .. } => self.width,
        }
    }

    fn across(&self) -> usize {
        self.width.div_ceil(self.chunk_width())
    }

    fn down(&self) -> usize {
        self.height.div_ceil(self.layout.rows())
    }

    fn planes(&self) -> usize {
        if self.planar { self.bands } else { 1 }
    }

    fn write<K: TiffKind>(
        &self,
        mut directory: DirectoryEncoder<'_, File, K>,
        chunk: &ChunkEncoder,
        tables: ChunkTables<'_>,
    ) -> TiffResult<()> {
        let d = &mut directory;
        let bits = 8 * self.sample_type.size() as u16;
        d.write_tag(Tag::ImageWidth, self.width as u32)?;
        d.write_tag(Tag::ImageLength, self.height as u32)?;
        d.write_tag(Tag::BitsPerSample, &vec![bits; self.bands][..])?;
        d.write_tag(Tag::SampleFormat, &vec![sample_format(self.sample_type).to_u16(); self.bands][..])?;
        d.write_tag(Tag::SamplesPerPixel, self.bands as u16)?;
        if self.bands > 1 {
            // Bands after the first are no colours: unspecified.
            d.write_tag(Tag::ExtraSamples, &vec![0u16; self.bands - 1][..])?;
        }
        let planar = if self.planar { PlanarConfiguration::Planar } else { PlanarConfiguration::Chunky };
        d.write_tag(Tag::PlanarConfiguration, planar.to_u16())?;
        d.write_tag(Tag::Compression, compression_code(chunk.compression).to_u16())?;
        if chunk.predictor != Predictor::None {
            d.write_tag(Tag::Predictor, if chunk.predictor == Predictor::Horizontal { 2u16 } else { 3 })?;
        }
        match &self.color_map {
            Some(map) => {
                d.write_tag(Tag::PhotometricInterpretation, PhotometricInterpretation::RGBPalette.to_u16())?;
                d.write_tag(Tag::ColorMap, &map[..])?;
            }
            None => d.write_tag(Tag::PhotometricInterpretation, PhotometricInterpretation::BlackIsZero.to_u16())?,
        }
        self.write_chunk_tags(d, tables)?;
        self.write_georeference(d)?;
        if let Some(nodata) = self.nodata {
            d.write_tag(Tag::GdalNodata, Text(&nodata_text(nodata)))?;
        }
        if !self.metadata.is_empty() {
            d.write_tag(GDAL_METADATA, Text(&metadata::format(&self.metadata)))?;
        }
        directory.finish()
    }

    fn write_chunk_tags<K: TiffKind>(
        &self,
        d: &mut DirectoryEncoder<'_, File, K>,
        tables: ChunkTables<'_>,
    ) -> TiffResult<()> {
        let (offsets, lengths) = match self.layout {
            Layout::Tiled { width, height } => {
                d.write_tag(Tag::TileWidth, width as u32)?;
                d.write_tag(Tag::TileLength, height as u32)?;
                (Tag::TileOffsets, Tag::TileByteCounts)
            }
            Layout::Strips { rows } => {
                d.write_tag(Tag::RowsPerStrip, rows as u32)?;
                (Tag::StripOffsets, Tag::StripByteCounts)
            }
        };
        for (tag, values) in [(offsets, tables.offsets), (lengths, tables.lengths)] {
            if tables.wide {
                d.write_tag(tag, values)?;
            } else {
                let narrow: Result<Vec<u32>, _> = values.iter().map(|&v| u32::try_from(v)).collect();
                d.write_tag(tag, &narrow?[..])?;
            }
        }
        Ok(())
    }

    fn write_georeference<K: TiffKind>(&self, d: &mut DirectoryEncoder<'_, File, K>) -> TiffResult<()> {
        match self.georef.transform_to_write() {
            Some([a, 0.0, c, 0.0, e, f]) if a > 0.0 && e < 0.0 => {
                d.write_tag(Tag::ModelPixelScaleTag, &[a, -e, 0.0][..])?;
                d.write_tag(Tag::ModelTiepointTag, &[0.0, 0.0, 0.0, c, f, 0.0][..])?;
            }
            Some([a, b, c, dd, e, f]) => {
                let matrix = [a, b, 0.0, c, dd, e, 0.0, f, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
                d.write_tag(Tag::ModelTransformationTag, &matrix[..])?;
            }
            None if !self.georef.control_points.is_empty() => {
                d.write_tag(Tag::ModelTiepointTag, self.georef.control_points.as_flattened())?;
            }
            None => {}
        }
        let Some(keys) = self.georef.keys_to_write() else { return Ok(()) };
        d.write_tag(Tag::GeoKeyDirectoryTag, &keys.directory[..])?;
        if !keys.doubles.is_empty() {
            d.write_tag(Tag::GeoDoubleParamsTag, &keys.doubles[..])?;
        }
        if !keys.ascii.is_empty() {
            d.write_tag(Tag::GeoAsciiParamsTag, Text(&keys.ascii))?;
        }
        Ok(())
    }
}

/// A NUL-terminated text tag. The crate's own takes ASCII only, but GDAL's metadata is UTF-8.
struct Text<'a>(&'a str);

impl TiffValue for Text<'_> {
    const BYTE_LEN: u8 = 1;
    const FIELD_TYPE: Type = Type::ASCII;

    fn count(&self) -> usize {
        self.0.len() + 1
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned([self.0.as_bytes(), &[0]].concat())
    }
}

fn sample_format(sample_type: SampleType) -> SampleFormat {
    match sample_type {
        SampleType::U8 | SampleType::U16 | SampleType::U32 | SampleType::U64 => SampleFormat::Uint,
        SampleType::I8 | SampleType::I16 | SampleType::I32 | SampleType::I64 => SampleFormat::Int,
        SampleType::F32 | SampleType::F64 => SampleFormat::IEEEFP,
    }
}

fn compression_code(compression: Compression) -> CompressionMethod {
    match compression {
        Compression::None => CompressionMethod::None,
        Compression::PackBits => CompressionMethod::PackBits,
        Compression::Lzw => CompressionMethod::LZW,
        Compression::Deflate => CompressionMethod::Deflate,
        Compression::Zstd => CompressionMethod::ZSTD,
    }
}

/// All reds, all greens, all blues of the codes 0..=255, 16 bits each; black where there is no class.
fn color_map(classes: &ClassTable) -> Vec<u16> {
    let mut map = vec![0; 3 * 256];
    for class in classes.iter() {
        for (channel, value) in [class.color.0, class.color.1, class.color.2].into_iter().enumerate() {
            map[256 * channel + usize::from(class.code)] = u16::from(value) * 257;
        }
    }
    map
}

/// As GDAL writes it: `nan` in lower case, else the shortest decimal that gives the number back.
fn nodata_text(nodata: f64) -> String {
    if nodata.is_nan() { "nan".to_owned() } else { nodata.to_string() }
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
