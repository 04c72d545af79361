//! How operators cut their work.
//!
//! Floating-point sums depend on their order. Every cut here is a function of the shapes alone, never of the number of
//! threads, and partial results are combined in the order of the chunks. So a result has the same bits on 1, 2 or 64
//! threads, and in every run.

use candle_core::{D, Result, Tensor};
use rayon::prelude::*;

use super::element::{Element, host, with_float};
use super::simd;

/// Elements that a chunk of an element-wise pass holds: 64 KiB of f32, so that a second pass over it hits the cache.
const ELEMENTS: usize = 16 * 1024;

/// Rows a chunk holds when a row has `width` elements.
pub(crate) fn rows(width: usize) -> usize {
    (ELEMENTS / width.max(1)).max(1)
}

/// Applies `f` to every chunk of rows and returns the results in order.
pub(crate) fn map<R: Send>(total_rows: usize, width: usize, f: impl Fn(usize, usize) -> R + Sync) -> Vec<R> {
    let step = rows(width);
    (0..total_rows.div_ceil(step)).into_par_iter().map(|i| f(i * step, ((i + 1) * step).min(total_rows))).collect()
}

/// Sums equally long vectors element by element, from first to last.
pub(crate) fn sum<T: Element>(parts: Vec<Vec<T>>) -> Vec<T> {
    let mut parts = parts.into_iter();
    let Some(mut total) = parts.next() else { return Vec::new() };
    for part in parts {
        for (t, p) in total.iter_mut().zip(part) {
            *t += p;
        }
    }
    total
}

/// Sum over the rows of a row-major matrix with `width` columns: the gradient of a bias.
pub(crate) fn column_sums<T: Element>(values: &[T], width: usize) -> Vec<T> {
    let parts = map(values.len() / width, width, |a, b| sum_rows(&values[a * width..b * width], width));
    sum(parts)
}

/// [`column_sums`] of a matrix that fits the cache, on the calling thread.
pub(crate) fn sum_rows<T: Element>(values: &[T], width: usize) -> Vec<T> {
    let mut wide = simd::repeat(&vec![T::ZERO; width]);
    simd::dispatch(|| {
        for row in values.chunks(wide.len()) {
            for (s, v) in wide.iter_mut().zip(row) {
                *s += *v;
            }
        }
    });
    simd::fold(&wide, width)
}

/// [`column_sums`] of a tensor over all but its last dimension.
pub(crate) fn column_sums_of(op: &'static str, values: &Tensor) -> Result<Tensor> {
    let values = values.contiguous()?;
    let width = values.dim(D::Minus1)?;
    with_float!(op, values.dtype(), T => {
        let sums = column_sums::<T>(host(op, &values).slice()?, width);
        Tensor::from_vec(sums, width, values.device())
    })
}
