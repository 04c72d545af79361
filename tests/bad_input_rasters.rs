//! Rasters that are damaged or do not fit: the message names the file and says what to do, and once the file is put
//! right the run goes on with what was done before.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::fs;
use std::path::Path;

use project::{Project, Ran, command, finish};
use s2pipe::raster::{Georeference, RasterWriter, Reader, SampleType, Samples, WriteOptions, read_labels};

/// Spoils one file of the data set, expects ingest to refuse it in these words, puts it right, and goes on.
#[track_caller]
fn refused(name: &str, spoil: impl FnOnce(&Path), phrases: &[&str]) {
    let project = Project::fresh();
    let file = project.data(name);
    let good = fs::read(&file).unwrap();
    spoil(&file);
    // One task after another, and all that can be done: then what is lost by a failure shows.
    let ran = project.run(&["--until", "ingest", "--keep-going"]).exit(1);
    let ran = ran.says(phrases).says(&[file.to_str().unwrap()]);
    assert_eq!(ran.stderr.lines().filter(|l| l.starts_with("error: ")).count(), 1, "one message:\n{}", ran.stderr);
    assert!(!ran.stderr.contains("/tmp/.s2pipe") && !ran.stderr.contains(".s2pipe/tmp"), "{}", ran.stderr);
    assert_eq!(ran.tasks().len(), 3, "the other scenes are not to blame");
    fs::write(&file, good).unwrap();
    let ran = project.run(&["--until", "ingest"]).ok();
    assert_eq!((ran.tasks().len(), ran.cached().len()), (1, 3));
}

/// Writes a raster like the one at `path`, but for what `change` changes.
fn rewrite(path: &Path, change: impl FnOnce(&mut WriteOptions<'_>, Samples) -> Samples) {
    let reader = Reader::open(path).unwrap();
    let info = reader.info();
    let mut options = WriteOptions {
        georef: info.georef.clone(),
        ..WriteOptions::new(info.width, info.height, info.bands, info.sample_type)
    };
    let samples = change(&mut options, reader.read_all().unwrap());
    drop(reader);
    let mut writer = RasterWriter::create(path, &options).unwrap();
    writer.write_rows(&samples).unwrap();
    writer.finish().unwrap();
}

#[test]
fn a_truncated_scene() {
    let cut = |file: &Path| {
        let bytes = fs::read(file).unwrap();
        fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    };
    refused("tra_scene_1", cut, &["ingest/train/tra_scene_1", "is truncated", "fetch or copy it again"]);
    refused("val_truth_0", cut, &["ingest/val/val_scene_0", "is truncated"]);
}

#[test]
fn pixels_that_do_not_decode() {
    let scribble = |file: &Path| {
        let mut bytes = fs::read(file).unwrap();
        // The pixels come first in our files, the directory last.
        bytes[200..20_000].fill(0xAA);
        fs::write(file, bytes).unwrap();
    };
    refused("tra_scene_0", scribble, &["ingest/train/tra_scene_0", "is damaged", "fetch or copy it again"]);
}

#[test]
fn something_that_is_no_raster() {
    let garbage = |file: &Path| fs::write(file, "<html>404 not found</html>").unwrap();
    refused("val_scene_1", garbage, &["ingest/val/val_scene_1", "is no TIFF", "<html>"]);
    refused("val_scene_1", |file| fs::write(file, "").unwrap(), &["ingest/val/val_scene_1"]);
}

#[test]
fn a_band_too_few() {
    let fewer = |file: &Path| {
        rewrite(file, |options, samples| {
            options.bands = 5;
            let Samples::I32(values) = samples else { panic!("{samples:?}") };
            Samples::I32(values[..options.width * options.height * 5].to_vec())
        });
    };
    refused("tra_scene_1", fewer, &["has 5 bands, the pipeline names 6", "`bands:`"]);
}

#[test]
fn a_truth_of_another_size() {
    let crop = |file: &Path| {
        rewrite(file, |options, samples| {
            options.height -= 2;
            let Samples::U8(codes) = samples else { panic!("{samples:?}") };
            Samples::U8(codes[..options.width * options.height].to_vec())
        });
    };
    refused("val_truth_1", crop, &["is 100x101 px", "val_scene_1.tif 100x103 px", "gdalwarp -r near"]);
}

#[test]
fn a_truth_in_another_crs() {
    let move_it = |file: &Path| {
        rewrite(file, |options, samples| {
            options.georef = Georeference::from_epsg(32632, options.georef.transform.unwrap());
            samples
        });
    };
    refused("tra_truth_0", move_it, &["EPSG:32632", "EPSG:32633", "tra_scene_0.tif", "gdalwarp -r near"]);
}

#[test]
fn a_truth_beside_its_scene() {
    let shift = |file: &Path| {
        rewrite(file, |options, samples| {
            let mut transform = options.georef.transform.unwrap();
            transform[2] += 30.0;
            options.georef = Georeference::from_epsg(32633, transform);
            samples
        });
    };
    refused("tra_truth_0", shift, &["tra_truth_0.tif", "tra_scene_0.tif", "gdalwarp -r near"]);
}

#[test]
fn label_codes_that_are_no_class() {
    let recode = |file: &Path| {
        rewrite(file, |_, samples| {
            let Samples::U8(mut codes) = samples else { panic!("{samples:?}") };
            codes[..7].fill(9);
            codes[100..103].fill(200);
            Samples::U8(codes)
        });
    };
    let phrases = ["label codes that `classes` does not name", "9 (7 px), 200 (3 px)", "1, 2, 3, 4, 5, 6"];
    refused("tra_truth_1", recode, &phrases);
}

#[test]
fn a_scene_of_nothing_but_nodata() {
    let empty = |file: &Path| {
        rewrite(file, |options, samples| {
            options.nodata = Some(-9999.0);
            Samples::I32(vec![-9999; samples.len()])
        });
    };
    refused("val_scene_0", empty, &["no pixel of scene val_scene_0 has data", "nodata", "s2pipe info"]);
    let undefined = |file: &Path| {
        rewrite(file, |options, samples| {
            options.sample_type = SampleType::F32;
            Samples::F32(vec![f32::NAN; samples.len()])
        });
    };
    refused("val_scene_0", undefined, &["no pixel of scene val_scene_0 has data"]);
}

/// A classic TIFF of 200 bytes that says it holds 22000 x 22000 pixels of 32 bits.
fn boastful_tiff() -> Vec<u8> {
    let entries: [(u16, u16, u32); 10] = [
        (256, 4, 22_000),
        (257, 4, 22_000),
        (258, 3, 32),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 160),
        (277, 3, 1),
        (278, 4, 22_000),
        (279, 4, 1_936_000_000),
        (339, 3, 2),
    ];
    let mut bytes = b"II\x2a\0\x08\0\0\0".to_vec();
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.resize(200, 0);
    bytes
}

