//! Augmentation of square patches: zoom, the eight symmetries of the square, radiometric changes, and rectangles of other
//! patches.
//!
//! Applied while a patch is copied into its batch, what moves pixels to bands and labels alike; what is drawn depends on the
//! generator that the caller forks for one sample of one epoch, never on the order in which threads come by.

mod config;
mod cutmix;
mod radiometry;
mod symmetry;
mod variation;
mod zoom;

pub use config::AugmentConfig;
pub(crate) use cutmix::mix;
pub use radiometry::Jitter;
pub use symmetry::Symmetry;
pub(crate) use variation::{PatchShape, Variation};
