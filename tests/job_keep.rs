//! The memory of runs and the upkeep of the cache, as a person uses them.

mod project;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use project::Project;
use serde_json::Value;

/// Lines of a table by their first word.
fn line<'t>(text: &'t str, start: &str) -> &'t str {
    text.lines().find(|l| l.trim_start().starts_with(start)).unwrap_or_else(|| panic!("no line {start:?} in\n{text}"))
}

#[test]
fn runs_are_listed_shown_and_compared() {
    let project = Project::finished();
    project.run(&["--set", "train.model.width=6"]).ok();
    let list = project.s2pipe(&["runs"]).ok().stdout;
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(list.lines().nth(1).unwrap().contains("evaluate jaccard 0."), "{list}");
    let runs: Vec<Value> = serde_json::from_str(&project.s2pipe(&["runs", "--json"]).ok().stdout).unwrap();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0]["end"], "ok");

    let shown = project.s2pipe(&["runs", "show", "latest"]).ok().stdout;
    assert!(line(&shown, "train.model.width").ends_with(" 6"), "{shown}");
    assert!(line(&shown, "evaluate  jaccard ").contains("0."), "{shown}");
    assert!(line(&shown, "ingest ").split_whitespace().eq(["ingest", "4", "0.0"]), "{shown}");
    let because = |l: &str| l.trim_start().starts_with("train ") && l.ends_with(" model.width 4 -> 6");
    assert!(shown.lines().any(because), "{shown}");
    let json = project.s2pipe(&["runs", "show", "latest", "--json"]).ok().json();
    assert_eq!(json["info"]["summary"]["why"]["train"][0], "model.width 4 -> 6");
    assert_eq!(json["tasks"]["made"].as_array().unwrap().len(), 18);
    assert_eq!(json["tasks"]["sources"].as_object().unwrap().len(), 8);

    let diff = project.s2pipe(&["runs", "diff", "latest~1", "latest"]).ok().stdout;
    assert!(line(&diff, "train.model.width").split_whitespace().eq(["train.model.width", "4", "6"]), "{diff}");
    assert!(!diff.contains("epochs") && !diff.contains("data"), "what is equal is left out\n{diff}");
    assert_eq!(line(&diff, "evaluate jaccard ").split_whitespace().count(), 5, "{diff}");
    let json = project.s2pipe(&["runs", "diff", "latest~1", "latest", "--json"]).ok().json();
    assert_eq!(json["parameters"][0]["a"], 4);
    project.s2pipe(&["runs", "show", "nosuch"]).exit(1).says(&["there is no run \"nosuch\"", "`s2pipe runs` lists"]);
}

#[test]
fn an_interrupted_run_is_remembered_as_such() {
    let project = Project::fresh();
    let mut running = project.start(&["--set", "train.epochs=4000"]);
    running.wait_for_checkpoint();
    let list = project.s2pipe(&["runs"]).ok().stdout;
    assert!(list.contains(" running"), "{list}");
    assert_eq!(running.signal(rustix::process::Signal::KILL), None);
    assert!(project.s2pipe(&["runs"]).ok().stdout.contains(" killed"));
    let shown = project.s2pipe(&["runs", "show", "latest"]).ok().stdout;
    assert!(line(&shown, "train.epochs").ends_with(" 4000"), "what it was asked to do is known\n{shown}");
}

#[test]
fn the_cache_is_measured_collected_and_made_again() {
    let project = Project::finished();
    let before = project.artefacts();
    project.run(&["--set", "train.model.width=6"]).ok();
    project.run(&[]).ok();
    let usage = project.s2pipe(&["cache", "du"]).ok().stdout;
    assert!(line(&usage, "older results").split_whitespace().nth(2) == Some("13"), "{usage}");
    assert!(usage.contains("landcover/train") && usage.contains("`s2pipe cache gc --dry-run`"), "{usage}");
    let kept = project.s2pipe(&["cache", "gc", "-n"]).ok().stdout;
    assert!(kept.starts_with("would remove 0 results"), "an hour of grace\n{kept}");
    let planned = project.s2pipe(&["cache", "gc", "-n", "--grace", "0s"]).ok().stdout;
    assert!(line(&planned, "landcover/train ").contains("model.width 4 -> 6"), "{planned}");
    assert!(planned.contains("would remove 13 results"), "{planned}");
    let done = project.s2pipe(&["cache", "gc", "--grace", "0s"]).ok().stdout;
    assert!(done.contains("removed 13 results"), "{done}");
    assert_eq!(project.artefacts(), before);
    assert!(project.run(&[]).ok().tasks().is_empty());
    assert_eq!(project.run(&["--set", "train.model.width=6"]).ok().stages(), project::STAGES[2..]);
    project.s2pipe(&["cache", "gc", "--older-than", "soon"]).exit(2).says(&["expected a time such as"]);
    project.s2pipe(&["cache", "gc", "--max-size", "5"]).exit(2).says(&["it has no unit: write `5MB` or `5GB`"]);
}

