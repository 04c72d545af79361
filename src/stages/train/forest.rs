//! `train` with a random forest: its setting, and what is done instead of training a network.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::card::{MODEL_CARD_FILE, MODEL_FILE, ModelCard};
use super::params::{int, param};
use super::source::TilePatches;
use crate::engine::{Outcome, Progress, StageError, TaskContext};
use crate::net::forest::{ForestHooks, TrainedForest, save, train};
use crate::net::{Ended, ForestConfig, ModelConfig};
use crate::spec::{Default, VariantSpec};
use crate::stages::device::{stay_on_the_cpu, task_failure};
use crate::stages::document::write_document;

/// `model: { kind: random_forest }`.
pub(super) const RANDOM_FOREST: VariantSpec = VariantSpec {
    kind: "random_forest",
    params: &[
        param("trees", int(1, 10_000), Default::Json("100"), "Number of trees."),
        param(
            "pixels",
            int(1, 20_000_000),
            Default::Json("300000"),
            "Labelled training pixels that are drawn at random, none twice; all where there are fewer.",
        ),
        param("max_depth", int(1, 1000), Default::Json("25"), "Most questions from the root of a tree to a leaf."),
        param("min_leaf", int(1, 1_000_000), Default::Json("5"), "Fewest different pixels in a leaf."),
    ],
    doc: "Random forest (Breiman 2001) of single pixels, to compare networks with.",
};

/// The forest that a task's or a stage's parameters ask for, where they do.
pub(super) fn asked_for(params: &Value) -> Option<ForestConfig> {
    match ModelConfig::deserialize(params.get("model")?) {
        Ok(ModelConfig::RandomForest(config)) => Some(config),
        _ => None,
    }
}

/// The parameters of a stage that its training reads: of a forest, the forest alone.
pub(super) fn only_what_is_read(with: &Map<String, Value>) -> Map<String, Value> {
    match with.get("model") {
        Some(model) if is_forest(with) => Map::from_iter([("model".to_owned(), model.clone())]),
        _ => with.clone(),
    }
}

/// Whether these parameters ask for a forest.
pub(in crate::stages) fn is_forest(with: &Map<String, Value>) -> bool {
    with.get("model").and_then(|model| model.get("kind")).is_some_and(|kind| kind == RANDOM_FOREST.kind)
}

/// Grows the forest and leaves what a training leaves.
pub(super) fn run(
    config: &ForestConfig,
    mut card: ModelCard,
    source: &TilePatches,
    task: &TaskContext<'_>,
) -> Result<Outcome, StageError> {
    stay_on_the_cpu(task);
    let total = config.trees as u64;
    let on_tree = |done: usize| {
        let note = String::new();
        task.progress.progress(Progress::Step { unit: "trees", done: done as u64, total, note });
    };
    let hooks = ForestHooks { on_tree: &on_tree, cancelled: &|| task.cancel.is_cancelled(), deadline: task.deadline };
    let failed = |error| task_failure(error, "");
    let Some(TrainedForest { forest, history }) = train(config, card.seed, source, &hooks).map_err(failed)? else {
        return Err(StageError::with_help(
            "the budget left no time for even one tree",
            "raise `budget`, or draw fewer `pixels`",
        ));
    };
    card.take_score(&history, task.scores);
    let dir = task.output("model")?;
    std::fs::create_dir_all(&dir).map_err(|e| StageError::failed(format!("{}: {e}", dir.display())))?;
    save(&forest, config, &dir.join(MODEL_FILE)).map_err(failed)?;
    write_document(&dir.join(MODEL_CARD_FILE), &card)?;
    history.save(&task.output("history")?).map_err(failed)?;
    Ok(if history.ended == Ended::Deadline { Outcome::CutShort } else { Outcome::Complete })
}
