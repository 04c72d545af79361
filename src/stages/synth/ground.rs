//! What the ground looks like: reflectance of a point, given its cover.
//!
//! The classes are made to overlap: a green field, a meadow, a garden and a park share spectra, as do bare soil and
//! gravel, young forest and bog. What tells them apart is what surrounds a pixel: plough rows and straight borders,
//! the grain of crowns and their shade, houses among the gardens, water beside the marsh.

use super::codes::{CROPLAND, GRASS, URBAN, WATER, WETLAND};
use super::noise::{bell, cell, fork, fractal, gradient, lerp, part, ramp, scatter, voronoi};
use super::parcels::Parcels;
use super::spectra::*;
use super::terrain::Terrain;

/// What a point's neighbourhood in the cover says.
#[derive(Clone, Copy, Default)]
pub(super) struct Surroundings {
    /// Built-up, but only a line of it: a road.
    pub(super) road: bool,
    /// Share of near points that are not water.
    pub(super) shore: f32,
    /// In the shade of a forest edge.
    pub(super) shade: bool,
}

/// The ground of one scene.
pub(super) struct Ground {
    terrain: Terrain,
    fields: Parcels,
    blocks: Parcels,
    /// How far the season has gone, 0 (all green) to 1 (harvest).
    season: f32,
    seeds: Seeds,
}

/// One seed a texture.
struct Seeds {
    crowns: u64,
    stands: u64,
    soil: u64,
    sward: u64,
    lots: u64,
    bog: u64,
    waves: u64,
}

