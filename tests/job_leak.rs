//! What was trained on is not scored.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::fs;

use project::Project;
use s2pipe::raster::{RasterWriter, Reader, WriteOptions};

/// Puts copies of a training scene and its truth in the place of a validation scene and its truth.
fn copy_training_over_validation(project: &Project) {
    for what in ["scene", "truth"] {
        fs::copy(project.data(&format!("tra_{what}_1")), project.data(&format!("val_{what}_0"))).unwrap();
    }
}

/// Writes a raster again, moved by this many metres from where `like` lies.
fn move_to(path: &std::path::Path, like: &std::path::Path, (east, north): (f64, f64)) {
    let mut georef = Reader::open(like).unwrap().info().georef.clone();
    let transform = georef.transform.as_mut().unwrap();
    transform[2] += east;
    transform[5] += north;
    let reader = Reader::open(path).unwrap();
    let info = reader.info();
    let options = WriteOptions { georef, ..WriteOptions::new(info.width, info.height, info.bands, info.sample_type) };
    let samples = reader.read_all().unwrap();
    let mut writer = RasterWriter::create(path, &options).unwrap();
    writer.write_rows(&samples).unwrap();
    writer.finish().unwrap();
}

#[test]
fn the_training_scenes_themselves_are_refused() {
    let project = Project::finished();
    let tiles = ["predict", "evaluate", "figures"].map(|stage| format!("{stage}.inputs.tiles=ingest.train"));
    let mut args = vec![];
    tiles.iter().for_each(|set| args.extend(["--set", set]));
    project.run(&args).exit(2).says(&["tra_scene_0.tif is scored, and was trained on", "allow_overlap: true"]);
    args.extend(["--set", "allow_overlap=true"]);
    project.run(&args).ok().says(&["allowed by `allow_overlap`"]);
}

#[test]
fn a_copy_under_another_name_is_refused() {
    let project = Project::finished();
    copy_training_over_validation(&project);
    let phrases = ["val_scene_0.tif is scored, and has the same bytes as", "tra_scene_1.tif, which was trained on"];
    project.run(&[]).exit(2).says(&phrases);
    project.s2pipe(&["status"]).exit(2).says(&phrases);
}

#[test]
fn shared_ground_is_refused_and_a_sliver_of_it_is_told() {
    let project = Project::finished();
    let like = project.data("tra_scene_0");
    let pixels = Reader::open(&like).unwrap().info().width as f64;
    for what in ["scene", "truth"] {
        // Half of the width in common.
        move_to(&project.data(&format!("val_{what}_1")), &like, (pixels * 5.0, 0.0));
    }
    project.run(&[]).exit(2).says(&["val_scene_1.tif is scored, and shares", "m² (", "tra_scene_0.tif"]);
    for what in ["scene", "truth"] {
        // 5 m of 10 m pixels: half a column.
        move_to(&project.data(&format!("val_{what}_1")), &like, (pixels * 10.0 - 5.0, 0.0));
    }
    project.run(&[]).ok().says(&["val_scene_1.tif is scored, and shares"]);
}
