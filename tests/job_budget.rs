//! The budget of a run, on the whole job.

mod project;

use std::fs;

use project::Project;
use serde_json::Value;

#[test]
fn training_stops_in_time_says_so_and_is_never_taken_for_the_whole() {
    let project = Project::fresh();
    let wanted = ["--set", "budget=6s", "--set", "train.epochs=100000"];
    let ran = project.run(&[&wanted[..], &["--json"]].concat()).ok();
    let summary = ran.json();
    assert_eq!(summary["cut_short"], serde_json::json!(["train"]));
    assert!(ran.stderr.contains("train: cut short by the budget after "), "{}", ran.stderr);
    // What follows it has run.
    let statuses: Vec<&str> =
        summary["stages"].as_array().unwrap().iter().map(|s| s["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["ran"; 6]);
    let history = fs::read(project.path("cache/landcover/train/history.json")).unwrap();
    let history: Value = serde_json::from_slice(&history).unwrap();
    assert_eq!(history["ended"], "deadline");
    assert!(history["best_epoch"].as_u64().unwrap() > 0);
    assert!((history["epochs"].as_array().unwrap().len() as u64) < history["planned_epochs"].as_u64().unwrap());
    // It is kept as what it is: nobody who asks for all epochs gets it.
    let status = project.s2pipe(&[&["status"], &wanted[..]].concat()).exit(3).stdout;
    assert!(status.contains("will run: cut short by the budget last time"), "{status}");
    assert!(project.s2pipe(&["runs", "show", "latest"]).ok().stdout.contains("cut short by the budget: train"));
    let first = history["epochs"].as_array().unwrap().len();
    // The next run goes on from where this one stopped.
    project.run(&wanted).ok();
    let history = fs::read(project.path("cache/landcover/train/history.json")).unwrap();
    let history: Value = serde_json::from_slice(&history).unwrap();
    assert!(history["epochs"].as_array().unwrap().len() > first, "it began anew");
}
