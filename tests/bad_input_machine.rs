//! Command lines, pipelines, folders and numbers that cannot work: what is said, with which exit code, and that a good
//! run afterwards loses nothing.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use project::{DATA, Project, STAGES, checkpoints, command, finish};

#[test]
fn scenes_that_are_not_there() {
    let project = Project::finished();
    let glob = "--set=ingest.val.scenes=dset-s2-grunnkart/val_sceen/*.tif";
    let ran = project.run(&[glob]).exit(2).says(&["val_sceen", "there is no folder", "val_scene"]);
    assert!(ran.stdout.is_empty());
    let glob = "--set=ingest.val.scenes=dset-s2-grunnkart/val_scene/*.tiff";
    project.run(&[glob]).exit(2).says(&["*.tiff", "val_scene_0.tif"]);
    assert!(project.run(&[]).ok().tasks().is_empty());
}

#[test]
fn a_scene_without_truth() {
    let project = Project::finished();
    let truth = project.data("val_truth_1");
    let aside = truth.with_extension("aside");
    fs::rename(&truth, &aside).unwrap();
    project.run(&[]).exit(2).says(&["landcover.yaml:", "no truth goes with scene \"val_scene_1\""]);
    fs::rename(aside, truth).unwrap();
    assert!(project.run(&[]).ok().tasks().is_empty());
}

#[test]
fn command_lines_that_are_wrong() {
    let project = Project::finished();
    project.run(&["--from", "evalute"]).exit(2).says(&["there is no stage \"evalute\"", "did you mean \"evaluate\"?"]);
    project.run(&["--until", "nothing"]).exit(2).says(&["the stages are: ingest, patches"]);
    project.run(&["--from", "figures", "--until", "train"]).exit(2).says(&["figures", "train"]);
    project.run(&["--set", "train.epoch=5"]).exit(2).says(&["no such parameter", "epochs"]);
    project.run(&["--set", "train.epochs=many"]).exit(2).says(&["train.epochs", "many"]);
    project.run(&["--set", "train.epochs=0"]).exit(2).says(&["train.epochs"]);
    project.run(&["--set", "train.epochs"]).exit(2).says(&["PATH=VALUE"]);
    project.run(&["--device", "gpu"]).exit(2).says(&["auto, cpu, cuda"]);
    project.run(&["--gpu-memory", "12Q"]).exit(2).says(&["--gpu-memory", "12Q", "the units are", "`GB`"]);
    project.run(&["--gpu-memory", "12G"]).exit(2).says(&["write `12GB`"]);
    project.run(&["-j", "0"]).exit(2).says(&["-j"]);
    project.run(&["--frm", "train"]).exit(2).says(&["--frm"]);
    project.run(&["pipelines/none.yaml"]).exit(2).says(&["pipelines/none.yaml"]);
    assert!(project.run(&[]).ok().tasks().is_empty());
}

/// Settings that are fine each by itself, and do not go together: said before anything runs.
#[test]
fn settings_that_do_not_fit() {
    let project = Project::fresh();
    let refused = |setting: &str, phrases: &[&str]| {
        project.run(&["--set", setting]).exit(2).says(phrases);
    };
    refused("patches.stride=40", &["leaves gaps", "at most 32"]);
    refused("patches.size=34", &["no multiple of 4", "32 or 36 px"]);
    refused("train.model.depth=6", &["no multiple of 64"]);
    refused("train.optimizer.betas=[0.9]", &["two moments", "[0.9, 0.999]"]);
    refused("train.loss={class_weights: effective_number}", &["effective_number needs `beta`", "1 / (1 - beta)"]);
    refused("predict.overlap=40", &["more than half", "at most 32"]);
    refused("predict.window=98", &["no multiple of 4", "windows of 100 px"]);
    refused("classes.0={name: nothing, color: red}", &["0 cannot be a class"]);
    assert!(!project.path("cache/landcover").exists());
    project.run(&["--set", "patches.size=512"]).exit(1).says(&["is 96x96 px", "smaller `size`"]);
}

#[test]
fn a_pipeline_with_mistakes() {
    let project = Project::finished();
    project.edit("      epochs: 6", "      epoch: 6");
    project.edit("inputs: { maps: predict,", "inputs: { maps: train,");
    let ran = project.run(&[]).exit(2);
    ran.says(&["landcover.yaml:31:", "did you mean `epochs`?", "landcover.yaml:42:", "maps"]);
    assert_eq!(project.s2pipe(&["check"]).exit(2).stdout, "");
}

#[test]
fn a_device_that_this_build_does_not_have() {
    let project = Project::fresh();
    let phrases = ["train", "has no CUDA", "--device cpu", "cargo build --release --features cuda"];
    project.run(&["--device", "cuda", "--until", "train"]).exit(1).says(&phrases);
    assert_eq!(project.run(&["--device", "cpu", "--gpu-memory", "8GB"]).ok().stages(), STAGES[2..]);
}

