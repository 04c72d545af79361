//! The `ingest` kind: its definition, its checks, one task a scene.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::pairs::{Pair, PairError, pair};
use super::scene::{SceneFiles, ingest_scene};
use crate::engine::{
    Cores, ExpandContext, ExpandError, Expansion, Item, Origin, Outcome, OutputDecl, StageError, StageKind,
    TaskContext, TaskPlan,
};
use crate::net::Buffers;
use crate::spec::{
    Artefact, Default, Finding, InputSpec, KindSpec, OutputSpec, ParamSpec, ParamType, Pipeline, Stage, item_name,
};
use crate::stages::params::{classes_of, codes_json, expand_error, read_codes, read_params, read_with, to_json};
use crate::stages::tile::{INDEX_NAMES, Preparation, is_absolute};

/// The splits of the exercise, and one for scenes that are only mapped at the end.
const SPLITS: [&str; 3] = ["train", "val", "test"];

const fn split(name: &'static str, doc: &'static str) -> ParamSpec {
    ParamSpec { name, ty: SPLIT_TYPE, default: Default::Absent, doc }
}

const SPLIT_TYPE: ParamType = ParamType::Object(&[
    ParamSpec {
        name: "scenes",
        ty: ParamType::Files,
        default: Default::Required,
        doc: "Scene GeoTIFFs: a path or a glob, relative to the project root.",
    },
    ParamSpec {
        name: "truth",
        ty: ParamType::Files,
        default: Default::Required,
        doc: "Truth GeoTIFFs, one a scene; paired by sorted name, and the stems must agree.",
    },
]);

const fn port(name: &'static str, accepts: &'static [Artefact], doc: &'static str) -> InputSpec {
    InputSpec { name, accepts, accepts_files: false, required: false, doc }
}

const fn tiles(name: &'static str, doc: &'static str) -> OutputSpec {
    OutputSpec { name, artefact: Artefact::Tiles, when: None, doc }
}

static SPEC: KindSpec = KindSpec {
    name: "ingest",
    version: 1,
    doc: "Reads scenes and their truth, checks that they fit, and keeps them as tiles.",
    inputs: &[
        port("train_scenes", &[Artefact::Scenes], "Training scenes from another stage, instead of `with.train`."),
        port("train_truth", &[Artefact::Truth], "The truth that goes with them."),
        port("val_scenes", &[Artefact::Scenes], "Validation scenes from another stage, instead of `with.val`."),
        port("val_truth", &[Artefact::Truth], "The truth that goes with them."),
    ],
    free_inputs: false,
    outputs: &[
        tiles("train", "The training scenes."),
        tiles("val", "The validation scenes."),
        tiles("test", "The test scenes."),
    ],
    free_outputs: false,
    joins: false,
    params: &[
        split("train", "Scenes to learn from."),
        split("val", "Scenes to be scored on; training never sees them."),
        split("test", "Further scenes with truth."),
        ParamSpec {
            name: "bands",
            ty: ParamType::List(&ParamType::Text),
            default: Default::Required,
            doc: "Names of the bands in the scene files, in their order; `red`, `green` and `blue` make the figures.",
        },
        ParamSpec {
            name: "nodata",
            ty: ParamType::Float { min: f64::MIN, max: f64::MAX },
            default: Default::Absent,
            doc: "Value that means \"no data\", where the files do not say so themselves.",
        },
        ParamSpec {
            name: "offset",
            ty: ParamType::Float { min: -1e9, max: 1e9 },
            default: Default::Json("0"),
            doc: "Added to every value, in the files' units: -1000 for Sentinel-2 of processing baseline 04.00 and later.",
        },
        ParamSpec {
            name: "scale",
            ty: ParamType::Float { min: 1e-9, max: 1e9 },
            default: Default::Absent,
            doc: "What values are multiplied by after `offset`: 1e-4 makes Sentinel-2's integers reflectance; 1 when left out.",
        },
        ParamSpec {
            name: "indices",
            ty: ParamType::List(&ParamType::Choice(&INDEX_NAMES)),
            default: Default::Json("[]"),
            doc: "Spectral indices that become bands of their own, after those of the files.",
        },
    ],
    check: Some(check),
};