#[test]
fn two_gigabytes_declared_in_two_hundred_bytes() {
    let boast = |file: &Path| fs::write(file, boastful_tiff()).unwrap();
    refused("tra_truth_1", boast, &["tra_truth_1.tif"]);
    refused("tra_scene_1", boast, &["tra_scene_1.tif"]);
}

/// `info` on the same file, where the system gives the program only a part of the memory that the file claims.
#[test]
fn no_memory_is_taken_on_the_word_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("big.tif"), boastful_tiff()).unwrap();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -v 1000000; exec \"$0\" info big.tif", env!("CARGO_BIN_EXE_s2pipe")]);
    shell.current_dir(folder.path());
    let ran = finish(shell).exit(1).says(&["big.tif"]);
    assert!(ran.stderr.contains("truncated") || ran.stderr.contains("damaged"), "{}", ran.stderr);
    finish(command(folder.path(), &["info", "none.tif"])).exit(1).says(&["none.tif"]);
}

/// A run that fails in one scene still keeps the work on the others, and the summary says what failed.
#[test]
fn a_failure_in_json() {
    let project = Project::fresh();
    fs::write(project.data("val_scene_0"), "II*\0").unwrap();
    let ran: Ran = project.s2pipe(&["run", "--json", "--keep-going"]).exit(1);
    let json = ran.json();
    assert_eq!((json["ok"].clone(), json["interrupted"].clone()), (false.into(), false.into()));
    let status = |stage: usize| json["stages"][stage]["status"].as_str().unwrap();
    assert_eq!([status(0), status(1), status(2), status(3)], ["failed", "ran", "ran", "skipped"]);
    assert_eq!(json["failures"][0]["task"], "val/val_scene_0");
    assert!(json["failures"][0]["message"].as_str().unwrap().contains("val_scene_0.tif"));
    let read = read_labels(project.path("cache/landcover/predict/val_scene_1.tif")).unwrap();
    assert!(read.codes.iter().any(|c| *c != 0), "the other validation scene was mapped");
}
