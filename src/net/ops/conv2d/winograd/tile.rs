//! One tile between an image and its 36 transformed values, for one vector of channels.

use pulp::Simd;

use super::super::super::lanes::Lanes;
use super::transform;

/// Outputs a side of a tile.
pub(super) const SIDE: usize = 4;
/// Inputs a side of a tile.
pub(super) const REACH: usize = 6;
/// Transformed values of a tile.
pub(super) const POINTS: usize = REACH * REACH;

/// One tile of an image, and one vector of its channels.
#[derive(Clone, Copy)]
pub(super) struct Patch<P> {
    /// Where the tile's first pixel lies, or would lie if the image went on to there.
    pub(super) start: P,
    /// Values from one row to the next.
    pub(super) row_step: usize,
    /// Values from one pixel to the next.
    pub(super) pixel_step: usize,
    /// The tile's rows that lie in the image.
    pub(super) rows: (usize, usize),
    /// The tile's columns that lie in the image.
    pub(super) columns: (usize, usize),
    /// Channels in the vector: all its lanes, or fewer at the end of a pixel.
    pub(super) channels: usize,
}

impl<T> Patch<*const T> {
    /// The same, for a start that came from a pointer to write through.
    #[inline(always)]
    pub(super) fn writable(self) -> Patch<*mut T> {
        let Self { start, row_step, pixel_step, rows, columns, channels } = self;
        Patch { start: start.cast_mut(), row_step, pixel_step, rows, columns, channels }
    }
}

/// Reads a vector, or the first `channels` of it.
///
/// # Safety
/// `channels` values at `start` may be read.
#[inline(always)]
#[expect(unsafe_code, reason = "reads at places that a caller worked out")]
unsafe fn load<T: Lanes, S: Simd>(simd: S, start: *const T, channels: usize) -> T::Vector<S> {
    // SAFETY: passed on; a whole vector is read only where there are as many channels.
    unsafe {
        if channels == T::lanes::<S>() {
            start.cast::<T::Vector<S>>().read_unaligned()
        } else {
            T::partial_load(simd, std::slice::from_raw_parts(start, channels))
        }
    }
}

/// Writes a vector, or the first `channels` of it.
///
/// # Safety
/// `channels` values at `start` may be written.
#[inline(always)]
#[expect(unsafe_code, reason = "writes at places that a caller worked out")]
unsafe fn store<T: Lanes, S: Simd>(simd: S, start: *mut T, channels: usize, vector: T::Vector<S>) {
    // SAFETY: passed on; a whole vector is written only where there are as many channels.
    unsafe {
        if channels == T::lanes::<S>() {
            start.cast::<T::Vector<S>>().write_unaligned(vector);
        } else {
            T::partial_store(simd, std::slice::from_raw_parts_mut(start, channels), vector);
        }
    }
}

/// Row `row` of `patch`, `N` pixels of it; zeros beyond the image.
///
/// # Safety
/// All pixels that lie in the image may be read.
#[inline(always)]
#[expect(unsafe_code, reason = "reads at places that a caller worked out")]
unsafe fn load_row<T: Lanes, S: Simd, const N: usize>(
    simd: S,
    patch: &Patch<*const T>,
    row: usize,
) -> [T::Vector<S>; N] {
    let mut values = [T::splat(simd, T::ZERO); N];
    if row < patch.rows.0 || row >= patch.rows.1 {
        return values;
    }
    let inside = patch.columns == (0, N) && patch.channels == T::lanes::<S>();
    for (column, value) in values.iter_mut().enumerate() {
        if inside || (column >= patch.columns.0 && column < patch.columns.1) {
            let place = patch.start.wrapping_add(row * patch.row_step + column * patch.pixel_step);
            // SAFETY: the row and the column lie in the image.
            *value = unsafe { load::<T, S>(simd, place, if inside { T::lanes::<S>() } else { patch.channels }) };
        }
    }
    values
}

// No closures from here on: their code would not be compiled for the instruction set of `S`.

