//! The `predict` kind: one task a scene.

use serde::{Deserialize, Serialize};

use super::map::predict_map;
use super::outputs::{CONFIDENCE, ENTROPY, PROBABILITIES, Wanted};
use crate::engine::{
    Cores, ExpandContext, ExpandError, Expansion, Outcome, StageError, StageKind, TaskContext, TaskPlan,
};
use crate::net::config::Precision;
use crate::net::predict::{Augment, PredictOptions};
use crate::spec::{Artefact, Default, Finding, InputSpec, KindSpec, OutputSpec, ParamSpec, ParamType, Pipeline, Stage};
use crate::stages::params::{
    PRECISION, classes_of, expand_error, halvings, is_default, made_by, read_classes, read_params, read_with, to_json,
};

static SPEC: KindSpec = KindSpec {
    name: "predict",
    version: 2,
    doc: "Maps scenes with a trained network: overlapping windows, blended; any size in bounded memory.",
    inputs: &[
        InputSpec {
            name: "model",
            accepts: &[Artefact::Model],
            accepts_files: false,
            required: true,
            doc: "The network.",
        },
        InputSpec {
            name: "tiles",
            accepts: &[Artefact::Tiles, Artefact::Scenes],
            accepts_files: true,
            required: true,
            doc: "The scenes: tiles, or scene GeoTIFFs with the bands that the network was trained on.",
        },
    ],
    free_inputs: false,
    outputs: &[
        OutputSpec {
            name: "maps",
            artefact: Artefact::Maps,
            when: None,
            doc: "One GeoTIFF of label codes a scene, with CRS, colour table and nodata 0.",
        },
        OutputSpec {
            name: PROBABILITIES,
            artefact: Artefact::Probabilities,
            when: Some(PROBABILITIES),
            doc: "One GeoTIFF a scene with a float32 band a class, 0 to 1.",
        },
        OutputSpec {
            name: CONFIDENCE,
            artefact: Artefact::Probabilities,
            when: Some(CONFIDENCE),
            doc: "One GeoTIFF a scene, float32: the highest class probability, 0 to 1; nodata -1.",
        },
        OutputSpec {
            name: ENTROPY,
            artefact: Artefact::Probabilities,
            when: Some(ENTROPY),
            doc: "One GeoTIFF a scene, float32: entropy of the class probabilities, 0 (certain) to 1; nodata -1.",
        },
    ],
    free_outputs: false,
    joins: false,
    params: &[
        ParamSpec {
            name: "window",
            ty: ParamType::Int { min: 16, max: 8192 },
            default: Default::Json("256"),
            doc: "Side of a window, pixels; a multiple of 2^depth of the network.",
        },
        ParamSpec {
            name: "overlap",
            ty: ParamType::Int { min: 0, max: 4096 },
            default: Default::Json("64"),
            doc: "Pixels that neighbouring windows share, at least.",
        },
        ParamSpec {
            name: "batch",
            ty: ParamType::Int { min: 1, max: 1024 },
            default: Default::Json("4"),
            doc: "Windows computed at a time; changes speed and memory, not the result (on a GPU, its last digits).",
        },
        ParamSpec {
            name: PROBABILITIES,
            ty: ParamType::Bool,
            default: Default::Json("false"),
            doc: "Also leave class probabilities.",
        },
        ParamSpec {
            name: CONFIDENCE,
            ty: ParamType::Bool,
            default: Default::Json("false"),
            doc: "Also leave the highest class probability of every pixel.",
        },
        ParamSpec {
            name: ENTROPY,
            ty: ParamType::Bool,
            default: Default::Json("false"),
            doc: "Also leave how undecided the network is at every pixel: normalised entropy, 0 to 1.",
        },
        ParamSpec {
            name: "augment",
            ty: ParamType::Choice(&["none", "flips", "eight"]),
            default: Default::Json("\"none\""),
            doc: "Looks at every window from several sides and averages: flips are 4 sides and 4 times the work, eight \
                  are all symmetries of the square.",
        },
        ParamSpec {
            name: "min_area",
            ty: ParamType::Int { min: 0, max: 1_000_000_000 },
            default: Default::Json("0"),
            doc: "Smallest region of one class that a map may have, pixels (minimum mapping unit); smaller ones take the class \
                  around them. Holds the map in memory, 2 bytes a pixel.",
        },
        PRECISION,
    ],
    check: Some(check),
};

