//! The tile artefact: one ingested scene on disk, a directory of two files.
//!
//! `tile.safetensors` holds, in this order and without gaps:
//!
//! | tensor | type | shape | values |
//! |---|---|---|---|
//! | `bands` | U8, I16, U16, I32 or F32 | `[height, width, band]` | the scene's own units, no scaling |
//! | `labels` | U8 | `[height, width]` | label codes; 0 where there is no label |
//! | `valid` | U8 | `[height, width]` | 1 where every band has data, else 0 (and there is no label there) |
//!
//! `scene.json` holds a [`SceneCard`]. Pixels are interleaved so that a window is one contiguous read a row: patches
//! and prediction windows come straight from disk, and no stage ever holds a whole scene.

mod card;
mod indices;
mod moments;
mod preparation;
mod reader;
mod writer;

pub use card::{BandStatistics, SCENE_CARD_VERSION, SceneCard};
pub use indices::{INDEX_NAMES, is_absolute};
pub use moments::Moments;
pub use preparation::{MissingBand, Plan, Preparation};
pub use reader::TileReader;
pub use writer::{TileType, TileWriter};

/// File name of the pixels.
pub const TILE_FILE: &str = "tile.safetensors";
/// File name of the description.
pub const CARD_FILE: &str = "scene.json";
