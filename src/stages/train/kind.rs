//! The `train` kind: one task, with checkpoints.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::card::{MODEL_CARD_FILE, MODEL_FILE, ModelCard};
use super::params::PARAMS;
use super::ranks::{self, Others, Span};
use super::record::record;
use super::source::TilePatches;
use super::{augment, forest, init, losses, models};
use crate::engine::{
    Cores, ExpandContext, ExpandError, Expansion, Outcome, OutputDecl, Progress, StageError, StageKind, TaskContext,
    TaskPlan,
};
use crate::net::PatchSource;
use crate::net::{
    Compute, EpochRecord, GpuUse, Model, ModelConfig, NetError, Team, TrainConfig, TrainHooks, Trained, train_together,
    weights,
};
use crate::spec::{Artefact, Finding, InputSpec, KindSpec, OutputSpec, Pipeline, Stage};
use crate::stages::device::{open_compute, task_failure};
use crate::stages::document::write_document;
use crate::stages::params::{classes_of, codes_json, made_by};
use crate::stages::patches::{INDEX_ITEM, PatchIndex};
use crate::stages::tile::TileReader;

static SPEC: KindSpec = KindSpec {
    name: "train",
    version: 2,
    doc: "Trains a network on patches and keeps the weights of the epoch that scores best on the hold-out blocks; or grows a \
          random forest of their pixels.",
    inputs: &[InputSpec {
        name: "patches",
        accepts: &[Artefact::Patches],
        accepts_files: false,
        required: true,
        doc: "A patch index, with the tiles that it points into.",
    }],
    free_inputs: false,
    outputs: &[
        OutputSpec {
            name: "model",
            artefact: Artefact::Model,
            when: None,
            doc: "`model.safetensors` with PyTorch's names and layout, or a forest's trees, and `model.json`.",
        },
        OutputSpec {
            name: "history",
            artefact: Artefact::History,
            when: None,
            doc: "`history.json`: losses and hold-out scores by epoch.",
        },
        init::OUTPUT,
    ],
    free_outputs: false,
    joins: false,
    params: PARAMS,
    check: Some(check),
};

/// The `train` stage kind.
#[derive(Debug, Default)]
pub struct Train {
    span: Option<Span>,
}

impl Train {
    /// In a process that `srun` has started together with others, where there is such a span.
    pub fn among(span: Option<Span>) -> Self {
        Self { span }
    }
}

impl StageKind for Train {
    fn spec(&self) -> &'static KindSpec {
        &SPEC
    }

    fn expand(&self, context: &ExpandContext<'_>) -> Result<Expansion, ExpandError> {
        let mut outputs = vec![
            OutputDecl { name: "model".into(), path: "model".into() },
            OutputDecl { name: "history".into(), path: "history.json".into() },
        ];
        outputs.extend(init::output(context.stage));
        let patches = context.items("patches").iter().map(|i| (i.name.clone(), i.from.clone()));
        let task = TaskPlan {
            name: String::new(),
            params: record(&forest::only_what_is_read(&context.stage.with)),
            seed: Some(context.pipeline.seed),
            classes: Some(codes_json(classes_of(context)?)),
            inputs: patches.chain(init::input(context.stage)).collect(),
            outputs,
            cores: Cores::All,
        };
        Ok(Expansion::of_one(&context.stage.name, task))
    }

    fn run(&self, task: &TaskContext<'_>) -> Result<Outcome, StageError> {
        let (index, tiles) = open_patches(task)?;
        let seed = task.seed.unwrap_or(0);
        if let Some(config) = forest::asked_for(task.params) {
            let card = ModelCard::new(ModelConfig::RandomForest(config), seed, &index, &tiles);
            return forest::run(&config, card, &TilePatches::new(index, tiles), task);
        }
        let config = config(task.params, index.codes.len(), seed)?;
        let mut card = ModelCard::new(config.model, seed, &index, &tiles);
        let source = TilePatches::new(index, tiles);
        let (model, begun_with) = init::begin(&config, &source, task)?;
        let trained = run_training(&config, model, &source, (task, self.span.as_ref()))?;
        if trained.best_epoch == 0 {
            return Err(StageError::with_help(
                "the budget left no time for even one epoch",
                "raise `budget` (the next run goes on from the checkpoint), or make the epochs shorter with `steps_per_epoch`",
            ));
        }
        card.take_score(&trained.history, task.scores);
        write_model(&task.output("model")?, &trained, &card)?;
        trained.history.save(&task.output("history")?).map_err(|e| StageError::failed(e.to_string()))?;
        if let Some(report) = begun_with {
            init::write(&task.output(init::NAME)?, report)?;
        }
        Ok(if trained.cut_short { Outcome::CutShort } else { Outcome::Complete })
    }
}

