//! `ensemble`: the probabilities of several networks, averaged, and the maps that follow from them. One task a scene.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::params::{
    classes_of, expand_error, is_default, probability_rows, read_classes, read_params, read_with, to_json,
};
use super::predict::{CONFIDENCE, ENTROPY, Outputs, PROBABILITIES, Wanted};
use crate::engine::{
    Cores, ExpandContext, ExpandError, Expansion, Item, Origin, Outcome, StageError, StageKind, TaskContext, TaskPlan,
};
use crate::net::IGNORE;
use crate::raster::{ClassTable, Reader, Samples};
use crate::spec::{Artefact, Default, InputSpec, KindSpec, OutputSpec, ParamSpec, ParamType};

static SPEC: KindSpec = KindSpec {
    name: "ensemble",
    version: 1,
    doc: "Averages the probabilities of several networks, and maps the most probable class. It receives all variants at once.",
    inputs: &[InputSpec {
        name: PROBABILITIES,
        accepts: &[Artefact::Probabilities],
        accepts_files: false,
        required: true,
        doc: "What `predict` leaves with `probabilities: true`: of a stage with a matrix, or of several stages.",
    }],
    free_inputs: false,
    outputs: &[
        OutputSpec {
            name: "maps",
            artefact: Artefact::Maps,
            when: None,
            doc: "One GeoTIFF of label codes a scene, as of `predict`.",
        },
        OutputSpec {
            name: PROBABILITIES,
            artefact: Artefact::Probabilities,
            when: Some(PROBABILITIES),
            doc: "One GeoTIFF a scene with the averages, a float32 band a class.",
        },
        OutputSpec {
            name: CONFIDENCE,
            artefact: Artefact::Probabilities,
            when: Some(CONFIDENCE),
            doc: "One GeoTIFF a scene, float32: the highest average, 0 to 1; nodata -1.",
        },
        OutputSpec {
            name: ENTROPY,
            artefact: Artefact::Probabilities,
            when: Some(ENTROPY),
            doc: "One GeoTIFF a scene, float32: entropy of the averages, 0 (certain) to 1; nodata -1.",
        },
    ],
    free_outputs: false,
    joins: true,
    params: &[
        ParamSpec {
            name: PROBABILITIES,
            ty: ParamType::Bool,
            default: Default::Json("false"),
            doc: "Also leave the averages.",
        },
        ParamSpec {
            name: CONFIDENCE,
            ty: ParamType::Bool,
            default: Default::Json("false"),
            doc: "Also leave the highest average of every pixel.",
        },
        ParamSpec {
            name: ENTROPY,
            ty: ParamType::Bool,
            default: Default::Json("false"),
            doc: "Also leave how undecided the networks are at every pixel: normalised entropy, 0 to 1.",
        },
        ParamSpec {
            name: "min_area",
            ty: ParamType::Int { min: 0, max: 1_000_000_000 },
            default: Default::Json("0"),
            doc: "Smallest region of one class that a map may have, pixels (minimum mapping unit), as in `predict`.",
        },
    ],
    check: None,
};

/// What a task reads.
#[derive(Debug, Serialize, Deserialize)]
struct Params {
    probabilities: bool,
    confidence: bool,
    entropy: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    min_area: usize,
}

impl Params {
    fn wanted(&self) -> Wanted {
        let Self { probabilities, confidence, entropy, min_area } = *self;
        Wanted { probabilities, confidence, entropy, min_area }
    }
}

/// The `ensemble` stage kind.
#[derive(Debug)]
pub struct Ensemble;

/// The beginning of the slots of a task.
const MEMBERS: &str = "members";

impl StageKind for Ensemble {
    fn spec(&self) -> &'static KindSpec {
        &SPEC
    }

    fn expand(&self, context: &ExpandContext<'_>) -> Result<Expansion, ExpandError> {
        let params: Params = read_with(&context.stage.with)?;
        let classes = to_json(classes_of(context)?);
        let mut expansion = Expansion::default();
        for (scene, members) in by_scene(context.items(PROBABILITIES))? {
            let outputs = params.wanted().declare(&context.stage.name, scene, &mut expansion);
            let slot = |(number, from): (usize, &Origin)| (format!("{MEMBERS}/{number:03}"), from.clone());
            expansion.tasks.push(TaskPlan {
                name: scene.to_owned(),
                params: to_json(&params),
                seed: None,
                classes: Some(classes.clone()),
                inputs: members.into_iter().enumerate().map(slot).collect(),
                outputs,
                cores: Cores::One,
            });
        }
        Ok(expansion)
    }

    fn run(&self, task: &TaskContext<'_>) -> Result<Outcome, StageError> {
        let params: Params = read_params(task)?;
        average(params.wanted(), &read_classes(task)?, task)?;
        Ok(Outcome::Complete)
    }
}

