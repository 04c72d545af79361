//! Roads: least-cost paths over the terrain between settlements, and to lonely places.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rayon::prelude::*;

use super::noise::{cell, fork, gradient, part};
use super::settlement::{Settlement, Settlements};
use super::terrain::Terrain;

/// Spacing of the routing grid, pixels.
const STEP: f32 = 5.0;
/// How far beyond the box of its two ends a road may swing, grid nodes.
const SWING: i32 = 12;
/// Lonely places a settlement has a track to.
const TRACKS: i32 = 3;

/// The moves of a path: to the 8 neighbours and to the 8 knight's moves, for roads that do not run in steps.
const MOVES: [(i32, i32); 16] = [
    (1, 0),
    (-1, 0),
    (0, 1),
    (0, -1),
    (1, 1),
    (1, -1),
    (-1, 1),
    (-1, -1),
    (2, 1),
    (2, -1),
    (-2, 1),
    (-2, -1),
    (1, 2),
    (1, -2),
    (-1, 2),
    (-1, -2),
];

/// A road as a smoothed line.
pub(super) struct Road {
    /// Points, pixels.
    pub(super) line: Vec<(f32, f32)>,
    /// Width, whole pixels: 1 or 2.
    pub(super) width: i32,
}

/// Lays out the roads of a scene.
pub(super) fn network(seed: u64, terrain: &Terrain, settlements: &Settlements, level: f32) -> Vec<Road> {
    let seed = fork(seed, "roads");
    let mut map = Map::survey(seed, terrain, settlements, level);
    let (columns, rows) = settlements.lattice();
    let mut roads = Vec::new();
    for (row, column) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
        for (dc, dr) in [(1, 0), (0, 1)] {
            if let (Some(a), Some(b)) = (settlements.get(column, row), settlements.get(column + dc, row + dr)) {
                roads.extend(map.connect(a.at, b.at, 2));
            }
        }
    }
    for (row, column) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
        if let Some(home) = settlements.get(column, row) {
            let places = (0..TRACKS).map(|n| lonely_place(cell(seed, column * TRACKS + n, row), home));
            let dry = places.filter(|at| terrain.height(at.0, at.1) > level);
            roads.extend(dry.filter_map(|at| map.connect(home.at, at, 1)).collect::<Vec<_>>());
        }
    }
    roads
}

fn lonely_place(bits: u64, home: &Settlement) -> (f32, f32) {
    (home.at.0 + 260.0 * (part(bits, 0) - 0.5), home.at.1 + 260.0 * (part(bits, 1) - 0.5))
}

/// The routing grid.
struct Map {
    /// Position of node (0, 0), pixels.
    origin: (f32, f32),
    columns: i32,
    rows: i32,
    heights: Vec<f32>,
    /// How unwilling a road is to cross the node, a length is 1: wobbles so that no road is straight.
    toll: Vec<f32>,
    built: Vec<bool>,
    level: f32,
}

impl Map {
    fn survey(seed: u64, terrain: &Terrain, settlements: &Settlements, level: f32) -> Self {
        let (columns, rows) = settlements.lattice();
        let places: Vec<_> = (0..rows).flat_map(|r| (0..columns).map(move |c| (c, r))).collect();
        let ends: Vec<_> = places.iter().filter_map(|&(c, r)| settlements.get(c, r)).map(|s| s.at).collect();
        let bounds = ends.iter().fold((f32::MAX, f32::MAX, f32::MIN, f32::MIN), |b, p| {
            (b.0.min(p.0), b.1.min(p.1), b.2.max(p.0), b.3.max(p.1))
        });
        let margin = SWING as f32 * STEP;
        let origin = (bounds.0 - margin, bounds.1 - margin);
        let columns = ((bounds.2 - bounds.0 + 2.0 * margin) / STEP) as i32 + 1;
        let rows = ((bounds.3 - bounds.1 + 2.0 * margin) / STEP) as i32 + 1;
        let place = |i: i32| (origin.0 + (i % columns) as f32 * STEP, origin.1 + (i / columns) as f32 * STEP);
        let nodes = 0..columns * rows;
        let (heights, toll) = nodes
            .into_par_iter()
            .map(|i| {
                let (x, y) = place(i);
                let wobble = 0.8 * gradient(seed, x / 45.0, y / 45.0) + 0.5 * gradient(seed ^ 1, x / 17.0, y / 17.0);
                (terrain.height(x, y), 1.5 + wobble)
            })
            .unzip();
        Self { origin, columns, rows, heights, toll, built: vec![false; (columns * rows) as usize], level }
    }

    fn node(&self, at: (f32, f32)) -> (i32, i32) {
        let near = |v: f32, origin: f32, count: i32| (((v - origin) / STEP).round() as i32).clamp(0, count - 1);
        (near(at.0, self.origin.0, self.columns), near(at.1, self.origin.1, self.rows))
    }

    /// Cost of a move: long, steep and wet is dear, along a road that is there is cheap.
    fn cost(&self, from: usize, to: usize, length: f32) -> f32 {
        let climb = (self.heights[to] - self.heights[from]).abs() / length;
        let bridge = if self.heights[to] < self.level { 14.0 } else { 0.0 };
        let reuse = if self.built[to] && self.built[from] { 0.3 } else { 1.0 };
        length * reuse * (self.toll[to] + 40.0 * climb + bridge)
    }

