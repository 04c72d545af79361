//! One file a stage kind: ties the rooms below to the engine.

pub mod synth;
