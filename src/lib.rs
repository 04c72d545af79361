//! s2pipe turns Sentinel-2 tiles into a scored land-cover map: one YAML file, one binary, and only what changed runs
//! again.
//!
//! The rooms of the house, top to bottom. A room uses rooms below it, never above:
//!
//! | room | what it does |
//! |---|---|
//! | [`cli`] | the commands, their output, the exit codes |
//! | [`stages`] | one file a stage kind: ties the rooms below to the engine |
//! | [`slurm`] | tasks as jobs of a Slurm cluster |
//! | `remote` | results shared between machines (feature `remote`) |
//! | [`engine`] | graph, keys, store, journal, scheduler |
//! | [`spec`] | the pipeline language |
//! | [`net`] | operators, layers, models, training |
//! | [`figure`] | pictures |
//! | [`metrics`] | confusion matrix, Jaccard and friends |
//! | [`raster`] | GeoTIFF in and out, georeference, classes |

pub mod cli;
pub mod engine;
pub mod figure;
pub mod metrics;
pub mod net;
pub mod raster;
#[cfg(feature = "remote")]
pub mod remote;
pub mod slurm;
pub mod spec;
pub mod stages;
