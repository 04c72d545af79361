//! The `evaluate` kind: one task a scene, and one for all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::count::{CountParams, count_scene};
use super::region::measure_map;
use super::sum::{SumParams, sum_scenes};
use crate::engine::{
    Cores, ExpandContext, ExpandError, Expansion, Item, Origin, Outcome, OutputDecl, StageError, StageKind,
    TaskContext, TaskPlan,
};
use crate::metrics::Bootstrap;
use crate::spec::{Artefact, Default, InputSpec, KindSpec, OutputSpec, ParamSpec, ParamType};
use crate::stages::params::{classes_of, codes_json, expand_error, read_params, read_with, to_json};

static SPEC: KindSpec = KindSpec {
    name: "evaluate",
    // 2: reports its scores. 3: confidence intervals. 4: calibration. 5: boundaries, areas.
    version: 5,
    doc: "Scores maps against truth: Jaccard per class and its mean with scikit-learn's semantics, and more.",
    inputs: &[
        InputSpec {
            name: "maps",
            accepts: &[Artefact::Maps],
            accepts_files: false,
            required: true,
            doc: "The maps to score.",
        },
        InputSpec {
            name: "tiles",
            accepts: &[Artefact::Tiles],
            accepts_files: false,
            required: true,
            doc: "The scenes with their truth, for example `ingest.val`.",
        },
        InputSpec {
            name: "probabilities",
            accepts: &[Artefact::Probabilities],
            accepts_files: false,
            required: false,
            doc: "What `predict` leaves with `probabilities: true`: adds the calibration to `metrics.json`.",
        },
        InputSpec {
            name: "region",
            accepts: &[Artefact::Maps],
            accepts_files: true,
            required: false,
            doc: "Maps whose area of each class is to be estimated by the errors found here; they need no truth.",
        },
    ],
    free_inputs: false,
    outputs: &[
        OutputSpec {
            name: "metrics",
            artefact: Artefact::Metrics,
            when: None,
            doc: "`metrics.json`: every score, over all scenes and for each scene.",
        },
        OutputSpec { name: "table", artefact: Artefact::Any, when: None, doc: "`metrics.csv`: one line a class." },
        OutputSpec {
            name: "confusion",
            artefact: Artefact::Any,
            when: None,
            doc: "`confusion.csv`: pixels by true class (rows) and mapped class (columns).",
        },
    ],
    free_outputs: false,
    joins: false,
    params: &[
        ParamSpec {
            name: "bootstrap",
            ty: ParamType::Object(&[
                ParamSpec {
                    name: "samples",
                    ty: ParamType::Int { min: 0, max: 100_000 },
                    default: Default::Json("1000"),
                    doc: "Draws; 0 for no intervals.",
                },
                ParamSpec {
                    name: "block",
                    ty: ParamType::Int { min: 16, max: 4096 },
                    default: Default::Json("64"),
                    doc: "Side of a block, pixels: longer than what lies in it is alike.",
                },
                ParamSpec {
                    name: "confidence",
                    ty: ParamType::Float { min: 0.5, max: 0.999 },
                    default: Default::Json("0.95"),
                    doc: "Share of the draws inside an interval.",
                },
            ]),
            default: Default::Json("{}"),
            doc: "Confidence intervals of the Jaccard scores: square blocks of the scenes, drawn with replacement.",
        },
        ParamSpec {
            name: "boundary",
            ty: ParamType::Int { min: 1, max: 64 },
            default: Default::Absent,
            doc: "Adds the Jaccard along boundaries: of pixels at most so many pixels away from another class.",
        },
    ],
    check: None,
};

/// What distinguishes the two tasks of the stage.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// Count one scene.
    Count(CountParams),
    /// Measure one map of the region.
    Measure,
    /// Sum all scenes and score.
    Sum(SumParams),
}

#[derive(Deserialize)]
struct With {
    bootstrap: Bootstrap,
    boundary: Option<usize>,
}

/// The `evaluate` stage kind.
#[derive(Debug)]
pub struct Evaluate;

