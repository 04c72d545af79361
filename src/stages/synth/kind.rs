//! The `synth` kind: one task a scene.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::{write_pair, write_pair_for};
use super::orders::orders;
use super::sample::{SampleScene, Split};
use crate::engine::{
    Cores, ExpandContext, ExpandError, Expansion, Item, Origin, Outcome, OutputDecl, StageError, StageKind,
    TaskContext, TaskPlan,
};
use crate::spec::{Artefact, Default, Finding, KindSpec, OutputSpec, ParamSpec, ParamType, Pipeline, Stage, item_name};
use crate::stages::params::{expand_error, read_params, read_with, to_json};

const fn output(name: &'static str, artefact: Artefact, doc: &'static str) -> OutputSpec {
    OutputSpec { name, artefact, when: None, doc }
}

static SPEC: KindSpec = KindSpec {
    name: "synth",
    version: 1,
    doc: "Makes synthetic scenes and truth in the exercise's format: a sample, or scenes for given truth rasters.",
    inputs: &[],
    free_inputs: false,
    outputs: &[
        output("train_scenes", Artefact::Scenes, "Training scenes: 6 bands, int32, reflectance and NDVI x 10,000."),
        output("train_truth", Artefact::Truth, "Their truth: codes 1 to 6, 0 for no label."),
        output("val_scenes", Artefact::Scenes, "Validation scenes."),
        output("val_truth", Artefact::Truth, "Their truth."),
    ],
    free_outputs: false,
    joins: false,
    params: &[
        ParamSpec {
            name: "size",
            ty: ParamType::Int { min: 64, max: 20_000 },
            default: Default::Absent,
            doc: "Side of a scene in pixels, about; as the shipped sample when not given.",
        },
        ParamSpec {
            name: "train",
            ty: ParamType::Int { min: 0, max: 1000 },
            default: Default::Json("4"),
            doc: "Number of training scenes.",
        },
        ParamSpec {
            name: "val",
            ty: ParamType::Int { min: 0, max: 1000 },
            default: Default::Json("2"),
            doc: "Number of validation scenes.",
        },
        ParamSpec {
            name: "train_truth",
            ty: ParamType::Files,
            default: Default::Absent,
            doc: "Truth rasters to make training scenes for, instead of invented places.",
        },
        ParamSpec {
            name: "val_truth",
            ty: ParamType::Files,
            default: Default::Absent,
            doc: "Truth rasters to make validation scenes for.",
        },
    ],
    check: Some(check),
};

#[derive(Deserialize)]
struct With {
    size: Option<u32>,
    train: usize,
    val: usize,
}

/// What one task makes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// An invented place.
    Place(SampleScene),
    /// The scene of the truth raster in slot `truth`.
    ForTruth,
}

/// The `synth` stage kind.
#[derive(Debug)]
pub struct Synth;

impl StageKind for Synth {
    fn spec(&self) -> &'static KindSpec {
        &SPEC
    }

    fn expand(&self, context: &ExpandContext<'_>) -> Result<Expansion, ExpandError> {
        let with: With = read_with(&context.stage.with)?;
        let seed = context.pipeline.seed;
        let mut expansion = Expansion::default();
        for name in ["train_scenes", "train_truth", "val_scenes", "val_truth"] {
            expansion.outputs.insert(name.into(), Vec::new());
        }
        let masks = |split| context.stage.files(&[split]);
        let given = !masks("train_truth").is_empty() || !masks("val_truth").is_empty();
        if !given {
            for order in orders(with.size, with.train, with.val, seed) {
                let (short, long) = names(order.split);
                let scene = format!("{short}_scene_{}", order.number);
                let truth = format!("{short}_truth_{}", order.number);
                add(context, &mut expansion, (short, long), (scene, truth), to_json(&Order::Place(order)), None, None);
            }
            return Ok(expansion);
        }
        let mut index = 0;
        for (port, split) in [("train_truth", Split::Training), ("val_truth", Split::Validation)] {
            for mask in masks(port) {
                let truth = item_name(mask);
                if !truth.contains("truth") {
                    return Err(expand_error(format!("the name of {} does not contain \"truth\"", mask.display())));
                }
                let scene = truth.replacen("truth", "scene", 1);
                let order = to_json(&Order::ForTruth);
                let input = Some(("truth".to_owned(), Origin::File(mask.clone())));
                add(context, &mut expansion, names(split), (scene, truth), order, Some(seed + index), input);
                index += 1;
            }
        }
        Ok(expansion)
    }

    fn run(&self, task: &TaskContext<'_>) -> Result<Outcome, StageError> {
        let (scene, truth) = (task.output("scene")?, task.output("truth")?);
        for path in [&scene, &truth] {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)
                    .map_err(|e| StageError::failed(format!("{}: {e}", folder.display())))?;
            }
        }
        match read_params(task)? {
            Order::Place(order) => write_pair(&order, &scene, &truth)?,
            Order::ForTruth => write_pair_for(task.input("truth")?, task.seed.unwrap_or(0), &scene, &truth)?,
        }
        Ok(Outcome::Complete)
    }
}

/// Prefix of file names, and of output names.
fn names(split: Split) -> (&'static str, &'static str) {
    match split {
        Split::Training => ("tra", "train"),
        Split::Validation => ("val", "val"),
    }
}

fn add(
    context: &ExpandContext<'_>,
    expansion: &mut Expansion,
    (short, long): (&str, &str),
    (scene, truth): (String, String),
    params: Value,
    seed: Option<u64>,
    input: Option<(String, Origin)>,
) {
    for (what, name, output) in [("scenes", &scene, "scene"), ("truth", &truth, "truth")] {
        expansion.outputs.entry(format!("{long}_{what}")).or_default().push(Item {
            axes: Vec::new(),
            name: name.clone(),
            from: Origin::Task { stage: context.stage.name.clone(), task: scene.clone(), output: output.into() },
        });
    }
    expansion.tasks.push(TaskPlan {
        params,
        seed,
        classes: None,
        inputs: input.into_iter().collect(),
        outputs: vec![
            OutputDecl { name: "scene".into(), path: format!("{short}_scene/{scene}.tif").into() },
            OutputDecl { name: "truth".into(), path: format!("{short}_truth/{truth}.tif").into() },
        ],
        cores: Cores::One,
        name: scene,
    });
}

fn check(_: &Pipeline, stage: &Stage) -> Vec<Finding> {
    let masked = stage.with.contains_key("train_truth") || stage.with.contains_key("val_truth");
    if masked && stage.with.contains_key("size") {
        return vec![Finding {
            path: vec!["with".into(), "size".into()],
            message: "scenes for given truth rasters have the size of these rasters".into(),
            help: Some("take `size` out".into()),
        }];
    }
    Vec::new()
}
