//! The `figures` kind: one task a picture.

use serde::{Deserialize, Serialize};

use super::errors::draw_errors;
use super::scene::draw_scene;
use super::scores::{draw_confusion, draw_curves, draw_jaccard, draw_reliability};
use crate::engine::{
    Cores, ExpandContext, ExpandError, Expansion, Item, Origin, Outcome, OutputDecl, StageError, StageKind,
    TaskContext, TaskPlan,
};
use crate::spec::{Artefact, Default, Finding, InputSpec, KindSpec, OutputSpec, ParamSpec, ParamType, Pipeline, Stage};
use crate::stages::evaluate::{Metrics, map_tile_pairs};
use crate::stages::params::{classes_of, made_by, read_classes, read_params, read_with, to_json};

const fn port(name: &'static str, accepts: &'static [Artefact], doc: &'static str) -> InputSpec {
    InputSpec { name, accepts, accepts_files: false, required: false, doc }
}

static SPEC: KindSpec = KindSpec {
    name: "figures",
    // 2: error bars, errors of each scene, reliability.
    version: 2,
    doc: "Draws maps beside scene and truth, their errors, the scores, the confusion matrix and the training curves, as JPEG.",
    inputs: &[
        port(
            "metrics",
            &[Artefact::Metrics],
            "Scores: makes `jaccard.jpg`, `confusion.jpg` and, where `evaluate` has `probabilities`, `reliability.jpg`.",
        ),
        port("maps", &[Artefact::Maps], "Maps: makes `segmentation_<scene>.jpg` and `errors_<scene>.jpg` for each."),
        port("tiles", &[Artefact::Tiles], "The scenes that were mapped, with their truth."),
        port("history", &[Artefact::History], "Training history: makes `curves.jpg`."),
    ],
    free_inputs: false,
    outputs: &[OutputSpec { name: "figures", artefact: Artefact::Figures, when: None, doc: "The pictures." }],
    free_outputs: false,
    joins: false,
    params: &[
        ParamSpec {
            name: "title",
            ty: ParamType::Text,
            default: Default::Absent,
            doc: "Words above the score figures; the pipeline's name when not given.",
        },
        ParamSpec {
            name: "stretch",
            ty: ParamType::Choice(&["reflectance", "percentiles"]),
            default: Default::Json("\"reflectance\""),
            doc: "How scenes are shown: reflectance x 10,000 divided by 2,000, or from the 2nd to the 98th percentile.",
        },
    ],
    check: Some(check),
};

/// How scenes are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StretchParam {
    Reflectance,
    Percentiles,
}

/// Which picture a task draws.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "figure", rename_all = "snake_case")]
enum Drawing {
    Scene { scene: String, stretch: StretchParam },
    Errors { scene: String, stretch: StretchParam },
    Jaccard { title: String },
    Confusion { title: String },
    Reliability { title: String },
    Curves { title: String },
}

#[derive(Deserialize)]
struct With {
    title: Option<String>,
    stretch: StretchParam,
}

/// The `figures` stage kind.
#[derive(Debug)]
pub struct Figures;

/// Name of every task's only output.
const PICTURE: &str = "picture";

impl StageKind for Figures {
    fn spec(&self) -> &'static KindSpec {
        &SPEC
    }

    fn expand(&self, context: &ExpandContext<'_>) -> Result<Expansion, ExpandError> {
        let classes = to_json(classes_of(context)?);
        let with: With = read_with(&context.stage.with)?;
        let title = with.title.unwrap_or_else(|| context.pipeline.name.clone());
        let mut expansion = Expansion::default();
        let mut add = |name: String, drawing: Drawing, inputs: Vec<(String, Origin)>| {
            expansion.outputs.entry("figures".into()).or_default().push(Item {
                axes: Vec::new(),
                name: name.clone(),
                from: Origin::Task { stage: context.stage.name.clone(), task: name.clone(), output: PICTURE.into() },
            });
            expansion.tasks.push(TaskPlan {
                params: to_json(&drawing),
                seed: None,
                classes: Some(classes.clone()),
                inputs,
                outputs: vec![OutputDecl { name: PICTURE.into(), path: format!("{name}.jpg").into() }],
                cores: Cores::One,
                name,
            });
        };
        if !context.items("maps").is_empty() {
            for (scene, map, tile) in map_tile_pairs(context)? {
                let inputs = || vec![("map".into(), map.clone()), ("tile".into(), tile.clone())];
                let (name, stretch) = (scene.clone(), with.stretch);
                add(format!("segmentation_{scene}"), Drawing::Scene { scene: name.clone(), stretch }, inputs());
                add(format!("errors_{scene}"), Drawing::Errors { scene: name, stretch }, inputs());
            }
        }
        if let [metrics, ..] = context.items("metrics") {
            let inputs = || vec![("metrics".to_owned(), metrics.from.clone())];
            add("jaccard".into(), Drawing::Jaccard { title: title.clone() }, inputs());
            add("confusion".into(), Drawing::Confusion { title: title.clone() }, inputs());
            let scored = made_by(context.pipeline, context.stage, "metrics");
            if scored.is_some_and(|evaluate| evaluate.input("probabilities").is_some()) {
                add("reliability".into(), Drawing::Reliability { title: title.clone() }, inputs());
            }
        }
        if let [history, ..] = context.items("history") {
            let inputs = vec![("history".into(), history.from.clone())];
            add("curves".into(), Drawing::Curves { title: title.clone() }, inputs);
        }
        Ok(expansion)
    }

    fn run(&self, task: &TaskContext<'_>) -> Result<Outcome, StageError> {
        let classes = read_classes(task)?;
        let picture = match read_params(task)? {
            Drawing::Scene { scene, stretch } => {
                draw_scene(&scene, task.input("map")?, task.input("tile")?, &classes, stretch, task)?
            }
            Drawing::Errors { scene, stretch } => {
                draw_errors(&scene, task.input("map")?, task.input("tile")?, &classes, stretch, task)?
            }
            Drawing::Jaccard { title } => draw_jaccard(&title, &Metrics::read(task.input("metrics")?)?, &classes)?,
            Drawing::Confusion { title } => draw_confusion(&title, &Metrics::read(task.input("metrics")?)?, &classes)?,
            Drawing::Reliability { title } => draw_reliability(&title, &Metrics::read(task.input("metrics")?)?)?,
            Drawing::Curves { title } => draw_curves(&title, task.input("history")?)?,
        };
        picture.write_jpeg(task.output(PICTURE)?).map_err(|e| StageError::failed(e.to_string()))?;
        Ok(Outcome::Complete)
    }
}

fn check(_: &Pipeline, stage: &Stage) -> Vec<Finding> {
    let has = |port: &str| stage.input(port).is_some();
    let finding = |message: &str, help: &str| Finding {
        path: vec!["inputs".into()],
        message: message.into(),
        help: Some(help.into()),
    };
    if has("maps") != has("tiles") {
        return vec![finding(
            "`maps` and `tiles` belong together, and one is missing",
            "connect `tiles` to the scenes that were mapped, for example `ingest.val`",
        )];
    }
    if !has("maps") && !has("metrics") && !has("history") {
        return vec![finding(
            "there is nothing to draw: neither maps, metrics nor history is connected",
            "for example `{ metrics: evaluate, maps: predict, tiles: ingest.val, history: train }`",
        )];
    }
    Vec::new()
}