/// What one predict task reads.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PredictParams {
    pub(super) window: usize,
    pub(super) overlap: usize,
    pub(super) batch: usize,
    pub(super) probabilities: bool,
    /// Left out of the key where it changes nothing, as are all below that came later.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) augment: Augment,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) confidence: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) entropy: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) min_area: usize,
    /// Nothing to the CPU.
    #[serde(default)]
    pub(super) precision: Precision,
}

impl PredictParams {
    pub(super) fn wanted(&self) -> Wanted {
        let Self { probabilities, confidence, entropy, min_area, .. } = *self;
        Wanted { probabilities, confidence, entropy, min_area }
    }

    pub(super) fn options(&self) -> PredictOptions {
        PredictOptions {
            window: self.window,
            overlap: self.overlap,
            batch: self.batch,
            probabilities: self.probabilities || self.confidence || self.entropy,
            augment: self.augment,
        }
    }
}

/// The `predict` stage kind.
#[derive(Debug)]
pub struct Predict;

impl StageKind for Predict {
    fn spec(&self) -> &'static KindSpec {
        &SPEC
    }

    fn expand(&self, context: &ExpandContext<'_>) -> Result<Expansion, ExpandError> {
        let params: PredictParams = read_with(&context.stage.with)?;
        let classes = to_json(classes_of(context)?);
        let [model] = context.items("model") else {
            return Err(expand_error("exactly one model must be connected"));
        };
        let mut expansion = Expansion::default();
        for scene in context.items("tiles") {
            let outputs = params.wanted().declare(&context.stage.name, &scene.name, &mut expansion);
            expansion.tasks.push(TaskPlan {
                name: scene.name.clone(),
                params: to_json(&params),
                seed: None,
                classes: Some(classes.clone()),
                inputs: vec![("model".into(), model.from.clone()), ("scene".into(), scene.from.clone())],
                outputs,
                cores: Cores::All,
            });
        }
        Ok(expansion)
    }

    fn run(&self, task: &TaskContext<'_>) -> Result<Outcome, StageError> {
        predict_map(&read_params(task)?, &read_classes(task)?, task)?;
        Ok(Outcome::Complete)
    }
}

fn check(pipeline: &Pipeline, stage: &Stage) -> Vec<Finding> {
    check_overlap(stage).into_iter().chain(check_window(pipeline, stage)).collect()
}

fn check_overlap(stage: &Stage) -> Option<Finding> {
    let (window, overlap) = (stage.with.get("window")?.as_u64()?, stage.with.get("overlap")?.as_u64()?);
    (overlap * 2 > window).then(|| Finding {
        path: vec!["with".into(), "overlap".into()],
        message: format!("an overlap of {overlap} px is more than half of a window of {window} px"),
        help: Some(format!("choose an overlap of at most {}", window / 2)),
    })
}

/// Said before the training, not after it.
fn check_window(pipeline: &Pipeline, stage: &Stage) -> Option<Finding> {
    let window = stage.with.get("window")?.as_u64()?;
    let depth = halvings(made_by(pipeline, stage, "model")?)?;
    let multiple = 1u64 << depth;
    let above = window.next_multiple_of(multiple);
    (window != above).then(|| Finding {
        path: vec!["with".into(), "window".into()],
        message: format!("the network halves windows {depth} times, and {window} px is no multiple of {multiple}"),
        help: Some(format!("use windows of {above} px")),
    })
}
