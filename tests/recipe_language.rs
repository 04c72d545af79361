//! The recipe of a training as the language takes it: what is right becomes a configuration, what is wrong is explained.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;

use s2pipe::net::TrainConfig;
use s2pipe::spec::{Diagnostics, Pipeline, parse};
use s2pipe::stages::{advice, registry};
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
    let mut with = with(settings);
    // A file, which a task is given as an input.
    with.remove("init");
    let mut with = Value::Object(with);
    (with["classes"], with["seed"]) = (json!(6), json!(1));
    serde_json::from_value(with).unwrap()
}

/// What is not asked for is at its default or not there; what is off by default leaves the record, so that trainings keep
/// their keys.
#[test]
fn the_default_recipe_reads_as_in_its_snapshot() {
    insta::with_settings!({
        snapshot_path => "spec/snapshots", prepend_module_to_snapshot => false, omit_expression => true,
    }, { insta::assert_snapshot!("recipe-default", serde_json::to_string_pretty(&with("epochs: 40")).unwrap()) });
}

#[test]
fn patches_of_any_size_fit_a_network_that_halves_nothing() {
    // The patches of these pipelines are 128 px, and 2^8 is 256.
    with("model: { kind: mlp, depth: 8 }");
    let explained = pipeline("model: { kind: deeplabv3plus, depth: 8 }").unwrap_err().render(false);
    assert!(explained.contains("no multiple of 256"), "{explained}");
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

#[test]
fn patience_needs_a_holdout() {
    let text = |holdout: f64| {
        format!(
            "classes: {{ 1: {{ name: water, color: blue }} }}\nstages:\n  ingest:\n    uses: ingest\n    with:\n      \
             train: {{ scenes: dset-s2-grunnkart/tra_scene/*.tif, truth: dset-s2-grunnkart/tra_truth/*.tif }}\n      \
             bands: [blue, green, red, nir, swir, ndvi]\n  \
             cut: {{ uses: patches, inputs: {{ tiles: ingest.train }}, with: {{ holdout: {holdout} }} }}\n  \
             train: {{ uses: train, inputs: {{ patches: cut }}, with: {{ patience: 5 }} }}\n"
        )
    };
    let check =
        |holdout| parse(&text(holdout), Path::new("tests/spec/pipelines/recipe.yaml"), &[], &registry().specs());
    check(0.1).unwrap_or_else(|problems| panic!("{problems}"));
    let problems = check(0.0).unwrap_err().render(false);
    assert!(problems.contains("patience counts scores on the hold-out, and `cut.holdout` is 0"), "{problems}");
}

#[test]
fn rare_classes_that_count_twice_over_are_warned_of() {
    let advice = |settings: &str| advice(&pipeline(settings).unwrap_or_else(|problems| panic!("{problems}")));
    let balanced = "sampling: class_balanced\n";
    assert_eq!(advice("epochs: 3"), [] as [&str; 0]);
    assert_eq!(advice(balanced), [] as [&str; 0]);
    assert_eq!(advice("loss: { class_weights: inverse }"), [] as [&str; 0]);
    let terms = "loss: { kind: sum, terms: [{ loss: { kind: focal, class_weights: inverse } }] }";
    for loss in ["loss: { class_weights: inverse_sqrt }", terms] {
        let told = advice(&format!("{balanced}{loss}"));
        assert!(told.len() == 1 && told[0].starts_with("train: rare classes count twice over"), "{told:?}");
    }
}
