//! What is allowed in a pipeline and yet probably not meant.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::net::LossConfig;
use crate::spec::{Pipeline, Stage};
use crate::stages::train::{is_forest, unheeded};

/// A sentence for each such thing, in the order of the stages.
pub fn advice(pipeline: &Pipeline) -> Vec<String> {
    let trainings = pipeline.stages.iter().filter(|stage| stage.uses == "train");
    trainings.flat_map(of_training).collect()
}

fn of_training(stage: &Stage) -> impl Iterator<Item = String> {
    let twice = settings(stage).any(balances_twice).then(|| twice(&stage.name));
    twice.into_iter().chain(to_deaf_ears(stage))
}

/// What is told to a forest that does not read it, in whatever variant.
fn to_deaf_ears(stage: &Stage) -> Option<String> {
    let told: BTreeSet<&str> = settings(stage).flat_map(unheeded).collect();
    (!told.is_empty() && settings(stage).all(is_forest)).then(|| {
        let told = told.into_iter().collect::<Vec<_>>().join(", ");
        let reads = "a random forest reads `model` alone; other settings are for networks and change nothing";
        format!("{}: {reads}: {told}", stage.name)
    })
}

/// The settings of a stage, in every variant of its own.
fn settings(stage: &Stage) -> impl Iterator<Item = &Map<String, Value>> {
    let alone = stage.bound.is_empty().then_some(&stage.with);
    alone.into_iter().chain(stage.bound.iter().map(|bound| &bound.with))
}

/// Whether rare classes are both drawn more often and weighed more.
fn balances_twice(with: &Map<String, Value>) -> bool {
    let weighs = |loss: &Value| LossConfig::deserialize(loss).is_ok_and(|loss| loss.weighs_classes());
    !is_forest(with)
        && with.get("sampling").is_some_and(|s| s == "class_balanced")
        && with.get("loss").is_some_and(weighs)
}

fn twice(stage: &str) -> String {
    format!(
        "{stage}: rare classes count twice over: `sampling: class_balanced` draws them as often as the others, and \
         `class_weights` weighs them as if they were still rare; one of the two is enough"
    )
}
