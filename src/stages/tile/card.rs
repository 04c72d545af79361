//! `scene.json`: what a person or a program wants to know about a scene without reading its pixels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Moments, Preparation};
use crate::raster::Georeference;

/// Version of `scene.json` and of the tensors beside it.
pub const SCENE_CARD_VERSION: &str = "s2pipe.scene/1";

/// Description of one ingested scene.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SceneCard {
    /// [`SCENE_CARD_VERSION`].
    pub format: String,
    /// Item name: the stem of the scene file.
    pub name: String,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Band names, in the order of the last axis of `bands`.
    pub bands: Vec<String>,
    /// Type of `bands` in `tile.safetensors`.
    pub dtype: String,
    /// CRS and affine transform, as in the scene file.
    pub georeference: Georeference,
    /// The scene file's nodata value, before anything was made of its values.
    pub nodata: Option<f64>,
    /// Pixels with data in every band.
    pub valid_pixels: u64,
    /// Per band, over valid pixels, in the scene's own units.
    pub statistics: Vec<BandStatistics>,
    /// Whether the scene came with a truth raster.
    pub has_truth: bool,
    /// Pixels per label code; 0 is "no label". Empty without truth.
    pub class_counts: BTreeMap<u8, u64>,
    /// What was made of the file's values.
    #[serde(default, skip_serializing_if = "Preparation::is_none")]
    pub preparation: Preparation,
}

/// Statistics of one band over a scene's valid pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BandStatistics {
    /// Band name.
    pub band: String,
    /// Least value.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
    /// Mean.
    pub mean: f64,
    /// Population standard deviation.
    pub std: f64,
}

impl BandStatistics {
    /// Names the moments of a band.
    pub fn new(band: &str, moments: &Moments) -> Self {
        Self { band: band.to_owned(), min: moments.min(), max: moments.max(), mean: moments.mean(), std: moments.std() }
    }
}
