//! What a stage kind says about itself: one definition serves the checks, `s2pipe stages` and the JSON schema.

use std::fmt;

use super::model::{Pipeline, Stage};

/// The type of an artefact that flows along an edge of the graph.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Artefact {
    /// Ingested scenes: one item a scene, a directory of `tile.safetensors` and `scene.json`.
    Tiles,
    /// One patch index: `patches.json`.
    Patches,
    /// One trained model: a directory of `model.safetensors` and `model.json`.
    Model,
    /// Training history: `history.json`.
    History,
    /// Label maps: one GeoTIFF a scene.
    Maps,
    /// Class probabilities: one GeoTIFF a scene.
    Probabilities,
    /// Scores: a directory of `metrics.json`, `metrics.csv`, `confusion.csv`.
    Metrics,
    /// Figures: one JPEG an item.
    Figures,
    /// Scenes as GeoTIFF, one item a scene (made by `synth`).
    Scenes,
    /// Truth rasters as GeoTIFF, one item a scene (made by `synth`).
    Truth,
    /// Any file or directory (made by `shell`).
    Any,
}

impl Artefact {
    /// The word used for it in messages and in `s2pipe stages`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tiles => "tiles",
            Self::Patches => "patches",
            Self::Model => "model",
            Self::History => "history",
            Self::Maps => "maps",
            Self::Probabilities => "probabilities",
            Self::Metrics => "metrics",
            Self::Figures => "figures",
            Self::Scenes => "scenes",
            Self::Truth => "truth",
            Self::Any => "files",
        }
    }
}

impl fmt::Display for Artefact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// An input port of a kind.
#[derive(Debug)]
pub struct InputSpec {
    /// Port name, the key under `inputs:`.
    pub name: &'static str,
    /// Artefact types the port takes. [`Artefact::Any`] among them: anything.
    pub accepts: &'static [Artefact],
    /// Whether plain paths and globs may stand here (source files, hashed).
    pub accepts_files: bool,
    /// An error when it is missing.
    pub required: bool,
    /// One sentence for `s2pipe stages`.
    pub doc: &'static str,
}

/// An output of a kind. The first one listed is what a bare `stage` reference means,
/// unless an input port accepts only one of the others.
#[derive(Debug)]
pub struct OutputSpec {
    /// Output name: `stage.name`.
    pub name: &'static str,
    /// What it holds.
    pub artefact: Artefact,
    /// Only there when this parameter is given (and not `false`); `None`: always.
    pub when: Option<&'static str>,
    /// One sentence for `s2pipe stages`.
    pub doc: &'static str,
}

/// The type of a parameter under `with:`.
#[derive(Clone, Copy, Debug)]
pub enum ParamType {
    /// `true` or `false`.
    Bool,
    /// A whole number, bounds inclusive.
    Int {
        /// Least allowed value.
        min: i64,
        /// Greatest allowed value.
        max: i64,
    },
    /// A whole number, bounds inclusive, or one word that stands for none in particular.
    IntOrWord {
        /// Least allowed value.
        min: i64,
        /// Greatest allowed value.
        max: i64,
        /// The word.
        word: &'static str,
    },
    /// A finite number, bounds inclusive. Whole numbers are taken too (`1` is `1.0`).
    Float {
        /// Least allowed value.
        min: f64,
        /// Greatest allowed value.
        max: f64,
    },
    /// Any text.
    Text,
    /// One word of a list.
    Choice(&'static [&'static str]),
    /// A duration such as `90s`, `12m`, `4h`, `1h30m`; normalised to whole seconds.
    Duration,
    /// A path or glob relative to the project root; must match at least one file.
    Files,
    /// A list of one type.
    List(&'static ParamType),
    /// A map with fixed keys.
    Object(&'static [ParamSpec]),
    /// A map whose key `kind` chooses the other keys: `{ kind: unet, width: 24 }`.
    Variant(&'static [VariantSpec]),
    /// A class, by name or label code; normalised to the label code.
    Class,
    /// The name of an environment variable.
    Variable,
    /// A map from names of environment variables to texts or numbers; normalised to text, numbers as they are written.
    Variables,
}

/// One choice of a [`ParamType::Variant`].
#[derive(Debug)]
pub struct VariantSpec {
    /// The value of `kind`.
    pub kind: &'static str,
    /// The other keys.
    pub params: &'static [ParamSpec],
    /// One sentence.
    pub doc: &'static str,
}

/// What a parameter is when the YAML does not name it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Default {
    /// An error.
    Required,
    /// Left out of the normalised parameters.
    Absent,
    /// This value, as JSON text. For objects and variants `{}` / `{"kind":"…"}` get their own defaults filled in.
    Json(&'static str),
}

/// One parameter.
#[derive(Debug)]
pub struct ParamSpec {
    /// Key.
    pub name: &'static str,
    /// Type and bounds.
    pub ty: ParamType,
    /// Default.
    pub default: Default,
    /// One sentence for `s2pipe stages` and the schema.
    pub doc: &'static str,
}

/// A problem that a kind finds in a checked stage before anything runs.
#[derive(Debug)]
pub struct Finding {
    /// Where, from the stage down: `["with", "train", "truth"]`. Points at the nearest existing node.
    pub path: Vec<String>,
    /// What is wrong: what was expected and what was found.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// A kind's own checks, beyond types: pairs match, files exist, numbers fit together.
pub type CheckFn = fn(&Pipeline, &Stage) -> Vec<Finding>;

/// Everything the language knows about a stage kind.
#[derive(Debug)]
pub struct KindSpec {
    /// The word after `uses:`.
    pub name: &'static str,
    /// Code version: raised whenever the same inputs would give other bytes. Part of every key.
    pub version: u32,
    /// One sentence.
    pub doc: &'static str,
    /// Input ports. Empty with `free_inputs`: the user names them.
    pub inputs: &'static [InputSpec],
    /// The user names the inputs (`shell`).
    pub free_inputs: bool,
    /// Outputs. Empty with `free_outputs`: the user declares them under `outputs:`.
    pub outputs: &'static [OutputSpec],
    /// The user declares the outputs (`shell`).
    pub free_outputs: bool,
    /// Receives all variants of what it reads at once, instead of varying with it (`compare`).
    pub joins: bool,
    /// Parameters under `with:`.
    pub params: &'static [ParamSpec],
    /// Checks beyond types.
    pub check: Option<CheckFn>,
}
