//! The recipe of a training as the language takes it: what is right becomes a configuration, what is wrong is explained.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;

use s2pipe::net::TrainConfig;
use s2pipe::spec::{Diagnostics, Pipeline, parse};
use s2pipe::stages::registry;
use serde_json::{Map, Value, json};

/// A pipeline whose stage `train` has these settings, a line each.
fn pipeline(settings: &str) -> Result<Pipeline, Diagnostics> {
    let stages = "stages:\n  ingest:\n    uses: ingest\n    with:\n      \
                  train: { scenes: dset-s2-grunnkart/tra_scene/*.tif, truth: dset-s2-grunnkart/tra_truth/*.tif }\n      \
                  bands: [blue, green, red, nir, swir, ndvi]\n  \
                  patches: { uses: patches, inputs: { tiles: ingest.train } }\n  \
                  train:\n    uses: train\n    inputs: { patches: patches }\n    with:\n";
    let lines: String = settings.lines().map(|line| format!("      {line}\n")).collect();
    let text = format!("classes: {{ 1: {{ name: water, color: blue }} }}\n{stages}{lines}");
    parse(&text, Path::new("tests/spec/pipelines/recipe.yaml"), &[], &registry().specs())
}

/// The checked settings.
fn with(settings: &str) -> Map<String, Value> {
    pipeline(settings).unwrap_or_else(|problems| panic!("{problems}")).stage("train").unwrap().with.clone()
}

fn config(settings: &str) -> TrainConfig {
    let mut with = Value::Object(with(settings));
    (with["classes"], with["seed"]) = (json!(6), json!(1));
    serde_json::from_value(with).unwrap()
}

/// What is not asked for is not in the record, so that trainings keep their keys.
#[test]
fn the_default_recipe_reads_as_in_its_snapshot() {
    insta::with_settings!({
        snapshot_path => "spec/snapshots", prepend_module_to_snapshot => false, omit_expression => true,
    }, { insta::assert_snapshot!("recipe-default", serde_json::to_string_pretty(&with("epochs: 40")).unwrap()) });
}

#[test]
fn every_recipe_becomes_a_configuration() {
    for settings in include_str!("spec/recipes/right.yaml").split("---\n") {
        let config = config(settings);
        let again: TrainConfig = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
        assert_eq!(again, config, "{settings}");
    }
}

#[test]
fn every_wrong_recipe_is_explained_as_in_its_snapshot() {
    let explain = |settings: &str| match pipeline(settings) {
        Ok(_) => panic!("taken for a good recipe: {settings}"),
        Err(problems) => problems.render(false),
    };
    let told: Vec<String> = include_str!("spec/recipes/wrong.yaml").split("---\n").map(explain).collect();
    insta::with_settings!({
        snapshot_path => "spec/snapshots", prepend_module_to_snapshot => false, omit_expression => true,
    }, { insta::assert_snapshot!("recipe-wrong", told.join("\n")) });
}