/// What one ingest task reads.
#[derive(Debug, Serialize, Deserialize)]
struct IngestParams {
    name: String,
    bands: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodata: Option<f64>,
    #[serde(flatten)]
    preparation: Preparation,
}

/// What of `with:` concerns every split alike.
#[derive(Deserialize)]
struct With {
    bands: Vec<String>,
    nodata: Option<f64>,
    #[serde(flatten)]
    preparation: Preparation,
}

/// The `ingest` stage kind.
#[derive(Debug)]
pub struct Ingest;

impl StageKind for Ingest {
    fn spec(&self) -> &'static KindSpec {
        &SPEC
    }

    fn expand(&self, context: &ExpandContext<'_>) -> Result<Expansion, ExpandError> {
        let classes = codes_json(classes_of(context)?);
        let with: With = read_with(&context.stage.with)?;
        let mut expansion = Expansion::default();
        for split in SPLITS {
            let pairs = match split_pairs(context, split) {
                None => continue,
                Some(pairs) => pairs.map_err(|e| expand_error(format!("{split}: {e}")))?,
            };
            let mut items = Vec::with_capacity(pairs.len());
            for Pair { name, scene, truth } in pairs {
                let task = format!("{split}/{name}");
                items.push(Item {
                    axes: Vec::new(),
                    name: name.clone(),
                    from: Origin::Task { stage: context.stage.name.clone(), task: task.clone(), output: "tile".into() },
                });
                expansion.tasks.push(TaskPlan {
                    params: to_json(&IngestParams {
                        name,
                        bands: with.bands.clone(),
                        nodata: with.nodata,
                        preparation: with.preparation.clone(),
                    }),
                    seed: None,
                    classes: Some(classes.clone()),
                    inputs: vec![("scene".into(), scene), ("truth".into(), truth)],
                    outputs: vec![OutputDecl { name: "tile".into(), path: task.clone().into() }],
                    cores: Cores::One,
                    name: task,
                });
            }
            expansion.outputs.insert(split.into(), items);
        }
        Ok(expansion)
    }

    fn run(&self, task: &TaskContext<'_>) -> Result<Outcome, StageError> {
        Buffers::keep();
        let params: IngestParams = read_params(task)?;
        let files =
            SceneFiles { scene: task.input("scene")?, truth: Some(task.input("truth")?), nodata: params.nodata };
        let codes = read_codes(task)?;
        ingest_scene(&params.name, &params.bands, &params.preparation, &codes, &files, &task.output("tile")?, task)?;
        Ok(Outcome::Complete)
    }
}

/// The pairs of a split: from the ports where they are connected, else from the files; `None` where there are neither.
fn split_pairs(context: &ExpandContext<'_>, split: &str) -> Option<Result<Vec<Pair>, PairError>> {
    let ported = |what: &str| context.items(&format!("{split}_{what}"));
    let files = |what: &str| file_items(context.stage.files(&[split, what]));
    if !ported("scenes").is_empty() {
        return Some(pair(ported("scenes"), ported("truth")));
    }
    context.stage.with.contains_key(split).then(|| pair(&files("scenes"), &files("truth")))
}

fn file_items(files: &[PathBuf]) -> Vec<Item> {
    files.iter().map(|f| Item::new(item_name(f), Origin::File(f.clone()))).collect()
}

