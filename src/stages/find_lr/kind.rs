//! The kind: one task, with the settings of another stage.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::report::RatesReport;
use crate::engine::{
    Cores, ExpandContext, ExpandError, Expansion, Outcome, OutputDecl, Progress, StageError, StageKind, TaskContext,
    TaskPlan,
};
use crate::net::{RangeTest, TrainHooks, range_test};
use crate::spec::{
    Artefact, Default, Finding, InputSpec, KindSpec, OutputSpec, ParamSpec, ParamType, Pipeline, Stage, nearest,
};
use crate::stages::document::write_document;
use crate::stages::params::{classes_of, codes_json, expand_error, read_params, read_with, to_json};
use crate::stages::train::{self, is_forest};

static SPEC: KindSpec = KindSpec {
    name: "find_lr",
    version: 1,
    doc: "Tries learning rates for a `train` stage: a short training in which the rate rises from step to step (Smith 2017).",
    inputs: &[InputSpec {
        name: "patches",
        accepts: &[Artefact::Patches],
        accepts_files: false,
        required: true,
        doc: "A patch index, as that stage reads it.",
    }],
    free_inputs: false,
    outputs: &[
        OutputSpec {
            name: "rates",
            artefact: Artefact::Any,
            when: None,
            doc: "`rates.json`: the loss by rate, and the rate that it suggests.",
        },
        OutputSpec { name: "figure", artefact: Artefact::Figures, when: None, doc: "`rates.jpg`: the same, drawn." },
    ],
    free_outputs: false,
    joins: false,
    params: &[
        ParamSpec {
            name: "of",
            ty: ParamType::Text,
            default: Default::Json("\"train\""),
            doc: "The `train` stage whose model, batch, optimiser, loss and augmentation are used.",
        },
        ParamSpec {
            name: "from",
            ty: ParamType::Float { min: 1e-12, max: 10.0 },
            default: Default::Json("1e-6"),
            doc: "Learning rate of the first step.",
        },
        ParamSpec {
            name: "to",
            ty: ParamType::Float { min: 1e-12, max: 100.0 },
            default: Default::Json("1.0"),
            doc: "Learning rate of the last step; the test ends earlier where the loss is far above its lowest.",
        },
        ParamSpec {
            name: "steps",
            ty: ParamType::Int { min: 10, max: 100_000 },
            default: Default::Json("100"),
            doc: "Number of steps.",
        },
    ],
    check: Some(check),
};

/// What the stage is told.
#[derive(Deserialize)]
struct With {
    of: String,
    from: f64,
    to: f64,
    steps: usize,
}

/// What its task reads.
#[derive(Serialize, Deserialize)]
struct Params {
    of: String,
    test: RangeTest,
    /// The settings of the `train` stage that decide about a step.
    train: Map<String, Value>,
}

/// The `find_lr` stage kind.
#[derive(Debug)]
pub struct FindLr;

/// What says for how long a training goes on, at which rate and what is kept of it: nothing to a test.
const OF_WHOLE_TRAININGS: [&str; 7] =
    ["steps_per_epoch", "schedule", "ema", "swa", "evaluate_every", "patience", "epochs"];

