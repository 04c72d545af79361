//! A random forest (Breiman 2001) of single pixels: what remote sensing has long done, to compare networks with.
//!
//! The crate `rafor` grows the trees; what they become here is flat arrays, which go to a file and are walked by code of our
//! own. Every tree is grown by itself, from a seed of its own, so that the forest is the same on any number of threads.

mod config;
mod file;
mod flat;
mod grow;
mod predict;
mod sample;
mod train;

#[cfg(test)]
mod tests;

pub use config::ForestConfig;
pub use file::{load, save};
pub use flat::Forest;
pub use predict::predict_scene;
pub use train::{ForestHooks, TrainedForest, train};