/// The stage's parameters and what comes from elsewhere, as one training configuration.
fn config(params: &Value, classes: usize, seed: u64) -> Result<TrainConfig, StageError> {
    let mut config = params.clone();
    config["classes"] = json!(classes);
    config["seed"] = json!(seed);
    serde_json::from_value(config)
        .map_err(|e| StageError::failed(format!("the task record was made by another version of s2pipe: {e}")))
}

/// A network's training as a task with these settings would do it, and its patches.
pub(in crate::stages) fn prepare(
    settings: &Value,
    task: &TaskContext<'_>,
) -> Result<(TrainConfig, impl PatchSource + use<>), StageError> {
    let (index, tiles) = open_patches(task)?;
    Ok((config(settings, index.codes.len(), task.seed.unwrap_or(0))?, TilePatches::new(index, tiles)))
}

/// As [`prepare`], by the task's own settings, with the model that it begins with.
pub(super) fn prepare_with_model(task: &TaskContext<'_>) -> Result<(TrainConfig, Model, TilePatches), StageError> {
    let (index, tiles) = open_patches(task)?;
    let config = config(task.params, index.codes.len(), task.seed.unwrap_or(0))?;
    let source = TilePatches::new(index, tiles);
    let (model, _) = init::begin(&config, &source, task)?;
    Ok((config, model, source))
}

/// Where a training computes.
pub(in crate::stages) fn compute(config: &TrainConfig, task: &TaskContext<'_>) -> Result<Compute, StageError> {
    open_compute(task, GpuUse { precision: config.precision, deterministic: config.deterministic, memory: None })
}

/// How one process needs less memory.
const SMALLER: &str = "take fewer patches a step, or say `batch: auto` so that a step may be computed in parts";

/// An error of the network as that of a task that trains.
pub(in crate::stages) fn training_failure(error: NetError) -> StageError {
    task_failure(error, SMALLER)
}

fn open_patches(task: &TaskContext<'_>) -> Result<(PatchIndex, Vec<TileReader>), StageError> {
    let index = PatchIndex::read(task.input(INDEX_ITEM)?)?;
    let tiles = index.scenes.iter().map(|scene| TileReader::open(task.input(&format!("tiles/{}", scene.name))?));
    let tiles = tiles.collect::<Result<_, _>>()?;
    Ok((index, tiles))
}

/// Longest time between two checkpoints: what a crash costs at most.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);

