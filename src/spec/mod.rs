//! The pipeline language: YAML in, a checked [`Pipeline`] out; errors with line and column; the JSON schema.

mod kind;
mod model;

pub use kind::{
    Artefact, CheckFn, Default, Finding, InputSpec, KindSpec, OutputSpec, ParamSpec, ParamType, VariantSpec,
};
pub use model::{Input, Pipeline, Source, Stage, item_name};
