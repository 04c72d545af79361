//! Randomness as a pure function of place: every draw is a hash of a seed and integer coordinates.
//!
//! Nothing here has state, so a pixel's value depends neither on the order in which pixels are made nor on the number
//! of threads; and only `+ - * /`, `sqrt` and `floor` are used, which IEEE 754 defines to the bit, so that a scene is
//! the same on every machine.

/// The unit directions of gradient noise: the eight compass points and the eight between.
const GRADIENTS: [(f32, f32); 16] = {
    const A: f32 = 0.923_879_5;
    const B: f32 = 0.382_683_43;
    const D: f32 = std::f32::consts::FRAC_1_SQRT_2;
    [
        (1.0, 0.0),
        (A, B),
        (D, D),
        (B, A),
        (0.0, 1.0),
        (-B, A),
        (-D, D),
        (-A, B),
        (-1.0, 0.0),
        (-A, -B),
        (-D, -D),
        (-B, -A),
        (0.0, -1.0),
        (B, -A),
        (D, -D),
        (A, -B),
    ]
};

/// Scatters 64 bits: the finaliser of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014).
pub(super) fn scatter(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The seed of an independent field: `label` names what it is for.
pub(super) fn fork(seed: u64, label: &str) -> u64 {
    label.bytes().fold(scatter(seed), |seed, byte| scatter(seed ^ u64::from(byte)))
}

/// 64 random bits that belong to a cell of the integer lattice.
pub(super) fn cell(seed: u64, x: i32, y: i32) -> u64 {
    scatter(seed ^ (u64::from(x as u32) | u64::from(y as u32) << 32))
}

/// The `n`-th of four numbers in 0..1 held in 64 random bits (16 bits each).
pub(super) fn part(bits: u64, n: u32) -> f32 {
    f32::from((bits >> (16 * n)) as u16) / 65536.0
}

/// A draw of mean 0 and variance 1, near enough to normal for sensor noise: the sum of four uniform draws.
pub(super) fn bell(bits: u64) -> f32 {
    const SQRT_3: f32 = 1.732_050_8;
    (part(bits, 0) + part(bits, 1) + part(bits, 2) + part(bits, 3) - 2.0) * SQRT_3
}

/// A unit vector in the right half plane. Made from the rational parametrisation of the circle: no sine, no cosine.
pub(super) fn direction(bits: u64) -> (f32, f32) {
    let t = 2.0 * part(bits, 3) - 1.0;
    let norm = 1.0 + t * t;
    ((1.0 - t * t) / norm, 2.0 * t / norm)
}

/// The integer below, as a lattice coordinate, and what is left over (0..1).
pub(super) fn split(t: f32) -> (i32, f32) {
    let floor = t.floor();
    (floor as i32, t - floor)
}

/// Linear mixture: `a` where `t` is 0, `b` where it is 1.
pub(super) fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// 0 below `from`, 1 above `to`, and smooth between.
pub(super) fn ramp(from: f32, to: f32, value: f32) -> f32 {
    let t = ((value - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Gradient noise of wavelength 1: smooth, mean 0, within about -1..1 (Perlin, "Improving noise", 2002).
pub(super) fn gradient(seed: u64, x: f32, y: f32) -> f32 {
    let ((ix, fx), (iy, fy)) = (split(x), split(y));
    let corner = |dx: i32, dy: i32| {
        let (gx, gy) = GRADIENTS[(cell(seed, ix.wrapping_add(dx), iy.wrapping_add(dy)) >> 60) as usize];
        gx * (fx - dx as f32) + gy * (fy - dy as f32)
    };
    let fade = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
    let (u, v) = (fade(fx), fade(fy));
    std::f32::consts::SQRT_2 * lerp(lerp(corner(0, 0), corner(1, 0), u), lerp(corner(0, 1), corner(1, 1), u), v)
}

/// Fractal noise: `octaves` layers of [`gradient`], each at half the wavelength and half the height; about -1..1.
pub(super) fn fractal(seed: u64, x: f32, y: f32, octaves: u32) -> f32 {
    let (mut sum, mut height, mut scale) = (0.0, 0.55, 1.0);
    for octave in 0..octaves {
        // The shift keeps the lattices of the layers from meeting, which would show as a grid.
        let shift = 17.37 * octave as f32;
        sum += height * gradient(seed.wrapping_add(u64::from(octave) << 32), x * scale + shift, y * scale - shift);
        height *= 0.5;
        scale *= 2.03;
    }
    sum
}

/// The nearest of one random site a lattice cell of side 1.
pub(super) struct Site {
    /// Random bits of the site's cell: what makes it differ from its neighbours.
    pub(super) bits: u64,
    /// Where the site is.
    pub(super) at: (f32, f32),
    /// Distance to the border with the next nearest site's cell.
    pub(super) border: f32,
}

/// Worley noise: finds the Voronoi cell of one jittered site a lattice cell.
pub(super) fn voronoi(seed: u64, x: f32, y: f32) -> Site {
    let (ix, iy) = (x.floor() as i32, y.floor() as i32);
    let far = Site { bits: 0, at: (f32::MAX, f32::MAX), border: f32::MAX };
    let (mut first, mut d1) = (far, f32::MAX);
    let (mut second, mut d2) = ((f32::MAX, f32::MAX), f32::MAX);
    for cy in iy - 1..=iy + 1 {
        for cx in ix - 1..=ix + 1 {
            let bits = cell(seed, cx, cy);
            let at = (cx as f32 + 0.1 + 0.8 * part(bits, 0), cy as f32 + 0.1 + 0.8 * part(bits, 1));
            let d = (at.0 - x) * (at.0 - x) + (at.1 - y) * (at.1 - y);
            if d < d1 {
                (second, d2) = (first.at, d1);
                (first, d1) = (Site { bits: scatter(bits), at, border: 0.0 }, d);
            } else if d < d2 {
                (second, d2) = (at, d);
            }
        }
    }
    let (dx, dy) = (second.0 - first.at.0, second.1 - first.at.1);
    first.border = (d2 - d1) / (2.0 * (dx * dx + dy * dy).sqrt().max(1e-6));
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_noise_is_centred_bounded_and_smooth() {
        let n = 300;
        let field: Vec<f32> = (0..n * n).map(|i| gradient(7, (i % n) as f32 * 0.13, (i / n) as f32 * 0.13)).collect();
        let mean = field.iter().sum::<f32>() / field.len() as f32;
        assert!(mean.abs() < 0.03, "mean {mean}");
        assert!(field.iter().all(|v| v.abs() <= 1.01));
        assert!(field.iter().any(|v| *v > 0.6) && field.iter().any(|v| *v < -0.6));
        let step = field.windows(2).enumerate().filter(|(i, _)| (i + 1) % n != 0);
        assert!(step.map(|(_, w)| (w[1] - w[0]).abs()).fold(0.0, f32::max) < 0.5);
    }

    #[test]
    fn bell_has_mean_nought_and_variance_one() {
        let draws: Vec<f32> = (0..20_000).map(|i| bell(cell(3, i, 0))).collect();
        let mean = draws.iter().sum::<f32>() / draws.len() as f32;
        let variance = draws.iter().map(|d| (d - mean) * (d - mean)).sum::<f32>() / draws.len() as f32;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "mean {mean}, variance {variance}");
    }

    #[test]
    fn voronoi_border_shrinks_to_nothing_where_the_site_changes() {
        let mut last = voronoi(5, 0.0, 0.5);
        for step in 1..4000 {
            let next = voronoi(5, step as f32 * 0.002, 0.5);
            if next.bits != last.bits {
                assert!(next.border < 0.004 && last.border < 0.004);
            }
            last = next;
        }
    }

    #[test]
    fn directions_are_unit_vectors() {
        for i in 0..100 {
            let (x, y) = direction(cell(1, i, i));
            assert!((x * x + y * y - 1.0).abs() < 1e-5 && x >= 0.0);
        }
    }
}
