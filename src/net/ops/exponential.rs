//! e to the power of an f32, and the natural logarithm, such that a compiler turns loops over them into vectors.
//!
//! The method and the polynomials are those of Moshier's Cephes library (`expf`, `logf`, netlib.org/cephes): Cody and Waite's
//! reduction to a short range around 0 or 1, then a polynomial. In place of its branches and of its rounding by library call
//! stand selections and the bits of the numbers. No step asks for a fused multiply-add, so results have the same bits on
//! every instruction set.

/// Below it, e to the power of `x` is no normal number any more: the logarithm of 2^-126.
const LOWEST: f32 = -87.336_54;

/// 1.5 * 2^23. A sum with it has no digits after the point, and a whole number in its last bits.
const ROUND: f32 = 12_582_912.0;

/// ln 2 in two parts. The first has so few digits that its product with an exponent is exact.
const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];

/// `exp(r) = 1 + r + r^2 * polynomial(r)` for `r` within ln 2 / 2 of 0; highest power first.
const EXP: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];

/// `ln(1 + f) = f - f^2 / 2 + f^3 * polynomial(f)` for `1 + f` between the root of 1/2 and that of 2.
const LN: [f32; 9] = [
    7.037_683_6e-2,
    -1.151_461e-1,
    1.167_699_9e-1,
    -1.242_014_1e-1,
    1.424_932_3e-1,
    -1.666_805_8e-1,
    2.000_071_5e-1,
    -2.499_999_4e-1,
    3.333_333e-1,
];

/// The root of 1/2, as bits.
const ROOT_OF_HALF: u32 = 0x3F35_04F3;
const MANTISSA_BITS: u32 = 23;
const MANTISSA: u32 = (1 << MANTISSA_BITS) - 1;
/// What the exponent's bits of a 1 hold.
const BIAS: u32 = 127;

/// From the highest power to the lowest.
#[inline(always)]
pub(super) fn polynomial<const N: usize>(coefficients: [f32; N], x: f32) -> f32 {
    let mut y = coefficients[0];
    for c in &coefficients[1..] {
        y = y * x + c;
    }
    y
}

/// e to the power of `x`, for `x` up to 88; relative error below 2e-7. Results that are no normal numbers (`x` below -87.3)
/// are 0. NaN gives NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2[0]) - n * LN_2[1];
    let e = (polynomial(EXP, r) * (r * r) + r) + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(BIAS) << MANTISSA_BITS);
    // A NaN is not below anything and comes through.
    if x < LOWEST { 0.0 } else { e * power }
}

/// The natural logarithm of a normal `x` above 0; relative error below 2e-7, also near 1. NaN gives NaN.
#[inline(always)]
pub(crate) fn ln(x: f32) -> f32 {
    // Counted from the root of 1/2, numbers up to the root of 2 have exponent 0: near 1 nothing cancels.
    let offset = x.to_bits().wrapping_sub(ROOT_OF_HALF);
    let exponent = (offset.cast_signed() >> MANTISSA_BITS) as f32;
    let f = f32::from_bits((offset & MANTISSA) + ROOT_OF_HALF) - 1.0;
    let square = f * f;
    let tail = (polynomial(LN, f) * (f * square) + exponent * LN_2[1]) - 0.5 * square;
    let y = (f + tail) + exponent * LN_2[0];
    if x.is_nan() { x } else { y }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_near(name: &str, x: f32, found: f32, exact: f64) {
        let error = (f64::from(found) - exact).abs();
        assert!(error <= 2e-7 * exact.abs(), "{name}({x:e}) is {found:e}, not {exact:e}");
    }

    #[test]
    fn exponentials_are_exact_to_the_last_digit_or_so() {
        for i in 0..=1_000_000 {
            // From where results are normal numbers to where they overflow, and finely around 0.
            for x in [-87.336 + i as f32 * 175.3e-6, (i - 500_000) as f32 * 1.5e-6] {
                assert_near("exp", x, exp(x), f64::from(x).exp());
            }
        }
        for (x, expected) in
            [(0.0, 1.0), (-0.0, 1.0), (1e-30, 1.0), (-87.4, 0.0), (-3e38, 0.0), (f32::NEG_INFINITY, 0.0)]
        {
            assert_eq!(exp(x).to_bits(), f32::to_bits(expected), "{x}");
        }
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn logarithms_are_exact_to_the_last_digit_or_so() {
        for i in 0..1_000_000 {
            // Sums of exponentials lie from 1 to the number of classes.
            for x in [1.0 + i as f32 * 255e-6, 0.4 + i as f32 * 2e-6] {
                assert_near("ln", x, ln(x), f64::from(x).ln());
            }
        }
        for bits in (f32::MIN_POSITIVE.to_bits()..f32::INFINITY.to_bits()).step_by(1001) {
            let x = f32::from_bits(bits);
            assert_near("ln", x, ln(x), f64::from(x).ln());
        }
        assert_eq!(ln(1.0).to_bits(), 0);
        assert!(ln(f32::NAN).is_nan());
    }

    #[test]
    fn logarithms_next_to_one_keep_their_digits() {
        for steps in 1..2000 {
            for x in [f32::from_bits(1f32.to_bits() + steps), f32::from_bits(1f32.to_bits() - steps)] {
                assert_near("ln", x, ln(x), f64::from(x).ln());
            }
        }
    }
}
