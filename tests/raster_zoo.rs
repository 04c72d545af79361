//! Real GeoTIFFs, each odd in its own way, must be read with the very bytes that GDAL reads. The files are not part of
//! the project: the tests say so and pass where they are not there.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use s2pipe::raster::{self, Reader};

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

/// The rows of a table with a header line.
fn rows(table: &str) -> Vec<HashMap<&str, &str>> {
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next().unwrap().split('\t').collect();
    lines.map(|line| header.iter().copied().zip(line.split('\t')).collect()).collect()
}

/// rasterio's transform of a raster that has none.
const IDENTITY: [f64; 6] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];

fn differences(path: &Path, row: &HashMap<&str, &str>) -> Vec<String> {
    let reader = match Reader::open(path) {
        Ok(reader) => reader,
        Err(error) => return vec![error.to_string()],
    };
    let info = reader.info();
    let mut found = Vec::new();
    let mut expect = |what: &str, expected: &str, actual: String| {
        if expected != actual {
            found.push(format!("{what}: expected {expected}, found {actual}"));
        }
    };
    expect("sha256", row["sha256_le_bands"], raster::checksum_of(&reader).unwrap_or_else(|e| e.to_string()));
    expect("size", row["bands_x_h_x_w"], format!("{}x{}x{}", info.bands, info.height, info.width));
    expect("dtype", row["dtype"], info.sample_type.to_string());
    expect("epsg", row["epsg"], info.georef.epsg.map_or(String::new(), |epsg| epsg.to_string()));
    expect("bigtiff", row["bigtiff"], u8::from(info.bigtiff).to_string());
    expect(
        "layout",
        row["layout"],
        if matches!(info.layout, raster::Layout::Tiled { .. }) { "tiled" } else { "strips" }.into(),
    );
    expect("planar", row["planar"], if info.planar { "planar" } else { "chunky" }.into());
    expect("compression", row["compression"].trim_end_matches("-old"), info.compression.to_string());
    let overviews = row["special"].split("; ").find_map(|s| s.strip_suffix(" overviews")).unwrap_or("0");
    // The table counts the reduced masks, too; GDAL and we do not.
    let masks = if row["special"].contains("mask IFD") { 2 } else { 0 };
    expect("overviews", overviews, (info.overviews + masks).to_string());

    let nodata: Option<f64> = row["nodata"].parse().ok();
    if nodata.is_some() != info.nodata.is_some()
        || nodata.zip(info.nodata).is_some_and(|(a, b)| (a - b).abs() > 1e-6 * a.abs())
    {
        found.push(format!("nodata: expected {nodata:?}, found {:?}", info.nodata));
    }
    let affine: Vec<f64> = row["affine_abcdef"].split(',').map(|v| v.parse().unwrap()).collect();
    let transform = info.georef.transform.unwrap_or(IDENTITY);
    if affine.iter().zip(transform).any(|(a, b)| (a - b).abs() > 1e-9 * a.abs().max(1e-3)) {
        found.push(format!("transform: expected {affine:?}, found {transform:?}"));
    }

    let samples = reader.read_all().unwrap();
    let summary = raster::summary(&samples, 1, None)[0];
    for (what, value) in [("min", summary.min), ("max", summary.max)] {
        let expected: f64 = row[what].parse().unwrap();
        let value = value.unwrap_or(f64::NAN);
        if (expected - value).abs() > 1e-6 * expected.abs() {
            found.push(format!("{what}: expected {expected}, found {value}"));
        }
    }
    found
}

#[test]
fn every_file_of_the_zoo_is_read_as_gdal_reads_it() {
    let Some(index) = shared("tiffzoo/index.tsv") else { return };
    let table = fs::read_to_string(&index).unwrap();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for row in rows(&table).iter().filter(|row| row["compare"].starts_with("yes")) {
        let path = index.with_file_name(row["file"]);
        wrong.extend(differences(&path, row).into_iter().map(|d| format!("{}: {d}", row["file"])));
        compared += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= 26, "only {compared} files were compared");
}

#[test]
fn windows_and_row_blocks_give_what_the_whole_gives() {
    let Some(index) = shared("tiffzoo/index.tsv") else { return };
    let table = fs::read_to_string(&index).unwrap();
    for row in rows(&table) {
        let reader = Reader::open(index.with_file_name(row["file"])).unwrap();
        let (info, all) = (reader.info(), reader.read_all().unwrap());
        let (h, w) = (info.height, info.width);
        let window = raster::Window { row: h / 3, col: w / 4, height: (h - h / 3).min(67), width: (w - w / 4).min(71) };
        let part = reader.read_window(window).unwrap();
        let mut i = 0;
        for band in 0..info.bands {
            for r in window.row..window.row + window.height {
                for c in window.col..window.col + window.width {
                    let (a, b) = (part.get_f64(i).unwrap(), all.get_f64((band * h + r) * w + c).unwrap());
                    assert!(a.to_bits() == b.to_bits(), "{}: band {band} row {r} col {c}: {a} and {b}", row["file"]);
                    i += 1;
                }
            }
        }
        assert_eq!(i, part.len());
        let mut streamed = raster::Summarizer::new(info.bands, info.nodata);
        for block in reader.row_blocks(100) {
            streamed.add(&reader.read_rows(block.row, block.height).unwrap());
        }
        let whole = raster::summary(&all, info.bands, info.nodata);
        for (streamed, whole) in streamed.finish().iter().zip(&whole) {
            assert_eq!(
                (streamed.valid, streamed.min, streamed.max),
                (whole.valid, whole.min, whole.max),
                "{}",
                row["file"]
            );
        }
    }
}

#[test]
fn the_real_truth_masks_are_label_rasters() {
    let Some(folder) = shared("oslo-grunnkart/tra_truth") else { return };
    for i in 0..4 {
        let labels = raster::read_labels(folder.join(format!("tra_truth_{i}.tif"))).unwrap();
        assert_eq!(labels.georef.epsg, Some(32633));
        assert_eq!(labels.georef.pixel_size(), Some((10.0, 10.0)));
        assert!(labels.codes.iter().all(|&code| code <= 6));
        assert_eq!(labels.codes.len(), labels.width * labels.height);
        // DESIGN: 995 pixels of "no label" in the second mask.
        if i == 1 {
            assert_eq!(labels.codes.iter().filter(|&&code| code == 0).count(), 995);
        }
    }
}
