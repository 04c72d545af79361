//! One file a command.

mod cache;
mod cache_keep;
mod check;
mod cluster;
mod graph;
mod info;
mod run;
mod runs;
mod runs_diff;
mod score;
mod stages;
mod status;
mod synth;
mod task;
mod task_rank;
mod verify;

pub(super) use cache::{cache_cat, cache_ls, cache_path, cache_show};
pub(super) use cache_keep::{cache_du, cache_gc, cache_pin, cache_unpin, cache_verify};
pub(super) use check::check;
pub(super) use graph::graph;
pub(super) use info::info;
pub(super) use run::run;
pub(super) use runs::{runs_list, runs_show};
pub(super) use runs_diff::runs_diff;
pub(super) use score::score;
pub(super) use stages::{schema, stages};
pub(super) use status::status;
pub(super) use synth::synth;
pub(super) use task::task_run;
pub(super) use task_rank::task_rank;
pub(super) use verify::verify;

#[cfg(feature = "remote")]
pub(super) use cache::is_called;
#[cfg(feature = "remote")]
pub(super) use run::{engine_failure, stop_on_signals};
