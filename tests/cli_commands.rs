//! The commands beside `run`: what they print and with which exit code.

mod project;

use std::fs;
use std::io::Read;
use std::process::Stdio;

use project::scores::{assert_scores, labelled};
use project::{Project, command, synth};
use s2pipe::raster::{Reader, read_labels};
use serde_json::Value;

#[test]
fn score_compares_any_two_rasters() {
    let project = Project::finished();
    let (truth, map) = (project.data("val_truth_0"), project.path("cache/landcover/predict/val_scene_0.tif"));
    let files = ["score", "--truth", truth.to_str().unwrap(), "--pred", map.to_str().unwrap()];
    let score = project.s2pipe(&[&files[..], &["--json"]].concat()).ok().json();
    assert_scores(&score, &labelled(&truth, &map));
    let size = score["labels"].as_array().unwrap().len();
    let rows = score["confusion"].as_array().unwrap();
    assert!(rows.len() == size && rows.iter().all(|row| row.as_array().unwrap().len() == size));
    let count: u64 = rows.iter().flat_map(|row| row.as_array().unwrap()).map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(count, score["pixels"].as_u64().unwrap());
    // A label that occurs nowhere counts when it is asked for, and is said to be absent.
    let asked = project.s2pipe(&[&files[..], &["--json", "--labels", "4,77"]].concat()).ok().json();
    assert_eq!((asked["jaccard"]["77"].as_f64(), asked["absent"][0].as_i64()), (Some(0.0), Some(77)));
    assert_eq!(asked["mean"].as_f64().unwrap() * 2.0, score["jaccard"]["4"].as_f64().unwrap());
    // The metrics of the pipeline are the same numbers.
    let metrics: Value =
        serde_json::from_slice(&fs::read(project.path("cache/landcover/evaluate/metrics.json")).unwrap()).unwrap();
    assert_eq!(metrics["scenes"]["val_scene_0"]["jaccard"], score["jaccard"]);

    let other = project.data("val_truth_1");
    let files = ["score", "--truth", other.to_str().unwrap(), "--pred", map.to_str().unwrap()];
    project.s2pipe(&files).exit(1).says(&["104x97", "100x103", "gdalwarp -r near"]);
    project.s2pipe(&["score", "--truth", "x.tif"]).exit(2).says(&["--pred"]);
}

#[test]
fn info_describes_a_raster() {
    let project = Project::finished();
    let map = project.path("cache/landcover/predict/val_scene_0.tif");
    let json = project.s2pipe(&["info", map.to_str().unwrap(), "--json", "--checksum"]).ok().json();
    assert_eq!((&json["width"], &json["height"], &json["bands"]), (&104.into(), &97.into(), &1.into()));
    // The convention of the checksum for one band of bytes: the bytes.
    let codes = read_labels(&map).unwrap().codes;
    let digest: String = {
        use sha2::Digest;
        sha2::Sha256::digest(&codes).iter().map(|b| format!("{b:02x}")).collect()
    };
    assert_eq!(json["sha256"], digest.as_str());
    assert_eq!(json["statistics"][0]["max"].as_f64(), codes.iter().max().map(|c| f64::from(*c)));
    let text = project.s2pipe(&["info", project.data("val_scene_0").to_str().unwrap()]).ok().stdout;
    for phrase in ["104 x 97 px, 6 band(s)", "int32", "EPSG:32633", "6 ndvi"] {
        assert!(text.contains(phrase), "{phrase:?} is not in\n{text}");
    }
}

#[test]
fn info_without_a_file_describes_the_build() {
    let project = Project::fresh();
    let text = project.s2pipe(&["info"]).ok().stdout;
    let lines: Vec<&str> = text.lines().collect();
    let [version, processors, cuda] = lines[..] else { panic!("{text}") };
    assert!(version.starts_with("s2pipe ") && processors.starts_with("processors: ") && cuda.starts_with("CUDA: "));
    let json = project.s2pipe(&["info", "--json"]).ok().json();
    assert!(json["processors"].as_u64() > Some(0));
    assert_eq!(json["cuda"][0], cuda.trim_start_matches("CUDA: "));
    project.s2pipe(&["info", "--checksum"]).exit(2).says(&["FILE"]);
}

