//! `predict`: a network and scenes in, label maps out.

mod kind;
mod map;
mod scene;

pub use kind::Predict;
