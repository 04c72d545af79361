//! The whole job on a small project: what it leaves, and that it leaves the same every time.

mod project;

use std::collections::BTreeSet;
use std::path::Path;

use project::scores::{assert_scores, labelled};
use project::{Project, STAGES};
use s2pipe::raster::Reader;
use serde_json::Value;

#[test]
fn the_whole_job_leaves_what_it_says() {
    let project = Project::fresh();
    let ran = project.run(&[]).ok();
    assert_eq!(ran.stages(), STAGES);
    assert!(ran.stdout.contains("mean") && ran.stdout.contains("segmentation_val_scene_0.jpg"), "{}", ran.stdout);
    let files: BTreeSet<String> = project.artefacts().into_keys().collect();
    let expected = [
        "evaluate/confusion.csv",
        "evaluate/metrics.csv",
        "evaluate/metrics.json",
        "evaluate/scenes/val_scene_0.json",
        "evaluate/scenes/val_scene_1.json",
        "figures/confusion.jpg",
        "figures/curves.jpg",
        "figures/errors_val_scene_0.jpg",
        "figures/errors_val_scene_1.jpg",
        "figures/jaccard.jpg",
        "figures/segmentation_val_scene_0.jpg",
        "figures/segmentation_val_scene_1.jpg",
        "ingest/train/tra_scene_0/scene.json",
        "ingest/train/tra_scene_0/tile.safetensors",
        "ingest/train/tra_scene_1/scene.json",
        "ingest/train/tra_scene_1/tile.safetensors",
        "ingest/val/val_scene_0/scene.json",
        "ingest/val/val_scene_0/tile.safetensors",
        "ingest/val/val_scene_1/scene.json",
        "ingest/val/val_scene_1/tile.safetensors",
        "patches/patches.json",
        "predict/val_scene_0.tif",
        "predict/val_scene_1.tif",
        "train/history.json",
        "train/model/model.json",
        "train/model/model.safetensors",
    ];
    assert_eq!(files, expected.map(str::to_owned).into());
}

#[test]
fn maps_lie_on_the_grid_of_their_scenes() {
    let project = Project::finished();
    for name in ["val_scene_0", "val_scene_1"] {
        let map = Reader::open(project.path(&format!("cache/landcover/predict/{name}.tif"))).unwrap();
        let scene = Reader::open(project.data(name)).unwrap();
        let (map, scene) = (map.info(), scene.info());
        assert_eq!((map.width, map.height, map.bands), (scene.width, scene.height, 1));
        assert_eq!(map.georef.transform, scene.georef.transform);
        assert_eq!(map.georef.crs_name().as_deref(), Some("EPSG:32633"));
        assert_eq!((map.sample_type.to_string().as_str(), map.nodata), ("uint8", Some(0.0)));
        assert!(map.palette.is_some());
    }
}

#[test]
fn the_scores_are_those_of_the_written_maps() {
    let project = Project::finished();
    let text = std::fs::read_to_string(project.path("cache/landcover/evaluate/metrics.json")).unwrap();
    let metrics: Value = serde_json::from_str(&text).unwrap();
    let mut all = Vec::new();
    let intervals = &metrics["intervals"];
    assert_eq!((&intervals["samples"], &intervals["block"]), (&1000.into(), &64.into()));
    let [low, high] = [0, 1].map(|end| intervals["mean"][end].as_f64().unwrap());
    assert!(0.0 <= low && low <= high && high <= 1.0, "{intervals}");
    for scene in ["val_scene_0", "val_scene_1"] {
        let map = project.path(&format!("cache/landcover/predict/{scene}.tif"));
        let pairs = labelled(&project.data(&scene.replace("scene", "truth")), &map);
        assert_scores(&metrics["scenes"][scene], &pairs);
        all.extend(pairs);
    }
    let classes: BTreeSet<u8> = all.iter().map(|(_, m)| *m).collect();
    assert!(classes.len() >= 3, "maps of {classes:?} only would score alike in many wrong ways");
    assert_scores(&metrics["all"], &all);
    let table = std::fs::read_to_string(project.path("cache/landcover/evaluate/metrics.csv")).unwrap();
    assert!(table.contains("wetland"), "{table}");
}

