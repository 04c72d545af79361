//! Towns and villages: where they are and how far they reach.

use super::noise::{cell, fork, fractal, part, scatter};
use super::terrain::Terrain;

/// Side of the lattice cell that holds one settlement, pixels.
const CELL: f32 = 210.0;

/// A town or a village.
#[derive(Clone, Copy)]
pub(super) struct Settlement {
    /// Its middle, pixels.
    pub(super) at: (f32, f32),
    /// How far it reaches, pixels.
    pub(super) radius: f32,
}

/// All settlements in and around a scene: one a lattice cell.
pub(super) struct Settlements {
    seed: u64,
    columns: i32,
    rows: i32,
    list: Vec<Settlement>,
}

impl Settlements {
    /// Places them on low dry ground; the one nearest the scene's middle is a town.
    pub(super) fn new(seed: u64, terrain: &Terrain, level: f32, width: usize, height: usize) -> Self {
        let seed = fork(seed, "settlements");
        // One cell beyond each side, so that roads lead out of the scene.
        let cells = |side: usize| (side as f32 / CELL).ceil() as i32 + 2;
        let (columns, rows) = (cells(width), cells(height));
        let mut list = Vec::with_capacity((columns * rows) as usize);
        for y in -1..rows - 1 {
            for x in -1..columns - 1 {
                let bits = cell(seed, x, y);
                let size = part(bits, 0);
                let radius = if size < 0.3 { 40.0 + 60.0 * size } else { 10.0 + 22.0 * (1.0 - size) };
                list.push(Settlement { at: site(bits, x, y, terrain, level), radius });
            }
        }
        let middle = (width as f32 / 2.0, height as f32 / 2.0);
        let distance = |s: &Settlement| {
            let (dx, dy) = (s.at.0 - middle.0, s.at.1 - middle.1);
            dx * dx + dy * dy
        };
        if let Some(town) = list.iter_mut().min_by(|a, b| distance(a).total_cmp(&distance(b))) {
            town.radius = town.radius.max(48.0);
        }
        Self { seed, columns, rows, list }
    }

    /// The settlement of a lattice cell, counted from the first; none outside.
    pub(super) fn get(&self, column: i32, row: i32) -> Option<&Settlement> {
        let inside = (0..self.columns).contains(&column) && (0..self.rows).contains(&row);
        inside.then(|| &self.list[(row * self.columns + column) as usize])
    }

    /// Lattice size.
    pub(super) fn lattice(&self) -> (i32, i32) {
        (self.columns, self.rows)
    }

    /// How deep a point lies in a settlement: above 0 inside, 1 in the middle of a town.
    pub(super) fn depth(&self, x: f32, y: f32) -> f32 {
        let (column, row) = ((x / CELL).floor() as i32 + 1, (y / CELL).floor() as i32 + 1);
        let mut depth = f32::MIN;
        for r in row - 1..=row + 1 {
            for s in (column - 1..=column + 1).filter_map(|c| self.get(c, r)) {
                let (dx, dy) = (x - s.at.0, y - s.at.1);
                depth = depth.max(1.0 - (dx * dx + dy * dy).sqrt() / s.radius);
            }
        }
        if depth < -1.2 { depth } else { depth + 0.85 * fractal(self.seed, x / 42.0, y / 42.0, 4) }
    }
}

/// The best of a few random places in a lattice cell: dry, but not far above the water.
fn site(bits: u64, x: i32, y: i32, terrain: &Terrain, level: f32) -> (f32, f32) {
    let candidate = |n: u64| {
        let bits = scatter(bits ^ n);
        ((x as f32 + 0.15 + 0.7 * part(bits, 0)) * CELL, (y as f32 + 0.15 + 0.7 * part(bits, 1)) * CELL)
    };
    let unfit = |at: (f32, f32)| {
        let above = terrain.height(at.0, at.1) - level - 0.12;
        if above < -0.1 { 10.0 - above } else { above.abs() }
    };
    (1..8).map(candidate).fold(candidate(0), |best, at| if unfit(at) < unfit(best) { at } else { best })
}
