//! Normal equations with a ridge: `(z^T z + lambda) w = b`, by a factor of the smaller of the two sides of `z`.

use super::cholesky::Cholesky;
use super::gram::lower;
use super::lbfgs::dot;
use crate::ops::product::Matrix;

/// `z` `[row, column]`, and the lower triangle of its Gram matrix: of its rows where there are fewer rows than columns,
/// else of its columns.
#[derive(Debug)]
pub(super) struct Normal {
    z: Vec<f64>,
    columns: usize,
    gram: Vec<f64>,
    by_rows: bool,
}

/// The inverse of `z^T z + lambda`.
#[derive(Debug)]
pub(super) struct Inverse<'a> {
    /// Where the factor is that of `lambda + z z^T` (Woodbury's identity): the z. Else it is the matrix's own.
    rows: Option<&'a Normal>,
    factor: Cholesky,
    lambda: f64,
}

impl Normal {
    /// From the rows of `z`.
    pub(super) fn new(z: Vec<f64>, columns: usize) -> Self {
        let by_rows = z.len() < columns * columns;
        Self::by(by_rows, z, columns)
    }

    fn by(by_rows: bool, z: Vec<f64>, columns: usize) -> Self {
        let rows = z.len() / columns.max(1);
        let matrix = Matrix::new(&z, rows, columns);
        let gram = lower(&if by_rows { matrix } else { matrix.transposed() });
        Self { z, columns, gram, by_rows }
    }

    /// Sum of the squares of the Gram matrix's entries, which is that of `z^T z` whichever side was taken.
    pub(super) fn square_norm(&self) -> f64 {
        let side = self.gram.len().isqrt();
        let row = |(i, row): (usize, &[f64])| 2.0 * dot(&row[..i], &row[..i]) + row[i] * row[i];
        self.gram.chunks_exact(side.max(1)).enumerate().map(row).sum()
    }

    /// Sum of the squares of z's entries: the trace of `z^T z`.
    pub(super) fn trace(&self) -> f64 {
        dot(&self.z, &self.z)
    }

    /// The rows of z.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.z.chunks_exact(self.columns)
    }

    /// The factored inverse of `z^T z + lambda`.
    pub(super) fn inverse(&self, lambda: f64) -> Inverse<'_> {
        let side = self.gram.len().isqrt();
        let factor = Cholesky::ridged(self.gram.clone(), side, side, lambda);
        Inverse { rows: self.by_rows.then_some(self), factor, lambda }
    }

    /// `z^T y`.
    pub(super) fn combine(&self, y: &[f64]) -> Vec<f64> {
        self.rows().zip(y).fold(vec![0.0; self.columns], |mut sum, (z, y)| {
            sum.iter_mut().zip(z).for_each(|(s, z)| *s += y * z);
            sum
        })
    }
}

impl Inverse<'_> {
    /// Replaces b by the solution.
    pub(super) fn solve(&self, b: &mut [f64]) {
        let Some(normal) = self.rows else { return self.factor.solve(b) };
        let mut a: Vec<f64> = normal.rows().map(|z| dot(z, b)).collect();
        self.factor.solve(&mut a);
        b.iter_mut().zip(normal.combine(&a)).for_each(|(b, c)| *b = (*b - c) / self.lambda);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_give_the_same_solution() {
        for (rows, columns) in [(5, 9), (9, 5), (6, 6)] {
            let z: Vec<f64> = (0..rows * columns).map(|i| (i as f64 * 1.7 + (i * i % 13) as f64).sin()).collect();
            let b: Vec<f64> = (0..columns).map(|i| (i as f64).cos()).collect();
            let [left, right] = [true, false].map(|by_rows| {
                let mut x = b.clone();
                let normal = Normal::by(by_rows, z.clone(), columns);
                normal.inverse(1e-3).solve(&mut x);
                (x, normal.square_norm())
            });
            let off = left.0.iter().zip(&right.0).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off < 1e-9, "{rows} x {columns}: {off}");
            assert!((left.1 - right.1).abs() < 1e-9 * left.1);
        }
    }
}
