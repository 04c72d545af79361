//! Checkpoints: everything that a training needs to go on as if it had never stopped.
//!
//! A checkpoint is a safetensors file; its metadata holds the version, the fingerprint of configuration and data, the
//! progress as JSON, and a blake3 digest of progress and tensors. It enters its folder by rename, so that a file with the
//! final name is whole; should it be damaged later, the one before is taken.

mod file;
mod folder;
mod state;

pub(crate) use folder::CheckpointFolder;
pub(crate) use state::{Progress, Snapshot, Weights};
