//! Colour arithmetic: linear light, CIE Lab, colour-vision deficiency, colour difference.

use crate::raster::Rgb;

type Matrix = [[f64; 3]; 3];

/// Protanopia: Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision
/// deficiency", IEEE TVCG 15(6), 2009, table 1, severity 1.0. Works on linear sRGB.
const PROTANOPIA: Matrix =
    [[0.152_286, 1.052_583, -0.204_868], [0.114_503, 0.786_281, 0.099_216], [-0.003_882, -0.048_116, 1.051_998]];

/// Deuteranopia: as [`PROTANOPIA`].
const DEUTERANOPIA: Matrix =
    [[0.367_322, 0.860_646, -0.227_968], [0.280_085, 0.672_501, 0.047_413], [-0.011_820, 0.042_940, 0.968_881]];

/// Linear sRGB to CIE XYZ, D65 (IEC 61966-2-1).
const XYZ: Matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]];

/// Who looks at a figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vision {
    /// Three kinds of cones.
    Normal,
    /// No long-wave cones.
    Protanopia,
    /// No middle-wave cones, the most frequent.
    Deuteranopia,
}

impl Vision {
    /// All that figures must serve.
    pub const ALL: [Self; 3] = [Self::Normal, Self::Protanopia, Self::Deuteranopia];

    /// What a colour looks like to this eye, in linear sRGB.
    fn sees(self, colour: Rgb) -> [f64; 3] {
        let linear = linear(colour);
        match self {
            Self::Normal => linear,
            Self::Protanopia => apply(&PROTANOPIA, linear).map(|v| v.clamp(0.0, 1.0)),
            Self::Deuteranopia => apply(&DEUTERANOPIA, linear).map(|v| v.clamp(0.0, 1.0)),
        }
    }
}

fn apply(matrix: &Matrix, v: [f64; 3]) -> [f64; 3] {
    matrix.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2])
}

/// sRGB 8 bits to linear light 0..=1 (IEC 61966-2-1).
fn linear(Rgb(r, g, b): Rgb) -> [f64; 3] {
    [r, g, b].map(|v| {
        let v = f64::from(v) / 255.0;
        if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    })
}

/// Linear sRGB to CIE L*a*b* 1976, white D65.
fn lab(linear: [f64; 3]) -> [f64; 3] {
    let white = XYZ.map(|row| row.iter().sum::<f64>());
    let xyz = apply(&XYZ, linear);
    let f = |i: usize| {
        let t = xyz[i] / white[i];
        if t > (6.0_f64 / 29.0).powi(3) { t.cbrt() } else { t * (29.0_f64 / 6.0).powi(2) / 3.0 + 4.0 / 29.0 }
    };
    [116.0 * f(1) - 16.0, 500.0 * (f(0) - f(1)), 200.0 * (f(1) - f(2))]
}

/// CIE lightness L* of a colour, 0 (black) to 100 (white).
pub(super) fn lightness(colour: Rgb) -> f64 {
    lab(linear(colour))[0]
}

/// CIEDE2000 difference of two colours as this eye sees them: 0 for the same colour, about 1 for the least visible
/// difference, 100 for black against white.
pub fn difference(a: Rgb, b: Rgb, vision: Vision) -> f64 {
    ciede2000(lab(vision.sees(a)), lab(vision.sees(b)))
}

/// CIEDE2000 with unit weights, after Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula", Color Research
/// and Application 30(1), 2005.
fn ciede2000([l1, a1, b1]: [f64; 3], [l2, a2, b2]: [f64; 3]) -> f64 {
    let pull = |c: f64| (c.powi(7) / (c.powi(7) + 25.0_f64.powi(7))).sqrt();
    let g = 0.5 * (1.0 - pull((a1.hypot(b1) + a2.hypot(b2)) / 2.0));
    let (a1, a2) = (a1 * (1.0 + g), a2 * (1.0 + g));
    let (c1, c2) = (a1.hypot(b1), a2.hypot(b2));
    let hue = |a: f64, b: f64| if a == 0.0 && b == 0.0 { 0.0 } else { b.atan2(a).to_degrees().rem_euclid(360.0) };
    let (h1, h2) = (hue(a1, b1), hue(a2, b2));

    let grey = c1 * c2 == 0.0;
    let turn = if grey { 0.0 } else { (h2 - h1 + 540.0).rem_euclid(360.0) - 180.0 };
    let delta_h = 2.0 * (c1 * c2).sqrt() * (turn / 2.0).to_radians().sin();
    let (delta_l, delta_c) = (l2 - l1, c2 - c1);

    let (mean_l, mean_c) = ((l1 + l2) / 2.0, (c1 + c2) / 2.0);
    let mean_h = match h1 + h2 {
        sum if grey => sum,
        sum if (h1 - h2).abs() <= 180.0 => sum / 2.0,
        sum if sum < 360.0 => (sum + 360.0) / 2.0,
        sum => (sum - 360.0) / 2.0,
    };
    let cos = |degrees: f64| degrees.to_radians().cos();
    let t = 1.0 - 0.17 * cos(mean_h - 30.0) + 0.24 * cos(2.0 * mean_h) + 0.32 * cos(3.0 * mean_h + 6.0)
        - 0.20 * cos(4.0 * mean_h - 63.0);
    let s_l = 1.0 + 0.015 * (mean_l - 50.0).powi(2) / (20.0 + (mean_l - 50.0).powi(2)).sqrt();
    let s_c = 1.0 + 0.045 * mean_c;
    let s_h = 1.0 + 0.015 * mean_c * t;
    let rotation = 30.0 * (-((mean_h - 275.0) / 25.0).powi(2)).exp();
    let r_t = -2.0 * pull(mean_c) * (2.0 * rotation).to_radians().sin();
    let (l, c, h) = (delta_l / s_l, delta_c / s_c, delta_h / s_h);
    (l * l + c * c + h * h + r_t * c * h).max(0.0).sqrt()
}

