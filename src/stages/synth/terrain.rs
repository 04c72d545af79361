//! The lie of the land: heights with valleys, and the rivers in them.

use super::noise::{direction, fork, fractal, gradient, lerp, ramp, scatter};

/// Wavelength of the large landforms, pixels (10 m each).
const LANDFORM: f32 = 170.0;
/// Wavelength of the valleys, pixels.
const VALLEY: f32 = 310.0;

/// Terrain of one scene: pure functions of the pixel position.
pub(super) struct Terrain {
    relief: u64,
    valleys: u64,
    springs: u64,
    /// Direction in which ridges run.
    axis: (f32, f32),
}

impl Terrain {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            relief: fork(seed, "relief"),
            valleys: fork(seed, "valleys"),
            springs: fork(seed, "springs"),
            axis: direction(scatter(fork(seed, "axis"))),
        }
    }

    /// Turns and stretches, so that landforms run in one direction, as ice left them.
    fn grain(&self, x: f32, y: f32) -> (f32, f32) {
        let (ax, ay) = self.axis;
        ((x * ax + y * ay) * 0.75, (y * ax - x * ay) * 1.25)
    }

    /// Height, about -1 (valley floor) to 1 (hilltop).
    pub(super) fn height(&self, x: f32, y: f32) -> f32 {
        let (gx, gy) = self.grain(x, y);
        let (gx, gy) = (gx / LANDFORM, gy / LANDFORM);
        let warp = 0.35 * gradient(self.relief ^ 1, gx * 1.7, gy * 1.7);
        let relief = fractal(self.relief, gx + warp, gy - warp, 6);
        let valley = ramp(0.0, 0.45, self.valley(x, y).abs());
        0.75 * relief + 0.55 * valley - 0.35
    }

    /// Signed distance-like field whose zero line is the floor of a valley.
    fn valley(&self, x: f32, y: f32) -> f32 {
        let meander = 9.0 * gradient(self.valleys ^ 1, x / 37.0, y / 37.0);
        // Turned, so that the lattice of the noise does not show as valleys that run due north.
        let (vx, vy) = self.grain(x + meander, y - meander);
        let (vx, vy) = (vx / VALLEY, vy / VALLEY);
        gradient(self.valleys, vx, vy) + 0.25 * gradient(self.valleys ^ 2, vx * 2.7, vy * 2.7)
    }

    /// Distance to the river bank in pixels, negative in the water; far away where there is no river.
    pub(super) fn river_bank(&self, x: f32, y: f32) -> f32 {
        const FAR: f32 = 100.0;
        let v = self.valley(x, y);
        if v.abs() > 0.12 {
            return FAR;
        }
        // Distance to the zero line: the value over its slope.
        let (vx, vy) = (self.valley(x + 1.0, y) - v, self.valley(x, y + 1.0) - v);
        let distance = v.abs() / (vx * vx + vy * vy).sqrt().max(2e-3);
        let flow = gradient(self.springs, x / 240.0, y / 240.0);
        distance - lerp(-1.5, 3.4, ramp(-0.45, 0.6, flow))
    }

    /// Slope times the direction to the sun (south-east): brightness of the ground, about -1..1.
    pub(super) fn hillshade(&self, x: f32, y: f32) -> f32 {
        let (gx, gy) = self.grain(x, y);
        let height = |dx: f32, dy: f32| fractal(self.relief, (gx + dx) / LANDFORM, (gy + dy) / LANDFORM, 5);
        let here = height(0.0, 0.0);
        (16.0 * (here - 0.5 * (height(2.0, 0.0) + height(0.0, 2.0)))).clamp(-1.0, 1.0)
    }
}
