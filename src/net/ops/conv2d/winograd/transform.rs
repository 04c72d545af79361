//! The one-dimensional transforms of F(4, 3), a vector of channels at a time.
//!
//! Four outputs of a convolution with three taps are a product of polynomials, taken apart at the points 0, ±√½, ±√2 and
//! infinity (Lavin and Gray 2016, with Winograd's minimal filtering; the points are those whose powers stay closest to 1,
//! which keeps rounding errors small). With `⊙` for the product value by value:
//!
//! ```text
//! y  = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ x B)] A        a 4x4 tile of the result, from 6x6 values and a 3x3 kernel
//! dg = Gᵀ [(A dy Aᵀ) ⊙ (Bᵀ x B)] G       the same tile's share of the kernel's gradient
//! ```

use pulp::Simd;

use super::super::super::lanes::Lanes;

const P: f64 = std::f64::consts::FRAC_1_SQRT_2;
const Q: f64 = std::f64::consts::SQRT_2;

/// `a * c + b` with a constant `c`.
#[inline(always)]
fn axpy<T: Lanes, S: Simd>(simd: S, c: f64, a: T::Vector<S>, b: T::Vector<S>) -> T::Vector<S> {
    T::times_plus(simd, a, T::splat(simd, T::from_f64(c)), b)
}

#[inline(always)]
fn scale<T: Lanes, S: Simd>(simd: S, c: f64, a: T::Vector<S>) -> T::Vector<S> {
    T::times(simd, a, T::splat(simd, T::from_f64(c)))
}

/// `(even + odd, even - odd)`.
#[inline(always)]
fn pair<T: Lanes, S: Simd>(simd: S, even: T::Vector<S>, odd: T::Vector<S>) -> [T::Vector<S>; 2] {
    [T::plus(simd, even, odd), T::minus(simd, even, odd)]
}

/// `Bᵀ x`: six values of the input.
#[inline(always)]
pub(super) fn input<T: Lanes, S: Simd>(simd: S, x: [T::Vector<S>; 6]) -> [T::Vector<S>; 6] {
    let first = axpy::<T, S>(simd, -2.5, x[2], T::plus(simd, x[0], x[4]));
    let last = axpy::<T, S>(simd, -2.5, x[3], T::plus(simd, x[1], x[5]));
    let odd = scale::<T, S>(simd, P, axpy::<T, S>(simd, -2.0, x[1], x[3]));
    let [b, c] = pair::<T, S>(simd, axpy::<T, S>(simd, -2.0, x[2], x[4]), odd);
    let odd = scale::<T, S>(simd, Q, axpy::<T, S>(simd, -0.5, x[1], x[3]));
    let [d, e] = pair::<T, S>(simd, axpy::<T, S>(simd, -0.5, x[2], x[4]), odd);
    [first, b, c, d, e, last]
}

/// `Aᵀ m`: four values of the output.
#[inline(always)]
pub(super) fn output<T: Lanes, S: Simd>(simd: S, m: [T::Vector<S>; 6]) -> [T::Vector<S>; 4] {
    let [s, d] = pair::<T, S>(simd, m[1], m[2]);
    let [t, e] = pair::<T, S>(simd, m[3], m[4]);
    [
        T::plus(simd, m[0], T::plus(simd, s, t)),
        axpy::<T, S>(simd, P, d, scale::<T, S>(simd, Q, e)),
        axpy::<T, S>(simd, 0.5, s, scale::<T, S>(simd, 2.0, t)),
        axpy::<T, S>(simd, P / 2.0, d, axpy::<T, S>(simd, 2.0 * Q, e, m[5])),
    ]
}

/// `A dy`: four values of the output's gradient.
#[inline(always)]
pub(super) fn output_gradient<T: Lanes, S: Simd>(simd: S, y: [T::Vector<S>; 4]) -> [T::Vector<S>; 6] {
    let odd = scale::<T, S>(simd, P, axpy::<T, S>(simd, 0.5, y[3], y[1]));
    let [b, c] = pair::<T, S>(simd, axpy::<T, S>(simd, 0.5, y[2], y[0]), odd);
    let odd = scale::<T, S>(simd, Q, axpy::<T, S>(simd, 2.0, y[3], y[1]));
    let [d, e] = pair::<T, S>(simd, axpy::<T, S>(simd, 2.0, y[2], y[0]), odd);
    [y[0], b, c, d, e, y[3]]
}

/// `G g`: the three taps of a kernel.
#[inline(always)]
pub(super) fn kernel<T: Lanes, S: Simd>(simd: S, g: [T::Vector<S>; 3]) -> [T::Vector<S>; 6] {
    let even = scale::<T, S>(simd, -1.0 / 1.5, axpy::<T, S>(simd, 0.5, g[2], g[0]));
    let [b, c] = pair::<T, S>(simd, even, scale::<T, S>(simd, -P / 1.5, g[1]));
    let even = scale::<T, S>(simd, 1.0 / 6.0, axpy::<T, S>(simd, 2.0, g[2], g[0]));
    let [d, e] = pair::<T, S>(simd, even, scale::<T, S>(simd, Q / 6.0, g[1]));
    [g[0], b, c, d, e, g[2]]
}

/// `Gᵀ u`: the three taps of a kernel's gradient.
#[inline(always)]
pub(super) fn kernel_gradient<T: Lanes, S: Simd>(simd: S, u: [T::Vector<S>; 6]) -> [T::Vector<S>; 3] {
    let [s, d] = pair::<T, S>(simd, u[1], u[2]);
    let [t, e] = pair::<T, S>(simd, u[3], u[4]);
    [
        axpy::<T, S>(simd, -1.0 / 1.5, s, axpy::<T, S>(simd, 1.0 / 6.0, t, u[0])),
        axpy::<T, S>(simd, -P / 1.5, d, scale::<T, S>(simd, Q / 6.0, e)),
        axpy::<T, S>(simd, -0.5 / 1.5, s, axpy::<T, S>(simd, 2.0 / 6.0, t, u[5])),
    ]
}
