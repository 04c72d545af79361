//! `figures`: scores, maps and training curves as JPEG.

mod errors;
mod kind;
mod rows;
mod scene;
mod scores;

pub use kind::Figures;
