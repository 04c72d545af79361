//! The `patches` kind: one task over all tiles of a split.

use serde::{Deserialize, Serialize};

use super::build::build;
use crate::engine::{
    Cores, ExpandContext, ExpandError, Expansion, Item, Origin, Outcome, OutputDecl, StageError, StageKind,
    TaskContext, TaskPlan,
};
use crate::spec::{Artefact, Default, Finding, InputSpec, KindSpec, OutputSpec, ParamSpec, ParamType, Pipeline, Stage};
use crate::stages::document::write_dense_document;
use crate::stages::params::{classes_of, codes_json, read_codes, read_params, read_with, to_json};
use crate::stages::tile::TileReader;

static SPEC: KindSpec = KindSpec {
    name: "patches",
    version: 1,
    doc: "Cuts tiles into windows to train on and sets spatial blocks aside to choose the best epoch; copies no pixel.",
    inputs: &[InputSpec {
        name: "tiles",
        accepts: &[Artefact::Tiles],
        accepts_files: false,
        required: true,
        doc: "The tiles of one split, for example `ingest.train`.",
    }],
    free_inputs: false,
    outputs: &[OutputSpec {
        name: "patches",
        artefact: Artefact::Patches,
        when: None,
        doc: "The index `patches.json`, and the tiles that it points into.",
    }],
    free_outputs: false,
    joins: false,
    params: &[
        ParamSpec {
            name: "size",
            ty: ParamType::Int { min: 8, max: 4096 },
            default: Default::Json("128"),
            doc: "Side of a patch, pixels; a multiple of 2^depth of the network.",
        },
        ParamSpec {
            name: "stride",
            ty: ParamType::Int { min: 1, max: 4096 },
            default: Default::Json("64"),
            doc: "Distance between training windows, pixels; at most `size`.",
        },
        ParamSpec {
            name: "holdout",
            ty: ParamType::Float { min: 0.0, max: 0.5 },
            default: Default::Json("0.15"),
            doc: "Share of the labelled pixels set aside, in whole blocks or scenes, to choose the best epoch.",
        },
        ParamSpec {
            name: "block",
            ty: ParamType::Int { min: 8, max: 65536 },
            default: Default::Absent,
            doc: "Least side of a hold-out block, pixels; `size` when not given.",
        },
    ],
    check: Some(check),
};

/// What the patches task reads.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PatchParams {
    pub(super) size: usize,
    pub(super) stride: usize,
    pub(super) holdout: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) block: Option<usize>,
}

/// The `patches` stage kind.
#[derive(Debug)]
pub struct Patches;

/// Slot and item name of the index among the items of the output.
pub(in crate::stages) const INDEX_ITEM: &str = "index";

impl StageKind for Patches {
    fn spec(&self) -> &'static KindSpec {
        &SPEC
    }

    fn expand(&self, context: &ExpandContext<'_>) -> Result<Expansion, ExpandError> {
        let params: PatchParams = read_with(&context.stage.with)?;
        let tiles = context.items("tiles");
        let index = Origin::Task { stage: context.stage.name.clone(), task: String::new(), output: INDEX_ITEM.into() };
        // Training reads the pixels through the index, so the tiles travel along with it.
        let mut items = vec![Item::new(INDEX_ITEM, index)];
        items.extend(tiles.iter().map(|t| Item::new(format!("tiles/{}", t.name), t.from.clone())));
        let task = TaskPlan {
            name: String::new(),
            params: to_json(&params),
            seed: Some(context.pipeline.seed),
            classes: Some(codes_json(classes_of(context)?)),
            inputs: tiles.iter().map(|t| (format!("tiles/{}", t.name), t.from.clone())).collect(),
            outputs: vec![OutputDecl { name: INDEX_ITEM.into(), path: "patches.json".into() }],
            cores: Cores::One,
        };
        Ok(Expansion { tasks: vec![task], outputs: [("patches".to_owned(), items)].into() })
    }

    fn run(&self, task: &TaskContext<'_>) -> Result<Outcome, StageError> {
        let params: PatchParams = read_params(task)?;
        let codes = read_codes(task)?;
        let mut tiles = Vec::new();
        for (name, path) in task.items("tiles") {
            tiles.push((name.to_owned(), TileReader::open(path)?));
        }
        let index = build(&tiles, &codes, &params, task.seed.unwrap_or(0), task.cancel)?;
        write_dense_document(&task.output(INDEX_ITEM)?, &index)?;
        Ok(Outcome::Complete)
    }
}

fn check(_: &Pipeline, stage: &Stage) -> Vec<Finding> {
    let number = |name: &str| stage.with.get(name).and_then(serde_json::Value::as_u64);
    let mut findings = Vec::new();
    if let (Some(size), Some(stride)) = (number("size"), number("stride"))
        && stride > size
    {
        findings.push(Finding {
            path: vec!["with".into(), "stride".into()],
            message: format!("a stride of {stride} px leaves gaps between patches of {size} px"),
            help: Some(format!("choose a stride of at most {size}")),
        });
    }
    findings
}
