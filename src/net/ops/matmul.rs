//! Matrix product on slices: the one place that calls the `gemm` crate.

use super::element::Element;

/// A strided, read-only matrix. Rows may overlap.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a, T> {
    values: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> Mat<'a, T> {
    /// Row-major `rows` x `cols`.
    pub(crate) fn new(values: &'a [T], rows: usize, cols: usize) -> Self {
        Self { values, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The `width` columns from `first` on of a row-major matrix with `cols` columns.
    pub(crate) fn columns(values: &'a [T], cols: usize, first: usize, width: usize) -> Self {
        Self { values: &values[first..], rows: values.len() / cols, cols: width, row_stride: cols, col_stride: 1 }
    }

    /// The transpose, without a copy.
    pub(crate) fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// Index just past the last element.
    fn end(&self) -> usize {
        if self.rows == 0 || self.cols == 0 {
            return 0;
        }
        (self.rows - 1) * self.row_stride + (self.cols - 1) * self.col_stride + 1
    }
}

/// What happens to the old content of the destination.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    /// Overwritten.
    Set,
    /// The product is added to it.
    Add,
}

/// `dst = a * b` or `dst += a * b`, with `dst` row-major. Runs on the calling thread: the callers cut the work.
pub(crate) fn matmul<T: Element>(dst: &mut [T], into: Into, a: Mat<'_, T>, b: Mat<'_, T>) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner dimensions differ");
    assert_eq!(dst.len(), m * n, "destination has another size than the product");
    assert!(a.end() <= a.values.len() && b.end() <= b.values.len(), "an operand reaches past its values");
    if m == 0 || n == 0 {
        return;
    }
    let one = T::from_f64(1.0);
    // SAFETY: the asserts above keep every index that the strides can form inside the three slices; `dst` is borrowed
    // mutably, so it overlaps neither operand; `T` is f32 or f64, which `gemm` implements.
    #[expect(unsafe_code, reason = "the gemm crate has a pointer interface")]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst.as_mut_ptr(),
            1,
            n as isize,
            into == Into::Add,
            a.values.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            one,
            one,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(a: Mat<'_, f64>, b: Mat<'_, f64>) -> Vec<f64> {
        let mut out = vec![0.0; a.rows * b.cols];
        for i in 0..a.rows {
            for j in 0..b.cols {
                for k in 0..a.cols {
                    out[i * b.cols + j] +=
                        a.values[i * a.row_stride + k * a.col_stride] * b.values[k * b.row_stride + j * b.col_stride];
                }
            }
        }
        out
    }

    #[test]
    fn products_of_all_orientations_equal_the_triple_loop() {
        let values: Vec<f64> = (0..2000).map(|i| ((i * 7919) % 101) as f64 - 50.0).collect();
        for (m, n, k) in [(1, 1, 1), (3, 5, 2), (37, 16, 9), (16, 1, 20), (1, 16, 20), (17, 33, 1)] {
            for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
                let a = if ta { Mat::new(&values, k, m).t() } else { Mat::new(&values, m, k) };
                let b = if tb { Mat::new(&values[7..], n, k).t() } else { Mat::new(&values[7..], k, n) };
                let mut dst = vec![1.0; m * n];
                matmul(&mut dst, Into::Set, a, b);
                assert_eq!(dst, naive(a, b));
                matmul(&mut dst, Into::Add, a, b);
                let twice: Vec<f64> = naive(a, b).iter().map(|v| 2.0 * v).collect();
                assert_eq!(dst, twice);
            }
        }
    }
}
