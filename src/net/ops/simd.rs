//! Loops over channels that a compiler can vectorise.
//!
//! A row of 16 channels is too short for 16-lane vectors, let alone for unrolling. So per-channel values are repeated to
//! rows of [`WIDE`] values or more, and a pass takes several pixels at a time.

use super::element::Element;
use super::lanes;

/// Values in a row, at least.
const WIDE: usize = 256;

/// Runs `f` compiled for the vectors in use: the widest that this machine has, or those that the environment asks for.
#[inline(always)]
pub(crate) fn dispatch<R>(f: impl FnOnce() -> R) -> R {
    lanes::dispatch(f)
}

/// One value a channel, repeated until there are [`WIDE`] or more.
pub(crate) fn repeat<T: Element>(values: &[T]) -> Vec<T> {
    values.repeat(WIDE.div_ceil(values.len()).max(1))
}

/// Sums, one a channel, of sums over a wide row; in order.
pub(crate) fn fold<T: Element>(wide: &[T], channels: usize) -> Vec<T> {
    let mut sums = vec![T::ZERO; channels];
    for row in wide.chunks_exact(channels) {
        for (s, v) in sums.iter_mut().zip(row) {
            *s += *v;
        }
    }
    sums
}
