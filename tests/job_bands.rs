//! Derived bands, offset and scale: in the tiles, in training, and in the mapping of plain files.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::fs;

use project::Project;
use s2pipe::raster::read;
use safetensors::SafeTensors;

const BANDS: &str = "bands: [blue, green, red, nir, swir, ndvi]";

/// Numbers of `bands` of a tile, `[pixel, band]`.
fn tile(project: &Project, scene: &str) -> Vec<f32> {
    let bytes = fs::read(project.path(&format!("cache/landcover/ingest/{scene}/tile.safetensors"))).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let bands = tensors.tensor("bands").unwrap();
    assert_eq!(bands.dtype(), safetensors::Dtype::F32);
    bands.data().as_chunks().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect()
}

#[test]
fn indices_follow_the_bands_of_the_file() {
    let project = Project::fresh();
    project.edit(BANDS, &format!("{BANDS}\n      scale: 1e-4\n      offset: -50\n      indices: [ndwi, ndbi, evi2]"));
    project.run(&["--until", "ingest"]).ok();
    let scene = read(project.data("val_scene_0")).unwrap();
    let (raw, nodata) = (scene.samples.as_f32().into_owned(), scene.info.nodata.map(|n| n as f32));
    let pixels = scene.info.width * scene.info.height;
    let mut compared = 0;
    for (pixel, found) in tile(&project, "val/val_scene_0").chunks(9).enumerate() {
        let raw: Vec<f64> = (0..6).map(|band| f64::from(raw[band * pixels + pixel])).collect();
        if raw.iter().any(|v| !v.is_finite() || Some(*v as f32) == nodata) {
            continue;
        }
        let v: Vec<f64> = raw.iter().map(|raw| (raw - 50.0) * 1e-4).collect();
        let [_, green, red, nir, swir] = [0, 1, 2, 3, 4].map(|band| v[band].max(0.0));
        let ratio = |a: f64, b: f64| if b == 0.0 { 0.0 } else { a / b };
        let indices = [
            ratio(green - nir, green + nir),
            ratio(swir - nir, swir + nir),
            ratio(2.5 * (nir - red), nir + 2.4 * red + 1.0),
        ];
        // The sixth is an index in the file already, and stays what it is.
        let expected = [v[0], v[1], v[2], v[3], v[4], raw[5], indices[0], indices[1], indices[2]];
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{found} {expected}");
        }
        compared += 1;
    }
    assert!(compared > pixels / 2);
    let card = fs::read_to_string(project.path("cache/landcover/ingest/val/val_scene_0/scene.json")).unwrap();
    assert!(card.contains("\"evi2\"") && card.contains("\"offset\": -50"), "{card}");
}

#[test]
fn a_plain_file_is_mapped_as_its_tile_is() {
    let project = Project::fresh();
    project.edit(BANDS, &format!("{BANDS}\n      scale: 1e-4\n      offset: -50\n      indices: [ndwi, evi2]"));
    project.edit("epochs: 6", "epochs: 1");
    project.edit(
        "\n  evaluate:\n",
        "
  plain:
    uses: predict
    inputs: { model: train, tiles: dset-s2-grunnkart/val_scene/*.tif }
    with: { window: 64, overlap: 16 }

  evaluate:
",
    );
    project.run(&[]).ok();
    let map = |stage: &str| fs::read(project.path(&format!("cache/landcover/{stage}/val_scene_0.tif"))).unwrap();
    assert!(map("predict") == map("plain"), "a tile and its file give different maps");
    let card = fs::read_to_string(project.path("cache/landcover/train/model/model.json")).unwrap();
    assert!(card.contains("\"preparations\""), "{card}");
}

#[test]
fn what_cannot_be_derived_is_said_before_anything_runs() {
    let project = Project::fresh();
    let refused = |indices: &str| {
        let set = format!("ingest.indices={indices}");
        project.s2pipe(&["check", "--set", &set]).exit(2)
    };
    refused("[nbr]").says(&["`nbr` needs the band `swir2`"]);
    refused("[ndvi]").says(&["`ndvi` is a band of the files already"]);
    refused("[ndwi, ndwi]").says(&["named twice"]);
    refused("[evi2]").says(&["counts in reflectance", "scale: 1e-4"]);
    refused("[ndvy]").says(&["did you mean `ndvi`?"]);
    project.s2pipe(&["check", "--set", "ingest.indices=[ndwi]"]).ok();
}

#[test]
fn an_offset_that_was_applied_already_is_told() {
    let project = Project::fresh();
    let ran = project.run(&["--until", "ingest", "--set", "ingest.offset=-1000"]).ok();
    assert!(ran.stderr.contains("has the offset of -1000 been applied already?"), "{}", ran.stderr);
    let quiet = project.run(&["--until", "ingest", "--set", "ingest.offset=-1"]).ok();
    assert!(!quiet.stderr.contains("applied already"), "{}", quiet.stderr);
}
