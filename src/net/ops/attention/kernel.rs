//! Attention on the CPU: products of matrices a head, over a few rows of queries at a time, so that weights stay in the cache
//! and never lie in memory as a whole.

use rayon::prelude::*;

use super::super::chunks;
use super::super::element::Element;
use super::super::matmul::{Into, Mat, matmul};
use super::super::scratch::with_scratch;
use super::super::simd;
use super::sizes::Sizes;

/// Partial sums of an image's gradients of keys and values. Fixed, so that the sum's order does not depend on the number of
/// threads.
const PARTS: usize = 16;

/// Queries that are worked on at a time.
fn step(sizes: &Sizes) -> usize {
    chunks::rows(sizes.keys).min(sizes.queries)
}

/// A head's columns of rows of `sizes.channels`.
fn columns<'a, T>(rows: &'a [T], sizes: &Sizes, head: usize) -> Mat<'a, T> {
    Mat::columns(rows, sizes.channels, head * sizes.depth(), sizes.depth())
}

/// Puts what a head has, rows of `sizes.depth()`, to its columns of `rows`.
fn put<T: Element>(from: &[T], rows: &mut [T], sizes: &Sizes, head: usize) {
    let depth = sizes.depth();
    for (from, row) in from.chunks_exact(depth).zip(rows.chunks_exact_mut(sizes.channels)) {
        row[head * depth..][..depth].copy_from_slice(from);
    }
}

/// Joins the values of a row and `first` by `f`, side by side in lanes of a fixed number: one after the other would wait for
/// each.
#[inline(always)]
fn joined<T: Element>(row: &[T], first: T, f: impl Fn(T, T) -> T) -> T {
    const LANES: usize = 16;
    let mut lanes = [first; LANES];
    let whole = row.chunks_exact(LANES);
    let rest = whole.remainder();
    for values in whole {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane = f(*lane, *value);
        }
    }
    rest.iter().chain(&lanes).fold(first, |joined, value| f(joined, *value))
}

/// Turns rows of products into weights: `exp(scale * x)`, divided by the row's sum of it.
fn softmax<T: Element>(rows: &mut [T], keys: usize, scale: T) {
    simd::dispatch(|| {
        for row in rows.chunks_exact_mut(keys) {
            let max = joined(row, row[0], |max, value| if value > max { value } else { max });
            row.iter_mut().for_each(|value| *value = ((*value - max) * scale).exp());
            let share = T::ONE / joined(row, T::ZERO, |sum, value| sum + value);
            row.iter_mut().for_each(|value| *value *= share);
        }
    });
}

/// Weights of a head for rows of queries.
fn weigh<T: Element>(weights: &mut [T], q: &[T], k: &[T], sizes: &Sizes, head: usize) {
    matmul(weights, Into::Set, columns(q, sizes, head), columns(k, sizes, head).t());
    softmax(weights, sizes.keys, T::from_f64(sizes.scale()));
}

/// `y: [N, H, W, C]` from `q` of the same shape and `k` and `v`, `[N, h, w, C]`.
pub(super) fn forward<T: Element>(sizes: &Sizes, q: &[T], k: &[T], v: &[T]) -> Vec<T> {
    let (of_queries, of_keys) = (sizes.queries * sizes.channels, sizes.keys * sizes.channels);
    let rows = step(sizes) * sizes.channels;
    let mut y = vec![T::ZERO; q.len()];
    let images = q.par_chunks(of_queries).zip(k.par_chunks(of_keys)).zip(v.par_chunks(of_keys));
    y.par_chunks_mut(of_queries).zip(images).for_each(|(y, ((q, k), v))| {
        y.par_chunks_mut(rows).zip(q.par_chunks(rows)).for_each(|(y, q)| forward_rows(sizes, [q, k, v], y));
    });
    y
}

/// A few rows of queries of one image, on the calling thread.
fn forward_rows<T: Element>(sizes: &Sizes, [q, k, v]: [&[T]; 3], y: &mut [T]) {
    let rows = q.len() / sizes.channels;
    with_scratch(rows * (sizes.keys + sizes.depth()), |scratch| {
        let (weights, means) = scratch.split_at_mut(rows * sizes.keys);
        for head in 0..sizes.heads {
            weigh(weights, q, k, sizes, head);
            matmul(means, Into::Set, Mat::new(weights, rows, sizes.keys), columns(v, sizes, head));
            put(means, y, sizes, head);
        }
    });
}

