//! A run that is killed or stopped at any moment costs time and nothing else: the next one ends in the bytes of a run
//! that was never interrupted.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use project::{Project, Ran, checkpoints};
use rustix::process::Signal;

/// The small project with a longer training.
fn project() -> Project {
    let project = Project::fresh();
    project.edit("epochs: 6", "epochs: 15");
    project
}

/// What a run of [`project`] leaves that nobody interrupts.
fn undisturbed() -> &'static BTreeMap<String, String> {
    static ARTEFACTS: std::sync::OnceLock<BTreeMap<String, String>> = std::sync::OnceLock::new();
    ARTEFACTS.get_or_init(|| {
        let project = project();
        project.run(&[]).ok();
        project.artefacts()
    })
}

/// Runs to the end; must get to the same place, and leave no litter.
#[track_caller]
fn ends_well(project: &Project) -> Ran {
    let ran = project.run(&[]).ok();
    assert_eq!(project.artefacts(), *undisturbed());
    assert!(project.run(&[]).ok().tasks().is_empty());
    assert!(checkpoints(project.root()).is_empty(), "checkpoints of a finished training are of no use");
    let scratch: Vec<_> = fs::read_dir(project.path("cache/.s2pipe/tmp")).unwrap().collect();
    assert!(scratch.is_empty(), "{scratch:?} is left over");
    ran
}

#[test]
fn killed_during_ingest() {
    let project = project();
    let mut run = project.start(&[]);
    run.wait_for_stage("ingest");
    run.signal(Signal::KILL);
    assert!(!project.path("cache/landcover/train").exists(), "it was not killed during ingest");
    ends_well(&project);
}

/// Many scenes, killed when some are done: these are not ingested again.
#[test]
fn killed_between_scenes() {
    let project = Project::fresh();
    for copy in 2..40 {
        for what in ["tra_scene", "tra_truth"] {
            fs::copy(project.data(&format!("{what}_0")), project.data(&format!("{what}_{copy}"))).unwrap();
        }
    }
    project.run(&["--until", "patches", "--cache", "whole"]).ok();
    let mut run = project.start(&["--until", "patches"]);
    let scenes = project.path("cache/landcover/ingest/train");
    let done = || fs::read_dir(&scenes).map_or(0, Iterator::count);
    run.wait_until("five scenes were there", |_| done() >= 5);
    run.signal(Signal::KILL);
    let before = done();
    let ran = project.run(&["--until", "patches"]).ok();
    let cached = ran.cached().len();
    // One more may have been committed than was shown.
    assert!(before < 40 && cached >= before, "{before} scenes were shown, {cached} tasks come from the cache");
    assert_eq!(project.artefacts(), project.artefacts_in("whole"));
}

#[test]
fn killed_during_training() {
    let project = project();
    let mut run = project.start(&[]);
    run.wait_for_checkpoint();
    assert_eq!(run.signal(Signal::KILL), None);
    assert!(!project.path("cache/landcover/train").exists(), "it was not killed during training");
    let ran = ends_well(&project);
    assert_eq!(ran.stages(), ["train", "predict", "evaluate", "figures"]);
}

#[test]
fn killed_during_figures() {
    let project = project();
    let mut run = project.start(&[]);
    run.wait_for_stage("figures");
    assert_eq!(run.signal(Signal::KILL), None);
    let ran = ends_well(&project);
    assert_eq!(ran.stages().last().map(String::as_str), Some("figures"));
    assert!(!ran.tasks().contains("train"), "training was done");
}

/// Killed over and over, wherever it happens to be.
#[test]
fn killed_at_one_moment_after_another() {
    let project = project();
    for milliseconds in [3, 10, 20, 30, 45, 60, 90, 130, 180, 250, 350, 500] {
        let run = project.start(&[]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        run.signal(Signal::KILL);
    }
    ends_well(&project);
}

#[test]
fn interrupted_training_leaves_a_checkpoint_and_goes_on() {
    for signal in [Signal::INT, Signal::TERM] {
        let project = project();
        let mut run = project.start(&[]);
        run.wait_for_stage("train");
        assert_eq!(run.signal(signal), Some(130));
        assert!(!checkpoints(project.root()).is_empty(), "no checkpoint was left");
        project.s2pipe(&["status"]).exit(3);
        ends_well(&project);
    }
}

/// As on a network file system, where two runs may do the same at the same time: whatever becomes of one of them, the
/// other one's results are right and whole.
#[test]
fn one_of_two_runs_without_locks_is_killed() {
    let project = project();
    let start = || {
        project.start_with(&[], |command| {
            command.env("S2PIPE_LOCKS", "off");
        })
    };
    let (mut first, second) = (start(), start());
    first.wait_for_stage("train");
    assert_eq!(first.signal(Signal::KILL), None);
    assert_eq!(second.wait(), Some(0));
    assert_eq!(project.artefacts(), *undisturbed());
    project.s2pipe(&["cache", "verify"]).ok();
    assert!(project.run(&[]).ok().tasks().is_empty());
}
