//! `init` through the whole job: a network that begins with weights from a file.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::collections::HashMap;
use std::fs;

use project::{PIPELINE, Project, checkpoints};
use rustix::process::Signal;
use s2pipe::net::{EncoderKind, Model, ModelConfig, UNetConfig, weights};
use serde_json::Value;

const MODEL: &str = "model: { kind: unet, width: 4, depth: 2 }";
const RESNET: &str = "model: { kind: unet, width: 4, depth: 2, encoder: resnet18 }";
const INIT: &str =
    "model: { kind: unet, width: 4, depth: 2, encoder: resnet18 }\n      init: weights/resnet18.safetensors";

/// Weights of a ResNet of the same width for three bands, under torchvision's names; another seed gives others.
fn write_weights(project: &Project, seed: u64) {
    let config = ModelConfig::UNet(UNetConfig { encoder: EncoderKind::ResNet18, ..UNetConfig::new(4, 3) });
    let state = weights::state(&Model::new(&config, 3, 2, seed).unwrap()).unwrap();
    let encoder = state.into_iter().filter_map(|(name, t)| Some((name.strip_prefix("encoder.")?.to_owned(), t)));
    fs::create_dir_all(project.path("weights")).unwrap();
    let path = project.path("weights/resnet18.safetensors");
    candle_core::safetensors::save(&encoder.collect::<HashMap<_, _>>(), path).unwrap();
}

/// The project with such a network and a file for it.
fn begun_elsewhere() -> Project {
    let project = Project::fresh();
    write_weights(&project, 1);
    project.edit(MODEL, INIT);
    project
}

fn model(project: &Project) -> Vec<u8> {
    fs::read(project.path("cache/landcover/train/model/model.safetensors")).unwrap()
}

#[test]
fn a_network_begins_with_its_file_and_tells_what_it_took() {
    let project = begun_elsewhere();
    let ran = project.run(&[]).ok();
    assert_eq!(ran.stages(), project::STAGES);
    let told = "init: 25 of 25 tensors of the encoder from resnet18.safetensors; conv1.weight adapted from 3 to 6 bands; \
                not used of the file: layer2.0.bn1.bias,";
    let ran = ran.says(&[told]);
    assert!(ran.stderr.contains("and 22 more"), "{}", ran.stderr);
    let report: Value =
        serde_json::from_slice(&fs::read(project.path("cache/landcover/train/init.json")).unwrap()).unwrap();
    assert_eq!(report["format"], "s2pipe.init/1");
    assert_eq!((report["matched"].as_array().unwrap().len(), report["unmatched"].as_array().unwrap().len()), (24, 0));
    assert_eq!(report["adapted"], serde_json::json!([{ "tensor": "conv1.weight", "from_bands": 3, "to_bands": 6 }]));
    assert!(project.run(&[]).ok().tasks().is_empty());
    // It is another network than one that begins at random, and makes no difference to that one.
    let begun = model(&project);
    project.edit("\n      init: weights/resnet18.safetensors", "");
    assert_eq!(project.run(&["--until", "train"]).ok().stages(), ["train"]);
    assert_ne!(model(&project), begun);
    assert!(!project.path("cache/landcover/train/init.json").exists());
}

#[test]
fn what_is_in_the_file_counts_and_not_where_it_lies() {
    let project = begun_elsewhere();
    project.run(&["--until", "train"]).ok();
    let before = model(&project);
    fs::rename(project.path("weights"), project.path("elsewhere")).unwrap();
    project.edit("weights/resnet18.safetensors", "elsewhere/resnet18.safetensors");
    assert!(project.run(&["--until", "train"]).ok().tasks().is_empty());
    project.edit("elsewhere/resnet18.safetensors", "weights/resnet18.safetensors");
    write_weights(&project, 2);
    assert_eq!(project.run(&["--until", "train"]).ok().stages(), ["train"]);
    assert_ne!(model(&project), before);
}

#[test]
fn without_a_file_trainings_keep_their_keys() {
    let project = Project::finished();
    project.edit(MODEL, "model: { kind: unet, width: 4, depth: 2, encoder: blocks }");
    assert!(project.run(&[]).ok().tasks().is_empty());
}

#[test]
fn a_range_test_begins_with_the_file_too() {
    let rates = "
  rates:
    uses: find_lr
    inputs: { patches: patches }
    with: { from: 1e-5, to: 1e-2, steps: 10 }
";
    let project = Project::fresh();
    write_weights(&project, 1);
    project.write_pipeline(&format!("{PIPELINE}{rates}").replace(MODEL, INIT));
    let run = || project.s2pipe(&["run", "--until", "rates"]).ok();
    let losses = || {
        let report = fs::read(project.path("cache/landcover/rates/rates.json")).unwrap();
        serde_json::from_slice::<Value>(&report).unwrap()["steps"].clone()
    };
    run().says(&["init: 25 of 25 tensors"]);
    let first = losses();
    write_weights(&project, 2);
    assert_eq!(run().stages(), ["rates"]);
    assert_ne!(losses(), first);
}

/// What training has made of the weights is not thrown away for those that it began with.
#[test]
fn a_killed_training_goes_on_from_its_checkpoint() {
    let project = begun_elsewhere();
    project.edit("epochs: 6", "epochs: 15");
    project.run(&["--until", "train", "--cache", "whole"]).ok();
    let mut run = project.start(&["--until", "train"]);
    run.wait_for_checkpoint();
    run.signal(Signal::KILL);
    assert!(!checkpoints(project.root()).is_empty(), "it was killed too late");
    project.run(&["--until", "train"]).ok();
    assert_eq!(
        project.artefacts()["train/model/model.safetensors"],
        project.artefacts_in("whole")["train/model/model.safetensors"]
    );
    assert_eq!(project.artefacts()["train/init.json"], project.artefacts_in("whole")["train/init.json"]);
}

#[test]
fn files_and_networks_that_do_not_go_together_are_refused() {
    let project = begun_elsewhere();
    let told = |set: &str| project.run(&["-n", "--set", set]).exit(2).stderr;
    for (set, phrases) in [
        ("train.model={kind: mlp}", ["this `mlp` has none", "leave `init` out"]),
        ("train.model={kind: random_forest}", ["this `random_forest` has none", "leave `init` out"]),
        ("train.model={kind: fpn}", ["this `fpn` has none", "add `encoder: resnet18`"]),
        ("train.init=weights/resnet19.safetensors", ["there is no file", "did you mean `resnet18.safetensors`"]),
    ] {
        let error = told(set);
        assert!(phrases.iter().all(|phrase| error.contains(phrase)), "{set}: {error}");
    }
    fs::copy(project.path("weights/resnet18.safetensors"), project.path("weights/resnet34.safetensors")).unwrap();
    let error = told("train.init=weights/*.safetensors");
    assert!(error.contains("matches 2 files") && error.contains("name one of `resnet18.safetensors`"), "{error}");
    // What only the file itself can tell: the run stops at once, and says what it found.
    project.edit(RESNET, "model: { kind: unet, width: 8, depth: 2, encoder: resnet18 }");
    let error = project.run(&["--until", "train"]).exit(1).stderr;
    let phrases =
        ["resnet18.safetensors", "expected torchvision's", "a width of 4 and the model one of 8", "`state_dict`"];
    assert!(phrases.iter().all(|phrase| error.contains(phrase)), "{error}");
}