/// Gradients of `q`, `k` and `v`, from that of the result.
pub(super) fn backward<T: Element>(sizes: &Sizes, [q, k, v]: [&[T]; 3], dy: &[T]) -> [Vec<T>; 3] {
    let (of_queries, of_keys) = (sizes.queries * sizes.channels, sizes.keys * sizes.channels);
    let [mut dq, mut dk, mut dv] = [q, k, v].map(|of| vec![T::ZERO; of.len()]);
    let operands = q.par_chunks(of_queries).zip(dy.par_chunks(of_queries));
    let operands = operands.zip(k.par_chunks(of_keys)).zip(v.par_chunks(of_keys));
    let gradients = dk.par_chunks_mut(of_keys).zip(dv.par_chunks_mut(of_keys));
    dq.par_chunks_mut(of_queries).zip(gradients).zip(operands).for_each(|((dq, (dk, dv)), (((q, dy), k), v))| {
        backward_image(sizes, [q, k, v, dy], [dq, dk, dv]);
    });
    [dq, dk, dv]
}

/// One image's gradients: sums over a part of the queries each, then over the parts in order.
fn backward_image<T: Element>(sizes: &Sizes, [q, k, v, dy]: [&[T]; 4], [dq, dk, dv]: [&mut [T]; 3]) {
    let (part, of_head) = (sizes.queries.div_ceil(PARTS) * sizes.channels, sizes.keys * sizes.depth());
    let parts = dq.par_chunks_mut(part).zip(q.par_chunks(part)).zip(dy.par_chunks(part));
    let sums = chunks::sum(parts.map(|((dq, q), dy)| backward_part(sizes, [q, k, v, dy], dq)).collect());
    for (head, sums) in sums.chunks_exact(2 * of_head).enumerate() {
        let (of_k, of_v) = sums.split_at(of_head);
        put(of_k, dk, sizes, head);
        put(of_v, dv, sizes, head);
    }
}

/// A part of one image's queries, on the calling thread. Gives what they add to the gradients of keys and values: for each
/// head `[keys, depth]` of the one, then of the other.
fn backward_part<T: Element>(sizes: &Sizes, [q, k, v, dy]: [&[T]; 4], dq: &mut [T]) -> Vec<T> {
    let (rows, of_head) = (step(sizes) * sizes.channels, sizes.keys * sizes.depth());
    let mut sums = vec![T::ZERO; 2 * sizes.heads * of_head];
    for (dq, (q, dy)) in dq.chunks_mut(rows).zip(q.chunks(rows).zip(dy.chunks(rows))) {
        for (head, sums) in sums.chunks_exact_mut(2 * of_head).enumerate() {
            backward_rows(sizes, head, [q, k, v, dy], dq, sums.split_at_mut(of_head));
        }
    }
    sums
}

/// A head's gradients over a few rows of queries. With the weights `p` and their gradient `dp = dy * v'`, that of the scaled
/// products is `p * (dp - sum over keys of p * dp)`.
fn backward_rows<T: Element>(
    sizes: &Sizes,
    head: usize,
    [q, k, v, dy]: [&[T]; 4],
    dq: &mut [T],
    (dk, dv): (&mut [T], &mut [T]),
) {
    let (keys, rows) = (sizes.keys, q.len() / sizes.channels);
    with_scratch(rows * (2 * keys + sizes.depth()), |scratch| {
        let (weights, rest) = scratch.split_at_mut(rows * keys);
        let (slopes, of_head) = rest.split_at_mut(rows * keys);
        weigh(weights, q, k, sizes, head);
        let dy = columns(dy, sizes, head);
        matmul(dv, Into::Add, Mat::new(weights, rows, keys).t(), dy);
        matmul(slopes, Into::Set, dy, columns(v, sizes, head).t());
        to_products(slopes, weights, keys, T::from_f64(sizes.scale()));
        let slopes = Mat::new(slopes, rows, keys);
        matmul(dk, Into::Add, slopes.t(), columns(q, sizes, head));
        matmul(of_head, Into::Set, slopes, columns(k, sizes, head));
        put(of_head, dq, sizes, head);
    });
}

/// Turns the gradients of `weights` into those of the products of queries and keys.
fn to_products<T: Element>(slopes: &mut [T], weights: &[T], keys: usize, scale: T) {
    simd::dispatch(|| {
        for (slopes, weights) in slopes.chunks_exact_mut(keys).zip(weights.chunks_exact(keys)) {
            slopes.iter_mut().zip(weights).for_each(|(slope, weight)| *slope *= *weight);
            let mean = joined(slopes, T::ZERO, |sum, value| sum + value);
            slopes.iter_mut().zip(weights).for_each(|(slope, weight)| *slope = (*slope - *weight * mean) * scale);
        }
    });
}