impl Ground {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            terrain: Terrain::new(seed),
            fields: Parcels::fields(seed),
            blocks: Parcels::blocks(seed),
            season: part(fork(seed, "season"), 0),
            seeds: Seeds {
                crowns: fork(seed, "crowns"),
                stands: fork(seed, "stands"),
                soil: fork(seed, "tilth"),
                sward: fork(seed, "sward"),
                lots: fork(seed, "lots"),
                bog: fork(seed, "bog surface"),
                waves: fork(seed, "waves"),
            },
        }
    }

    /// Reflectance of the ground at a point (pixels) with this cover.
    pub(super) fn reflectance(&self, x: f32, y: f32, code: u8, around: Surroundings) -> Spectrum {
        let bare = match code {
            WATER => return self.water(x, y, around.shore),
            URBAN if around.road => self.road(x, y),
            URBAN => self.town(x, y),
            CROPLAND => self.field(x, y),
            GRASS => self.grass(x, y),
            WETLAND => self.wetland(x, y, around.shore),
            _ => self.forest(x, y),
        };
        let relief = 1.0 + 0.34 * self.terrain.hillshade(x, y);
        lit(bare, if around.shade { 0.68 * relief } else { relief })
    }

    /// Random bits of the pixel-sized patch at a point.
    fn speck(seed: u64, x: f32, y: f32) -> u64 {
        cell(seed, x.round() as i32, y.round() as i32)
    }

    /// Stands of one kind and age, of crowns that shade each other.
    fn forest(&self, x: f32, y: f32) -> Spectrum {
        let seed = self.seeds.stands;
        let (wx, wy) =
            (x + 9.0 * gradient(seed ^ 1, x / 16.0, y / 16.0), y + 9.0 * gradient(seed ^ 2, x / 16.0, y / 16.0));
        let stand = voronoi(seed, wx / 38.0, wy / 38.0).bits;
        let leafy = 0.9 * fractal(seed ^ 3, x / 110.0, y / 110.0, 3) + 0.9 * (part(stand, 0) - 0.5);
        let broad = ramp(-0.05, 0.35, leafy + 0.35 * gradient(seed ^ 4, x / 5.0, y / 5.0));
        let trees = mix(CONIFER, BROADLEAF, broad);
        let age = part(stand, 1);
        let regrowth = mix(YOUNG_TREES, DRY_GRASS, 0.7 * ramp(0.08, 0.0, age));
        let grown = ramp(0.04, 0.27, age);
        let trees = mix(regrowth, trees, grown);
        // Grown crowns hide each other; seedlings do not.
        let crowns =
            0.27 * bell(Self::speck(self.seeds.crowns, x, y)) + 0.22 * gradient(self.seeds.crowns, x / 2.6, y / 2.6);
        lit(trees, (1.0 + lerp(0.6, 1.0, grown) * crowns + 0.25 * (part(stand, 2) - 0.5)).max(0.45))
    }

    /// One crop a parcel, in rows.
    fn field(&self, x: f32, y: f32) -> Spectrum {
        let parcel = self.fields.at(x, y);
        let bits = scatter(parcel.bits ^ 0xc0b);
        let kind = part(bits, 0) + 0.24 * (self.season - 0.5);
        let (crop, other) = match kind {
            k if k < 0.12 => (GREEN_CROP, LUSH_GRASS),
            k if k < 0.27 => (DARK_CROP, BROADLEAF),
            k if k < 0.63 => (LUSH_GRASS, DRY_GRASS),
            k if k < 0.74 => (DRY_GRASS, RIPE_CROP),
            k if k < 0.82 => (STUBBLE, DRY_GRASS),
            k if k < 0.90 => (LIGHT_SOIL, STUBBLE),
            _ => (DARK_SOIL, GRAVEL),
        };
        let patchy = fractal(self.seeds.soil, x / 17.0, y / 17.0, 3);
        let plants = 0.2 * bell(Self::speck(self.seeds.soil ^ 1, x, y));
        let stand = mix(crop, other, (0.35 + 0.7 * (part(bits, 1) - 0.5) + 0.35 * patchy + plants).clamp(0.0, 1.0));
        let rows = ridge(parcel.across / lerp(3.0, 5.2, part(bits, 2)));
        let tone = 0.82 + 0.36 * part(bits, 3);
        lit(stand, tone * (1.0 + 0.12 * rows + 0.08 * patchy))
    }

    /// Meadow: tussocks, mown and unmown, trampled and dry.
    fn grass(&self, x: f32, y: f32) -> Spectrum {
        let seed = self.seeds.sward;
        let meadow = scatter(self.fields.at(x, y).bits ^ seed);
        let kept = part(meadow, 0) + 0.2 * (self.season - 0.5) + 0.3 * gradient(seed, x / 30.0, y / 30.0);
        let tussock = 0.42 * gradient(seed ^ 1, x / 5.0, y / 5.0) + 0.12 * gradient(seed ^ 2, x / 2.2, y / 2.2);
        let sward = mix(LUSH_GRASS, DRY_GRASS, (kept + tussock).clamp(0.0, 1.25));
        let tree = part(Self::speck(seed ^ 3, x, y), 0) < 0.045;
        let ground = if tree { mix(sward, BROADLEAF, 0.75) } else { sward };
        lit(ground, (0.82 + 0.36 * part(meadow, 1)) * (1.0 + 0.5 * tussock))
    }

    /// A road is narrower than a pixel, so some of its verge is in it.
    fn road(&self, x: f32, y: f32) -> Spectrum {
        let paved = part(Self::speck(self.seeds.lots ^ 1, x / 40.0, y / 40.0), 0) < 0.6;
        let verge = 0.12 + 0.25 * part(Self::speck(self.seeds.lots ^ 2, x, y), 0);
        mix(if paved { ASPHALT } else { GRAVEL }, LUSH_GRASS, verge)
    }

    /// Quarters from villas under trees to a dense centre, along streets; halls and yards in places.
    fn town(&self, x: f32, y: f32) -> Spectrum {
        let seed = self.seeds.lots;
        let block = self.blocks.at(x, y);
        // Quarters change from block to block, not inside one.
        let (qx, qy) = block.centre;
        let dense = (0.22 + 0.5 * fractal(seed ^ 5, qx / 75.0, qy / 75.0, 3)).clamp(0.1, 0.8);
        let leafy = (0.42 + 0.6 * fractal(seed ^ 6, qx / 85.0, qy / 85.0, 3)).clamp(0.12, 0.85);
        if block.border < 0.65 {
            return mix(ASPHALT, BROADLEAF, 0.4 * leafy * part(block.bits, 2));
        }
        let works = fractal(seed ^ 3, qx / 60.0, qy / 60.0, 2) > 0.3;
        let size = if works { 5.5 } else { 2.3 };
        let lot = voronoi(seed ^ 4, x / size, y / size).bits;
        let ground = if works { works_lot(lot) } else { house_lot(lot, dense, leafy) };
        lit(ground, 0.78 + 0.44 * part(lot, 1))
    }

    /// Strings of sedge and moss, pools between them, some stunted trees.
    fn wetland(&self, x: f32, y: f32, shore: f32) -> Spectrum {
        let seed = self.seeds.bog;
        let strings = gradient(seed, x / 3.2, y / 6.5) + 0.5 * gradient(seed ^ 1, x / 2.2, y / 2.2);
        let mat = mix(SEDGE, MOSS, ramp(-0.6, 0.6, strings));
        let speck = Self::speck(seed ^ 2, x, y);
        let wet =
            ramp(0.25, 0.75, 0.55 * gradient(seed ^ 3, x / 4.0, y / 3.0) + 0.4 * part(speck, 0) + 0.25 * (1.0 - shore));
        let ground = mix(mat, POOL, 0.8 * wet);
        let pine = part(speck, 1) < 0.11;
        lit(if pine { mix(ground, CONIFER, 0.7) } else { ground }, 1.0 + 0.08 * bell(speck))
    }

    /// Clear or turbid water, pale where it is shallow.
    fn water(&self, x: f32, y: f32, shore: f32) -> Spectrum {
        let seed = self.seeds.waves;
        let silt = ramp(-0.6, 0.9, fractal(seed, x / 420.0, y / 420.0, 2));
        let open = mix(DEEP_WATER, TURBID_WATER, 0.8 * silt);
        let reeds = ramp(0.1, 0.5, gradient(seed ^ 1, x / 12.0, y / 12.0));
        let edge = mix(SHALLOWS, SEDGE, 0.45 * reeds);
        lit(mix(open, edge, 0.8 * shore), 1.0 + 0.05 * gradient(seed ^ 2, x / 3.0, y / 7.0))
    }
}

