//! Parcels: how people cut up ground. Holdings (Voronoi cells) each with a direction of their own; in a holding, strips
//! along that direction; in a strip, rectangles of uneven length. One lookup serves fields and town blocks alike.

use super::noise::{cell, direction, fork, gradient, part, scatter, split, voronoi};

/// A division of the whole plane into parcels. Lengths are pixels.
pub(super) struct Parcels {
    seed: u64,
    /// Typical diameter of a holding.
    holding: f32,
    /// Typical width of a strip.
    strip: f32,
    /// Typical length of a parcel along its strip.
    length: f32,
    /// How far borders are bent from straight.
    bend: f32,
}

/// One parcel as seen from one point in it.
pub(super) struct Parcel {
    /// Random bits of the parcel.
    pub(super) bits: u64,
    /// Random bits of its holding.
    pub(super) holding: u64,
    /// Where the holding's middle is, pixels.
    pub(super) middle: (f32, f32),
    /// Centre of the parcel, pixels.
    pub(super) centre: (f32, f32),
    /// Position across the strips, pixels: constant along a plough row.
    pub(super) across: f32,
    /// Distance to the nearest border of the parcel, pixels.
    pub(super) border: f32,
    /// Distance to the border of the holding, pixels.
    pub(super) outer: f32,
}

impl Parcels {
    /// Fields: long parcels of 1 to 6 hectares.
    pub(super) fn fields(seed: u64) -> Self {
        Self { seed: fork(seed, "fields"), holding: 58.0, strip: 13.0, length: 24.0, bend: 2.0 }
    }

    /// Town blocks, 70 to 150 m.
    pub(super) fn blocks(seed: u64) -> Self {
        Self { seed: fork(seed, "blocks"), holding: 48.0, strip: 8.0, length: 12.0, bend: 1.5 }
    }

    /// The parcel at a point.
    pub(super) fn at(&self, x: f32, y: f32) -> Parcel {
        let bend = |label: u64| self.bend * gradient(self.seed ^ label, x / 34.0, y / 34.0);
        let (x, y) = (x + bend(1), y + bend(2));
        let site = voronoi(self.seed, x / self.holding, y / self.holding);
        let middle = (site.at.0 * self.holding, site.at.1 * self.holding);
        let (ax, ay) = direction(site.bits);
        let (rx, ry) = (x - middle.0, y - middle.1);
        let (along, across) = (rx * ax + ry * ay, ry * ax - rx * ay);
        let strip = cut(site.bits, across, self.strip * (0.7 + 0.8 * part(site.bits, 0)));
        let piece = cut(strip.bits, along, self.length * (0.7 + 0.8 * part(strip.bits, 1)));
        let outer = site.border * self.holding;
        let (u, v) = (piece.middle, strip.middle);
        Parcel {
            bits: scatter(piece.bits),
            holding: scatter(site.bits),
            middle,
            centre: (middle.0 + u * ax - v * ay, middle.1 + u * ay + v * ax),
            across,
            border: strip.border.min(piece.border).min(outer),
            outer,
        }
    }
}

/// One piece of an unevenly cut line.
struct Piece {
    bits: u64,
    middle: f32,
    border: f32,
}

/// Cuts a line into pieces of about `size` and finds the one at `t`.
fn cut(seed: u64, t: f32, size: f32) -> Piece {
    let edge = |k: i32| k as f32 + 0.6 * (part(cell(seed, k, 1), 2) - 0.5);
    let t = t / size;
    let (k, _) = split(t);
    let k = if t < edge(k) {
        k - 1
    } else if t >= edge(k + 1) {
        k + 1
    } else {
        k
    };
    let (low, high) = (edge(k), edge(k + 1));
    Piece { bits: cell(seed, k, 2), middle: (low + high) / 2.0 * size, border: (t - low).min(high - t) * size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_has_one_identity_and_straight_enough_borders() {
        let parcels = Parcels::fields(11);
        let mut borders = 0;
        for y in 0..60 {
            let mut last = parcels.at(0.0, y as f32);
            for step in 1..1200 {
                let next = parcels.at(step as f32 * 0.1, y as f32);
                if next.bits != last.bits {
                    borders += 1;
                    assert!(next.border < 0.5, "a border is where the identity changes, found {}", next.border);
                }
                last = next;
            }
        }
        assert!((200..1500).contains(&borders), "{borders} borders on 60 lines of 120 px");
    }

    #[test]
    fn pieces_tile_the_line() {
        for step in -500..500 {
            let piece = cut(9, step as f32 * 0.13, 5.0);
            assert!(piece.border >= 0.0 && (piece.middle - step as f32 * 0.13).abs() < 5.0);
        }
    }
}