#[test]
fn json_is_one_object_of_the_documented_shape() {
    let project = Project::fresh();
    for (status, ran) in [("ran", true), ("cached", false)] {
        let json = project.s2pipe(&["run", "--json"]).ok().json();
        assert!(json["run"].is_string());
        assert_eq!(json["ok"], true);
        assert!(json["seconds"].as_f64().unwrap() > 0.0);
        let stages = json["stages"].as_array().unwrap();
        assert_eq!(stages.iter().map(|s| s["name"].as_str().unwrap()).collect::<Vec<_>>(), STAGES);
        let tasks = [4, 1, 1, 2, 3, 7];
        for (stage, tasks) in stages.iter().zip(tasks) {
            assert_eq!(stage["status"], status);
            assert_eq!(stage["tasks"]["ran"], if ran { tasks } else { 0 });
            assert_eq!(stage["tasks"]["cached"], if ran { 0 } else { tasks });
            assert!(stage["seconds"].is_number());
            for (name, path) in stage["outputs"].as_object().unwrap() {
                let path = Path::new(path.as_str().unwrap());
                assert!(path.is_absolute() && path.exists(), "{name}: {} is not there", path.display());
            }
        }
        assert_eq!(
            stages[3]["outputs"]["maps/val_scene_1"],
            *project.path("cache/landcover/predict/val_scene_1.tif").to_string_lossy()
        );
    }
}

#[test]
fn a_second_run_runs_nothing_and_changes_nothing() {
    let project = Project::finished();
    let before = project.artefacts();
    let ran = project.run(&[]).ok();
    assert!(ran.tasks().is_empty(), "{:?}", ran.tasks());
    assert_eq!(ran.cached().len(), 18);
    assert_eq!(project.artefacts(), before);
}

#[test]
fn status_tells_by_its_exit_code_whether_something_would_run() {
    let project = Project::finished();
    project.s2pipe(&["status"]).ok();
    project.edit("width: 4", "width: 5");
    let stale = project.s2pipe(&["status"]).exit(3);
    assert!(stale.stdout.contains("model.width"), "the reason must name the setting:\n{}", stale.stdout);
    let json = project.s2pipe(&["status", "--json"]).exit(3).json();
    assert_eq!(json["current"], false);
    let state =
        |stage: &str| json["tasks"].as_array().unwrap().iter().find(|t| t["stage"] == stage).unwrap()["state"].clone();
    assert_eq!([state("ingest"), state("train"), state("predict")], ["cached", "will_run", "may_run"]);
}

/// One job and one thread, then two: the same model, maps, scores and pictures.
#[test]
fn the_same_bytes_whatever_the_number_of_threads() {
    let project = Project::finished();
    let reference = project.artefacts();
    for jobs in ["1", "2"] {
        let cache = format!("fresh-{jobs}");
        let ran = project.run(&["--cache", &cache, "-j", jobs]).ok();
        assert_eq!(ran.stages(), STAGES);
        let made = project.artefacts_in(&cache);
        assert_eq!(made["train/model/model.safetensors"], reference["train/model/model.safetensors"]);
        assert_eq!(made, reference);
    }
}

/// The network's most probable class is the one in the map, so its accuracy by probabilities is that of the map.
#[test]
fn probabilities_are_scored_and_drawn_where_they_are_connected() {
    let project = Project::finished();
    let settings = ["predict.probabilities=true", "evaluate.inputs.probabilities=predict.probabilities"];
    let ran = project.run(&["--set", settings[0], "--set", settings[1]]).ok();
    assert_eq!(ran.stages(), ["predict", "evaluate", "figures"]);
    let text = std::fs::read_to_string(project.path("cache/landcover/evaluate/metrics.json")).unwrap();
    let metrics: Value = serde_json::from_str(&text).unwrap();
    let (all, calibration) = (&metrics["all"], &metrics["calibration"]);
    assert_eq!(calibration["pixels"], all["pixels"]);
    let accuracies = [&calibration["accuracy"], &all["accuracy"]].map(|accuracy| accuracy.as_f64().unwrap());
    assert!((accuracies[0] - accuracies[1]).abs() < 1e-12, "{accuracies:?}");
    assert!(project.path("cache/landcover/figures/reliability.jpg").exists());
    let unfit = project.s2pipe(&["check", "--set", settings[1]]).exit(2);
    unfit.says(&["probabilities"]);
}
