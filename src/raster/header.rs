//! What the directory's tags mean: type, layout and place of a raster, or why it cannot be read.

use tiff::tags::{CompressionMethod, PhotometricInterpretation, Tag};

use super::classes::Rgb;
use super::decode::Storage;
use super::directory::{Directory, TiffFile};
use super::error::RasterError;
use super::georef::Georeference;
use super::info::{Compression, RasterInfo};
use super::layout::{Chunks, Shape, side};
use super::metadata;
use super::samples::SampleType;

/// More bands than any sensor has; keeps a damaged header from asking for the impossible.
const MAX_BANDS: u64 = 65_535;

/// All that reading pixels needs to know.
pub(super) struct Header {
    pub(super) info: RasterInfo,
    pub(super) chunks: Chunks,
    pub(super) storage: Storage,
    pub(super) kind: StoredKind,
    /// FillOrder 2: the bits of every stored byte are in reverse.
    pub(super) reversed_bits: bool,
}

/// How samples are stored, see [`Stored`].
#[derive(Clone, Copy, Debug)]
pub(super) enum StoredKind {
    Plain(SampleType),
    Half,
    Packed(usize),
}

impl Header {
    pub(super) fn read(file: &TiffFile) -> Result<Self, RasterError> {
        let directory = file.first_directory()?;
        let (kind, bits) = stored_kind(file, &directory)?;
        let shape = shape(file, &directory, bits)?;
        check_photometric(file, &directory)?;
        let compression = compression(file, &directory)?;
        let predictor = predictor(file, &directory, compression, kind)?;
        let planar = file.first_unsigned(&directory, Tag::PlanarConfiguration)? == Some(2);
        // With one band both arrangements are the same.
        let chunks = Chunks::read(file, &directory, shape, planar && shape.bands > 1, compression)?;

        let gdal = metadata::parse(&file.text(&directory, metadata::TAG)?.unwrap_or_default());
        let info = RasterInfo {
            path: file.path().to_owned(),
            width: shape.width,
            height: shape.height,
            bands: shape.bands,
            sample_type: kind.read_as(),
            georef: Georeference::read(file, &directory)?,
            nodata: file.text(&directory, Tag::GdalNodata)?.and_then(|text| text.trim().parse().ok()),
            palette: palette(file, &directory)?,
            band_names: metadata::band_names(&gdal, shape.bands),
            metadata: gdal,
            compression,
            predictor,
            layout: chunks.layout,
            planar,
            overviews: file.following(&directory).iter().filter(|d| is_overview(file, d)).count(),
            bigtiff: file.big,
            byte_order: file.order,
        };
        let storage = Storage { order: file.order, predictor, stride: chunks.samples_per_pixel() };
        let reversed_bits = file.first_unsigned(&directory, Tag::FillOrder)? == Some(2);
        Ok(Self { info, chunks, storage, kind, reversed_bits })
    }
}

fn shape(file: &TiffFile, directory: &Directory, bits: usize) -> Result<Shape, RasterError> {
    let required = |tag| {
        let value = file.first_unsigned(directory, tag)?;
        value.ok_or_else(|| RasterError::malformed(file.path(), format!("it has no {tag:?} tag")))
    };
    let width = side(file, "the width", required(Tag::ImageWidth)?)?;
    let height = side(file, "the height", required(Tag::ImageLength)?)?;
    let bands = file.first_unsigned(directory, Tag::SamplesPerPixel)?.unwrap_or(1);
    if !(1..=MAX_BANDS).contains(&bands) {
        return Err(RasterError::malformed(file.path(), format!("the number of bands is {bands}")));
    }
    Ok(Shape { width, height, bands: bands as usize, bits })
}

impl StoredKind {
    pub(super) fn read_as(self) -> SampleType {
        match self {
            Self::Plain(sample_type) => sample_type,
            Self::Half => SampleType::F32,
            Self::Packed(_) => SampleType::U8,
        }
    }
}

fn stored_kind(file: &TiffFile, directory: &Directory) -> Result<(StoredKind, usize), RasterError> {
    let bits = file.unsigned(directory, Tag::BitsPerSample)?.unwrap_or_else(|| vec![1]);
    let formats = file.unsigned(directory, Tag::SampleFormat)?.unwrap_or_else(|| vec![1]);
    let uniform = |values: &[u64]| values.iter().all(|v| Some(v) == values.first());
    let (Some(&depth), Some(&format), true, true) = (bits.first(), formats.first(), uniform(&bits), uniform(&formats))
    else {
        return Err(unsupported(file, "bands of different sample types".to_owned(), "split them: gdal_translate -b N"));
    };
    // Format 4, "undefined", is read as unsigned, as GDAL does.
    let kind = match (format, depth) {
        (1 | 4, 1 | 2 | 4) => StoredKind::Packed(depth as usize),
        (1 | 4, 8) => StoredKind::Plain(SampleType::U8),
        (1 | 4, 16) => StoredKind::Plain(SampleType::U16),
        (1 | 4, 32) => StoredKind::Plain(SampleType::U32),
        (1 | 4, 64) => StoredKind::Plain(SampleType::U64),
        (2, 8) => StoredKind::Plain(SampleType::I8),
        (2, 16) => StoredKind::Plain(SampleType::I16),
        (2, 32) => StoredKind::Plain(SampleType::I32),
        (2, 64) => StoredKind::Plain(SampleType::I64),
        (3, 16) => StoredKind::Half,
        (3, 32) => StoredKind::Plain(SampleType::F32),
        (3, 64) => StoredKind::Plain(SampleType::F64),
        (5 | 6, _) => {
            return Err(unsupported(file, "complex samples".to_owned(), "convert them: gdal_translate -ot Float32"));
        }
        (_, depth) => {
            let what = format!("samples of {depth} bits (sample format {format})");
            return Err(unsupported(file, what, "convert them: gdal_translate -co NBITS=16 or -ot Float32"));
        }
    };
    Ok((kind, depth as usize))
}

