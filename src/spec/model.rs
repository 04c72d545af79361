//! A checked pipeline: every name resolved, every type right, every default filled in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::limits::Limits;
use super::site::Site;
use super::sweep::SEED_AXIS;
use crate::raster::ClassTable;

/// A checked pipeline.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// `name:`, or the file's stem. Names the folder of the readable view.
    pub name: String,
    /// `seed:`, 0 by default.
    pub seed: u64,
    /// `budget:` for the whole run.
    pub budget: Option<Duration>,
    /// `allow_overlap:`: scenes that were trained on, or share ground with such, may be scored.
    pub allow_overlap: bool,
    /// Absolute project root: what relative paths are relative to.
    pub root: PathBuf,
    /// Absolute path of the YAML file.
    pub file: PathBuf,
    /// `classes:`; empty when the pipeline has none.
    pub classes: ClassTable,
    /// Stages in the order of the file; the graph they form has no cycle.
    pub stages: Vec<Stage>,
    /// `executor:`, `slurm:`, `remote:`: never part of a key, nor of [`Pipeline::to_json`], since the same pipeline may
    /// run anywhere.
    pub site: Site,
}

impl Pipeline {
    /// The stage with this name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|s| s.name == name)
    }

    /// The pipeline as JSON, every default filled in: the record of what a run was asked to do. Two files that mean the
    /// same give the same JSON; paths in it are absolute.
    pub fn to_json(&self) -> Value {
        json!({
            "version": 1,
            "name": self.name,
            "seed": self.seed,
            "budget_seconds": self.budget.map(|b| b.as_secs()),
            "allow_overlap": self.allow_overlap,
            "root": self.root,
            "file": self.file,
            "classes": self.classes,
            "stages": self.stages.iter().map(Stage::to_json).collect::<Vec<_>>(),
        })
    }
}

/// One checked stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its key under `stages:`.
    pub name: String,
    /// The kind it uses.
    pub uses: String,
    /// Inputs by port, in the order of the kind's ports; inputs that the user names (`shell`) by name.
    pub inputs: Vec<Input>,
    /// Declared outputs (`shell`): name -> path relative to the scratch directory.
    pub outputs: Vec<(String, PathBuf)>,
    /// Stages that must end before this one starts, without data.
    pub needs: Vec<String>,
    /// Parameters, checked against the kind, defaults filled in. Durations are whole seconds, classes label codes,
    /// file parameters remain the text of the YAML ([`Stage::files`] has what they matched). With a matrix: those of the
    /// first variant.
    pub with: Map<String, Value>,
    /// What each file parameter matched, sorted by file name: `(["train", "scenes"], [absolute paths])`.
    pub files: FileMatches,
    /// `matrix:`: the axes along which the stage varies, in the order of the file.
    pub matrix: Vec<Axis>,
    /// `with` and `files` for every combination of the matrix' values, that of the last axis changing fastest; the axis
    /// `seed` left out. Empty without such axes, else [`Stage::with`] and [`Stage::files`] are those of the first.
    pub bound: Vec<Bound>,
    /// Whether the stage receives all variants of what it reads at once: `join: true`, or its kind always does.
    pub joins: bool,
    /// Time and machine that its tasks may use: never part of a key.
    pub limits: Limits,
}

/// What file parameters matched, by their path below `with`.
pub type FileMatches = Vec<(Vec<String>, Vec<PathBuf>)>;

/// One axis of a stage's `matrix:`.
#[derive(Clone, PartialEq, Debug)]
pub struct Axis {
    /// The parameter, `model.width`; or [`SEED_AXIS`].
    pub path: String,
    /// Its values, at least one, all different.
    pub values: Vec<AxisValue>,
}

impl Axis {
    /// Whether the axis changes the seed and no parameter.
    pub fn is_seed(&self) -> bool {
        self.path == SEED_AXIS
    }
}

/// One value of an [`Axis`].
#[derive(Clone, PartialEq, Debug)]
pub struct AxisValue {
    /// Stands for the value in names of variants: letters, digits and `._+~-`.
    pub label: String,
    /// The checked value.
    pub value: Value,
    /// Whether the file gives it this label as a name (`matrix: { model: { small: { width: 8 } } }`).
    pub named: bool,
}

impl AxisValue {
    /// What people are shown: the value, or its name where it has one.
    pub fn shown(&self) -> Value {
        if self.named { self.label.clone().into() } else { self.value.clone() }
    }
}

/// The parameters of one of a stage's own variants.
#[derive(Clone, PartialEq, Debug)]
pub struct Bound {
    /// As [`Stage::with`].
    pub with: Map<String, Value>,
    /// As [`Stage::files`].
    pub files: FileMatches,
}

impl Stage {
    /// The input port with this name.
    pub fn input(&self, port: &str) -> Option<&Input> {
        self.inputs.iter().find(|i| i.port == port)
    }

    /// The axes as JSON: `{path: {label: value}}`.
    pub fn matrix_json(&self) -> Value {
        let values = |a: &Axis| a.values.iter().map(|v| (v.label.clone(), v.value.clone())).collect::<Map<_, _>>();
        self.matrix.iter().map(|a| (a.path.clone(), values(a).into())).collect::<Map<_, _>>().into()
    }

    /// The stage as JSON: `{"name","uses","inputs":{port:[…]},"outputs","needs","with","files","matrix","join","limits"}`.
    pub fn to_json(&self) -> Value {
        let sources = |i: &Input| i.sources.iter().map(Source::to_json).collect::<Value>();
        let outputs = self.outputs.iter().map(|(name, path)| (name.clone(), json!(path)));
        json!({
            "name": self.name,
            "uses": self.uses,
            "inputs": self.inputs.iter().map(|i| (i.port.clone(), sources(i))).collect::<Map<_, _>>(),
            "outputs": outputs.collect::<Map<_, _>>(),
            "needs": self.needs,
            "with": self.with,
            "files": self.files.iter().map(|(path, files)| (path.join("."), json!(files))).collect::<Map<_, _>>(),
            "matrix": self.matrix_json(),
            "join": self.joins,
            "limits": self.limits.to_json(),
        })
    }

    /// The files that the file parameter at this path matched; empty when the parameter was not given.
    pub fn files(&self, path: &[&str]) -> &[PathBuf] {
        self.files
            .iter()
            .find(|(p, _)| p.iter().map(String::as_str).eq(path.iter().copied()))
            .map_or(&[], |(_, files)| files)
    }
}

/// What is connected to an input port.
#[derive(Clone, Debug)]
pub struct Input {
    /// Port name.
    pub port: String,
    /// One or more sources (a YAML list gives several).
    pub sources: Vec<Source>,
}

/// Where an input comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Another stage's output.
    Output {
        /// Stage name.
        stage: String,
        /// Output name, resolved (never empty).
        output: String,
    },
    /// Source files: the pattern as written and what it matches (absolute, sorted by path, at least one).
    Files {
        /// As in the YAML.
        pattern: String,
        /// Matches.
        files: Vec<PathBuf>,
    },
}

impl Source {
    fn to_json(&self) -> Value {
        match self {
            Self::Output { stage, output } => json!({ "stage": stage, "output": output }),
            Self::Files { pattern, files } => json!({ "pattern": pattern, "files": files }),
        }
    }
}

/// The item name of a file: its stem (`tra_scene_0.tif` -> `tra_scene_0`).
pub fn item_name(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}