    /// Builds a road between two places. None where they fall on one node.
    fn connect(&mut self, a: (f32, f32), b: (f32, f32), width: i32) -> Option<Road> {
        let (start, goal) = (self.node(a), self.node(b));
        let path = self.cheapest_path(start, goal)?;
        for &(x, y) in &path {
            self.built[(y * self.columns + x) as usize] = true;
        }
        let line: Vec<_> =
            path.iter().map(|&(x, y)| (self.origin.0 + x as f32 * STEP, self.origin.1 + y as f32 * STEP)).collect();
        Some(Road { line: smooth(&smooth(&line)), width })
    }

    /// Dijkstra's algorithm within the box around both ends.
    fn cheapest_path(&self, start: (i32, i32), goal: (i32, i32)) -> Option<Vec<(i32, i32)>> {
        let low = ((start.0.min(goal.0) - SWING).max(0), (start.1.min(goal.1) - SWING).max(0));
        let high =
            ((start.0.max(goal.0) + SWING).min(self.columns - 1), (start.1.max(goal.1) + SWING).min(self.rows - 1));
        let columns = high.0 - low.0 + 1;
        let local = |p: (i32, i32)| ((p.1 - low.1) * columns + p.0 - low.0) as usize;
        let count = (columns * (high.1 - low.1 + 1)) as usize;
        let (mut best, mut from) = (vec![f32::INFINITY; count], vec![start; count]);
        let mut queue = BinaryHeap::from([Front { cost: 0.0, at: start }]);
        best[local(start)] = 0.0;
        while let Some(Front { cost, at }) = queue.pop() {
            if at == goal {
                break;
            }
            if cost > best[local(at)] {
                continue;
            }
            for (dx, dy) in MOVES {
                let to = (at.0 + dx, at.1 + dy);
                if to.0 < low.0 || to.1 < low.1 || to.0 > high.0 || to.1 > high.1 {
                    continue;
                }
                let length = ((dx * dx + dy * dy) as f32).sqrt();
                let node = |p: (i32, i32)| (p.1 * self.columns + p.0) as usize;
                let cost = cost + self.cost(node(at), node(to), length);
                if cost < best[local(to)] {
                    (best[local(to)], from[local(to)]) = (cost, at);
                    queue.push(Front { cost, at: to });
                }
            }
        }
        let mut path = vec![goal];
        let mut at = goal;
        while at != start {
            at = from[local(at)];
            path.push(at);
        }
        (path.len() > 1).then_some(path)
    }
}

/// A node of the search, ordered so that the heap yields the cheapest first, and ties always in the same order.
#[derive(PartialEq)]
struct Front {
    cost: f32,
    at: (i32, i32),
}

impl Eq for Front {}

impl Ord for Front {
    fn cmp(&self, other: &Self) -> Ordering {
        other.cost.total_cmp(&self.cost).then_with(|| other.at.cmp(&self.at))
    }
}

impl PartialOrd for Front {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Cuts the corners of a line (Chaikin 1974), keeping its ends.
fn smooth(line: &[(f32, f32)]) -> Vec<(f32, f32)> {
    let mut out = Vec::with_capacity(2 * line.len());
    out.extend(line.first());
    for pair in line.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        out.push((0.75 * a.0 + 0.25 * b.0, 0.75 * a.1 + 0.25 * b.1));
        out.push((0.25 * a.0 + 0.75 * b.0, 0.25 * a.1 + 0.75 * b.1));
    }
    out.extend(line.last());
    out
}

impl Road {
    /// Calls `draw` with every pixel of the road, perhaps outside the scene, some twice.
    pub(super) fn draw(&self, mut draw: impl FnMut(i32, i32)) {
        for pair in self.line.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            let steps = ((b.0 - a.0).abs().max((b.1 - a.1).abs()) * 2.0).ceil().max(1.0) as i32;
            for step in 0..=steps {
                let t = step as f32 / steps as f32;
                let (x, y) = ((a.0 + (b.0 - a.0) * t).floor() as i32, (a.1 + (b.1 - a.1) * t).floor() as i32);
                for (dy, dx) in (0..self.width).flat_map(|dy| (0..self.width).map(move |dx| (dy, dx))) {
                    draw(x + dx, y + dy);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_road_is_an_unbroken_thin_line_between_its_ends() {
        let terrain = Terrain::new(4);
        let settlements = Settlements::new(4, &terrain, -0.4, 300, 300);
        let mut map = Map::survey(4, &terrain, &settlements, -0.4);
        let road = map.connect((20.0, 20.0), (250.0, 180.0), 1).expect("the ends are apart");
        let mut pixels = Vec::new();
        road.draw(|x, y| pixels.push((x, y)));
        assert!((pixels[0].0 - 20).abs() <= 3 && (pixels[0].1 - 20).abs() <= 3 || (pixels[0].0 - 250).abs() <= 3);
        for pair in pixels.windows(2) {
            let ((ax, ay), (bx, by)) = (pair[0], pair[1]);
            assert!((ax - bx).abs() <= 1 && (ay - by).abs() <= 1, "a gap at {ax},{ay}");
        }
    }

    #[test]
    fn a_second_road_takes_the_first_where_it_can() {
        let terrain = Terrain::new(9);
        let settlements = Settlements::new(9, &terrain, -0.4, 300, 300);
        let mut map = Map::survey(9, &terrain, &settlements, -0.4);
        let first = map.cheapest_path((10, 10), (60, 50)).expect("a path");
        map.connect((map.origin.0 + 50.0, map.origin.1 + 50.0), (map.origin.0 + 300.0, map.origin.1 + 250.0), 2);
        let second = map.cheapest_path((10, 10), (62, 50)).expect("a path");
        assert!(second.iter().filter(|p| first.contains(p)).count() * 2 > second.len());
    }
}
