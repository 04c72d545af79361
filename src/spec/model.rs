//! A checked pipeline: every name resolved, every type right, every default filled in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::limits::Limits;
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
    /// file parameters remain the text of the YAML ([`Stage::files`] has what they matched).
    pub with: Map<String, Value>,
    /// What each file parameter matched, sorted by file name: `(["train", "scenes"], [absolute paths])`.
    pub files: Vec<(Vec<String>, Vec<PathBuf>)>,
    /// Time and machine that its tasks may use: never part of a key.
    pub limits: Limits,
}

impl Stage {
    /// The input port with this name.
    pub fn input(&self, port: &str) -> Option<&Input> {
        self.inputs.iter().find(|i| i.port == port)
    }

    /// The stage as JSON: `{"name","uses","inputs":{port:[…]},"outputs","needs","with","files","limits"}`.
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
