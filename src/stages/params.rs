//! Parameters between a plan and a task: typed structs on both sides, JSON between them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::engine::{ExpandContext, ExpandError, StageError, TaskContext};
use crate::net::ModelConfig;
use crate::raster::ClassTable;
use crate::spec::{Default, ParamSpec, ParamType, Pipeline, Source, Stage};

/// The parameter `precision` of kinds that compute with a network.
pub(super) const PRECISION: ParamSpec = ParamSpec {
    name: "precision",
    ty: ParamType::Choice(&["auto", "f32", "tf32", "bf16"]),
    default: Default::Json("\"auto\""),
    doc: "What activations are computed in on a GPU: auto is bf16 from compute capability 8.0, else f32; tf32 may round \
          the factors of convolutions, f32 never does. Weights, statistics, losses, and all on the CPU: f32.",
};

/// Whether a parameter is what it is when nobody names it. Such parameters may stay out of a task's record, so that a new one
/// makes nothing again.
pub(super) fn is_default<T: std::default::Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Turns a task's typed parameters into the JSON that its record keeps.
pub(super) fn to_json<T: Serialize>(params: &T) -> Value {
    // Our parameter structs hold only strings, numbers, lists and maps with string keys: this cannot fail.
    serde_json::to_value(params).expect("task parameters are plain data")
}

/// Reads a checked stage's `with:` into a typed struct.
pub(super) fn read_with<T: DeserializeOwned>(with: &Map<String, Value>) -> Result<T, ExpandError> {
    serde_json::from_value(Value::Object(with.clone()))
        .map_err(|e| expand_error(format!("the parameters do not fit this version of the stage: {e}")))
}

/// Reads a task's parameters out of its record.
pub(super) fn read_params<T: DeserializeOwned>(task: &TaskContext<'_>) -> Result<T, StageError> {
    serde_json::from_value(task.params.clone())
        .map_err(|e| StageError::failed(format!("the task record was made by another version of s2pipe: {e}")))
}

/// The class table out of a task's record.
pub(super) fn read_classes(task: &TaskContext<'_>) -> Result<ClassTable, StageError> {
    let value = task.classes.cloned().unwrap_or(Value::Null);
    serde_json::from_value(value)
        .map_err(|e| StageError::failed(format!("the task record holds no class table that this version reads: {e}")))
}

/// What ingest, training and scoring read of the class table: the label codes, ascending. A new name or colour
/// trains nothing again.
pub(super) fn codes_json(classes: &ClassTable) -> Value {
    to_json(&classes.codes())
}

/// The label codes out of a task's record.
pub(super) fn read_codes(task: &TaskContext<'_>) -> Result<Vec<u8>, StageError> {
    serde_json::from_value(task.classes.cloned().unwrap_or(Value::Null))
        .map_err(|e| StageError::failed(format!("the task record holds no label codes that this version reads: {e}")))
}

/// An expansion error without advice.
pub(super) fn expand_error(message: impl Into<String>) -> ExpandError {
    ExpandError { message: message.into(), help: None }
}

/// The pipeline's classes, or an error that says where to declare them.
pub(super) fn classes_of<'a>(context: &ExpandContext<'a>) -> Result<&'a ClassTable, ExpandError> {
    let classes = &context.pipeline.classes;
    if classes.is_empty() {
        return Err(ExpandError {
            message: format!("stage {:?} needs the pipeline's classes, and there are none", context.stage.name),
            help: Some("add `classes:` at the top of the pipeline: code: { name: …, color: … }".into()),
        });
    }
    Ok(classes)
}

/// The stage whose output is on this input, where it is a stage's.
pub(super) fn made_by<'a>(pipeline: &'a Pipeline, stage: &Stage, input: &str) -> Option<&'a Stage> {
    match stage.input(input)?.sources.first()? {
        Source::Output { stage, .. } => pipeline.stage(stage),
        _ => None,
    }
}

/// Bytes of probabilities held at a time, about.
const STRIP_BYTES: usize = 128 << 20;

/// Rows that are stored together: strips of whole ones are decoded once.
const STORED_ROWS: usize = 256;

/// How many rows of probabilities, `width` times `classes` f32, are read at a time.
pub(super) fn probability_rows(width: usize, classes: usize) -> usize {
    let fitting = (STRIP_BYTES / (width * classes * size_of::<f32>()).max(1)).max(1);
    if fitting > STORED_ROWS { fitting / STORED_ROWS * STORED_ROWS } else { fitting }
}

/// How often the network that a `train` stage asks for halves images: their sides are multiples of 2 to this power.
pub(super) fn halvings(train: &Stage) -> Option<u32> {
    let model: ModelConfig = serde_json::from_value(train.with.get("model")?.clone()).ok()?;
    Some(model.multiple().ilog2())
}
