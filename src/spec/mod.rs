//! The pipeline language: YAML in, a checked [`Pipeline`] out; errors with line and column; the JSON schema.

mod check;
mod describe;
mod duration;
mod expect;
mod kind;
mod limits;
mod load;
mod model;
mod node;
mod overrides;
mod problem;
mod read;
mod render;
mod scalar;
mod schema;
mod secrets;
mod site;
mod suggest;
mod sweep;
mod syntax;
mod syntax_error;
mod text;
mod words;

pub use describe::{UnknownKind, describe, describe_json};
pub use kind::{
    Artefact, CheckFn, Default, Finding, InputSpec, KindSpec, OutputSpec, ParamSpec, ParamType, VariantSpec,
};
pub use limits::{Cpus, Limits, Resources, bytes_words, parse_bytes};
pub use load::{FindError, find_pipeline, load, parse};
pub use model::{Axis, AxisValue, Bound, FileMatches, Input, Pipeline, Source, Stage, item_name};
pub use overrides::Override;
pub use problem::{Diagnostics, Problem};
pub use schema::schema;
pub use site::{Allocation, ExecutorName, Push, RemoteSettings, Site, SlurmSettings, load_site_file, personal_site};
pub use suggest::nearest;
pub use sweep::{MAX_VARIANTS, SEED_AXIS, Sweep, Variant};
pub use text::{Origin, Place};
