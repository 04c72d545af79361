//! Columns for the matrix product: for a run of destination pixels, all the source values that each one sees.

use super::super::element::Element;
use super::geometry::View;

/// Writes `[pixels, kernel * kernel * channels]` for the destination pixels `first..`, counted over the whole batch in
/// row-major order, until `columns` is full.
pub(super) fn gather<T: Element>(view: &View, source: &[T], first: usize, columns: &mut [T]) {
    let [dst_height, dst_width] = view.seen_from;
    let depth = view.depth();
    let last = first + columns.len() / depth;
    let mut pixel = first;
    while pixel < last {
        let (row, x) = (pixel / dst_width, pixel % dst_width);
        let run = (dst_width - x).min(last - pixel);
        let (image, y) = (row / dst_height, row % dst_height);
        let from = (pixel - first) * depth;
        gather_run(view, source, [image, y, x], &mut columns[from..from + run * depth]);
        pixel += run;
    }
}

/// Columns of destination pixels that lie side by side in one row.
fn gather_run<T: Element>(view: &View, source: &[T], [image, y, x]: [usize; 3], columns: &mut [T]) {
    let (row_len, tap_row) = (view.width * view.channels, view.kernel * view.channels);
    for ky in 0..view.kernel {
        let columns = columns.chunks_exact_mut(view.depth()).map(|c| &mut c[ky * tap_row..(ky + 1) * tap_row]);
        match view.source(y, ky, view.height) {
            None => columns.for_each(|c| c.fill(T::ZERO)),
            Some(sy) => {
                let row = &source[(image * view.height + sy) * row_len..][..row_len];
                if view.multiply == 1 && view.divide == 1 && view.spacing == 1 {
                    columns.enumerate().for_each(|(i, c)| copy_window(view, row, (x + i) as isize + view.offset, c));
                } else {
                    columns.enumerate().for_each(|(i, c)| copy_taps(view, row, x + i, c));
                }
            }
        }
    }
}

/// Neighbouring taps are neighbouring pixels: one copy, cut at the image's border.
#[inline(always)]
fn copy_window<T: Element>(view: &View, row: &[T], start: isize, column: &mut [T]) {
    let (kernel, width, c) = (view.kernel as isize, view.width as isize, view.channels);
    if start >= 0 && start + kernel <= width {
        let at = start as usize * c;
        column.copy_from_slice(&row[at..at + column.len()]);
        return;
    }
    column.fill(T::ZERO);
    let (from, to) = (start.max(0), (start + kernel).min(width));
    if from < to {
        let (from, to, skipped) = (from as usize, to as usize, (from - start) as usize);
        column[skipped * c..(skipped + to - from) * c].copy_from_slice(&row[from * c..to * c]);
    }
}

/// Taps one by one, for strides and dilations other than 1.
fn copy_taps<T: Element>(view: &View, row: &[T], x: usize, column: &mut [T]) {
    for (kx, tap) in column.chunks_exact_mut(view.channels).enumerate() {
        match view.source(x, kx, view.width) {
            None => tap.fill(T::ZERO),
            Some(sx) => tap.copy_from_slice(&row[sx * view.channels..][..view.channels]),
        }
    }
}
