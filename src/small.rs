//! Small matrices: eigenvalues of symmetric ones by Jacobi's rotations (Golub and Van Loan, Matrix Computations, 8.5), and
//! inverses.

/// Sweeps after which any matrix of doubles is diagonal.
const SWEEPS: usize = 64;

/// The eigenvalues of a symmetric matrix `[n, n]`, and its eigenvectors as columns `[n, n]`.
pub(crate) fn eigen(matrix: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut a = matrix.to_vec();
    let mut vectors: Vec<f64> = (0..n * n).map(|i| f64::from(u8::from(i % (n + 1) == 0))).collect();
    for _ in 0..SWEEPS {
        let square = |off: bool| -> f64 { (0..n * n).filter(|i| (i / n != i % n) == off).map(|i| a[i] * a[i]).sum() };
        if square(true) <= 1e-30 * square(false) {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut vectors, n, (p, q));
            }
        }
    }
    ((0..n).map(|i| a[i * (n + 1)]).collect(), vectors)
}

/// Makes the entry `(p, q)` zero.
fn rotate(a: &mut [f64], vectors: &mut [f64], n: usize, (p, q): (usize, usize)) {
    let off = a[p * n + q];
    if off == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * off);
    let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    let turn = |values: &mut [f64], i: usize, j: usize| {
        let (left, right) = (values[i], values[j]);
        values[i] = cosine * left - sine * right;
        values[j] = sine * left + cosine * right;
    };
    for k in 0..n {
        turn(a, k * n + p, k * n + q);
        turn(vectors, k * n + p, k * n + q);
    }
    (0..n).for_each(|k| turn(a, p * n + k, q * n + k));
}

/// The square root of a symmetric matrix `[n, n]` without negative eigenvalues; those that rounding made negative count
/// as zero.
pub(crate) fn square_root(matrix: &[f64], n: usize) -> Vec<f64> {
    let (values, vectors) = eigen(matrix, n);
    let entry = |i: usize, j: usize| {
        (0..n).map(|k| vectors[i * n + k] * values[k].max(0.0).sqrt() * vectors[j * n + k]).sum::<f64>()
    };
    (0..n * n).map(|at| entry(at / n, at % n)).collect()
}

/// The inverse of a matrix `[n, n]`, by elimination with the largest pivots; `None` of a singular one.
pub(crate) fn inverse(matrix: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut rows: Vec<Vec<f64>> = (0..n)
        .map(|i| {
            let unit = (0..n).map(|j| f64::from(u8::from(i == j)));
            matrix[i * n..(i + 1) * n].iter().copied().chain(unit).collect()
        })
        .collect();
    for k in 0..n {
        let pivot = (k..n).max_by(|a, b| rows[*a][k].abs().total_cmp(&rows[*b][k].abs()))?;
        rows.swap(k, pivot);
        let pivot = rows[k].clone();
        if pivot[k] == 0.0 || !pivot[k].is_finite() {
            return None;
        }
        for (i, row) in rows.iter_mut().enumerate() {
            if i == k {
                row.iter_mut().for_each(|v| *v /= pivot[k]);
            } else {
                let factor = row[k] / pivot[k];
                row.iter_mut().zip(&pivot).for_each(|(v, p)| *v -= factor * p);
            }
        }
    }
    Some(rows.into_iter().flat_map(|row| row[n..].to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
        (0..n * n).map(|at| (0..n).map(|k| a[at / n * n + k] * b[k * n + at % n]).sum()).collect()
    }

    /// `b b^T` of a fixed b.
    fn positive(n: usize) -> Vec<f64> {
        let b: Vec<f64> = (0..n * n).map(|i| ((i * 7 + i * i % 5) as f64).sin()).collect();
        let transposed: Vec<f64> = (0..n * n).map(|at| b[at % n * n + at / n]).collect();
        product(&b, &transposed, n)
    }

    #[test]
    fn a_root_times_itself_is_the_matrix() {
        for n in [1, 2, 3, 12] {
            let matrix = positive(n);
            let root = square_root(&matrix, n);
            let square = product(&root, &root, n);
            assert!(square.iter().zip(&matrix).all(|(a, b)| (a - b).abs() < 1e-10), "{n}");
        }
    }

    #[test]
    fn a_matrix_times_its_inverse_is_one() {
        let matrix = [0.0, 2.0, 1.0, 1.0, 0.5, 0.0, 3.0, 0.0, -1.0];
        let product = product(&matrix, &inverse(&matrix, 3).unwrap(), 3);
        let one = |i: usize| f64::from(u8::from(i.is_multiple_of(4)));
        assert!(product.iter().enumerate().all(|(i, v)| (v - one(i)).abs() < 1e-12), "{product:?}");
        assert!(inverse(&[1.0, 2.0, 2.0, 4.0], 2).is_none());
    }

    #[test]
    fn eigenvectors_are_stretched_by_their_values() {
        let (n, matrix) = (6, positive(6));
        let (values, vectors) = eigen(&matrix, n);
        let stretched = product(&matrix, &vectors, n);
        for k in 0..n {
            for i in 0..n {
                assert!((stretched[i * n + k] - values[k] * vectors[i * n + k]).abs() < 1e-10);
            }
        }
        assert_eq!(eigen(&[2.0, 0.0, 0.0, -1.0], 2).0, [2.0, -1.0]);
    }
}
