//! A random forest instead of a network, through the whole job.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::fs;

use project::Project;
use s2pipe::raster::read;
use serde_json::Value;

const NETWORK: &str = "      model: { kind: unet, width: 4, depth: 2 }
      epochs: 6
      batch: 8
      optimizer: { kind: adamw, lr: 1e-2 }
";

/// The project with a forest where the network was, and nothing run.
fn planted() -> Project {
    let project = Project::fresh();
    project.edit(NETWORK, "      model: { kind: random_forest, trees: 20, pixels: 4000 }\n");
    project.edit(
        "with: { window: 64, overlap: 16 }",
        "with: { window: 64, overlap: 16, probabilities: true, confidence: true, min_area: 4 }",
    );
    project
}

fn json(project: &Project, artefact: &str) -> Value {
    serde_json::from_slice(&fs::read(project.path(&format!("cache/landcover/{artefact}"))).unwrap()).unwrap()
}

fn pixels(project: &Project, artefact: &str) -> Vec<f32> {
    read(project.path(&format!("cache/landcover/{artefact}"))).unwrap().samples.as_f32().into_owned()
}

#[test]
fn a_forest_goes_the_way_of_a_network() {
    let project = planted();
    // A GPU is nothing to it, not even one that is not there.
    let ran = project.run(&["--device", "cuda"]).ok();
    assert_eq!(ran.stages(), project::STAGES, "{}", ran.stderr);
    assert!(ran.stderr.contains("a random forest does so whatever `--device` says"), "{}", ran.stderr);
    let jaccard = json(&project, "evaluate/metrics.json")["all"]["mean"].as_f64();
    let card = json(&project, "train/model/model.json");
    let history = json(&project, "train/history.json");
    let of_holdout = history["epochs"][0]["holdout"]["mean_jaccard"].as_f64().unwrap();
    assert_eq!(card["holdout_jaccard"].as_f64(), Some(of_holdout));
    assert_eq!(
        (&history["best_epoch"], &history["ended"], &card["epoch"]),
        (&1.into(), &"all epochs".into(), &1.into())
    );
    assert_eq!(card["model"]["kind"], "random_forest");
    // Classes are told apart by their spectra in these scenes, but for noise and shades; one map of a single class scores below 0.1.
    assert!(of_holdout > 0.4 && jaccard.unwrap() > 0.3, "{of_holdout}, {jaccard:?}");
    let map = pixels(&project, "predict/val_scene_0.tif");
    let probabilities = pixels(&project, "predict/probabilities/val_scene_0.tif");
    let confidence = pixels(&project, "predict/confidence/val_scene_0.tif");
    let size = map.len();
    for pixel in (0..size).filter(|pixel| map[*pixel] != 0.0) {
        let p: Vec<f32> = (0..6).map(|class| probabilities[class * size + pixel]).collect();
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{p:?}");
        assert_eq!(confidence[pixel], p.iter().copied().fold(0.0, f32::max).min(1.0));
    }
}

#[test]
fn the_settings_of_networks_are_nothing_to_a_forest_and_said_to_be() {
    let project = planted();
    project.run(&["--until", "train"]).ok();
    let trees = "trees: 20, pixels: 4000 }\n";
    project.edit(trees, &format!("{trees}      epochs: 9\n      loss: {{ kind: dice }}\n      precision: f32\n"));
    let again = project.run(&["--until", "train"]).ok();
    assert_eq!(again.stages(), [] as [&str; 0], "{}", again.stderr);
    let warning = "a random forest reads `model` alone; other settings are for networks and change nothing: epochs, loss, precision";
    assert!(again.stderr.contains(warning), "{}", again.stderr);
    assert!(project.s2pipe(&["check", "pipelines/landcover.yaml"]).ok().stderr.contains(warning));
    project.edit("trees: 20", "trees: 21");
    assert_eq!(project.run(&["--until", "train"]).ok().stages(), ["train"]);
}

#[test]
fn the_same_bytes_with_one_thread_and_two() {
    let project = planted();
    project.run(&["-j", "1", "--until", "predict"]).ok();
    project.run(&["-j", "2", "--until", "predict", "--cache", "other"]).ok();
    assert_eq!(project.artefacts(), project.artefacts_in("other"));
}
