//! The exercise's label codes, as the generator needs them.

/// Buildings, streets, roads, gardens.
pub(super) const URBAN: u8 = 1;
/// Ploughed land.
pub(super) const CROPLAND: u8 = 2;
/// Meadows, pastures, parks, clearings.
pub(super) const GRASS: u8 = 3;
/// Trees.
pub(super) const FOREST: u8 = 4;
/// Bogs and marshes.
pub(super) const WETLAND: u8 = 5;
/// Lakes, rivers, sea.
pub(super) const WATER: u8 = 6;