/// Column `column` of half a transform.
#[inline(always)]
fn column_of<V: Copy, const N: usize>(half: &[[V; REACH]; N], column: usize) -> [V; N] {
    let mut values = [half[0][column]; N];
    for (value, half) in values.iter_mut().zip(half) {
        *value = half[column];
    }
    values
}

/// The inverse of [`column_of`].
#[inline(always)]
fn set_column<V: Copy, const N: usize>(half: &mut [[V; REACH]; N], column: usize, values: [V; N]) {
    for (half, value) in half.iter_mut().zip(values) {
        half[column] = value;
    }
}

/// Reads one column of points, at `start` and every `REACH * point_step` values on.
///
/// # Safety
/// The six vectors may be read.
#[inline(always)]
#[expect(unsafe_code, reason = "reads at places that a caller worked out")]
unsafe fn load_points<T: Lanes, S: Simd>(simd: S, start: *const T, point_step: usize) -> [T::Vector<S>; REACH] {
    let mut values = [T::splat(simd, T::ZERO); REACH];
    for (row, value) in values.iter_mut().enumerate() {
        // SAFETY: passed on.
        *value = unsafe { start.add(row * REACH * point_step).cast::<T::Vector<S>>().read_unaligned() };
    }
    values
}

/// Writes one column of points, as [`load_points`] reads it.
///
/// # Safety
/// The six vectors may be written.
#[inline(always)]
#[expect(unsafe_code, reason = "writes at places that a caller worked out")]
unsafe fn store_points<T: Lanes, S: Simd>(values: [T::Vector<S>; REACH], start: *mut T, point_step: usize) {
    for (row, value) in values.into_iter().enumerate() {
        // SAFETY: passed on.
        unsafe { start.add(row * REACH * point_step).cast::<T::Vector<S>>().write_unaligned(value) };
    }
}

/// `Bᵀ x B`, value `i` to `out + i * point_step`.
///
/// # Safety
/// The patch's pixels in the image may be read, 36 vectors at `out` written.
#[inline(always)]
#[expect(unsafe_code, reason = "reads and writes at places that a caller worked out")]
pub(super) unsafe fn input<T: Lanes, S: Simd>(simd: S, patch: Patch<*const T>, out: *mut T, point_step: usize) {
    let mut half = [[T::splat(simd, T::ZERO); REACH]; REACH];
    for (row, half) in half.iter_mut().enumerate() {
        // SAFETY: passed on.
        *half = transform::input::<T, S>(simd, unsafe { load_row::<T, S, REACH>(simd, &patch, row) });
    }
    for column in 0..REACH {
        let whole = transform::input::<T, S>(simd, column_of(&half, column));
        // SAFETY: passed on.
        unsafe { store_points::<T, S>(whole, out.add(column * point_step), point_step) };
    }
}

/// `A dy Aᵀ`, value `i` to `out + i * point_step`.
///
/// # Safety
/// As [`input`].
#[inline(always)]
#[expect(unsafe_code, reason = "reads and writes at places that a caller worked out")]
pub(super) unsafe fn output_gradient<T: Lanes, S: Simd>(
    simd: S,
    patch: Patch<*const T>,
    out: *mut T,
    point_step: usize,
) {
    let mut half = [[T::splat(simd, T::ZERO); REACH]; SIDE];
    for (row, half) in half.iter_mut().enumerate() {
        // SAFETY: passed on.
        *half = transform::output_gradient::<T, S>(simd, unsafe { load_row::<T, S, SIDE>(simd, &patch, row) });
    }
    for column in 0..REACH {
        let whole = transform::output_gradient::<T, S>(simd, column_of(&half, column));
        // SAFETY: passed on.
        unsafe { store_points::<T, S>(whole, out.add(column * point_step), point_step) };
    }
}