/// What the pipeline may say of GPUs is right on every machine, and checked on every machine.
#[test]
fn settings_for_a_gpu_are_checked_without_one() {
    let project = Project::fresh();
    let check = |settings: &[&str]| {
        let set: Vec<String> = settings.iter().map(|s| format!("--set={s}")).collect();
        project.s2pipe(&[&["check"], &set.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat())
    };
    check(&["train.precision=bf16", "predict.precision=tf32", "train.deterministic=false", "train.batch=auto"]).ok();
    check(&["train.matrix={ batch: [4, auto], precision: [f32, bf16] }"]).ok();
    let choices = ["expected `auto`, `f32`, `tf32` or `bf16`, found the text `fp16`"];
    check(&["train.precision=fp16"]).exit(2).says(&["train.precision"]).says(&choices);
    check(&["predict.precision=fp16"]).exit(2).says(&["predict.precision"]).says(&choices);
    check(&["train.batch=autp"]).exit(2).says(&["a whole number from 1 to 4096 or `auto`", "did you mean `auto`?"]);
    check(&["train.batch=0"]).exit(2).says(&["a whole number from 1 to 4096 or `auto`", "out of range"]);
    check(&["train.matrix={ batch: [4, 5000] }"]).exit(2).says(&["train.batch", "5000"]);
}

#[test]
fn synth_makes_the_same_scenes_again_and_scenes_for_masks() {
    let project = Project::fresh();
    let again = tempfile::tempdir().unwrap();
    synth(again.path(), 42);
    for name in ["tra_scene_0", "val_truth_1"] {
        let file = again.path().join(name.rsplit_once('_').unwrap().0).join(format!("{name}.tif"));
        assert!(fs::read(file).unwrap() == fs::read(project.data(name)).unwrap(), "{name} is another one");
    }
    project.s2pipe(&["synth", "made", "--from-truth", project::DATA]).ok();
    let made = Reader::open(project.path("made/val_scene/val_scene_1.tif")).unwrap();
    let mask = Reader::open(project.data("val_truth_1")).unwrap();
    assert!(made.info().same_grid(mask.info()).is_ok());
    let codes = |path| read_labels(path).unwrap().codes;
    assert_eq!(codes(project.path("made/val_truth/val_truth_1.tif")), codes(project.data("val_truth_1")));
    project.s2pipe(&["synth", "made", "--from-truth", "nowhere"]).exit(1).says(&["nowhere", "tra_truth/*.tif"]);
    project.s2pipe(&["synth", "made", "--size", "5"]).exit(2).says(&["--size"]);
}

#[test]
fn stages_and_help_print_and_end_well() {
    let project = Project::fresh();
    let all = project.s2pipe(&["stages"]).ok().stdout;
    for kind in ["ingest", "patches", "train", "predict", "evaluate", "figures", "shell", "synth"] {
        assert!(all.lines().any(|line| line == kind), "{kind} is not in\n{all}");
    }
    let train = project.s2pipe(&["stages", "train", "--json"]).ok().stdout;
    assert!(serde_json::from_str::<Value>(&train).unwrap().to_string().contains("weight_decay"));
    project.s2pipe(&["stages", "trian"]).exit(2).says(&["trian", "`train`"]);
    assert!(project.s2pipe(&["--help"]).ok().stdout.contains("Exit codes: 0 fine"));
    assert!(project.s2pipe(&["--version"]).ok().stdout.starts_with("s2pipe "));
    project.s2pipe(&[]).exit(2);
    assert!(project.s2pipe(&["check"]).ok().stdout.contains("6 stages, 18 tasks, no mistakes found"));
}

#[test]
fn the_default_pipeline_is_found_or_asked_for() {
    let project = Project::fresh();
    fs::rename(project.path("pipelines/landcover.yaml"), project.path("pipelines/only.yaml")).unwrap();
    project.s2pipe(&["check"]).ok();
    fs::copy(project.path("pipelines/only.yaml"), project.path("pipelines/other.yaml")).unwrap();
    project.s2pipe(&["check"]).exit(2).says(&["only.yaml", "other.yaml"]);
    project.s2pipe(&["check", "pipelines/other.yaml"]).ok();
    fs::remove_dir_all(project.path("pipelines")).unwrap();
    project.s2pipe(&["check"]).exit(2).says(&["pipelines"]);
}

#[test]
fn the_cache_answers_for_every_name_it_lists() {
    let project = Project::finished();
    let model = project.s2pipe(&["cache", "path", "train/model"]).ok().stdout;
    assert!(fs::read_dir(model.trim()).unwrap().count() == 2, "{model}");
    let list = project.s2pipe(&["cache", "ls", "landcover"]).ok().stdout;
    let rows = list.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let names: Vec<String> = rows.map(|cells| format!("{}/{}", cells[0], cells[1])).collect();
    assert!(
        ["landcover/predict/val_scene_1/map", "landcover/train/model"].iter().all(|n| names.iter().any(|m| m == n))
    );
    for name in names {
        project.s2pipe(&["cache", "show", &name]).ok();
    }
    project
        .s2pipe(&["cache", "show", "predict"])
        .exit(1)
        .says(&["could be any of", "landcover/predict/val_scene_0/map"]);
    let shown = project.s2pipe(&["cache", "show", "predict/val_scene_1"]).ok().stdout;
    for source in ["val_scene_1.tif", "tra_scene_0.tif", "tra_truth_1.tif"] {
        assert!(shown.contains(source), "{source} is not in\n{shown}");
    }
    project.s2pipe(&["cache", "show", "predikt"]).exit(1).says(&["predikt", "cache ls"]);
}

#[test]
fn graphs_name_every_stage() {
    let project = Project::fresh();
    for (format, begins) in [("text", "landcover"), ("dot", "digraph"), ("mermaid", "graph LR")] {
        let graph = project.s2pipe(&["graph", "--format", format]).ok().stdout;
        assert!(graph.trim_start().starts_with(begins), "{graph}");
        assert!(project::STAGES.iter().all(|stage| graph.contains(stage)), "{graph}");
    }
}

/// `s2pipe … | head` is no error.
#[test]
fn a_reader_that_leaves_is_no_failure() {
    let project = Project::finished();
    for args in [&["schema"][..], &["stages"], &["cache", "ls"]] {
        let mut child = command(project.root(), args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success(), "{args:?}: {said}");
        assert_eq!(said, "");
    }
}

/// Nothing is written to standard output but what was asked for, and `-q` says only what went wrong.
#[test]
fn quiet_is_quiet() {
    let project = Project::fresh();
    let ran = project.s2pipe(&["run", "-q", "--until", "patches"]).ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    project.s2pipe(&["run", "-q", "-v"]).exit(2);
}