/// Everything that can be said before a pixel is read.
fn check(pipeline: &Pipeline, stage: &Stage) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |path: &[&str], message: String, help: &str| {
        findings.push(Finding {
            path: path.iter().map(|s| (*s).to_owned()).collect(),
            message,
            help: Some(help.to_owned()),
        });
    };
    if pipeline.classes.is_empty() {
        find(
            &["uses"],
            "ingest needs the pipeline's classes, and there are none".into(),
            "add `classes:` at the top of the pipeline, for example `1: { name: urban, color: red }`",
        );
    }
    let given = |split: &str| stage.with.contains_key(split);
    let ported = |split: &str| stage.input(&format!("{split}_scenes")).is_some();
    if !SPLITS.iter().any(|s| given(s) || ported(s)) {
        find(
            &["with"],
            "no scenes: neither `train`, `val` nor `test` is given".into(),
            "add `train: { scenes: some/folder/*.tif, truth: other/folder/*.tif }`",
        );
    }
    for split in SPLITS {
        let truth = format!("{split}_truth");
        if given(split) && ported(split) {
            find(
                &["with", split],
                format!("scenes of `{split}` are given twice: here and under `inputs:`"),
                "keep one of the two",
            );
        }
        if ported(split) != stage.input(&truth).is_some() {
            find(
                &["inputs"],
                format!("`{split}_scenes` and `{truth}` belong together, and one is missing"),
                "connect both, for example to the outputs of one `synth` stage",
            );
        }
        if given(split) {
            let files = |what: &str| file_items(stage.files(&[split, what]));
            if let Err(error) = pair(&files("scenes"), &files("truth")) {
                find(
                    &["with", split, "truth"],
                    error.to_string(),
                    "every scene needs exactly one truth raster, and sorted by name they must stand in the same order",
                );
            }
        }
    }
    for (index, later) in SPLITS.iter().enumerate() {
        for earlier in &SPLITS[..index] {
            if let Some(file) = shared_file(stage, earlier, later) {
                find(
                    &["with", later],
                    format!("{} stands in `{earlier}` and in `{later}`", file.display()),
                    "a scene that is learnt from must not be scored: give each split its own files",
                );
            }
        }
    }
    let bands: Vec<&str> = stage.with["bands"].as_array().into_iter().flatten().filter_map(|b| b.as_str()).collect();
    if bands.is_empty() {
        find(&["with", "bands"], "no bands are named".into(), "name every band of the scene files, in their order");
    }
    for (index, band) in bands.iter().enumerate() {
        if bands[..index].contains(band) {
            find(&["with", "bands"], format!("band {band:?} is named twice"), "give every band a name of its own");
        }
    }
    findings.extend(check_indices(stage, &bands));
    findings
}

/// Indices that cannot be computed.
fn check_indices(stage: &Stage, bands: &[&str]) -> Vec<Finding> {
    let names: Vec<String> = bands.iter().map(|band| (*band).to_owned()).collect();
    let indices: Vec<&str> =
        stage.with.get("indices").and_then(|i| i.as_array()).into_iter().flatten().filter_map(|i| i.as_str()).collect();
    let finding = |message: String, help: String| Finding {
        path: vec!["with".into(), "indices".into()],
        message,
        help: Some(help),
    };
    let mut findings = Vec::new();
    for (position, &index) in indices.iter().enumerate() {
        if bands.contains(&index) {
            findings.push(finding(format!("`{index}` is a band of the files already"), "leave it out here".into()));
        } else if indices[..position].contains(&index) {
            findings.push(finding(format!("`{index}` is named twice"), "name it once".into()));
        }
        let one = Preparation { indices: vec![index.to_owned()], ..Preparation::default() };
        if let Err(missing) = one.plan(&names) {
            let help = format!(
                "`bands` names {}; call the right one `{}`, or leave `{index}` out",
                bands.join(", "),
                missing.band
            );
            findings.push(finding(format!("{missing}, and there is none of this name"), help));
        }
        if is_absolute(index) && !stage.with.contains_key("scale") {
            findings.push(finding(
                format!("`{index}` counts in reflectance, and nothing says what the files count in"),
                "add `scale: 1e-4` for the integers of Sentinel-2, or `scale: 1` where the files hold reflectance"
                    .into(),
            ));
        }
    }
    findings
}

/// A scene or truth file that two splits have in common, however it is spelt or linked.
fn shared_file(stage: &Stage, one: &str, other: &str) -> Option<PathBuf> {
    // One look at each file: resolving paths would be one at each folder above it, and many where there are many files.
    let real = |file: &PathBuf| fs::metadata(file).map(|meta| (meta.dev(), meta.ino())).map_err(|_| file.clone());
    ["scenes", "truth"].into_iter().find_map(|what| {
        let known: HashSet<Result<(u64, u64), PathBuf>> = stage.files(&[one, what]).iter().map(real).collect();
        stage.files(&[other, what]).iter().find(|file| known.contains(&real(file))).cloned()
    })
}
