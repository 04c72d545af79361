//! What the writer writes, the reader gives back, and so does the decoder of the `tiff` crate.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;

use s2pipe::raster::{
    self, Class, ClassTable, Compression, Georeference, Layout, PixelIs, Predictor, RasterError, RasterWriter, Reader,
    Rgb, SampleType, Samples, WriteOptions,
};

const UTM: [f64; 6] = [10.0, 0.0, 264_890.0, 0.0, -10.0, 6_660_170.0];
const ALL_TYPES: [SampleType; 10] = [
    SampleType::U8,
    SampleType::I8,
    SampleType::U16,
    SampleType::I16,
    SampleType::U32,
    SampleType::I32,
    SampleType::U64,
    SampleType::I64,
    SampleType::F32,
    SampleType::F64,
];

/// Numbers without a pattern that a predictor could hide a mistake in (a 64-bit congruential generator).
fn noise(sample_type: SampleType, len: usize) -> Samples {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 11
    };
    macro_rules! fill {
        ($($variant:ident $type:ty),*) => {
            match sample_type {
                $(SampleType::$variant => Samples::$variant((0..len).map(|_| next() as $type).collect()),)*
                SampleType::F32 => Samples::F32((0..len).map(|_| next() as f32 / 1e12 - 3e3).collect()),
                SampleType::F64 => Samples::F64((0..len).map(|_| next() as f64 / 1e12 - 3e3).collect()),
            }
        };
    }
    fill!(U8 u8, I8 i8, U16 u16, I16 i16, U32 u32, I32 i32, U64 u64, I64 i64)
}

/// The rows `from..to` of a raster in the order band, row, column.
fn rows_of(samples: &Samples, (bands, height, width): (usize, usize, usize), from: usize, to: usize) -> Samples {
    macro_rules! cut {
        ($($variant:ident),*) => {
            match samples {
                $(Samples::$variant(v) => Samples::$variant(
                    (0..bands).flat_map(|b| v[(b * height + from) * width..(b * height + to) * width].to_vec()).collect(),
                )),*
            }
        };
    }
    cut!(U8, I8, U16, I16, U32, I32, U64, I64, F32, F64)
}

/// Writes `samples` in uneven portions.
fn write(path: &Path, options: &WriteOptions<'_>, samples: &Samples) {
    let shape = (options.bands, options.height, options.width);
    let mut writer = RasterWriter::create(path, options).unwrap();
    let mut row = 0;
    for portion in [1, 7, 40, usize::MAX] {
        let end = row + portion.min(options.height - row);
        writer.write_rows(&rows_of(samples, shape, row, end)).unwrap();
        row = end;
    }
    writer.finish().unwrap();
}

fn classes() -> ClassTable {
    let class = |code, name: &str, color| Class { code, name: name.to_owned(), color };
    ClassTable::new(vec![
        class(1, "urban", Rgb(255, 0, 0)),
        class(2, "åker & \"eng\"", Rgb(255, 255, 0)),
        class(6, "water", Rgb(0, 0, 255)),
    ])
}

#[test]
fn every_type_layout_compression_and_predictor_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    let (bands, height, width) = (3, 53, 37);
    for sample_type in ALL_TYPES {
        let samples = noise(sample_type, bands * height * width);
        let layouts = [
            Layout::tiled(16),
            Layout::Tiled { width: 48, height: 32 },
            Layout::Strips { rows: 5 },
            Layout::Strips { rows: 500 },
        ];
        for layout in layouts {
            for (compression, predictor) in [
                (Compression::None, Predictor::None),
                (Compression::Lzw, Predictor::None),
                (Compression::Lzw, Predictor::Horizontal),
                (Compression::Deflate, Predictor::Horizontal),
                (Compression::Deflate, Predictor::Float),
            ] {
                for planar in [false, true] {
                    if predictor == Predictor::Float && !sample_type.is_float() {
                        continue;
                    }
                    let options = WriteOptions {
                        layout,
                        compression,
                        predictor,
                        planar,
                        bigtiff: planar,
                        ..WriteOptions::new(width, height, bands, sample_type)
                    };
                    write(&path, &options, &samples);
                    let back = raster::read(&path).unwrap();
                    assert_eq!(back.samples, samples, "{options:?}");
                    assert_eq!(
                        (back.info.compression, back.info.planar, back.info.bigtiff),
                        (compression, planar, planar)
                    );
                }
            }
        }
    }
}

