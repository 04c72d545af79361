//! `figures`: scores, maps and training curves as JPEG.

mod kind;
mod scene;
mod scores;

pub use kind::Figures;
