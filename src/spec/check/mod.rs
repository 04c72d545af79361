//! From a tree of nodes to a checked [`Pipeline`](super::Pipeline).

mod classes;
mod colors;
mod files;
mod graph;
mod inputs;
mod limits;
mod matrix;
mod outputs;
mod params;
mod pipeline;
mod remote;
mod sbatch;
mod site;
mod slurm;
mod stage;
mod top;
mod variants;

pub(super) use params::default_kind;
pub(super) use pipeline::check;
pub(super) use site::{Known, site};
pub(super) use top::unknown_keys;