impl StageKind for Evaluate {
    fn spec(&self) -> &'static KindSpec {
        &SPEC
    }

    fn expand(&self, context: &ExpandContext<'_>) -> Result<Expansion, ExpandError> {
        let classes = classes_of(context)?;
        let With { bootstrap, boundary } = read_with(&context.stage.with)?;
        let bootstrap = (bootstrap.samples > 0).then_some(bootstrap);
        let stage = &context.stage.name;
        let from = |task: &str, output: &str| Origin::Task {
            stage: stage.clone(),
            task: task.to_owned(),
            output: output.to_owned(),
        };
        let mut expansion = Expansion::default();
        let mut counts = Vec::new();
        for (name, map, tile) in map_tile_pairs(context)? {
            let mut inputs = vec![("map".into(), map), ("tile".into(), tile)];
            inputs.extend(probabilities_of(context, &name)?.map(|from| ("probabilities".into(), from)));
            counts.push((format!("scenes/{name}"), from(&format!("scenes/{name}"), "counts")));
            expansion.tasks.push(TaskPlan {
                name: format!("scenes/{name}"),
                params: to_json(&Step::Count(CountParams { block: bootstrap.map(|b| b.block), boundary })),
                seed: None,
                classes: Some(codes_json(classes)),
                inputs,
                outputs: vec![OutputDecl { name: "counts".into(), path: format!("scenes/{name}.json").into() }],
                cores: Cores::One,
            });
        }
        for item in context.items("region") {
            let name = format!("region/{}", item.name);
            counts.push((name.clone(), from(&name, "areas")));
            expansion.tasks.push(TaskPlan {
                name: name.clone(),
                params: to_json(&Step::Measure),
                seed: None,
                classes: None,
                inputs: vec![("map".into(), item.from.clone())],
                outputs: vec![OutputDecl { name: "areas".into(), path: format!("{name}.json").into() }],
                cores: Cores::One,
            });
        }
        let files = [("metrics", "metrics.json"), ("table", "metrics.csv"), ("confusion", "confusion.csv")];
        expansion.tasks.push(TaskPlan {
            name: String::new(),
            params: to_json(&Step::Sum(SumParams { bootstrap, boundary })),
            seed: bootstrap.map(|_| context.pipeline.seed),
            classes: Some(to_json(classes)),
            inputs: counts,
            outputs: files.map(|(name, path)| OutputDecl { name: name.into(), path: path.into() }).to_vec(),
            cores: Cores::One,
        });
        for (name, _) in files {
            expansion.outputs.insert(name.into(), vec![Item::new("", from("", name))]);
        }
        Ok(expansion)
    }

    fn run(&self, task: &TaskContext<'_>) -> Result<Outcome, StageError> {
        match read_params(task)? {
            Step::Count(params) => count_scene(&params, task)?,
            Step::Measure => measure_map(task)?,
            Step::Sum(params) => sum_scenes(&params, task)?,
        }
        Ok(Outcome::Complete)
    }
}

/// The probabilities of the map with this name, where the port is connected.
fn probabilities_of(context: &ExpandContext<'_>, map: &str) -> Result<Option<Origin>, ExpandError> {
    let items = context.items("probabilities");
    match items.iter().find(|item| item.name == map) {
        Some(item) => Ok(Some(item.from.clone())),
        None if items.is_empty() => Ok(None),
        None => Err(ExpandError {
            message: format!("map {map:?} has no probabilities of that name among the inputs `probabilities`"),
            help: Some("connect `maps` and `probabilities` of the same `predict` stage".into()),
        }),
    }
}

/// Maps and tiles with the same item name; every map must have its tile.
pub(in crate::stages) fn map_tile_pairs(
    context: &ExpandContext<'_>,
) -> Result<Vec<(String, Origin, Origin)>, ExpandError> {
    let tiles: BTreeMap<&str, &Origin> = context.items("tiles").iter().map(|i| (i.name.as_str(), &i.from)).collect();
    let maps = context.items("maps");
    if maps.is_empty() {
        return Err(expand_error("there are no maps to look at"));
    }
    maps.iter()
        .map(|map| match tiles.get(map.name.as_str()) {
            Some(tile) => Ok((map.name.clone(), map.from.clone(), (*tile).clone())),
            None => Err(ExpandError {
                message: format!("map {:?} has no tile of that name among the inputs `tiles`", map.name),
                help: Some("connect `tiles` to the scenes that were mapped".into()),
            }),
        })
        .collect()
}
