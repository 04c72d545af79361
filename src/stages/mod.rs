//! One file or folder a stage kind: ties the rooms below to the engine.

use std::sync::Arc;

use crate::engine::Registry;

mod advice;
pub mod compare;
mod device;
mod difference;
mod document;
pub mod ensemble;
pub mod evaluate;
pub mod figures;
pub mod find_lr;
pub mod folds;
pub mod ingest;
pub mod leak;
mod params;
pub mod patches;
pub mod predict;
pub mod scores;
pub mod shell;
pub mod synth;
pub mod tile;
pub mod train;

pub use advice::advice;
pub use difference::difference;

/// Every stage kind that this program knows.
pub fn registry() -> Registry {
    registry_among(None)
}

/// As [`registry`], in a process that is rank 0 of those that `srun` has started for one training.
pub fn registry_among(span: Option<train::Span>) -> Registry {
    let mut registry = Registry::default();
    registry.register(Arc::new(ingest::Ingest));
    registry.register(Arc::new(patches::Patches));
    registry.register(Arc::new(folds::Folds));
    registry.register(Arc::new(find_lr::FindLr));
    registry.register(Arc::new(train::Train::among(span)));
    registry.register(Arc::new(predict::Predict));
    registry.register(Arc::new(ensemble::Ensemble));
    registry.register(Arc::new(evaluate::Evaluate));
    registry.register(Arc::new(compare::Compare));
    registry.register(Arc::new(figures::Figures));
    registry.register(Arc::new(shell::Shell));
    registry.register(Arc::new(synth::Synth));
    registry
}
