//! What `evaluate` says beside the scores, and cross-validation, on a small project.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::collections::BTreeMap;
use std::fs;

use project::Project;
use s2pipe::raster::read;
use serde_json::{Value, json};

fn json_of(project: &Project, artefact: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(project.path(&format!("cache/landcover/{artefact}"))).unwrap()).unwrap()
}

/// Codes of a label raster, and its width.
fn codes(project: &Project, file: &str) -> (Vec<u8>, usize) {
    let raster = read(project.path(file)).unwrap();
    (raster.samples.as_f32().iter().map(|code| *code as u8).collect(), raster.info.width)
}

/// Pixels of each class within `distance` of another class, in truth, in the map, and in both, by looking at every window.
fn boundary_by_hand(project: &Project, scene: usize, distance: isize, counts: &mut BTreeMap<u8, [f64; 2]>) {
    let (truth, width) = codes(project, &format!("dset-s2-grunnkart/val_truth/val_truth_{scene}.tif"));
    let (map, _) = codes(project, &format!("cache/landcover/predict/val_scene_{scene}.tif"));
    let (width, height) = (width as isize, (truth.len() / width) as isize);
    let near = |labels: &[u8], row: isize, column: isize| {
        let own = labels[(row * width + column) as usize];
        let window = (row - distance..=row + distance)
            .flat_map(|r| (column - distance..=column + distance).map(move |c| (r, c)))
            .filter(|&(r, c)| (0..height).contains(&r) && (0..width).contains(&c));
        own != 0 && window.map(|(r, c)| labels[(r * width + c) as usize]).any(|l| l != 0 && l != own)
    };
    for (row, column) in (0..height).flat_map(|r| (0..width).map(move |c| (r, c))) {
        let at = (row * width + column) as usize;
        if truth[at] == 0 {
            continue;
        }
        let (in_truth, in_map) = (near(&truth, row, column), near(&map, row, column));
        for code in 1..=6 {
            let (t, m) = (in_truth && truth[at] == code, in_map && map[at] == code);
            let [both, either] = counts.entry(code).or_default();
            *both += f64::from(t && m);
            *either += f64::from(t || m);
        }
    }
}