/// `Aᵀ m A`, plus `bias`, at least `floor`, into the image; value `i` of `m` lies at `products + i * point_step`.
///
/// # Safety
/// 36 vectors at `products` may be read, the patch's pixels in the image written, by nobody else.
#[inline(always)]
#[expect(unsafe_code, reason = "reads and writes at places that a caller worked out")]
pub(super) unsafe fn output<T: Lanes, S: Simd>(
    simd: S,
    products: *const T,
    point_step: usize,
    (bias, floor): (T::Vector<S>, Option<T::Vector<S>>),
    patch: Patch<*mut T>,
) {
    let mut half = [[T::splat(simd, T::ZERO); REACH]; SIDE];
    for column in 0..REACH {
        // SAFETY: passed on.
        let values = unsafe { load_points::<T, S>(simd, products.wrapping_add(column * point_step), point_step) };
        let values = transform::output::<T, S>(simd, values);
        set_column(&mut half, column, values);
    }
    let inside = patch.columns == (0, SIDE) && patch.channels == T::lanes::<S>();
    for (row, half) in half.into_iter().enumerate() {
        if row < patch.rows.0 || row >= patch.rows.1 {
            continue;
        }
        for (column, value) in transform::output::<T, S>(simd, half).into_iter().enumerate() {
            if !inside && (column < patch.columns.0 || column >= patch.columns.1) {
                continue;
            }
            let value = T::plus(simd, value, bias);
            let value = match floor {
                Some(floor) => T::above(simd, value, floor),
                None => value,
            };
            let place = patch.start.wrapping_add(row * patch.row_step + column * patch.pixel_step);
            // SAFETY: the row and the column lie in the image.
            unsafe { store::<T, S>(simd, place, if inside { T::lanes::<S>() } else { patch.channels }, value) };
        }
    }
}

/// `G g Gᵀ` of the kernels of one input and `channels` output channels; tap `i` of `g` lies at `taps + i * tap_step`,
/// value `i` goes to `out + i * point_step`.
///
/// # Safety
/// `channels` values of all nine taps may be read, 36 vectors at `out` written.
#[inline(always)]
#[expect(unsafe_code, reason = "reads and writes at places that a caller worked out")]
pub(super) unsafe fn kernel<T: Lanes, S: Simd>(
    simd: S,
    (taps, tap_step): (*const T, usize),
    channels: usize,
    out: *mut T,
    point_step: usize,
) {
    let mut half = [[T::splat(simd, T::ZERO); REACH]; 3];
    for (row, half) in half.iter_mut().enumerate() {
        let mut g = [T::splat(simd, T::ZERO); 3];
        for (i, g) in g.iter_mut().enumerate() {
            // SAFETY: passed on.
            *g = unsafe { load::<T, S>(simd, taps.add((row * 3 + i) * tap_step), channels) };
        }
        *half = transform::kernel::<T, S>(simd, g);
    }
    for column in 0..REACH {
        let whole = transform::kernel::<T, S>(simd, column_of(&half, column));
        // SAFETY: passed on.
        unsafe { store_points::<T, S>(whole, out.add(column * point_step), point_step) };
    }
}

/// `Gᵀ u G`, the inverse way of [`kernel`]: value `i` of `u` lies at `points + i * point_step`.
///
/// # Safety
/// 36 vectors at `points` may be read, `channels` values of all nine taps written, by nobody else.
#[inline(always)]
#[expect(unsafe_code, reason = "reads and writes at places that a caller worked out")]
pub(super) unsafe fn kernel_gradient<T: Lanes, S: Simd>(
    simd: S,
    points: *const T,
    point_step: usize,
    (taps, tap_step): (*mut T, usize),
    channels: usize,
) {
    let mut half = [[T::splat(simd, T::ZERO); REACH]; 3];
    for column in 0..REACH {
        // SAFETY: passed on.
        let values = unsafe { load_points::<T, S>(simd, points.wrapping_add(column * point_step), point_step) };
        set_column(&mut half, column, transform::kernel_gradient::<T, S>(simd, values));
    }
    for (row, half) in half.into_iter().enumerate() {
        for (i, value) in transform::kernel_gradient::<T, S>(simd, half).into_iter().enumerate() {
            // SAFETY: passed on.
            unsafe { store::<T, S>(simd, taps.add((row * 3 + i) * tap_step), channels, value) };
        }
    }
}
