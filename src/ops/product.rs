//! Matrix products of slices: gemm with its bounds checked.

use super::Real;

/// A matrix in memory.
pub(crate) struct Matrix<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Row-major, without gaps.
    pub(crate) fn new(values: &'a [T], rows: usize, columns: usize) -> Self {
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    pub(crate) fn transposed(&self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// Whether every entry lies inside `values`.
    fn fits(&self) -> bool {
        self.rows == 0
            || self.columns == 0
            || (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride < self.values.len()
    }
}

/// `out = left right`, `out` row-major with rows `stride` apart; on the calling thread alone.
pub(crate) fn multiply<T: Real>(left: &Matrix<'_, T>, right: &Matrix<'_, T>, out: &mut [T], stride: usize) {
    let (m, n, k) = (left.rows, right.columns, left.columns);
    assert!(left.fits() && right.fits() && k == right.rows && k > 0, "matrix product: sizes do not fit");
    assert!(m == 0 || n == 0 || (m - 1) * stride + n <= out.len(), "matrix product: the result does not fit");
    // SAFETY: every entry of the three matrices lies inside its slice (asserted above), `out` is borrowed mutably and
    // so overlaps neither input, T is f32 or f64, which gemm knows, and gemm writes the whole result without reading
    // what was there (`read_dst` is false, k is not zero).
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            false,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            T::zero(),
            T::one(),
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

    #[test]
    fn a_product_into_part_of_a_wider_matrix() {
        let (left, right) = (Matrix::new(&[1.0, 2.0, 3.0, 4.0], 2, 2), Matrix::new(&[1.0, 0.0, 1.0, 1.0], 2, 2));
        let mut out = [9.0; 6];
        multiply(&left, &right.transposed(), &mut out, 3);
        assert_eq!(out, [1.0, 3.0, 9.0, 3.0, 7.0, 9.0]);
    }

    #[test]
    fn the_width_of_a_product_changes_none_of_its_bytes() {
        // Tiles and batches cut products into other widths: the order of the sums must not follow.
        let value = |i: usize| (i as f32 * 0.37).sin();
        for (m, k, n) in [(24, 144, 200), (7, 1300, 60)] {
            let (left, right): (Vec<f32>, Vec<f32>) =
                ((0..m * k).map(value).collect(), (0..k * n).map(value).collect());
            let mut whole = vec![0.0; m * n];
            multiply(&Matrix::new(&left, m, k), &Matrix::new(&right, k, n), &mut whole, n);
            for (start, end) in [(0, n / 2), (n / 2, n / 2 + 7), (3, n)] {
                let part =
                    Matrix { values: &right[start..], rows: k, columns: end - start, row_stride: n, column_stride: 1 };
                let mut out = vec![0.0; m * n];
                multiply(&Matrix::new(&left, m, k), &part, &mut out[start..], n);
                for (a, b) in out.chunks(n).zip(whole.chunks(n)) {
                    assert_eq!(a[start..end], b[start..end]);
                }
            }
        }
    }
}