#[test]
fn the_tiff_crate_reads_the_same_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    let samples = noise(SampleType::I32, 53 * 37);
    for compression in [Compression::None, Compression::Lzw, Compression::Deflate] {
        let predictor = if compression == Compression::None { Predictor::None } else { Predictor::Horizontal };
        let options = WriteOptions {
            compression,
            predictor,
            layout: Layout::tiled(32),
            ..WriteOptions::new(37, 53, 1, SampleType::I32)
        };
        write(&path, &options, &samples);
        let mut decoder = tiff::decoder::Decoder::new(fs::File::open(&path).unwrap()).unwrap();
        let tiff::decoder::DecodingResult::I32(pixels) = decoder.read_image().unwrap() else { panic!("not int32") };
        assert_eq!(Samples::I32(pixels), samples);
    }
}

#[test]
fn label_maps_keep_colours_names_place_and_nodata() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.tif");
    let (width, height) = (300, 517);
    let codes: Vec<u8> = (0..width * height).map(|i| [0, 1, 2, 6][i / 31 % 4]).collect();
    let georef = Georeference::from_epsg(32_633, UTM);
    raster::write_labels(&path, width, height, &codes, &georef, &classes()).unwrap();

    let labels = raster::read_labels(&path).unwrap();
    assert_eq!(labels.codes, codes);
    assert_eq!((labels.width, labels.height, labels.nodata), (width, height, Some(0.0)));
    assert_eq!(labels.georef, georef);
    assert_eq!(labels.classes, Some(classes()));
    let palette = labels.palette.unwrap();
    assert_eq!((palette.len(), palette[2], palette[3]), (256, Rgb(255, 255, 0), Rgb(0, 0, 0)));

    let info = Reader::open(&path).unwrap().info().clone();
    assert_eq!((info.layout, info.compression), (Layout::tiled(256), Compression::Deflate));
    assert_eq!(info.band_names, [Some("land cover".to_owned())]);

    let first = fs::read(&path).unwrap();
    raster::write_labels(&path, width, height, &codes, &georef, &classes()).unwrap();
    assert!(first == fs::read(&path).unwrap(), "the same labels gave other bytes");
}

#[test]
fn georeferences_survive_a_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    let keys = |area| Some(raster::GeoKeys::from_epsg(4326, area));
    let rotated = [17.32, 5.0, 100.0, 10.0, -8.66, 200.0];
    let georefs = [
        Georeference::default(),
        Georeference::from_epsg(32_633, UTM),
        Georeference::from_epsg(3035, rotated),
        Georeference {
            geo_keys: keys(false),
            pixel_is: PixelIs::Point,
            ..Georeference::from_epsg(4326, [0.5, 0.0, 4.0, 0.0, -0.5, 60.0])
        },
        Georeference::from_epsg(32_613, [10.0, 0.0, 418_080.0, 0.0, 10.0, 4_423_680.0]),
        Georeference {
            control_points: vec![[0.0, 0.0, 0.0, 5.0, 60.0, 0.0], [9.0, 9.0, 0.0, 6.0, 61.0, 0.0]],
            ..Georeference::default()
        },
    ];
    for georef in georefs {
        let options = WriteOptions {
            georef: georef.clone(),
            nodata: Some(f64::NAN),
            ..WriteOptions::new(5, 4, 1, SampleType::F32)
        };
        write(&path, &options, &noise(SampleType::F32, 20));
        let info = Reader::open(&path).unwrap().info().clone();
        assert_eq!(info.georef, georef);
        assert!(info.nodata.is_some_and(f64::is_nan));
    }
}

