//! Cholesky factors of symmetric positive definite matrices, by blocks (Golub & Van Loan, Matrix Computations, 4.2.9).

use super::lbfgs::dot;
use crate::ops::product::{Matrix, multiply};

/// Columns that are eliminated before the rest of the matrix is brought up to date.
const BLOCK: usize = 64;

/// The lower triangle L of `A = L L^T`.
#[derive(Debug, Clone)]
pub struct Cholesky {
    /// Row-major; what stands above the diagonal means nothing.
    values: Vec<f64>,
    size: usize,
}

impl Cholesky {
    /// Factors a matrix `[size, size]`, row-major, of which the lower triangle is read. A pivot that rounding has made
    /// smaller than `least` counts as `least`: the factor is then that of a matrix with more on its diagonal.
    pub fn new(mut values: Vec<f64>, size: usize, least: f64) -> Self {
        for first in (0..size).step_by(BLOCK) {
            let last = (first + BLOCK).min(size);
            for i in first..size {
                let (above, row) = values.split_at_mut(i * size);
                for j in first..last.min(i) {
                    let left = &above[j * size..j * size + size];
                    row[j] = (row[j] - dot(&row[first..j], &left[first..j])) / left[j];
                }
                if i < last {
                    row[i] = (row[i] - dot(&row[first..i], &row[first..i])).max(least).sqrt();
                }
            }
            subtract_outer(&mut values, size, first, last);
        }
        Self { values, size }
    }

    /// Factors a matrix with a ridge added to the first of its diagonal.
    pub fn ridged(mut values: Vec<f64>, size: usize, ridged: usize, lambda: f64) -> Self {
        (0..ridged).for_each(|i| values[i * size + i] += lambda);
        Self::new(values, size, f64::EPSILON)
    }

    /// Replaces the first of b by the solution of `A x = b`; what lies behind is left alone.
    pub fn solve(&self, b: &mut [f64]) {
        for i in 0..self.size {
            let row = &self.values[i * self.size..];
            b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        }
        for i in (0..self.size).rev() {
            let row = &self.values[i * self.size..];
            b[i] /= row[i];
            let value = b[i];
            b[..i].iter_mut().zip(row).for_each(|(b, l)| *b -= value * l);
        }
    }
}

/// Takes the product of the finished columns with themselves from what lies below and right of them, strip by strip of
/// rows, each no further than the diagonal.
fn subtract_outer(values: &mut [f64], size: usize, first: usize, last: usize) {
    let mut product = vec![0.0; BLOCK * (size - last)];
    for top in (last..size).step_by(BLOCK) {
        let (rows, columns) = ((size - top).min(BLOCK), (top + BLOCK).min(size) - last);
        let side = |start: usize, rows| Matrix {
            values: &values[start * size + first..],
            rows,
            columns: last - first,
            row_stride: size,
            column_stride: 1,
        };
        multiply(&side(top, rows), &side(last, columns).transposed(), &mut product, columns);
        for (i, part) in product.chunks_exact(columns).take(rows).enumerate() {
            let row = &mut values[(top + i) * size + last..];
            row.iter_mut().zip(part).for_each(|(a, p)| *a -= p);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_what_multiplication_made() {
        for size in [1, 7, 64, 65, 200] {
            let part = |i: usize, j: usize| ((i * 13 + j * 7) % 29) as f64 / 29.0;
            let entry = |i: usize, j: usize| {
                let sum: f64 = (0..size).map(|k| part(i, k) * part(j, k)).sum();
                sum + if i == j { 1.0 } else { 0.0 }
            };
            let wanted: Vec<f64> = (0..size).map(|i| (i as f64).sin()).collect();
            let mut b: Vec<f64> = (0..size).map(|i| (0..size).map(|j| entry(i, j) * wanted[j]).sum()).collect();
            // The upper triangle is not read.
            let lower =
                (0..size * size).map(|k| if k % size > k / size { f64::NAN } else { entry(k / size, k % size) });
            Cholesky::new(lower.collect(), size, 0.0).solve(&mut b);
            let off = b.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off < 1e-9, "{size}: {off}");
        }
    }

    #[test]
    fn a_singular_matrix_has_a_factor_all_the_same() {
        let mut b = [1.0, 1.0];
        Cholesky::new(vec![1.0, 1.0, 1.0, 1.0], 2, 1e-12).solve(&mut b);
        assert!(b.iter().all(|v| v.is_finite()));
    }
}