impl StageKind for FindLr {
    fn spec(&self) -> &'static KindSpec {
        &SPEC
    }

    fn expand(&self, context: &ExpandContext<'_>) -> Result<Expansion, ExpandError> {
        let With { of, from, to, steps } = read_with(&context.stage.with)?;
        let Some(train) = context.pipeline.stage(&of) else { return Err(expand_error(unknown(&of))) };
        let params = Params { of, test: RangeTest { from, to, steps }, train: of_a_step(&train.with, to) };
        let patches = context.items("patches").iter().map(|i| (i.name.clone(), i.from.clone()));
        let files = [("rates", "rates.json"), ("figure", "rates.jpg")];
        let task = TaskPlan {
            name: String::new(),
            params: to_json(&params),
            seed: Some(context.pipeline.seed),
            classes: Some(codes_json(classes_of(context)?)),
            inputs: patches.chain(train::init_input(train)).collect(),
            outputs: files.map(|(name, path)| OutputDecl { name: name.into(), path: path.into() }).to_vec(),
            cores: Cores::All,
        };
        Ok(Expansion::of_one(&context.stage.name, task))
    }

    fn run(&self, task: &TaskContext<'_>) -> Result<Outcome, StageError> {
        let Params { of, test, train } = read_params(task)?;
        let (config, source) = train::prepare(&Value::Object(train), task)?;
        let on_step = |done: usize, total: usize, loss: f32| {
            let note = format!("loss {loss:.3}");
            task.progress.progress(Progress::Step { unit: "steps", done: done as u64, total: total as u64, note });
        };
        let hooks = TrainHooks {
            on_step: &on_step,
            cancelled: &|| task.cancel.is_cancelled(),
            ..TrainHooks::quiet(task.checkpoint_dir)
        };
        // A rate that suits weights from elsewhere is another than one that suits random ones.
        let (model, _) = train::begin(&config, &source, task)?;
        let steps = range_test(&train::compute(&config, task)?, &config, (model, test), &source, &hooks)
            .map_err(train::training_failure)?;
        let report = RatesReport::new(of, (config.batch.patches(), config.lr_factor()), steps);
        task.progress.progress(Progress::Notice(report.advice()));
        if let Some(lr) = report.optimizer_lr {
            task.scores.report("optimizer_lr", lr);
        }
        write_document(&task.output("rates")?, &report)?;
        report.draw()?.write_jpeg(task.output("figure")?).map_err(|e| StageError::failed(e.to_string()))?;
        Ok(Outcome::Complete)
    }
}

/// The settings that decide about a step. The rate and the number of epochs have to be there and are not read; as they are
/// written here, another rate in the file is no other test.
fn of_a_step(with: &Map<String, Value>, rate: f64) -> Map<String, Value> {
    let mut settings = match train::record(with) {
        Value::Object(settings) => settings,
        _ => Map::new(),
    };
    settings.retain(|name, _| !OF_WHOLE_TRAININGS.contains(&name.as_str()));
    settings.insert("epochs".into(), json!(1));
    if let Some(Value::Object(optimizer)) = settings.get_mut("optimizer") {
        optimizer.insert("lr".into(), json!(rate));
    }
    settings
}

fn unknown(of: &str) -> String {
    format!("`of` names {of:?}, and no stage is called so")
}

fn check(pipeline: &Pipeline, stage: &Stage) -> Vec<Finding> {
    let finding = |name: &str, message: String, help: String| Finding {
        path: vec!["with".into(), name.into()],
        message,
        help: Some(help),
    };
    let Ok(With { of, from, to, .. }) = read_with::<With>(&stage.with) else { return Vec::new() };
    let mut findings = Vec::new();
    if from >= to {
        findings.push(finding(
            "to",
            format!("rates rise, and to ({to}) is not above from ({from})"),
            "raise `to`".into(),
        ));
    }
    let trainings = || pipeline.stages.iter().filter(|stage| stage.uses == "train").map(|stage| stage.name.as_str());
    match pipeline.stage(&of) {
        Some(other) if other.uses != "train" => {
            findings.push(finding(
                "of",
                format!("`{of}` uses `{}`, and rates are those of `train`", other.uses),
                which(&of, trainings()),
            ));
        }
        Some(other) if is_forest(&other.with) => {
            let why = format!("`{of}` grows a random forest, which has no learning rate");
            findings.push(finding("of", why, "leave this stage out".into()));
        }
        Some(_) => {}
        None => findings.push(finding("of", unknown(&of), which(&of, trainings()))),
    }
    findings
}

/// The nearest `train` stage, or all there are.
fn which<'a>(of: &str, trainings: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(of, trainings.clone()) {
        Some(near) => format!("did you mean `of: {near}`?"),
        None if trainings.clone().next().is_none() => "add a `train` stage".to_owned(),
        None => format!("there are {}", trainings.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}
