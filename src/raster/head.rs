//! The directory of a GeoTIFF that is written: all its tags.

use std::borrow::Cow;
use std::fs::File;

use tiff::TiffResult;
use tiff::encoder::{DirectoryEncoder, TiffKind, TiffValue};
use tiff::tags::{CompressionMethod, PhotometricInterpretation, PlanarConfiguration, SampleFormat, Tag, Type};

use super::classes::ClassTable;
use super::encode::ChunkEncoder;
use super::georef::Georeference;
use super::info::{Compression, Layout};
use super::metadata::{self, MetadataItem};
use super::options::{Predictor, WriteOptions};
use super::samples::SampleType;

/// What the directory will say, and the geometry of chunks.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) bands: usize,
    pub(super) sample_type: SampleType,
    pub(super) georef: Georeference,
    pub(super) nodata: Option<f64>,
    pub(super) color_map: Option<Vec<u16>>,
    pub(super) layout: Layout,
    pub(super) planar: bool,
    pub(super) metadata: Vec<MetadataItem>,
}

/// Where the chunks are; 64-bit entries in BigTIFF.
#[derive(Clone, Copy)]
pub(super) struct ChunkTables<'a> {
    pub(super) offsets: &'a [u64],
    pub(super) lengths: &'a [u64],
    pub(super) wide: bool,
}

impl Head {
    pub(super) fn new(options: &WriteOptions<'_>) -> Self {
        Self {
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
        }
    }

    pub(super) fn chunk_width(&self) -> usize {
        match self.layout {
            Layout::Tiled { width, .. } => width,
            Layout::Strips { .. } => self.width,
        }
    }

    pub(super) fn across(&self) -> usize {
        self.width.div_ceil(self.chunk_width())
    }

    pub(super) fn down(&self) -> usize {
        self.height.div_ceil(self.layout.rows())
    }

    pub(super) fn planes(&self) -> usize {
        if self.planar { self.bands } else { 1 }
    }

    pub(super) fn write<K: TiffKind>(
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
            d.write_tag(metadata::TAG, Text(&metadata::format(&self.metadata)))?;
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
