//! Predicts one scene and writes its map as it goes.

use std::path::Path;

use super::kind::PredictParams;
use super::scene::Scene;
use crate::engine::{Progress, StageError, TaskContext};
use crate::net::predict::{PredictHooks, predict_scene_on};
use crate::net::{Compute, GpuUse, IGNORE, NetError, weights};
use crate::raster::{
    ClassTable, Georeference, NO_LABEL, Predictor, RasterWriter, SampleType, Samples, WriteOptions, label_options,
};
use crate::stages::device::{open_compute, task_failure};
use crate::stages::train::{MODEL_FILE, ModelCard};

/// Predicts the scene in slot `scene` with the network in slot `model`.
pub(super) fn predict_map(
    params: &PredictParams,
    classes: &ClassTable,
    task: &TaskContext<'_>,
) -> Result<(), StageError> {
    let model_dir = task.input("model")?;
    let card = ModelCard::read(model_dir)?;
    check_classes(&card, classes)?;
    let (model, _) = weights::load(&model_dir.join(MODEL_FILE)).map_err(failed)?;
    let with = GpuUse { precision: params.precision, ..GpuUse::default() };
    let compute = open_compute(task, with)?;
    let model = if matches!(compute, Compute::Cpu) { model } else { model.on(&compute.device()).map_err(failed)? };
    let scene = Scene::open(task.input("scene")?, &card)?;
    let mut map = MapWriter::create(params, classes, &scene, task)?;
    let codes = card.codes.clone();
    let mut sink = |_: usize, rows: usize, indices: &[u8], probabilities: &[f32]| {
        map.write(rows, indices, probabilities, &codes).map_err(|e| NetError::Config(e.to_string()))
    };
    let progress = |done: usize, total: usize| {
        let note = String::new();
        task.progress.progress(Progress::Step { unit: "windows", done: done as u64, total: total as u64, note });
    };
    let hooks = PredictHooks { progress: &progress, cancelled: &|| task.cancel.is_cancelled() };
    predict_scene_on(&compute, &model, &scene, &params.options(), &mut sink, &hooks).map_err(failed)?;
    map.finish()
}

fn failed(error: NetError) -> StageError {
    task_failure(error, "use fewer windows at a time (`batch`) or smaller ones (`window`)")
}

/// The network's classes must be the pipeline's: a code that the table does not name would have no colour and no score.
fn check_classes(card: &ModelCard, classes: &ClassTable) -> Result<(), StageError> {
    if card.codes == classes.codes() {
        return Ok(());
    }
    Err(StageError::with_help(
        format!("the network was trained for codes {:?}, the pipeline's classes are {:?}", card.codes, classes.codes()),
        "train with the classes of this pipeline",
    ))
}

/// The map and, where asked for, the probabilities.
struct MapWriter {
    map: RasterWriter,
    probabilities: Option<RasterWriter>,
    width: usize,
    classes: usize,
}

impl MapWriter {
    fn create(
        params: &PredictParams,
        classes: &ClassTable,
        scene: &Scene,
        task: &TaskContext<'_>,
    ) -> Result<Self, StageError> {
        use crate::net::predict::SceneSource;
        let (width, height) = (scene.width(), scene.height());
        let georef = scene.georeference();
        let options = label_options(width, height, georef, classes);
        let map = create(&task.output("map")?, &options)?;
        let probabilities = match params.probabilities {
            true => Some(create(&task.output("probabilities")?, &probability_options(width, height, georef, classes))?),
            false => None,
        };
        Ok(Self { map, probabilities, width, classes: classes.len() })
    }

    fn write(
        &mut self,
        rows: usize,
        indices: &[u8],
        probabilities: &[f32],
        codes: &[u8],
    ) -> Result<(), crate::raster::RasterError> {
        let code = |&index: &u8| if index == IGNORE { NO_LABEL } else { codes[index as usize] };
        self.map.write_rows(&Samples::U8(indices.iter().map(code).collect()))?;
        if let Some(writer) = &mut self.probabilities {
            let pixels = rows * self.width;
            let mut planes = vec![0.0; pixels * self.classes];
            for (p, pixel) in probabilities.chunks_exact(self.classes).enumerate() {
                pixel.iter().enumerate().for_each(|(k, &v)| planes[k * pixels + p] = v);
            }
            writer.write_rows(&Samples::F32(planes))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), StageError> {
        let failed = |e: crate::raster::RasterError| StageError::failed(e.to_string());
        self.map.finish().map_err(failed)?;
        self.probabilities.map_or(Ok(()), |writer| writer.finish().map_err(failed))
    }
}

fn create(path: &Path, options: &WriteOptions<'_>) -> Result<RasterWriter, StageError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| StageError::failed(format!("{}: {e}", folder.display())))?;
    }
    RasterWriter::create(path, options).map_err(|e| StageError::failed(e.to_string()))
}

fn probability_options(
    width: usize,
    height: usize,
    georef: &Georeference,
    classes: &ClassTable,
) -> WriteOptions<'static> {
    WriteOptions {
        georef: georef.clone(),
        predictor: Predictor::Float,
        planar: true,
        band_names: classes.iter().map(|c| c.name.clone()).collect(),
        ..WriteOptions::new(width, height, classes.len(), SampleType::F32)
    }
}
