//! One file a command.

mod cache;
mod check;
mod graph;
mod info;
mod run;
mod score;
mod stages;
mod status;
mod synth;
mod task;

pub(super) use cache::{cache_ls, cache_path, cache_show};
pub(super) use check::check;
pub(super) use graph::graph;
pub(super) use info::info;
pub(super) use run::run;
pub(super) use score::score;
pub(super) use stages::{schema, stages};
pub(super) use status::status;
pub(super) use synth::synth;
pub(super) use task::task_run;
