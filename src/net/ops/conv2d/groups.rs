//! Convolutions whose channels are cut into groups that do not see each other: one ordinary convolution a group, on
//! copies of its channels. One channel a group goes to [`depthwise`].

use std::ops::Range;

use rayon::prelude::*;

use super::super::chunks;
use super::super::element::Element;
use super::super::lanes::Lanes;
use super::depthwise;
use super::geometry::Geometry;
use super::kernel::{self, Epilogue};

/// `y: [N, OH, OW, Co]` from `x: [N, H, W, Ci]` and `w: [k, k, Ci / groups, Co]`.
pub(super) fn forward<T: Lanes>(g: &Geometry, x: &[T], w: &[T], bias: Option<&[T]>, then: Epilogue) -> Vec<T> {
    if depthwise::fits(g) {
        return depthwise::forward(g, x, w, bias, then);
    }
    let group = g.of_a_group();
    let mut y = vec![T::ZERO; g.out_pixels() * g.out_channels];
    for (inputs, outputs) in channels(g) {
        let bias = bias.map(|bias| &bias[outputs.clone()]);
        let (x, w) = (take(x, g.channels, &inputs), take(w, g.out_channels, &outputs));
        put(&mut y, g.out_channels, &outputs, &kernel::forward(&group, &x, &w, bias, then));
    }
    y
}

/// Gradients of the input (where asked for) and of the weights.
pub(super) fn backward<T: Lanes>(g: &Geometry, x: &[T], w: &[T], dy: &[T], want_dx: bool) -> (Option<Vec<T>>, Vec<T>) {
    if depthwise::fits(g) {
        return depthwise::backward(g, x, w, dy, want_dx);
    }
    let group = g.of_a_group();
    let mut dx = want_dx.then(|| vec![T::ZERO; x.len()]);
    let mut dw = vec![T::ZERO; w.len()];
    for (inputs, outputs) in channels(g) {
        let (x, w) = (take(x, g.channels, &inputs), take(w, g.out_channels, &outputs));
        let dy = take(dy, g.out_channels, &outputs);
        let (part, dw_part) = kernel::backward(&group, &x, &w, &dy, want_dx);
        put(&mut dw, g.out_channels, &outputs, &dw_part);
        if let (Some(dx), Some(part)) = (&mut dx, part) {
            put(dx, g.channels, &inputs, &part);
        }
    }
    (dx, dw)
}

/// Input and output channels of each group.
fn channels(g: &Geometry) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let Geometry { channels: ci, out_channels: co, .. } = g.of_a_group();
    (0..g.config.groups).map(move |i| (i * ci..(i + 1) * ci, i * co..(i + 1) * co))
}

/// The columns `part` of a matrix with `width` columns.
fn take<T: Element>(values: &[T], width: usize, part: &Range<usize>) -> Vec<T> {
    let (rows, step) = (values.len() / width, chunks::rows(width));
    let mut taken = vec![T::ZERO; rows * part.len()];
    taken.par_chunks_mut(step * part.len()).zip(values.par_chunks(step * width)).for_each(|(taken, values)| {
        for (taken, row) in taken.chunks_exact_mut(part.len()).zip(values.chunks_exact(width)) {
            taken.copy_from_slice(&row[part.clone()]);
        }
    });
    taken
}

/// The inverse of [`take`].
fn put<T: Element>(values: &mut [T], width: usize, part: &Range<usize>, taken: &[T]) {
    let step = chunks::rows(width);
    values.par_chunks_mut(step * width).zip(taken.par_chunks(step * part.len())).for_each(|(values, taken)| {
        for (row, taken) in values.chunks_exact_mut(width).zip(taken.chunks_exact(part.len())) {
            row[part.clone()].copy_from_slice(taken);
        }
    });
}
