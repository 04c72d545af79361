//! `patches`: tiles in, an index of training and hold-out windows out. No pixel is stored twice.

mod blocks;
mod build;
mod index;
mod kind;

pub use index::{PATCH_INDEX_VERSION, PatchIndex, PatchScene, PatchWindow};
pub(in crate::stages) use kind::INDEX_ITEM;
pub use kind::Patches;