#[test]
fn only_an_epsg_code_and_a_transform_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    let georef = Georeference { epsg: Some(32_633), transform: Some(UTM), ..Georeference::default() };
    write(
        &path,
        &WriteOptions { georef: georef.clone(), ..WriteOptions::new(5, 4, 1, SampleType::U8) },
        &noise(SampleType::U8, 20),
    );
    let info = Reader::open(&path).unwrap().info().clone();
    assert_eq!(info.georef.same_grid(&georef), Ok(()));
}

#[test]
fn label_rasters_of_other_types_are_read_when_their_values_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    let labels = |samples: Samples, nodata| {
        let options = WriteOptions { nodata, ..WriteOptions::new(3, 2, 1, samples.sample_type()) };
        write(&path, &options, &samples);
        raster::read_labels(&path)
    };
    assert_eq!(labels(Samples::I16(vec![1, 2, -9999, 4, 5, 255]), Some(-9999.0)).unwrap().codes, [1, 2, 0, 4, 5, 255]);
    assert_eq!(labels(Samples::U8(vec![1, 2, 255, 4, 5, 6]), Some(255.0)).unwrap().codes, [1, 2, 0, 4, 5, 6]);
    let error = labels(Samples::I32(vec![1, 2, 3, 4, 300, -1]), None).unwrap_err();
    assert!(matches!(error, RasterError::LabelCode { value: 300, count: 2, row: 1, col: 1, .. }), "{error}");
    let error = labels(Samples::F32(vec![1.0; 6]), None).unwrap_err();
    assert!(matches!(error, RasterError::LabelType { found: SampleType::F32, .. }), "{error}");
}

#[test]
fn a_writer_refuses_what_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    let options = WriteOptions::new(4, 3, 1, SampleType::U8);
    let mut writer = RasterWriter::create(&path, &options).unwrap();
    assert!(writer.write_rows(&Samples::U16(vec![0; 4])).is_err());
    assert!(writer.write_rows(&Samples::U8(vec![0; 5])).is_err());
    assert!(writer.write_rows(&Samples::U8(vec![0; 16])).is_err());
    writer.write_rows(&Samples::U8(vec![0; 8])).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(error.to_string().ends_with("it has 3 rows, got only 2"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "an unfinished raster left a file behind");

    let refused = |options: WriteOptions<'_>| RasterWriter::create(&path, &options).unwrap_err().to_string();
    let palette = classes();
    assert!(
        refused(WriteOptions { palette: Some(&palette), ..WriteOptions::new(4, 3, 2, SampleType::U8) })
            .contains("one uint8 band")
    );
    assert!(refused(WriteOptions { layout: Layout::tiled(100), ..options.clone() }).contains("multiples of 16"));
    assert!(refused(WriteOptions { predictor: Predictor::Float, ..options.clone() }).contains("float samples"));
    assert!(refused(WriteOptions { compression: Compression::Zstd, ..options }).contains("read but not written"));
    assert!(refused(WriteOptions::new(0, 3, 1, SampleType::U8)).contains("0x3 px"));
}

#[test]
fn an_unfinished_raster_leaves_the_old_one_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    fs::write(&path, "the old one").unwrap();
    let mut writer = RasterWriter::create(&path, &WriteOptions::new(4, 3, 1, SampleType::U8)).unwrap();
    writer.write_rows(&Samples::U8(vec![0; 4])).unwrap();
    drop(writer);
    assert_eq!(fs::read_to_string(&path).unwrap(), "the old one");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Writes one file of every sort into the folder `RASTER_CHECK`, for tests/golden/raster_check.py to open with GDAL:
