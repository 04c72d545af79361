//! `ingest`: scene and truth GeoTIFFs in, tiles out.

mod kind;
mod pairs;
mod scene;

pub use kind::Ingest;
