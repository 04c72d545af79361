//! The layout of an invented place: which ground cover is where.

use rayon::prelude::*;

use super::codes::{CROPLAND, FOREST, GRASS, URBAN, WATER, WETLAND};
use super::generate::SynthConfig;
use super::noise::{fork, fractal, gradient, lerp, part, ramp};
use super::parcels::{Parcel, Parcels};
use super::roads;
use super::settlement::Settlements;
use super::terrain::Terrain;

/// A scene's cover as a pure function of the pixel position, roads aside.
struct Layout {
    terrain: Terrain,
    settlements: Settlements,
    fields: Parcels,
    blocks: Parcels,
    /// Ground below this height is under water.
    level: f32,
    /// Parcels above this suitability are farmed.
    farmed: f32,
    /// Wild ground above this wetness is wetland.
    soaked: f32,
    seeds: Seeds,
}

/// One seed a pattern.
struct Seeds {
    park: u64,
    soil: u64,
    yard: u64,
    bog: u64,
    clearing: u64,
}

/// What a place is used for.
enum Zone {
    Water,
    /// How deep in the settlement, above 0.
    Town {
        depth: f32,
    },
    /// How much better than the worst farmed ground; distance to a river, pixels.
    Farm {
        parcel: Parcel,
        margin: f32,
        bank: f32,
    },
    /// Height of the ground.
    Wild {
        height: f32,
    },
}

/// Label codes of a whole scene, row by row.
pub(super) fn cover(config: &SynthConfig) -> Vec<u8> {
    let layout = Layout::plan(config);
    let mut cover = vec![0; config.width * config.height];
    cover.par_chunks_mut(config.width).enumerate().for_each(|(y, row)| {
        for (x, code) in row.iter_mut().enumerate() {
            *code = layout.at(x as f32, y as f32);
        }
    });
    for road in roads::network(config.seed, &layout.terrain, &layout.settlements, layout.level) {
        road.draw(|x, y| {
            let inside = (0..config.width as i32).contains(&x) && (0..config.height as i32).contains(&y);
            if inside {
                cover[y as usize * config.width + x as usize] = URBAN;
            }
        });
    }
    cover
}

impl Layout {
    /// Sets the thresholds so that the scene has the shares asked for.
    fn plan(config: &SynthConfig) -> Self {
        let terrain = Terrain::new(config.seed);
        let places = sample_places(config.width, config.height);
        let river = places.iter().filter(|p| terrain.river_bank(p.0, p.1) < 0.0).count() as f32 / places.len() as f32;
        let heights = places.iter().map(|p| terrain.height(p.0, p.1)).collect();
        let level = quantile(heights, (config.water - river).max(0.0));
        let settlements = Settlements::new(config.seed, &terrain, level, config.width, config.height);
        let mut layout = Self {
            terrain,
            settlements,
            fields: Parcels::fields(config.seed),
            blocks: Parcels::blocks(config.seed),
            level,
            farmed: f32::INFINITY,
            soaked: f32::INFINITY,
            seeds: Seeds {
                park: fork(config.seed, "park"),
                soil: fork(config.seed, "soil"),
                yard: fork(config.seed, "yard"),
                bog: fork(config.seed, "bog"),
                clearing: fork(config.seed, "clearing"),
            },
        };
        let wild = layout.wild_places(&places);
        let share = config.farmland * places.len() as f32 / wild.len().max(1) as f32;
        let suitability = wild.iter().map(|p| layout.suitability(p.0, p.1, &layout.fields.at(p.0, p.1))).collect();
        layout.farmed = quantile(suitability, 1.0 - share.min(1.0));
        let wild = layout.wild_places(&places);
        let share = config.wetland * places.len() as f32 / wild.len().max(1) as f32;
        let wetness = wild.iter().map(|p| layout.wetness(p.0, p.1)).collect();
        layout.soaked = quantile(wetness, 1.0 - share.min(1.0));
        layout
    }

    /// Those of the places where nobody lives or farms, on dry land.
    fn wild_places(&self, places: &[(f32, f32)]) -> Vec<(f32, f32)> {
        places.par_iter().filter(|p| matches!(self.zone(p.0, p.1), Zone::Wild { .. })).copied().collect()
    }

    /// What a place is used for.
    fn zone(&self, x: f32, y: f32) -> Zone {
        let height = self.terrain.height(x, y);
        let bank = self.terrain.river_bank(x, y);
        if height < self.level || bank < 0.0 {
            return Zone::Water;
        }
        let depth = self.settlements.depth(x, y);
        if depth > 0.0 {
            return Zone::Town { depth };
        }
        let parcel = self.fields.at(x, y);
        let margin = self.suitability(x, y, &parcel) - self.farmed;
        if margin > 0.0 { Zone::Farm { parcel, margin, bank } } else { Zone::Wild { height } }
    }

    /// Label code of a pixel.
    fn at(&self, x: f32, y: f32) -> u8 {
        match self.zone(x, y) {
            Zone::Water => WATER,
            Zone::Town { depth } => self.town(x, y, depth),
            Zone::Farm { parcel, margin, bank } => self.farmland(x, y, &parcel, margin, bank),
            Zone::Wild { height } => self.wild(x, y, height),
        }
    }

    /// Built-up ground, with parks and groves.
    fn town(&self, x: f32, y: f32, depth: f32) -> u8 {
        let block = self.blocks.at(x, y);
        if block.border < 0.6 {
            return URBAN;
        }
        let park = fractal(self.seeds.park, x / 30.0, y / 30.0, 3);
        match () {
            () if park > 0.48 || part(block.bits, 0) < 0.05 => GRASS,
            () if park < lerp(-0.42, -0.7, ramp(0.0, 0.5, depth)) || part(block.bits, 0) > 0.97 => FOREST,
            () => URBAN,
        }
    }

