//! `init`: where a training begins, when that is not at random.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::params::param;
use crate::engine::{Origin, OutputDecl, Progress, StageError, TaskContext};
use crate::net::{InitReport, Model, ModelConfig, NetError, PatchSource, TrainConfig, draw, init};
use crate::spec::{Artefact, Default, Finding, OutputSpec, ParamSpec, ParamType, Stage};
use crate::stages::device::task_failure;
use crate::stages::document::write_document;

/// The name of the parameter, of the input slot and of the output.
pub(super) const NAME: &str = "init";
/// Version of `init.json`.
pub const INIT_VERSION: &str = "s2pipe.init/1";

/// The parameter `init`. In a task's record is the file as an input, by its content: not where it lies.
pub(super) const INIT: ParamSpec = param(
    NAME,
    ParamType::Files,
    Default::Absent,
    "Weights that the encoder, a ResNet, begins with: a safetensors file with torchvision's names.",
);

/// The output `init`.
pub(super) const OUTPUT: OutputSpec = OutputSpec {
    name: NAME,
    artefact: Artefact::Any,
    when: Some(NAME),
    doc: "`init.json`: which tensors of the file the network began with.",
};

/// The content of `init.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct InitDocument {
    /// [`INIT_VERSION`].
    pub format: String,
    /// What became of each tensor.
    #[serde(flatten)]
    pub report: InitReport,
}

/// The file of a stage, as an input of its task.
pub(in crate::stages) fn input(stage: &Stage) -> Option<(String, Origin)> {
    stage.files(&[NAME]).first().map(|file| (NAME.to_owned(), Origin::File(file.clone())))
}

/// What a task with such a file leaves besides.
pub(super) fn output(stage: &Stage) -> Option<OutputDecl> {
    input(stage).map(|_| OutputDecl { name: NAME.into(), path: "init.json".into() })
}

/// The model that a task begins with, told of where its weights come from a file.
pub(in crate::stages) fn begin(
    config: &TrainConfig,
    source: &dyn PatchSource,
    task: &TaskContext<'_>,
) -> Result<(Model, Option<InitReport>), StageError> {
    let failed = |error: NetError| task_failure(error, "");
    let model = draw(config, source).map_err(failed)?;
    let Some(link) = task.inputs.get(NAME) else { return Ok((model, None)) };
    // The file itself, by the name that its owner knows it by.
    let file = link.canonicalize().unwrap_or_else(|_| link.clone());
    let report = init(&model, &file).map_err(|error| match error {
        NetError::Weights { .. } => StageError::with_help(
            format!("init: {error}"),
            "the file has to hold the `state_dict` of a ResNet-18 or -34, as `encoder` says, in safetensors",
        ),
        other => failed(other),
    })?;
    let name = file.file_name().map_or_else(|| file.display().to_string(), |name| name.to_string_lossy().into_owned());
    task.progress.progress(Progress::Notice(report.sentence(&name)));
    Ok((model, Some(report)))
}

/// Writes `init.json`.
pub(super) fn write(path: &Path, report: InitReport) -> Result<(), StageError> {
    write_document(path, &InitDocument { format: INIT_VERSION.into(), report })
}

/// What is wrong with a stage's file, before it is read.
pub(super) fn check(stage: &Stage) -> Option<Finding> {
    let given = stage.with.get(NAME)?;
    let finding =
        |message: String, help: String| Finding { path: vec!["with".into(), NAME.into()], message, help: Some(help) };
    let model = ModelConfig::deserialize(stage.with.get("model")?).ok()?;
    if !model.has_resnet() {
        let kind = model.kind();
        let help = match model {
            ModelConfig::Mlp(_) | ModelConfig::SegFormer(_) | ModelConfig::RandomForest(_) => {
                "leave `init` out".to_owned()
            }
            _ => format!("add `encoder: resnet18` (or `resnet34`) to `model: {{ kind: {kind} }}`, or leave `init` out"),
        };
        return Some(finding(format!("`init` holds weights of a ResNet, and this `{kind}` has none"), help));
    }
    let files: &[PathBuf] = stage.files(&[NAME]);
    (files.len() > 1).then(|| {
        let names = |file: &PathBuf| format!("`{}`", file.file_name().unwrap_or_default().to_string_lossy());
        let message = format!("{given} matches {} files, and a network begins with the weights of one", files.len());
        finding(message, format!("name one of {}", files.iter().take(3).map(names).collect::<Vec<_>>().join(", ")))
    })
}
