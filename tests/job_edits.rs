//! What runs again after a change, and what does not.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use project::{DATA, PIPELINE, Project, Ran, STAGES, command, finish, synth};

/// Nothing may have run.
#[track_caller]
fn nothing_ran(ran: Ran) {
    let ran = ran.ok();
    assert!(ran.tasks().is_empty(), "{:?} ran", ran.tasks());
    assert_eq!(ran.cached().len(), 18);
}

#[test]
fn another_width_trains_again_and_the_old_one_is_still_there() {
    let project = Project::finished();
    let before = project.artefacts();
    project.edit("width: 4", "width: 5");
    let ran = project.run(&["--explain"]).ok().says(&["train: runs because", "model.width"]);
    assert_eq!(ran.stages(), ["train", "predict", "evaluate", "figures"]);
    assert_ne!(project.artefacts()["train/model/model.safetensors"], before["train/model/model.safetensors"]);
    nothing_ran(project.run(&[]));
    project.edit("width: 5", "width: 4");
    nothing_ran(project.run(&[]));
    assert_eq!(project.artefacts(), before, "the view shows what belongs to the pipeline as it is");
}

#[test]
fn set_and_an_edit_are_the_same() {
    let project = Project::finished();
    let ran = project.run(&["--set", "train.model.width=5", "--set", "train.epochs=2"]).ok();
    assert_eq!(ran.stages(), ["train", "predict", "evaluate", "figures"]);
    project.edit("width: 4", "width: 5");
    project.edit("epochs: 6", "epochs: 2");
    nothing_ran(project.run(&[]));
}

/// Settings for a GPU are another key and, on the CPU, the same model: nothing after it runs.
#[test]
fn the_cpu_heeds_no_setting_for_a_gpu() {
    let project = Project::finished();
    let before = project.artefacts();
    let set = ["--set=train.precision=bf16", "--set=train.deterministic=false", "--set=train.batch=auto"];
    let ran = project.run(&[&["--device", "cpu", "--explain"], &set[..]].concat()).ok();
    assert_eq!(ran.says(&["train: runs because", "precision"]).stages(), ["train"]);
    assert_eq!(project.artefacts(), before);
}

#[test]
fn touched_and_rewritten_files_are_the_same_files() {
    let project = Project::finished();
    nothing_ran(project.run(&[]));
    let later = SystemTime::now() + Duration::from_secs(3600);
    File::options().write(true).open(project.data("tra_scene_0")).unwrap().set_modified(later).unwrap();
    let truth = project.data("tra_truth_1");
    let bytes = fs::read(&truth).unwrap();
    fs::remove_file(&truth).unwrap();
    fs::write(&truth, bytes).unwrap();
    nothing_ran(project.run(&[]));
}

#[test]
fn comments_order_and_spelling_change_nothing() {
    let project = Project::finished();
    project.edit("stages:\n", "# what there is to do\nstages:\n");
    project.edit("lr: 1e-2", "lr: 0.010");
    project.edit("{ size: 32, stride: 32 }", "{ stride: 32, size: 32, holdout: 0.15 } # a default, written out");
    project.edit("      epochs: 6\n      batch: 8\n", "      batch: 8\n      epochs: 6\n");
    project.edit("  6: { name: water, color: blue }\n", "");
    project.edit("classes:\n", "classes:\n  6: { color: \"#0000ff\", name: 'water' }\n");
    nothing_ran(project.run(&[]));
    // Other stages first: the order of a run comes from the inputs.
    let text = fs::read_to_string(project.path("pipelines/landcover.yaml")).unwrap();
    let (head, stages) = text.split_once("stages:\n").unwrap();
    let (first, rest) = stages.split_once("  predict:\n").unwrap();
    project.write_pipeline(&format!("{head}stages:\n  predict:\n{rest}\n{first}"));
    nothing_ran(project.run(&[]));
}

#[test]
fn a_colour_draws_again_and_trains_nothing() {
    let project = Project::finished();
    let before = project.artefacts();
    project.edit("color: green", "color: teal");
    assert_eq!(project.run(&[]).ok().stages(), ["predict", "evaluate", "figures"], "maps carry their colour table");
    let after = project.artefacts();
    assert_eq!(after["evaluate/metrics.json"], before["evaluate/metrics.json"]);
    for picture in ["predict/val_scene_0.tif", "figures/jaccard.jpg", "figures/segmentation_val_scene_1.jpg"] {
        assert_ne!(after[picture], before[picture], "{picture} has the old colour");
    }
}

#[test]
fn another_validation_scene_is_mapped_and_scored_alone() {
    let project = Project::finished();
    let before = project.artefacts();
    let others = tempfile::tempdir().unwrap();
    synth(others.path(), 7);
    fs::copy(others.path().join("val_scene/val_scene_1.tif"), project.data("val_scene_1")).unwrap();
    let ran = project.run(&[]).ok();
    let expected = [
        "ingest/val/val_scene_1",
        "predict/val_scene_1",
        "evaluate/scenes/val_scene_1",
        "evaluate",
        "figures/segmentation_val_scene_1",
        "figures/errors_val_scene_1",
        "figures/jaccard",
        "figures/confusion",
    ];
    assert_eq!(ran.tasks(), expected.map(str::to_owned).into());
    let cached: BTreeSet<String> = [
        "ingest/train/tra_scene_0",
        "ingest/train/tra_scene_1",
        "ingest/val/val_scene_0",
        "patches",
        "train",
        "predict/val_scene_0",
        "evaluate/scenes/val_scene_0",
        "figures/segmentation_val_scene_0",
        "figures/errors_val_scene_0",
        "figures/curves",
    ]
    .map(str::to_owned)
    .into();
    assert_eq!(ran.cached(), cached);
    let after = project.artefacts();
    let changed: Vec<&String> = after.keys().filter(|k| after[*k] != before[*k]).collect();
    assert!(
        changed.iter().all(|k| k.contains("val_scene_1") || k.starts_with("evaluate/") || k.starts_with("figures/"))
    );
    assert!(changed.iter().any(|k| *k == "predict/val_scene_1.tif"));
}

