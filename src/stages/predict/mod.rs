//! `predict`: a network and scenes in, label maps out.

mod certainty;
mod kind;
mod map;
mod outputs;
mod scene;

pub use kind::Predict;
pub(super) use outputs::{CONFIDENCE, ENTROPY, Outputs, PROBABILITIES, Wanted};
