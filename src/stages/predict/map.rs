//! Predicts one scene and writes its map as it goes.

use std::path::Path;

use super::kind::PredictParams;
use super::outputs::Outputs;
use super::scene::Scene;
use crate::engine::{Progress, StageError, TaskContext};
use crate::net::predict::{PredictHooks, SceneSource, predict_scene_on};
use crate::net::{Compute, Forest, GpuUse, Model, ModelConfig, NetError, forest, weights};
use crate::raster::ClassTable;
use crate::stages::device::{open_compute, stay_on_the_cpu, task_failure};
use crate::stages::train::{MODEL_FILE, ModelCard};

/// Predicts the scene in slot `scene` with the network or forest in slot `model`.
pub(super) fn predict_map(
    params: &PredictParams,
    classes: &ClassTable,
    task: &TaskContext<'_>,
) -> Result<(), StageError> {
    let model_dir = task.input("model")?;
    let card = ModelCard::read(model_dir)?;
    check_classes(&card, classes)?;
    let mapper = Mapper::load(&model_dir.join(MODEL_FILE), &card, params, task)?;
    let scene = Scene::open(task.input("scene")?, &card)?;
    let size = (scene.width(), scene.height());
    let mut outputs = Outputs::create(params.wanted(), classes, (size, scene.georeference()), task)?;
    let mut sink = |_: usize, _: usize, indices: &[u8], probabilities: &[f32]| {
        outputs.write(indices, probabilities).map_err(|e| NetError::Config(e.to_string()))
    };
    let progress = |done: usize, total: usize| {
        let note = String::new();
        task.progress.progress(Progress::Step { unit: mapper.unit(), done: done as u64, total: total as u64, note });
    };
    let hooks = PredictHooks { progress: &progress, cancelled: &|| task.cancel.is_cancelled() };
    match &mapper {
        Mapper::Network(compute, model) => {
            predict_scene_on(compute, &**model, &scene, &params.options(), &mut sink, &hooks).map_err(failed)?;
        }
        Mapper::Forest(forest) => {
            let wants_probabilities = params.options().probabilities;
            forest::predict_scene(forest, &scene, wants_probabilities, &mut sink, &hooks).map_err(failed)?;
        }
    }
    outputs.finish(task.cancel)
}

/// What maps, where it computes.
enum Mapper {
    Network(Compute, Box<Model>),
    /// On the CPU always.
    Forest(Forest),
}

impl Mapper {
    fn load(file: &Path, card: &ModelCard, params: &PredictParams, task: &TaskContext<'_>) -> Result<Self, StageError> {
        if matches!(card.model, ModelConfig::RandomForest(_)) {
            stay_on_the_cpu(task);
            return Ok(Self::Forest(forest::load(file).map_err(failed)?));
        }
        let (model, _) = weights::load(file).map_err(failed)?;
        let with = GpuUse { precision: params.precision, ..GpuUse::default() };
        let compute = open_compute(task, with)?;
        let model =
            if matches!(compute, Compute::Cpu) { model } else { model.on(&compute.device()).map_err(failed)? };
        Ok(Self::Network(compute, Box::new(model)))
    }

    /// What its progress counts.
    fn unit(&self) -> &'static str {
        match self {
            Self::Network(..) => "windows",
            Self::Forest(_) => "rows",
        }
    }
}

fn failed(error: NetError) -> StageError {
    task_failure(error, "use fewer windows at a time (`batch`) or smaller ones (`window`)")
}

/// The model's classes must be the pipeline's: a code that the table does not name would have no colour and no score.
fn check_classes(card: &ModelCard, classes: &ClassTable) -> Result<(), StageError> {
    if card.codes == classes.codes() {
        return Ok(());
    }
    Err(StageError::with_help(
        format!("the network was trained for codes {:?}, the pipeline's classes are {:?}", card.codes, classes.codes()),
        "train with the classes of this pipeline",
    ))
}