/// A building or the ground by it, where people work.
fn works_lot(lot: u64) -> Spectrum {
    match part(lot, 0) {
        p if p < 0.40 => mix(ASPHALT, GRAVEL, part(lot, 2)),
        p if p < 0.55 => METAL_ROOF,
        p if p < 0.76 => mix(SLATE_ROOF, GRAVEL, part(lot, 2)),
        _ => mix(LIGHT_SOIL, DRY_GRASS, part(lot, 2)),
    }
}

/// A building or the ground by it, where people live. `dense`: share of roofs and pavement; `leafy`: share of trees in
/// what is left.
fn house_lot(lot: u64, dense: f32, leafy: f32) -> Spectrum {
    match part(lot, 0) {
        p if p < 0.28 * dense => TILE_ROOF,
        p if p < 0.54 * dense => SLATE_ROOF,
        p if p < 0.61 * dense => METAL_ROOF,
        p if p < dense => mix(ASPHALT, GRAVEL, part(lot, 2)),
        p if p > lerp(1.0, dense, leafy) => mix(BROADLEAF, CONIFER, 0.7 * part(lot, 2)),
        _ if part(lot, 3) < 0.17 => mix(LIGHT_SOIL, DRY_GRASS, part(lot, 2)),
        _ => mix(LUSH_GRASS, DRY_GRASS, part(lot, 2)),
    }
}

/// Plough rows: a wave of straight flanks, -1..1, period 1.
fn ridge(t: f32) -> f32 {
    4.0 * (t - t.floor() - 0.5).abs() - 1.0
}