///
///     RASTER_CHECK=/tmp/check cargo test --test raster_write -- --ignored && python tests/golden/raster_check.py /tmp/check
#[test]
#[ignore = "makes the files for tests/golden/raster_check.py"]
fn files_for_the_gdal_check() {
    let folder = std::path::PathBuf::from(std::env::var_os("RASTER_CHECK").expect("RASTER_CHECK names a folder"));
    fs::create_dir_all(&folder).unwrap();
    let utm = Georeference::from_epsg(32_633, UTM);
    let point = Georeference {
        geo_keys: Some(raster::GeoKeys::from_epsg(32_633, false)),
        pixel_is: PixelIs::Point,
        ..utm.clone()
    };
    let rotated = Georeference::from_epsg(3035, [17.5, 5.0, 100.0, 10.0, -8.5, 200.0]);
    let (w, h) = (131, 75);
    let names = ["blue", "green", "red", "nir", "swir", "ndvi"].map(str::to_owned).to_vec();
    let plain = |bands, sample_type| WriteOptions {
        compression: Compression::None,
        layout: Layout::Strips { rows: 8 },
        ..WriteOptions::new(w, h, bands, sample_type)
    };
    let truth = WriteOptions {
        compression: Compression::Lzw,
        bigtiff: true,
        band_names: vec!["remapped".to_owned()],
        georef: utm.clone(),
        ..WriteOptions::new(w, h, 1, SampleType::U8)
    };
    let files = [
        ("scene", WriteOptions { georef: utm.clone(), band_names: names.clone(), ..plain(6, SampleType::I32) }),
        (
            "scene_small",
            WriteOptions {
                georef: utm.clone(),
                band_names: names,
                predictor: Predictor::Horizontal,
                compression: Compression::Lzw,
                ..WriteOptions::new(w, h, 6, SampleType::I32)
            },
        ),
        ("truth", truth),
        (
            "planar",
            WriteOptions {
                planar: true,
                predictor: Predictor::Horizontal,
                nodata: Some(-9999.0),
                ..WriteOptions::new(w, h, 3, SampleType::I16)
            },
        ),
        (
            "probabilities",
            WriteOptions {
                predictor: Predictor::Float,
                nodata: Some(f64::NAN),
                georef: utm,
                ..WriteOptions::new(w, h, 6, SampleType::F32)
            },
        ),
        (
            "double",
            WriteOptions {
                predictor: Predictor::Float,
                compression: Compression::Lzw,
                ..WriteOptions::new(w, h, 2, SampleType::F64)
            },
        ),
        ("wide", WriteOptions { predictor: Predictor::Horizontal, ..WriteOptions::new(w, h, 2, SampleType::U64) }),
        ("signed", WriteOptions { predictor: Predictor::Horizontal, ..WriteOptions::new(w, h, 1, SampleType::I8) }),
        ("point", WriteOptions { georef: point, ..plain(1, SampleType::U16) }),
        ("rotated", WriteOptions { georef: rotated, ..plain(1, SampleType::U8) }),
    ];
    let mut expected = serde_json::Map::new();
    for (name, options) in files {
        let path = folder.join(format!("{name}.tif"));
        write(&path, &options, &noise(options.sample_type, options.bands * h * w));
        expected.insert(name.to_owned(), description(&path));
    }
    for (name, georef) in [("map", Georeference::from_epsg(32_633, UTM)), ("map_without_crs", Georeference::default())]
    {
        let path = folder.join(format!("{name}.tif"));
        let codes: Vec<u8> = (0..851 * 848).map(|i| [0, 1, 2, 6][i / 97 % 4]).collect();
        raster::write_labels(&path, 848, 851, &codes, &georef, &classes()).unwrap();
        expected.insert(name.to_owned(), description(&path));
    }
    let expected = serde_json::to_string_pretty(&expected).unwrap();
    fs::write(folder.join("expected.json"), expected).unwrap();
}

/// What the file says, as JSON, with the digest of its pixels.
fn description(path: &Path) -> serde_json::Value {
    let reader = Reader::open(path).unwrap();
    let mut value = serde_json::to_value(reader.info()).unwrap();
    value["sha256"] = raster::checksum_of(&reader).unwrap().into();
    value["summary"] =
        serde_json::to_value(raster::summary(&reader.read_all().unwrap(), reader.info().bands, reader.info().nodata))
            .unwrap();
    value
}
