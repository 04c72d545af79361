//! Settings of networks beside a forest, which does not read them.

use serde_json::{Map, Value};

use super::forest::is_forest;
use super::params::PARAMS;
use crate::spec::{Default, ParamSpec, ParamType};

/// Names of the settings that somebody gave a value of their own, where `with` is that of a forest, which reads none of them.
/// A default that was written out cannot be told from one that was not.
pub(in crate::stages) fn unheeded(with: &Map<String, Value>) -> Vec<&'static str> {
    if !is_forest(with) {
        return Vec::new();
    }
    let others = PARAMS.iter().filter(|spec| spec.name != "model");
    others.filter(|spec| !is_default(spec, with.get(spec.name))).map(|spec| spec.name).collect()
}

/// Whether a checked value, its own defaults filled in, is what it is when nobody names it.
fn is_default(spec: &ParamSpec, value: Option<&Value>) -> bool {
    let (Default::Json(default), Some(value)) = (spec.default, value) else { return value.is_none() };
    let default: Value = serde_json::from_str(default).unwrap_or(Value::Null);
    let defaults_below = |specs: &[ParamSpec]| specs.iter().all(|spec| is_default(spec, value.get(spec.name)));
    match &spec.ty {
        ParamType::Object(specs) => defaults_below(specs),
        ParamType::Variant(variants) => {
            let kind = variants.iter().find(|variant| default.get("kind").is_some_and(|kind| kind == variant.kind));
            kind.is_some_and(|variant| value.get("kind") == default.get("kind") && defaults_below(variant.params))
        }
        _ => value.as_f64().map_or(*value == default, |number| default.as_f64() == Some(number)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::spec::parse;
    use crate::stages::{advice, registry};

    /// What is said of a pipeline whose stage `train` has these settings.
    fn told(settings: &str, matrix: &str) -> Vec<String> {
        let text = format!(
            "classes: {{ 1: {{ name: water, color: blue }} }}\nstages:\n  ingest:\n    uses: ingest\n    with:\n      \
             train: {{ scenes: dset-s2-grunnkart/tra_scene/*.tif, truth: dset-s2-grunnkart/tra_truth/*.tif }}\n      \
             bands: [blue, green, red, nir, swir, ndvi]\n  \
             patches: {{ uses: patches, inputs: {{ tiles: ingest.train }} }}\n  \
             train: {{ uses: train, inputs: {{ patches: patches }}, with: {{ {settings} }}, matrix: {{ {matrix} }} }}\n"
        );
        let pipeline = parse(&text, Path::new("tests/spec/pipelines/forest.yaml"), &[], &registry().specs());
        advice(&pipeline.unwrap_or_else(|problems| panic!("{problems}")))
    }

    fn sentence(names: &str) -> [String; 1] {
        [format!(
            "train: a random forest reads `model` alone; other settings are for networks and change nothing: {names}"
        )]
    }

    #[test]
    fn what_differs_from_its_default_is_named_beside_a_forest_and_only_there() {
        let forest = "model: { kind: random_forest }";
        let nothing: [String; 0] = [];
        assert_eq!(told(forest, ""), nothing);
        let defaults =
            "epochs: 40, batch: 8, optimizer: { kind: adamw, lr: 0.002 }, loss: { kind: cross_entropy }, augment: {}";
        assert_eq!(told(&format!("{forest}, {defaults}"), ""), nothing);
        let others = "epochs: 41, batch: auto, optimizer: { lr: 0.01 }, schedule: { kind: constant }, clip: 1, \
                      loss: { smoothing: 0.1 }, ema: {}, augment: { flips: false }, precision: f32";
        let names = "augment, batch, clip, ema, epochs, loss, optimizer, precision, schedule";
        assert_eq!(told(&format!("{forest}, {others}"), ""), sentence(names));
        assert_eq!(told(others, ""), nothing);
        // Both of what a network would count twice is nothing to a forest.
        let twice = "sampling: class_balanced, loss: { class_weights: inverse }";
        assert_eq!(told(&format!("{forest}, {twice}"), ""), sentence("loss, sampling"));
        assert!(told(twice, "")[0].contains("count twice over"));
    }

    #[test]
    fn settings_that_a_network_of_the_same_matrix_reads_are_no_mistake() {
        let both = "model: { net: { kind: unet }, trees: { kind: random_forest } }";
        assert_eq!(told("epochs: 9", both), [] as [String; 0]);
        let forests = "model: { few: { kind: random_forest, trees: 9 }, many: { kind: random_forest } }";
        assert_eq!(told("epochs: 9", forests), sentence("epochs"));
    }
}