fn check_photometric(file: &TiffFile, directory: &Directory) -> Result<(), RasterError> {
    let Some(code) = file.first_unsigned(directory, Tag::PhotometricInterpretation)? else { return Ok(()) };
    let colours = u16::try_from(code).ok().and_then(PhotometricInterpretation::from_u16);
    let what = match colours {
        // The values are read as they are stored, also where 0 is white.
        Some(
            PhotometricInterpretation::WhiteIsZero
            | PhotometricInterpretation::BlackIsZero
            | PhotometricInterpretation::RGB
            | PhotometricInterpretation::RGBPalette
            | PhotometricInterpretation::TransparencyMask
            | PhotometricInterpretation::CMYK,
        ) => return Ok(()),
        Some(colours) => format!("{colours:?} colours"),
        None => format!("an unknown kind of colours ({code})"),
    };
    Err(unsupported(file, what, "convert it: gdal_translate -co PHOTOMETRIC=RGB -co COMPRESS=DEFLATE"))
}

fn compression(file: &TiffFile, directory: &Directory) -> Result<Compression, RasterError> {
    let code = file.first_unsigned(directory, Tag::Compression)?.unwrap_or(1);
    let what = match CompressionMethod::from_u16_exhaustive(u16::try_from(code).unwrap_or(0)) {
        CompressionMethod::None => return Ok(Compression::None),
        CompressionMethod::LZW => return Ok(Compression::Lzw),
        CompressionMethod::Deflate | CompressionMethod::OldDeflate => return Ok(Compression::Deflate),
        CompressionMethod::PackBits => return Ok(Compression::PackBits),
        CompressionMethod::ZSTD => return Ok(Compression::Zstd),
        CompressionMethod::JPEG | CompressionMethod::ModernJPEG => "JPEG compression".to_owned(),
        CompressionMethod::WebP => "WebP compression".to_owned(),
        CompressionMethod::Unknown(34_887) => "LERC compression".to_owned(),
        CompressionMethod::Unknown(34_925) => "LZMA compression".to_owned(),
        CompressionMethod::Unknown(34_712) => "JPEG 2000 compression".to_owned(),
        CompressionMethod::Unknown(50_002) => "JPEG XL compression".to_owned(),
        CompressionMethod::Unknown(_) => format!("compression {code}"),
        fax => format!("{fax:?} compression"),
    };
    Err(unsupported(file, what, "convert it: gdal_translate -co COMPRESS=DEFLATE"))
}

fn predictor(
    file: &TiffFile,
    directory: &Directory,
    compression: Compression,
    kind: StoredKind,
) -> Result<u16, RasterError> {
    // Only these three take one; elsewhere the tag means nothing (libtiff).
    if !matches!(compression, Compression::Lzw | Compression::Deflate | Compression::Zstd) {
        return Ok(1);
    }
    let code = file.first_unsigned(directory, Tag::Predictor)?.unwrap_or(1);
    let float = matches!(kind, StoredKind::Half | StoredKind::Plain(SampleType::F32 | SampleType::F64));
    match (code, kind) {
        (0 | 1, _) => Ok(1),
        (2, StoredKind::Plain(_) | StoredKind::Half) => Ok(2),
        (3, _) if float => Ok(3),
        _ => {
            let what = format!("predictor {code} on samples of this type");
            Err(unsupported(file, what, "convert it: gdal_translate -co PREDICTOR=1"))
        }
    }
}

/// ColorMap: all reds, all greens, all blues, of 16 bits.
fn palette(file: &TiffFile, directory: &Directory) -> Result<Option<Vec<Rgb>>, RasterError> {
    let Some(map) = file.shorts(directory, Tag::ColorMap)? else { return Ok(None) };
    let count = map.len() / 3;
    // Some writers put 8-bit values there, which would all be black.
    let shift = if map.iter().all(|&v| v < 256) { 0 } else { 8 };
    let channel = |from: usize, i: usize| (map[from + i] >> shift) as u8;
    Ok(Some((0..count).map(|i| Rgb(channel(0, i), channel(count, i), channel(2 * count, i))).collect()))
}

/// Bit 0 of NewSubfileType marks a reduced image, bit 2 a mask.
fn is_overview(file: &TiffFile, directory: &Directory) -> bool {
    let kind = file.first_unsigned(directory, Tag::NewSubfileType).ok().flatten();
    kind.is_some_and(|kind| kind & 0b101 == 1)
}

fn unsupported(file: &TiffFile, what: String, help: &'static str) -> RasterError {
    RasterError::Unsupported { path: file.path().to_owned(), what, help }
}