/// The members' rasters of each scene: at least two, of all scenes as many.
fn by_scene(items: &[Item]) -> Result<BTreeMap<&str, Vec<&Origin>>, ExpandError> {
    let mut scenes: BTreeMap<&str, Vec<&Origin>> = BTreeMap::new();
    for item in items {
        // Of `seed=1/val_scene_0`, or `predict-wide/val_scene_0`, the last part is the scene.
        let scene = item.name.rsplit('/').next().unwrap_or_default();
        scenes.entry(scene).or_default().push(&item.from);
    }
    let most = scenes.values().map(Vec::len).max().unwrap_or(0);
    if most < 2 {
        return Err(ExpandError {
            message: "there is one network only, and nothing to average".into(),
            help: Some(
                "connect a `predict` stage that has variants (a `matrix`, say over `seed`), or a list of stages".into(),
            ),
        });
    }
    match scenes.iter().find(|(_, members)| members.len() < most) {
        Some((scene, members)) => Err(expand_error(format!(
            "scene {scene:?} was mapped by {} networks, others by {most}: all must map the same scenes",
            members.len()
        ))),
        None => Ok(scenes),
    }
}

/// Averages the rasters in the slots `members/…`, strip by strip.
fn average(wanted: Wanted, classes: &ClassTable, task: &TaskContext<'_>) -> Result<(), StageError> {
    let members =
        task.items(MEMBERS).into_iter().map(|(_, path)| open(path, classes)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = members.first() else { return Err(StageError::failed("there are no probabilities to average")) };
    let (width, height) = (first.info().width, first.info().height);
    if let Some(other) = members.iter().find(|m| (m.info().width, m.info().height) != (width, height)) {
        let (path, w, h) = (other.info().path.display(), other.info().width, other.info().height);
        let of = first.info().path.display();
        return Err(StageError::failed(format!("{path}: is {w}x{h} px, and {of} is {width}x{height} px")));
    }
    let mut outputs = Outputs::create(wanted, classes, ((width, height), &first.info().georef), task)?;
    let strip = probability_rows(width, classes.len());
    for top in (0..height).step_by(strip) {
        if task.cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        let rows = strip.min(height - top);
        let mut sum = vec![0.0_f32; rows * width * classes.len()];
        for member in &members {
            let planes = planes(member, top, rows)?;
            sum.iter_mut().zip(&planes).for_each(|(sum, p)| *sum += p);
        }
        let (indices, averages) = decide(&sum, classes.len(), members.len());
        outputs.write(&indices, &averages).map_err(|e| StageError::failed(e.to_string()))?;
    }
    outputs.finish(task.cancel)
}

fn open(path: &Path, classes: &ClassTable) -> Result<Reader, StageError> {
    let reader = Reader::open(path).map_err(|e| StageError::failed(e.to_string()))?;
    let (bands, expected) = (reader.info().bands, classes.len());
    if bands != expected {
        let problem = format!("has {bands} bands, and the pipeline {expected} classes");
        return Err(StageError::failed(format!("{}: {problem}", path.display())));
    }
    Ok(reader)
}

/// Some rows of all classes, class by class.
fn planes(member: &Reader, top: usize, rows: usize) -> Result<Vec<f32>, StageError> {
    match member.read_rows(top, rows).map_err(|e| StageError::failed(e.to_string()))? {
        Samples::F32(planes) => Ok(planes),
        _ => {
            let path = member.info().path.display();
            Err(StageError::failed(format!("{path}: holds no probabilities of type float32")))
        }
    }
}

/// The most probable class of every pixel, the first of equals, and averages `[pixels, classes]`, from sums `[classes, pixels]` over
/// `members`. A pixel without data has no probabilities.
fn decide(sums: &[f32], classes: usize, members: usize) -> (Vec<u8>, Vec<f32>) {
    let pixels = sums.len() / classes;
    let mut indices = Vec::with_capacity(pixels);
    let mut averages = vec![0.0; sums.len()];
    for (pixel, averages) in averages.chunks_exact_mut(classes).enumerate() {
        let mut best = 0;
        for class in 0..classes {
            averages[class] = sums[class * pixels + pixel] / members as f32;
            if averages[class] > averages[best] {
                best = class;
            }
        }
        indices.push(if averages[best] > 0.0 { best as u8 } else { IGNORE });
    }
    (indices, averages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_average_decides_and_no_data_stays_so() {
        // Three pixels of two classes, sums over two members, class by class.
        let (indices, averages) = decide(&[1.5, 0.0, 1.0, 0.5, 0.0, 1.0], 2, 2);
        assert_eq!(indices, [0, IGNORE, 0]);
        assert_eq!(averages, [0.75, 0.25, 0.0, 0.0, 0.5, 0.5]);
    }

    #[test]
    fn members_are_told_by_scene_and_must_be_complete() {
        let item = |name: &str| {
            let from = Origin::Task { stage: "p".into(), task: name.into(), output: PROBABILITIES.into() };
            Item::new(name, from)
        };
        let all = ["seed=1/a", "seed=1/b", "seed=2/a", "seed=2/b"].map(item);
        let scenes = by_scene(&all).unwrap();
        assert_eq!(scenes.iter().map(|(scene, m)| (*scene, m.len())).collect::<Vec<_>>(), [("a", 2), ("b", 2)]);
        let told = by_scene(&all[..3]).unwrap_err().message;
        assert_eq!(told, "scene \"b\" was mapped by 1 networks, others by 2: all must map the same scenes");
        assert!(by_scene(&all[..2]).unwrap_err().help.unwrap().contains("a `matrix`, say over `seed`"));
    }
}
