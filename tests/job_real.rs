//! The job on real scenes, where they stand beside the project and time is no matter: `S2PIPE_SLOW_TESTS=1`.

mod project;

use std::path::Path;

use project::scores::{assert_scores, labelled};
use project::{STAGES, s2pipe};
use s2pipe::raster::Reader;
use serde_json::Value;

#[test]
fn chips_of_four_bands_without_a_crs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = root.join("../shared/data/s2-europe");
    if std::env::var_os("S2PIPE_SLOW_TESTS").is_none_or(|v| v != "1") || !data.is_dir() {
        println!("skipped: takes a minute (S2PIPE_SLOW_TESTS=1), and needs {}", data.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let settings = [
        "--set=ingest.train.scenes=tra_scene/tra_scene_0*.tif",
        "--set=ingest.train.truth=tra_truth/tra_truth_0*.tif",
        "--set=ingest.val.scenes=val_scene/val_scene_0*.tif",
        "--set=ingest.val.truth=val_truth/val_truth_0*.tif",
        "--set=train.model={ width: 8, depth: 3 }",
        "--set=train.epochs=3",
        "--set=train.batch=8",
    ];
    let args = [&["run", "-v", "tests/pipelines/s2-europe.yaml", "--cache", cache.to_str().unwrap()], &settings[..]];
    assert_eq!(s2pipe(root, &args.concat()).ok().stages(), STAGES);

    let view = cache.join("s2-europe");
    let text = std::fs::read_to_string(view.join("evaluate/metrics.json")).unwrap();
    let metrics: Value = serde_json::from_str(&text).unwrap();
    let scenes = metrics["scenes"].as_object().unwrap();
    assert!(scenes.len() >= 5, "{} scenes", scenes.len());
    let mut all = Vec::new();
    for (scene, score) in scenes {
        let map = view.join(format!("predict/{scene}.tif"));
        assert_eq!(Reader::open(&map).unwrap().info().georef.crs_name(), None);
        let pairs = labelled(&data.join(format!("val_truth/{}.tif", scene.replace("scene", "truth"))), &map);
        assert_scores(score, &pairs);
        all.extend(pairs);
    }
    assert_scores(&metrics["all"], &all);
    assert!(s2pipe(root, &args.concat()).ok().tasks().is_empty());
}