#[test]
fn outlines_are_scored_as_counted_by_hand() {
    let project = Project::finished();
    project.edit("    inputs: { maps: predict, tiles: ingest.val }\n", EVALUATE_MORE);
    let ran = project.run(&["--until", "evaluate"]).ok();
    assert_eq!(ran.stages(), ["evaluate"]);
    let boundary = json_of(&project, "evaluate/metrics.json")["boundary"].clone();
    let mut counts = BTreeMap::new();
    (0..2).for_each(|scene| boundary_by_hand(&project, scene, 2, &mut counts));
    let expected: BTreeMap<u8, f64> = counts
        .into_iter()
        .filter(|(_, [_, either])| *either > 0.0)
        .map(|(code, [both, either])| (code, both / either))
        .collect();
    assert!(expected.len() >= 4);
    for (code, score) in &expected {
        let found = boundary["jaccard"][code.to_string()].as_f64().unwrap();
        assert!((found - score).abs() < 1e-12, "class {code}: {found} {score}");
    }
    let mean = expected.values().sum::<f64>() / expected.len() as f64;
    assert!((boundary["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
    assert_eq!((&boundary["distance"], boundary["jaccard"].as_object().unwrap().len()), (&json!(2), expected.len()));
}

const EVALUATE_MORE: &str =
    "    inputs: { maps: predict, tiles: ingest.val, region: predict }\n    with: { boundary: 2 }\n";

#[test]
fn areas_are_in_hectares_and_correct_what_is_mapped_by_the_errors() {
    let project = Project::finished();
    project.edit("    inputs: { maps: predict, tiles: ingest.val }\n", EVALUATE_MORE);
    project.run(&["--until", "evaluate"]).ok();
    let metrics = json_of(&project, "evaluate/metrics.json");
    let (areas, all) = (&metrics["areas"], &metrics["all"]);
    assert_eq!(areas["unit"], "ha");
    // Pixels of 10 m: a hundred make a hectare.
    let mut mapped: BTreeMap<u8, f64> = BTreeMap::new();
    for scene in 0..2 {
        let (map, _) = codes(&project, &format!("cache/landcover/predict/val_scene_{scene}.tif"));
        map.iter().filter(|code| **code != 0).for_each(|code| *mapped.entry(*code).or_default() += 0.01);
    }
    let labels: Vec<i64> = all["labels"].as_array().unwrap().iter().map(|l| l.as_i64().unwrap()).collect();
    let confusion = |t: usize, m: usize| all["confusion"][t][m].as_f64().unwrap();
    let mut total = 0.0;
    for (t, label) in labels.iter().enumerate() {
        let class = &areas["classes"][label.to_string()];
        let in_map = mapped.get(&(*label as u8)).copied().unwrap_or(0.0);
        assert!((class["mapped"].as_f64().unwrap() - in_map).abs() < 1e-6);
        let shares = labels.iter().enumerate().map(|(m, map)| {
            let column: f64 = (0..labels.len()).map(|t| confusion(t, m)).sum();
            let area = mapped.get(&(*map as u8)).copied().unwrap_or(0.0);
            if column > 0.0 { area * confusion(t, m) / column } else { 0.0 }
        });
        let expected: f64 = shares.sum();
        let found = class["estimated"]["value"].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-6, "class {label}: {found} {expected}");
        total += found;
    }
    assert!((areas["total"].as_f64().unwrap() - total).abs() < 1e-6);
}

/// The pipeline with two folds of the training scenes in place of the validation scenes.
const FOLDS: &str = "
  folds:
    uses: folds
    inputs: { tiles: ingest.train }
    matrix: { fold: [1, 2] }
    with: { of: 2 }
  patches-fold: { uses: patches, inputs: { tiles: folds.train }, with: { size: 32, stride: 32 } }
  train-fold:
    uses: train
    inputs: { patches: patches-fold }
    with: { model: { kind: unet, width: 4, depth: 2 }, epochs: 1 }
  predict-fold: { uses: predict, inputs: { model: train-fold, tiles: folds.held_out }, with: { window: 64, overlap: 16 } }
  evaluate-fold: { uses: evaluate, inputs: { maps: predict-fold, tiles: folds.held_out } }
  cross-validation: { uses: compare, inputs: { metrics: evaluate-fold }, with: { over: [fold] } }
";

fn cross_validated() -> Project {
    let project = Project::finished();
    let path = project.path("pipelines/landcover.yaml");
    fs::write(&path, fs::read_to_string(&path).unwrap() + FOLDS).unwrap();
    project
}

#[test]
fn folds_map_every_training_scene_once_by_a_network_that_has_not_seen_it() {
    let project = cross_validated();
    let ran = project.run(&[]).ok();
    let scenes = fs::read_dir(project.path("dset-s2-grunnkart/tra_scene")).unwrap().count();
    let maps: Vec<String> = ran.tasks().into_iter().filter(|t| t.starts_with("predict-fold/")).collect();
    let mut mapped: Vec<&str> = maps.iter().map(|t| t.rsplit('/').next().unwrap()).collect();
    mapped.sort_unstable();
    mapped.dedup();
    assert_eq!((maps.len(), mapped.len()), (scenes, scenes), "{maps:?}");
    assert_eq!(ran.tasks().iter().filter(|t| t.starts_with("train-fold/")).count(), 2);

    let ranking = json_of(&project, "cross-validation/ranking.json");
    let row = &ranking["rows"][0];
    assert_eq!(
        (&row["variant"], &row["spread"]["runs"], &ranking["over"]),
        (&json!("all"), &json!(2), &json!(["fold"]))
    );
    let of_fold = |fold: usize| {
        json_of(&project, &format!("evaluate-fold/fold={fold}/metrics.json"))["all"]["mean"].as_f64().unwrap()
    };
    let (one, two) = (of_fold(1), of_fold(2));
    assert!((row["score"].as_f64().unwrap() - (one + two) / 2.0).abs() < 1e-12);
    let deviation = (one - two).abs() / 2.0_f64.sqrt();
    assert!((row["spread"]["deviation"]["jaccard"].as_f64().unwrap() - deviation).abs() < 1e-12);
    assert!(ran.stdout.contains(&format!("± {deviation:.3} (2)")), "{}", ran.stdout);

    assert!(project.run(&[]).ok().tasks().is_empty(), "all is in the cache");
    project.s2pipe(&["status"]).ok();
    project.s2pipe(&["graph"]).ok();
}

#[test]
fn folds_that_cannot_be_are_refused() {
    let project = cross_validated();
    project.edit("with: { of: 2 }", "with: { of: 50 }");
    project.s2pipe(&["check"]).exit(2).says(&["scenes cannot be split into 50 folds"]);
    project.edit("with: { of: 50 }", "with: { of: 2 }");
    project.edit("matrix: { fold: [1, 2] }", "matrix: { fold: [1, 3] }");
    project.s2pipe(&["check"]).exit(2).says(&["fold 3 is held out, and there are 2", "counted from 1 to 2"]);
    project.edit("matrix: { fold: [1, 3] }", "matrix: { fold: [1, 2] }");
    project.edit("over: [fold]", "over: [folt]");
    project.s2pipe(&["check"]).exit(2).says(&["`over` names \"folt\"", "did you mean `fold`?"]);
}

/// Two networks, and their average.
const ENSEMBLE: &str = "
  train-twice:
    uses: train
    inputs: { patches: patches }
    matrix: { seed: [1, 2] }
    with: { model: { kind: unet, width: 4, depth: 2 }, epochs: 2, batch: 8 }
  predict-twice:
    uses: predict
    inputs: { model: train-twice, tiles: ingest.val }
    with: { window: 64, overlap: 16, probabilities: true }
  ensemble:
    uses: ensemble
    inputs: { probabilities: predict-twice.probabilities }
    with: { probabilities: true, confidence: true }
  evaluate-ensemble: { uses: evaluate, inputs: { maps: ensemble, tiles: ingest.val, probabilities: ensemble.probabilities } }
";

#[test]
fn an_ensemble_averages_the_probabilities_of_its_networks() {
    let project = Project::finished();
    let path = project.path("pipelines/landcover.yaml");
    fs::write(&path, fs::read_to_string(&path).unwrap() + ENSEMBLE).unwrap();
    let ran = project.run(&[]).ok();
    assert_eq!(ran.tasks().iter().filter(|t| t.starts_with("ensemble/")).count(), 2, "{:?}", ran.tasks());
    let raster = |artefact: &str| {
        let raster = read(project.path(&format!("cache/landcover/{artefact}"))).unwrap();
        (raster.samples.as_f32().into_owned(), raster.info)
    };
    let of_seed = |seed: usize| raster(&format!("predict-twice/seed={seed}/probabilities/val_scene_0.tif")).0;
    let (one, two) = (of_seed(1), of_seed(2));
    let (average, _) = raster("ensemble/probabilities/val_scene_0.tif");
    assert!(average.iter().zip(one.iter().zip(&two)).all(|(a, (x, y))| (a - (x + y) / 2.0).abs() < 1e-6));
    let (map, info) = raster("ensemble/val_scene_0.tif");
    let (confidence, _) = raster("ensemble/confidence/val_scene_0.tif");
    for (pixel, code) in map.iter().enumerate() {
        let p = |class: usize| average[class * map.len() + pixel];
        let highest = (0..6).map(p).fold(0.0, f32::max);
        match *code as usize {
            0 => assert_eq!((highest, confidence[pixel]), (0.0, -1.0)),
            code => assert_eq!((p(code - 1), confidence[pixel]), (highest, highest)),
        }
    }
    assert!(one != two && info.palette.is_some());
    assert!(json_of(&project, "evaluate-ensemble/metrics.json")["calibration"].is_object());
    assert!(project.run(&[]).ok().tasks().is_empty());

    project.edit("matrix: { seed: [1, 2] }", "matrix: { seed: [1] }");
    project.s2pipe(&["check"]).exit(2).says(&["one network only", "connect a `predict` stage that has variants"]);
}