#[test]
fn a_moved_project_is_the_same_project() {
    let mut project = Project::finished();
    let before = project.artefacts();
    project.move_to("somewhere else");
    nothing_ran(project.run(&[]));
    assert_eq!(project.artefacts(), before);
    // Called from another folder, with another spelling of the path.
    let file = project.path("pipelines/../pipelines/landcover.yaml");
    nothing_ran(project::s2pipe(project.root().parent().unwrap(), &["run", "-v", file.to_str().unwrap()]));
}

#[test]
fn a_renamed_data_folder_is_the_same_data() {
    let project = Project::finished();
    fs::rename(project.path(DATA), project.path("data")).unwrap();
    let text = fs::read_to_string(project.path("pipelines/landcover.yaml")).unwrap();
    project.write_pipeline(&text.replace(DATA, "data"));
    nothing_ran(project.run(&[]));
}

#[test]
fn from_runs_a_stage_and_what_follows() {
    let project = Project::finished();
    let before = project.artefacts();
    assert_eq!(project.run(&["--from", "evaluate"]).ok().stages(), ["evaluate", "figures"]);
    assert_eq!(project.artefacts(), before);
    nothing_ran(project.run(&[]));
}

/// The key of every task.
fn keys(project: &Project) -> BTreeSet<String> {
    let tasks = project.s2pipe(&["status", "--json"]).json()["tasks"].clone();
    tasks.as_array().unwrap().iter().map(|task| task["key"].to_string()).collect()
}

#[test]
fn where_a_pipeline_runs_is_in_no_key() {
    let project = Project::finished();
    let before = keys(&project);
    assert_eq!(before.len(), 18);
    let slurm = "slurm: { time: 1h, cpus: 4, kinds: { train: { gpus: 1 } }, stages: { ingest: { pack: 10 } } }\n";
    let remote = "remote: { url: 'file:///shared/cache', push: never }\n";
    for site in ["executor: local\n", "executor: slurm\n", slurm, remote] {
        project.write_pipeline(&format!("{PIPELINE}{site}"));
        assert_eq!(keys(&project), before, "{site}");
    }
    fs::write(project.path("mine.yaml"), format!("executor: slurm\n{slurm}{remote}")).unwrap();
    project.write_pipeline(PIPELINE);
    let mut status = command(project.root(), &["status"]);
    status.env("S2PIPE_CONFIG", "mine.yaml");
    finish(status).ok();
}

#[test]
fn a_broken_personal_file_is_told_before_anything_runs() {
    let project = Project::fresh();
    let config = project.path("config/s2pipe");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.yaml"), "executor: slurm\nslurm: { partiton: normal }\n").unwrap();
    let run = |name: &str, value: &str| {
        let mut run = command(project.root(), &["run"]);
        run.env_remove("S2PIPE_CONFIG").env("XDG_CONFIG_HOME", project.path("config")).env(name, value);
        finish(run)
    };
    run("LANG", "C").exit(2).says(&["config/s2pipe/config.yaml:2:10", "did you mean `partition`?"]);
    run("S2PIPE_CONFIG", "elsewhere.yaml").exit(2).says(&["elsewhere.yaml: error: there is no such file"]);
    assert!(!project.path("cache/landcover").exists());
    let mut none = command(project.root(), &["status"]);
    none.env("XDG_CONFIG_HOME", project.path("config")).env("S2PIPE_CONFIG", "");
    finish(none).exit(3);
}

#[test]
fn force_runs_everything_to_the_same_end() {
    let project = Project::finished();
    let before = project.artefacts();
    let ran = project.run(&["--force"]).ok();
    assert_eq!(ran.stages(), STAGES);
    assert_eq!(ran.tasks().len(), 18);
    assert_eq!(project.artefacts(), before);
}

#[test]
fn until_and_dry_run_stop_where_they_should() {
    let project = Project::fresh();
    let dry = project.run(&["--dry-run"]).ok();
    assert!(dry.tasks().is_empty() && dry.stdout.contains("will run"), "{}", dry.stdout);
    let json = project.run(&["-n", "--json"]).ok().json();
    assert_eq!(json["tasks"].as_array().unwrap().len(), 18);
    assert!(!project.path("cache/landcover").exists(), "a dry run leaves nothing");
    assert_eq!(project.run(&["--until", "patches"]).ok().stages(), ["ingest", "patches"]);
    assert!(!project.path("cache/landcover/train").exists());
    assert!(project.run(&["--until", "patches"]).ok().tasks().is_empty());
    assert_eq!(project.run(&["--until", "predict"]).ok().stages(), ["train", "predict"]);
}