/// A colour between two, mixed in sRGB as a translucent ink would be: `share` 0 gives `a`, 1 gives `b`.
pub(super) fn mix(a: Rgb, b: Rgb, share: f64) -> Rgb {
    let channel = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
    Rgb(channel(a.0, b.0), channel(a.1, b.1), channel(a.2, b.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: Rgb = Rgb(255, 0, 0);
    const GREEN: Rgb = Rgb(0, 128, 0);

    /// Pairs from table 1 of Sharma, Wu and Dalal 2005, chosen where implementations go wrong: hue wraps, greys, the
    /// rotation term.
    #[test]
    fn ciede2000_equals_the_published_test_pairs() {
        let pairs = [
            ([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485], 2.0425),
            ([50.0, -1.1848, -84.8006], [50.0, 0.0, -82.7485], 1.0000),
            ([50.0, 0.0, 0.0], [50.0, -1.0, 2.0], 2.3669),
            ([50.0, 2.49, -0.001], [50.0, -2.49, 0.0009], 7.1792),
            ([50.0, 2.49, -0.001], [50.0, -2.49, 0.0011], 7.2195),
            ([50.0, 2.5, 0.0], [73.0, 25.0, -18.0], 27.1492),
            ([50.0, 2.5, 0.0], [50.0, 3.1736, 0.5854], 1.0000),
            ([60.2574, -34.0099, 36.2677], [60.4626, -34.1751, 39.4387], 1.2644),
            ([22.7233, 20.0904, -46.6940], [23.0331, 14.9730, -42.5619], 2.0373),
            ([2.0776, 0.0795, -1.1350], [0.9033, -0.0636, -0.5514], 0.9082),
        ];
        for (a, b, expected) in pairs {
            assert!((ciede2000(a, b) - expected).abs() < 5e-5, "{a:?} {b:?}: {}", ciede2000(a, b));
            assert!((ciede2000(b, a) - expected).abs() < 5e-5, "not symmetric: {a:?} {b:?}");
        }
    }

    #[test]
    fn greys_look_the_same_to_every_eye() {
        for grey in [0, 40, 128, 200, 255] {
            let grey = Rgb(grey, grey, grey);
            for vision in Vision::ALL {
                let seen = vision.sees(grey);
                let plain = linear(grey);
                assert!(seen.iter().zip(plain).all(|(a, b)| (a - b).abs() < 1e-5), "{vision:?} {grey}");
            }
        }
    }

    #[test]
    fn black_and_white_are_a_hundred_apart() {
        assert!((difference(Rgb(0, 0, 0), Rgb(255, 255, 255), Vision::Normal) - 100.0).abs() < 1e-6);
        assert_eq!(difference(RED, RED, Vision::Deuteranopia), 0.0);
    }

    /// Values of scikit-image 0.26 `deltaE_ciede2000` on what colorspacious 1.1 `sRGB1+CVD`, severity 100, shows.
    #[test]
    fn simulated_differences_equal_scikit_image_and_colorspacious() {
        let (yellow, lime, purple, blue) = (Rgb(255, 255, 0), Rgb(0, 255, 0), Rgb(128, 0, 128), Rgb(0, 0, 255));
        let cases = [
            (RED, GREEN, [72.182, 7.702, 15.744]),
            (yellow, lime, [23.404, 4.070, 8.655]),
            (purple, blue, [19.843, 17.798, 15.836]),
            (RED, lime, [86.608, 42.423, 19.409]),
            (GREEN, blue, [62.656, 66.256, 66.011]),
        ];
        for (a, b, expected) in cases {
            for (vision, expected) in Vision::ALL.into_iter().zip(expected) {
                let found = difference(a, b, vision);
                assert!((found - expected).abs() < 0.05, "{a} {b} {vision:?}: {found}, expected {expected}");
            }
        }
    }
}