#[test]
fn pins_keep_a_run() {
    let project = Project::finished();
    assert!(project.s2pipe(&["cache", "pin", "latest"]).ok().stdout.starts_with("pinned run "));
    project.run(&["--set", "train.model.width=6"]).ok();
    assert!(project.s2pipe(&["runs"]).ok().stdout.contains("ok, pinned"));
    let planned = project.s2pipe(&["cache", "gc", "--grace", "0s"]).ok().stdout;
    assert!(planned.starts_with("removed 0 results"), "{planned}");
    assert!(project.s2pipe(&["cache", "pin"]).ok().stdout.contains("latest"));
    project.s2pipe(&["cache", "unpin", "latest~1"]).ok();
    project.s2pipe(&["cache", "unpin", "latest~1"]).exit(1).says(&["is not pinned"]);
}

#[test]
fn a_bit_that_flips_is_found_and_made_again() {
    let project = Project::finished();
    assert!(project.s2pipe(&["cache", "verify"]).ok().stdout.contains("all as they should be"));
    let before = project.artefacts();
    let map = fs::canonicalize(project.path("cache/landcover/predict/val_scene_1.tif")).unwrap();
    let meta = fs::metadata(&map).unwrap();
    let mut bytes = fs::read(&map).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::set_permissions(&map, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&map, bytes).unwrap();
    fs::File::options().write(true).open(&map).unwrap().set_modified(meta.modified().unwrap()).unwrap();
    let found = project.s2pipe(&["cache", "verify"]).exit(1).stdout;
    assert!(found.contains("needed by landcover/predict/val_scene_1.map"), "{found}");
    assert!(found.contains("1 bad; `s2pipe cache verify --repair` removes them"), "{found}");
    project.s2pipe(&["cache", "verify", "--repair"]).ok();
    project.s2pipe(&["cache", "verify"]).ok();
    let tasks = project.run(&[]).ok().tasks();
    assert_eq!(tasks.into_iter().collect::<Vec<_>>(), ["predict/val_scene_1"]);
    assert_eq!(project.artefacts(), before);
}

#[test]
fn artefacts_print_and_name_what_used_them() {
    let project = Project::finished();
    let metrics = project.s2pipe(&["cache", "cat", "evaluate/metrics"]).ok().json();
    assert_eq!(metrics["format"], "s2pipe.metrics/1");
    let card = project.s2pipe(&["cache", "cat", "train/model/model.json"]).ok().json();
    assert_eq!(card["seed"], 42);
    project.s2pipe(&["cache", "cat", "train/model"]).exit(1).says(&["is a folder of train/model/model.json, "]);
    let shown = project.s2pipe(&["cache", "show", "train"]).ok().stdout;
    assert!(shown.contains("landcover/predict/val_scene_0 as model"), "{shown}");
    assert!(project.s2pipe(&["cache", "show", "evaluate"]).ok().stdout.contains("jaccard"));
}

#[test]
fn running_a_stage_again_gives_the_same_bytes() {
    let project = Project::finished();
    let before = project.artefacts();
    for stage in ["train", "predict", "figures"] {
        for threads in ["1", "2"] {
            let again = project.s2pipe(&["verify", "--rerun", stage, "-j", threads]).ok().stdout;
            assert!(again.lines().all(|line| line.contains("the same bytes again")), "{again}");
        }
    }
    assert_eq!(project.artefacts(), before);
    assert!(project.run(&[]).ok().tasks().is_empty());
    project.s2pipe(&["verify", "--rerun", "trian"]).exit(2).says(&["did you mean \"train\""]);
    fs::remove_dir_all(project.path("cache")).unwrap();
    let nothing = project.s2pipe(&["verify", "--rerun", "ingest"]).exit(3).stdout;
    assert!(nothing.contains("is not in the cache: nothing to compare with"), "{nothing}");
}

#[test]
fn status_tells_causes_to_programs() {
    let project = Project::finished();
    let status = project.s2pipe(&["status", "--json", "--set", "train.model.width=6"]).exit(3).json();
    let task = |stage: &str| status["tasks"].as_array().unwrap().iter().find(|t| t["stage"] == stage).unwrap().clone();
    assert_eq!(task("train")["reasons"][0], "model.width 4 -> 6");
    assert_eq!(task("train")["causes"][0]["reason"], "param");
    assert_eq!((&task("train")["causes"][0]["from"], &task("train")["causes"][0]["to"]), (&4.into(), &6.into()));
    assert_eq!((&task("predict")["state"], &task("predict")["depends_on"][0]), (&"may_run".into(), &"train".into()));
    project.s2pipe(&["status"]).ok();
    // One training scene changed: which, is told.
    fs::copy(project.data("tra_scene_0"), project.data("tra_scene_1")).unwrap();
    let text = project.s2pipe(&["status"]).exit(3).stdout;
    assert!(text.contains("will run: input scene changed (") && text.contains("tra_scene_1.tif)"), "{text}");
    let dry = project.s2pipe(&["run", "-n", "--explain", "--json"]).ok().json();
    assert_eq!(dry["tasks"].as_array().unwrap().iter().filter(|t| t["state"] == "will_run").count(), 1, "{dry}");
}
