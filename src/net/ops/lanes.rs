//! Vectors of f32 or f64 as wide as the machine has them, for kernels that are written once for all instruction sets.
//!
//! `pulp` finds the instruction set at run time: AVX-512, AVX2 with FMA, NEON, or plain numbers. `S2PIPE_SIMD` set to
//! `avx2` or `portable` asks for less than there is, to test the paths that other machines take.

use std::sync::OnceLock;

use pulp::{Arch, Simd, WithSimd};

use super::element::Element;

/// An element type and its vectors under instruction set `S`.
pub(crate) trait Lanes: Element {
    /// Several values side by side.
    type Vector<S: Simd>: Copy;

    /// All lanes `value`.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;
    /// `a + b`.
    fn plus<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a - b`.
    fn minus<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a * b`.
    fn times<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a * b + c`, in one rounding where the machine has such an instruction.
    fn times_plus<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    /// `value` where it is above `floor` or NaN, else `floor`.
    fn above<S: Simd>(simd: S, value: Self::Vector<S>, floor: Self::Vector<S>) -> Self::Vector<S>;
    /// The first lanes from `values`, the rest 0. `values` must not be longer than a vector.
    fn partial_load<S: Simd>(simd: S, values: &[Self]) -> Self::Vector<S>;
    /// The first lanes to `values`, which must not be longer than a vector.
    fn partial_store<S: Simd>(simd: S, values: &mut [Self], vector: Self::Vector<S>);

    /// Values in a vector.
    #[inline(always)]
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::Vector<S>>() / size_of::<Self>()
    }
}

macro_rules! lanes {
    ($t:ident, $vector:ident, $splat:ident, $add:ident, $sub:ident, $mul:ident, $mul_add:ident, $at_most:ident,
     $select:ident, $load:ident, $store:ident) => {
        impl Lanes for $t {
            type Vector<S: Simd> = S::$vector;

            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$vector {
                simd.$splat(value)
            }

            #[inline(always)]
            fn plus<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$add(a, b)
            }

            #[inline(always)]
            fn minus<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$sub(a, b)
            }

            #[inline(always)]
            fn times<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$mul(a, b)
            }

            #[inline(always)]
            fn times_plus<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                simd.$mul_add(a, b, c)
            }

            #[inline(always)]
            fn above<S: Simd>(simd: S, value: S::$vector, floor: S::$vector) -> S::$vector {
                simd.$select(simd.$at_most(value, floor), floor, value)
            }

            #[inline(always)]
            fn partial_load<S: Simd>(simd: S, values: &[Self]) -> S::$vector {
                simd.$load(values)
            }

            #[inline(always)]
            fn partial_store<S: Simd>(simd: S, values: &mut [Self], vector: S::$vector) {
                simd.$store(values, vector);
            }
        }
    };
}

lanes!(
    f32,
    f32s,
    splat_f32s,
    add_f32s,
    sub_f32s,
    mul_f32s,
    mul_add_e_f32s,
    less_than_or_equal_f32s,
    select_f32s,
    partial_load_f32s,
    partial_store_f32s
);
lanes!(
    f64,
    f64s,
    splat_f64s,
    add_f64s,
    sub_f64s,
    mul_f64s,
    mul_add_e_f64s,
    less_than_or_equal_f64s,
    select_f64s,
    partial_load_f64s,
    partial_store_f64s
);

/// Runs `kernel` under the instruction set in use.
#[inline(always)]
pub(crate) fn dispatch<K: WithSimd>(kernel: K) -> K::Output {
    static USED: OnceLock<Arch> = OnceLock::new();
    USED.get_or_init(instruction_set).dispatch(kernel)
}

/// The best that the machine has, or less where the environment says so.
fn instruction_set() -> Arch {
    match std::env::var("S2PIPE_SIMD").as_deref() {
        Ok("portable") => Arch::Scalar,
        #[cfg(target_arch = "x86_64")]
        Ok("avx2") => pulp::x86::V3::try_new().map_or(Arch::Scalar, Arch::V3),
        _ => Arch::new(),
    }
}
