//! Matrix product with a right side in panels: the inner loop of our convolutions.
//!
//! A block of rows times one panel is held in registers while it is summed up. A panel is one to three vectors wide and
//! lies in memory in the order in which it is read, so that it streams from whichever cache it is in.

use pulp::Simd;

use super::lanes::Lanes;

/// Rows are multiplied in blocks of this many; buffers are padded to it.
pub(crate) const ROWS: usize = 8;

/// How `columns` columns are cut into panels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Panels {
    /// Vectors over all panels.
    vectors: usize,
    /// Vectors in a panel.
    each: usize,
    /// Values in a vector.
    lanes: usize,
}

impl<T> Onto<T> {
    /// [`Onto::Place`] or [`Onto::Nothing`].
    #[inline(always)]
    pub(crate) fn place(add: bool) -> Self {
        if add { Self::Place } else { Self::Nothing }
    }
}

impl Panels {
    /// The widest panels that leave no remainder.
    #[inline(always)]
    pub(crate) fn new<T: Lanes, S: Simd>(columns: usize) -> Self {
        let lanes = T::lanes::<S>();
        let vectors = columns.div_ceil(lanes);
        let each = [3, 2].into_iter().find(|n| vectors.is_multiple_of(*n)).unwrap_or(1);
        Self { vectors, each, lanes }
    }

    /// Columns with those that fill up the last vector.
    #[inline(always)]
    pub(crate) fn width(&self) -> usize {
        self.vectors * self.lanes
    }

    /// Columns of a panel.
    #[inline(always)]
    pub(crate) fn panel_width(&self) -> usize {
        self.each * self.lanes
    }

    /// Number of panels.
    #[inline(always)]
    pub(crate) fn count(&self) -> usize {
        self.vectors / self.each
    }

    /// Where vector `vector` of row `row` lies, in panels of `depth` rows.
    #[inline(always)]
    pub(crate) fn place(&self, vector: usize, row: usize, depth: usize) -> usize {
        (vector / self.each * depth + row) * self.panel_width() + vector % self.each * self.lanes
    }
}

/// The left side: value `(row, k)` lies at `start + row * row_step + k * depth_step`.
#[derive(Clone, Copy)]
pub(crate) struct Left<T> {
    pub(crate) start: *const T,
    pub(crate) row_step: usize,
    pub(crate) depth_step: usize,
}

/// The right side's panel: its rows, `row_step` values apart.
#[derive(Clone, Copy)]
pub(crate) struct Right<T> {
    pub(crate) start: *const T,
    pub(crate) row_step: usize,
}

/// What the product is added to.
#[derive(Clone, Copy)]
pub(crate) enum Onto<T> {
    /// Nothing.
    Nothing,
    /// What stands in its place.
    Place,
    /// The same row everywhere, as long as the panel is wide.
    Row(*const T),
}

/// The product's place: row-major rows of `row_step` values.
#[derive(Clone, Copy)]
pub(crate) struct Product<T> {
    pub(crate) start: *mut T,
    pub(crate) row_step: usize,
    pub(crate) onto: Onto<T>,
}

/// `product = left * panel` for `rows` rows (a multiple of [`ROWS`]) and one panel of `depth` rows.
///
/// # Safety
/// All places that `left`, `panel` and `product` describe may be read and, for the product, written, and nobody else
/// writes there.
#[inline(always)]
#[expect(unsafe_code, reason = "the inner loop: bounds are the caller's, who lays the buffers out")]
pub(crate) unsafe fn multiply_panel<T: Lanes, S: Simd>(
    simd: S,
    (rows, depth): (usize, usize),
    left: Left<T>,
    panel: Right<T>,
    product: Product<T>,
    panels: Panels,
) {
    debug_assert!(rows.is_multiple_of(ROWS));
    // SAFETY: passed on.
    unsafe {
        match (panels.each, S::REGISTER_COUNT >= 32) {
            (3, true) => blocks::<T, S, 8, 3>(simd, (rows, depth), left, panel, product),
            (2, true) => blocks::<T, S, 8, 2>(simd, (rows, depth), left, panel, product),
            (_, true) => blocks::<T, S, 8, 1>(simd, (rows, depth), left, panel, product),
            (3, false) => blocks::<T, S, 4, 3>(simd, (rows, depth), left, panel, product),
            (2, false) => blocks::<T, S, 4, 2>(simd, (rows, depth), left, panel, product),
            (_, false) => blocks::<T, S, 4, 1>(simd, (rows, depth), left, panel, product),
        }
    }
}

/// `product = left * panels`, all panels of them.
///
/// # Safety
/// As [`multiply_panel`].
#[inline(always)]
#[expect(unsafe_code, reason = "as multiply_panel")]
pub(crate) unsafe fn multiply<T: Lanes, S: Simd>(
    simd: S,
    (rows, depth): (usize, usize),
    left: Left<T>,
    right: *const T,
    product: Product<T>,
    panels: Panels,
) {
    for panel in 0..panels.count() {
        // SAFETY: passed on; panels lie one after the other, their products side by side.
        unsafe {
            let start = right.add(panel * depth * panels.panel_width());
            let right = Right { start, row_step: panels.panel_width() };
            let product = Product { start: product.start.add(panel * panels.panel_width()), ..product };
            multiply_panel(simd, (rows, depth), left, right, product, panels);
        }
    }
}

#[inline(always)]
#[expect(unsafe_code, reason = "as multiply_panel")]
unsafe fn blocks<T: Lanes, S: Simd, const R: usize, const V: usize>(
    simd: S,
    (rows, depth): (usize, usize),
    left: Left<T>,
    panel: Right<T>,
    product: Product<T>,
) {
    for row in (0..rows).step_by(R) {
        // SAFETY: passed on, from row `row`.
        unsafe {
            let left = Left { start: left.start.add(row * left.row_step), ..left };
            let product = Product { start: product.start.add(row * product.row_step), ..product };
            block::<T, S, R, V>(simd, depth, left, panel, product);
        }
    }
}

/// `R` rows of one panel of `V` vectors.
#[inline(always)]
#[expect(unsafe_code, reason = "as multiply_panel")]
#[expect(clippy::needless_range_loop, reason = "indices of registers")]
unsafe fn block<T: Lanes, S: Simd, const R: usize, const V: usize>(
    simd: S,
    depth: usize,
    left: Left<T>,
    panel: Right<T>,
    product: Product<T>,
) {
    let lanes = T::lanes::<S>();
    let mut sums = [[T::splat(simd, T::ZERO); V]; R];
    // SAFETY: every place is one that the caller described.
    unsafe {
        for k in 0..depth {
            let mut right = [T::splat(simd, T::ZERO); V];
            for v in 0..V {
                right[v] = panel.start.add(k * panel.row_step + v * lanes).cast::<T::Vector<S>>().read_unaligned();
            }
            for r in 0..R {
                let value = T::splat(simd, *left.start.add(r * left.row_step + k * left.depth_step));
                for v in 0..V {
                    sums[r][v] = T::times_plus(simd, value, right[v], sums[r][v]);
                }
            }
        }
        for r in 0..R {
            for v in 0..V {
                let place = product.start.add(r * product.row_step + v * lanes).cast::<T::Vector<S>>();
                let sum = match product.onto {
                    Onto::Nothing => sums[r][v],
                    Onto::Place => T::plus(simd, sums[r][v], place.read_unaligned()),
                    Onto::Row(row) => {
                        let row = row.add(v * lanes).cast::<T::Vector<S>>();
                        T::plus(simd, sums[r][v], row.read_unaligned())
                    }
                };
                place.write_unaligned(sum);
            }
        }
    }
}