    /// How good a place is for farming. A parcel is farmed as a whole, but not where it runs into the hills.
    fn suitability(&self, x: f32, y: f32, parcel: &Parcel) -> f32 {
        lerp(self.fertility(parcel.centre.0, parcel.centre.1), self.fertility(x, y), 0.4)
    }

    /// Low ground of good soil near people.
    fn fertility(&self, x: f32, y: f32) -> f32 {
        let near = ramp(-2.5, 0.3, self.settlements.depth(x, y));
        let soil = fractal(self.seeds.soil, x / 120.0, y / 120.0, 3);
        0.7 * soil + 0.45 * near - 0.9 * self.terrain.height(x, y)
    }

    /// Fields and pastures, with farmsteads, tracks, hedges and copses.
    fn farmland(&self, x: f32, y: f32, parcel: &Parcel, margin: f32, bank: f32) -> u8 {
        let (dx, dy) = (x - parcel.middle.0, y - parcel.middle.1);
        let yard = 2.2 + 3.2 * part(parcel.holding, 0);
        let ragged = 1.6 * gradient(self.seeds.yard, x / 4.0, y / 4.0);
        if part(parcel.holding, 1) < 0.6 && (dx * dx + dy * dy).sqrt() + ragged < yard {
            return URBAN;
        }
        if parcel.outer < 1.0 && part(parcel.holding, 2) < 0.35 {
            return URBAN;
        }
        if bank < 2.5 + ragged || parcel.border < 0.9 && part(parcel.bits, 1) < 0.16 {
            return FOREST;
        }
        let pasture = lerp(0.38, 0.12, ramp(0.0, 0.25, margin));
        match part(parcel.bits, 0) {
            kind if kind < pasture => GRASS,
            kind if kind > 0.95 => FOREST,
            _ => CROPLAND,
        }
    }

    /// How wet wild ground is: low, near water, in hollows.
    fn wetness(&self, x: f32, y: f32) -> f32 {
        let seed = self.seeds.bog;
        let above = (self.terrain.height(x, y) - self.level).max(0.0);
        let shore = ramp(0.22, 0.0, above);
        0.75 * fractal(seed, x / 42.0, y / 30.0, 2) + 0.4 * gradient(seed ^ 1, x / 80.0, y / 80.0) + 0.4 * shore
    }

    /// Forest with bogs and clearings, and grass along some shores.
    fn wild(&self, x: f32, y: f32, height: f32) -> u8 {
        if self.wetness(x, y) > self.soaked {
            return WETLAND;
        }
        let clearing = fractal(self.seeds.clearing, x / 34.0, y / 34.0, 4);
        let shore = if height < self.level + 0.025 { 0.35 } else { 0.0 };
        if clearing + shore > 0.56 { GRASS } else { FOREST }
    }
}

/// Evenly spread pixels, enough to set thresholds by.
fn sample_places(width: usize, height: usize) -> Vec<(f32, f32)> {
    const SIDE: usize = 176;
    let (nx, ny) = (width.min(SIDE), height.min(SIDE));
    let spread = |i: usize, n: usize, side: usize| ((i * 2 + 1) * side / (2 * n)) as f32;
    (0..ny).flat_map(|j| (0..nx).map(move |i| (spread(i, nx, width), spread(j, ny, height)))).collect()
}

/// The value below which a share of the values lies; beyond all of them for shares of 0 and 1.
fn quantile(mut values: Vec<f32>, share: f32) -> f32 {
    values.sort_unstable_by(f32::total_cmp);
    let rank = (share * values.len() as f32).round() as usize;
    match values.get(rank) {
        Some(_) if rank == 0 => f32::NEG_INFINITY,
        Some(value) => *value,
        None => f32::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(cover: &[u8], code: u8) -> f32 {
        cover.iter().filter(|c| **c == code).count() as f32 / cover.len() as f32
    }

    #[test]
    fn a_scene_has_the_shares_asked_for() {
        let config = SynthConfig { water: 0.2, farmland: 0.4, wetland: 0.006, ..SynthConfig::new(301, 283, 21) };
        let cover = cover(&config);
        assert!((share(&cover, WATER) - 0.2).abs() < 0.04, "water {}", share(&cover, WATER));
        let farmed = share(&cover, CROPLAND);
        assert!((0.2..0.42).contains(&farmed), "cropland {farmed}");
        let wet = share(&cover, WETLAND);
        assert!((0.003..0.009).contains(&wet), "wetland {wet}");
        assert!([URBAN, GRASS, FOREST].iter().all(|c| share(&cover, *c) > 0.01));
    }

    #[test]
    fn nothing_asked_for_is_nothing_made() {
        let config = SynthConfig { water: 0.0, farmland: 0.0, wetland: 0.0, ..SynthConfig::new(160, 150, 3) };
        let cover = cover(&config);
        assert_eq!(share(&cover, WETLAND), 0.0);
        assert_eq!(share(&cover, CROPLAND), 0.0);
        assert!(share(&cover, WATER) < 0.05, "a river at most");
    }

    #[test]
    fn quantiles_of_nought_and_one_are_outside() {
        assert_eq!(quantile(vec![3.0, 1.0, 2.0], 0.0), f32::NEG_INFINITY);
        assert_eq!(quantile(vec![3.0, 1.0, 2.0], 1.0), f32::INFINITY);
        assert_eq!(quantile(vec![3.0, 1.0, 2.0], 0.34), 2.0);
    }
}
