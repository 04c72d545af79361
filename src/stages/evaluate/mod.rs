//! `evaluate`: maps against truth. One task a scene counts, one task sums and scores; never an average of scenes.

mod calibrate;
mod count;
mod kind;
mod metrics;
mod pair;
mod region;
mod sum;

pub use kind::Evaluate;
pub(super) use kind::map_tile_pairs;
pub use metrics::{METRICS_VERSION, Metrics};
pub(super) use pair::compare;