/// Trains, alone or as rank 0 of several.
fn run_training(
    config: &TrainConfig,
    model: Model,
    source: &TilePatches,
    (task, span): (&TaskContext<'_>, Option<&Span>),
) -> Result<Trained, StageError> {
    let compute = compute(config, task)?;
    let count = ranks::ranks(task, span);
    if count == 1 {
        return train_among((&compute, None), config, model, source, task)
            .map_err(|error| failure(error, task, SMALLER));
    }
    let batch = config.batch.patches();
    if batch < count {
        let notice =
            format!("a batch of {batch} patches cannot be shared out: each of {count} ranks computes all of it");
        task.progress.progress(Progress::Notice(notice));
    }
    let others = Others::gather(task, span, &compute)?;
    let team = others.team.clone();
    let train = || train_among((&compute, Some(&team)), config, model, source, task);
    let trained = if span.is_some() { train() } else { ranks::with_share_of_threads(task, count, train)? };
    drop(team);
    match trained {
        Ok(trained) => {
            others.end_well();
            Ok(trained)
        }
        Err(NetError::Ranks(error)) => Err(others.story(&error)),
        // A share is never computed in parts.
        Err(error) => Err(failure(error, task, "take fewer patches a step, or more GPUs")),
    }
}

/// Trains as a rank of a team, or alone, and tells the task's caller how far it is.
fn train_among(
    place: (&Compute, Option<&Team>),
    config: &TrainConfig,
    model: Model,
    source: &TilePatches,
    task: &TaskContext<'_>,
) -> crate::net::Result<Trained> {
    let epochs = config.epochs as u64;
    let last = std::cell::RefCell::new(String::new());
    let on_epoch = |epoch: &EpochRecord| {
        let note = describe(epoch);
        task.progress.progress(Progress::Message(format!("epoch {}/{epochs}: {note}", epoch.epoch)));
        *last.borrow_mut() = note;
    };
    let on_step = |done: usize, total: usize, loss: f32| {
        let note = last.borrow();
        let note = if note.is_empty() { format!("loss {loss:.3}") } else { note.clone() };
        task.progress.progress(Progress::Step { unit: "steps", done: done as u64, total: total as u64, note });
    };
    let hooks = TrainHooks {
        on_epoch: &on_epoch,
        on_step: &on_step,
        cancelled: &|| task.cancel.is_cancelled(),
        deadline: task.deadline,
        checkpoint_dir: task.checkpoint_dir,
        checkpoint_every: CHECKPOINT_EVERY,
    };
    train_together(place, config, model, source, &hooks)
}

/// An error of the training, with what to do about it. `smaller` says how to need less memory.
fn failure(error: NetError, task: &TaskContext<'_>, smaller: &str) -> StageError {
    match error {
        NetError::Diverged { .. } | NetError::GradientDiverged { .. } => StageError::with_help(
            error.to_string(),
            format!("lower `optimizer.lr` (it is {}) or set `clip: 1.0`", task.params["optimizer"]["lr"]),
        ),
        other => task_failure(other, smaller),
    }
}

fn describe(epoch: &EpochRecord) -> String {
    match &epoch.holdout {
        Some(score) => format!(
            "loss {:.3}, hold-out loss {:.3}, hold-out Jaccard {:.3}",
            epoch.train_loss, score.loss, score.mean_jaccard
        ),
        None => format!("loss {:.3}", epoch.train_loss),
    }
}

fn write_model(dir: &Path, trained: &Trained, card: &ModelCard) -> Result<(), StageError> {
    std::fs::create_dir_all(dir).map_err(|e| StageError::failed(format!("{}: {e}", dir.display())))?;
    weights::save(&trained.model, &dir.join(MODEL_FILE), &BTreeMap::new())
        .map_err(|e| StageError::failed(e.to_string()))?;
    write_document(&dir.join(MODEL_CARD_FILE), card)
}

fn check(pipeline: &Pipeline, stage: &Stage) -> Vec<Finding> {
    let mut findings = losses::check(stage);
    findings.extend(models::check(pipeline, stage));
    findings.extend(init::check(stage));
    findings.extend(check_betas(stage));
    findings.extend(augment::check(stage));
    findings.extend(check_averages(stage));
    findings.extend(check_patience(pipeline, stage));
    findings
}

fn check_betas(stage: &Stage) -> Option<Finding> {
    let betas = stage.with.get("optimizer")?.get("betas")?.as_array()?;
    (betas.len() != 2).then(|| Finding {
        path: vec!["with".into(), "optimizer".into(), "betas".into()],
        message: format!("AdamW has two moments, and {} memories are given", betas.len()),
        help: Some("for example `betas: [0.9, 0.999]`".into()),
    })
}

fn check_averages(stage: &Stage) -> Option<Finding> {
    (stage.with.contains_key("swa") && stage.with.contains_key("ema")).then(|| Finding {
        path: vec!["with".into(), "swa".into()],
        message: "`swa` and `ema` both say which average of the weights is kept".into(),
        help: Some("leave one of them out".into()),
    })
}

fn check_patience(pipeline: &Pipeline, stage: &Stage) -> Option<Finding> {
    stage.with.get("patience")?;
    let patches = made_by(pipeline, stage, "patches")?;
    (patches.with.get("holdout")?.as_f64()? == 0.0).then(|| Finding {
        path: vec!["with".into(), "patience".into()],
        message: format!("patience counts scores on the hold-out, and `{}.holdout` is 0", patches.name),
        help: Some("raise `holdout`, or leave `patience` out".into()),
    })
}