#[test]
fn a_file_where_the_cache_should_be() {
    let project = Project::fresh();
    fs::write(project.path("cache"), "I was here first").unwrap();
    for cache in ["cache", "cache/below"] {
        project.run(&["--cache", cache]).exit(1).says(&["cache is not a folder", "--cache DIR"]);
    }
    project.run(&[]).exit(1);
    assert_eq!(fs::read_to_string(project.path("cache")).unwrap(), "I was here first");
    fs::create_dir_all(project.path("other/.s2pipe")).unwrap();
    fs::write(project.path("other/.s2pipe/version"), "notes of mine").unwrap();
    project.run(&["--cache", "other"]).exit(1).says(&["is not the version file of an s2pipe cache", "notes of mine"]);
    project.run(&["--cache", "third", "--until", "patches"]).ok();
}

/// Runs the program as somebody who may only read, where we are root; `None` where that cannot be done.
fn as_nobody(project: &Project, args: &[&str]) -> Option<project::Ran> {
    const NOBODY: u32 = 65534;
    let mut child = command(project.root(), args);
    if rustix::process::geteuid().is_root() {
        for folder in project.root().ancestors().take(2) {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
        child.uid(NOBODY).gid(NOBODY);
    }
    match child.output() {
        Err(error) => {
            println!("skipped: the program cannot be started as another user: {error}");
            None
        }
        Ok(_) => Some(finish(child)),
    }
}

#[test]
fn a_cache_that_must_not_be_written() {
    let project = Project::fresh();
    project.run(&["--until", "ingest"]).ok();
    let read_only = |mode: u32| {
        for folder in ["cache", "cache/.s2pipe", "cache/.s2pipe/runs", "cache/.s2pipe/tmp"] {
            fs::set_permissions(project.path(folder), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    read_only(0o555);
    let refused = as_nobody(&project, &["run"]);
    // Looking needs no permission to write.
    let questions: [&[&str]; 6] = [
        &["status", "--until", "ingest"],
        &["run", "--dry-run"],
        &["runs", "show", "latest"],
        &["cache", "du"],
        &["cache", "ls"],
        &["cache", "verify"],
    ];
    let answers: Vec<_> = questions.iter().map(|args| as_nobody(&project, args)).collect();
    read_only(0o755);
    answers.into_iter().flatten().for_each(|ran| drop(ran.ok()));
    let Some(refused) = refused else { return };
    refused.exit(1).says(&["cannot ", "cache/.s2pipe", "ermission denied", "make the cache folder writable"]);
    assert_eq!(project.run(&["--until", "patches"]).ok().stages(), ["patches"]);
}

#[test]
fn a_loss_that_runs_away() {
    let project = Project::fresh();
    let wild = ["--set=train.optimizer.lr=10", "--set=train.optimizer.weight_decay=10", "--set=train.epochs=40"];
    let ran = project.run(&wild).exit(1);
    let ran = ran.says(&["train: ", " at step ", "last good checkpoint is kept", "lower `optimizer.lr` (it is 10"]);
    assert!(ran.stderr.contains("NaN") || ran.stderr.contains("inf"), "{}", ran.stderr);
    assert!(!checkpoints(project.root()).is_empty(), "no checkpoint is there");
    assert_eq!(project.run(&[]).ok().stages(), STAGES[2..]);
}

/// A file system of a few hundred kilobytes; unmounted when it is dropped.
struct TinyDisk<'a>(&'a Path);

impl<'a> TinyDisk<'a> {
    fn mount(at: &'a Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at).output();
        if mounted.is_ok_and(|out| out.status.success()) {
            return Some(Self(at));
        }
        println!("skipped: no file system can be mounted here");
        None
    }

    fn resize(&self, size: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(self.0).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for TinyDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    let project = Project::finished();
    let at = project.path("tiny");
    let Some(disk) = TinyDisk::mount(&at, "200k") else { return };
    for size in ["200k", "400k", "600k", "800k"] {
        disk.resize(size);
        let ran = project.run(&["--cache", "tiny/cache"]).exit(1);
        ran.says(&["error: ", "free some space", "--cache DIR"]);
    }
    disk.resize("50m");
    let ran = project.run(&["--cache", "tiny/cache"]).ok();
    assert!(!ran.cached().is_empty(), "what was finished before the disk was full is used");
    assert_eq!(project.artefacts_in("tiny/cache"), project.artefacts());
    assert!(project.run(&["--cache", "tiny/cache"]).ok().tasks().is_empty());
}

#[test]
fn results_do_not_go_where_the_data_are() {
    let project = Project::finished();
    let mut names: Vec<String> =
        fs::read_dir(project.root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["cache", DATA, "pipelines"]);
}
