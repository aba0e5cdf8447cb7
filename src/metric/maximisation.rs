//! Is a picture made by activation maximisation like real ones? Where its score lies among theirs, and how far its features
//! are from theirs.
//!
//! A set of features has one row a picture, all of one length. Every value is NaN where too few pictures leave it undefined.

use super::bootstrap::{quantile, ratio};
use crate::small::{eigen, square_root};

/// Most dimensions that the Fréchet distance is measured in.
const DIMENSIONS: usize = 8;
/// Pictures wanted for each of those dimensions.
const EACH: usize = 4;
/// Eigenvalues below this share of the largest are rounding.
const ROUNDING: f64 = 1e-10;

/// How many standard deviations (n - 1) a score lies above the mean of real ones. Any number; 0 is an average real picture.
pub fn z_score(score: f64, real: &[f64]) -> f64 {
    let mean = mean(real);
    let variance = real.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (real.len() as f64 - 1.0);
    if variance > 0.0 { (score - mean) / variance.sqrt() } else { f64::NAN }
}

/// Share of real scores below a score, those equal to it counted half; in [0, 1], 0.5 for a typical real picture.
pub fn percentile(score: f64, real: &[f64]) -> f64 {
    let part = |v: &f64| if *v < score { 1.0 } else { f64::from(u8::from(*v == score)) / 2.0 };
    if score.is_nan() { f64::NAN } else { ratio(real.iter().map(part).sum(), real.len() as f64) }
}

/// The places of the `count` highest scores, highest first; of equal ones the first.
pub fn top(scores: &[f64], count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..scores.len()).collect();
    places.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    places.truncate(count);
    places
}

/// Pearson's correlation of two lists, in [-1, 1]; NaN where one does not vary.
pub fn pearson(x: &[f64], y: &[f64]) -> f64 {
    let (mx, my) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        xy += (x - mx) * (y - my);
        xx += (x - mx).powi(2);
        yy += (y - my).powi(2);
    }
    ratio(xy, (xx * yy).sqrt())
}

/// Mean of one less the cosine over all pairs of rows, in [0, 2]; 0 where all rows have one direction.
pub fn diversity(rows: &[Vec<f64>]) -> f64 {
    let pairs = rows.iter().enumerate().flat_map(|(i, a)| rows[i + 1..].iter().map(move |b| (a, b)));
    let apart: Vec<f64> = pairs.map(|(a, b)| 1.0 - ratio(dot(a, b), (dot(a, a) * dot(b, b)).sqrt())).collect();
    mean(&apart)
}

/// Euclidean distance to the nearest of some rows; NaN without any.
pub fn nearest(row: &[f64], rows: &[Vec<f64>]) -> f64 {
    rows.iter().map(|other| distance(row, other)).fold(f64::NAN, f64::min)
}

/// The median over rows of the distance to the nearest other row.
pub fn between_neighbours(rows: &[Vec<f64>]) -> f64 {
    let others = |i: usize| rows[..i].iter().chain(&rows[i + 1..]).map(move |other| distance(&rows[i], other));
    let mut all: Vec<f64> = (0..rows.len()).map(|i| others(i).fold(f64::NAN, f64::min)).collect();
    all.retain(|d| !d.is_nan());
    all.sort_unstable_by(f64::total_cmp);
    quantile(&all, 0.5)
}

/// Kernel distance of two sets (KID; Bińkowski, Sutherland, Arbel and Gretton 2018): the unbiased squared maximum mean
/// discrepancy with the kernel `(<x, y> / d + 1)^3`. About 0, and as often below, for two sets of one kind.
pub fn kernel_distance(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    let kernel = |x: &[f64], y: &[f64]| (dot(x, y) / x.len().max(1) as f64 + 1.0).powi(3);
    let within = |rows: &[Vec<f64>]| {
        let pairs = (0..rows.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        let sum: f64 = pairs.map(|(i, j)| kernel(&rows[i], &rows[j])).sum();
        ratio(2.0 * sum, (rows.len() as f64 - 1.0) * rows.len() as f64)
    };
    let across: f64 = a.iter().map(|x| b.iter().map(|y| kernel(x, y)).sum::<f64>()).sum();
    within(a) + within(b) - 2.0 * ratio(across, (a.len() * b.len()) as f64)
}

/// Dimensions in which sets of that many pictures can be told apart by their covariances: at most eight, and four pictures
/// for each (our definition).
pub fn dimensions(pictures: usize) -> usize {
    DIMENSIONS.min(pictures / EACH)
}

/// Fréchet distance of two sets, each taken as normal (Heusel et al. 2017):
/// `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^½ C2 C1^½)^½)`. At least 0, and larger for fewer pictures: only distances of sets of the
/// same sizes compare. For sets of few dimensions, as [`Principal::project`] gives.
pub fn frechet(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    let n = a.first().map_or(0, Vec::len);
    if a.len() < 2 || b.len() < 2 || n == 0 {
        return f64::NAN;
    }
    let [(mean_a, cov_a), (mean_b, cov_b)] = [a, b].map(moments);
    let root = square_root(&cov_a, n);
    let both = product(&product(&root, &cov_b, n), &root, n);
    let trace = |m: &[f64]| m.iter().step_by(n + 1).sum::<f64>();
    let shift: f64 = mean_a.iter().zip(&mean_b).map(|(a, b)| (a - b).powi(2)).sum();
    (shift + trace(&cov_a) + trace(&cov_b) - 2.0 * trace(&square_root(&both, n))).max(0.0)
}

/// The principal axes of a set, of length one, the widest first.
#[derive(Debug, Clone)]
pub struct Principal(Vec<Vec<f64>>);

impl Principal {
    /// The first eight at most; fewer where the rows vary in fewer directions. By the smaller of the covariance and the
    /// matrix of inner products.
    pub fn of(rows: &[Vec<f64>]) -> Self {
        let width = rows.first().map_or(0, Vec::len);
        let means: Vec<f64> = (0..width).map(|c| mean_of(rows, c)).collect();
        let centred = rows.iter().map(|r| r.iter().zip(&means).map(|(v, m)| v - m).collect::<Vec<f64>>());
        let centred: Vec<Vec<f64>> = centred.collect();
        if rows.len() < width {
            let axes = widest(&centred).into_iter().map(|(value, vector)| {
                let scale = 1.0 / value.sqrt();
                (0..width).map(|c| scale * vector.iter().zip(&centred).map(|(v, r)| v * r[c]).sum::<f64>()).collect()
            });
            return Self(axes.collect());
        }
        let columns: Vec<Vec<f64>> = (0..width).map(|c| centred.iter().map(|r| r[c]).collect()).collect();
        Self(widest(&columns).into_iter().map(|(_, vector)| vector).collect())
    }

    /// Rows in the coordinates of the first axes.
    pub fn project(&self, rows: &[Vec<f64>], dimensions: usize) -> Vec<Vec<f64>> {
        let axes = &self.0[..dimensions.min(self.0.len())];
        rows.iter().map(|row| axes.iter().map(|axis| dot(row, axis)).collect()).collect()
    }
}

/// The largest eigenvalues of the inner products of some vectors, those that are no rounding, with their eigenvectors.
fn widest(vectors: &[Vec<f64>]) -> Vec<(f64, Vec<f64>)> {
    let n = vectors.len();
    let gram: Vec<f64> = (0..n * n).map(|at| dot(&vectors[at / n], &vectors[at % n])).collect();
    let (values, columns) = eigen(&gram, n);
    let largest = values.iter().copied().fold(0.0, f64::max);
    let kept = top(&values, DIMENSIONS).into_iter().filter(|k| values[*k] > ROUNDING * largest);
    kept.map(|k| (values[k], (0..n).map(|i| columns[i * n + k]).collect())).collect()
}

/// Mean and covariance (n - 1) of rows, `[d]` and `[d, d]`.
fn moments(rows: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
    let width = rows.first().map_or(0, Vec::len);
    let means: Vec<f64> = (0..width).map(|c| mean_of(rows, c)).collect();
    let entry = |at: usize| {
        let (i, j) = (at / width, at % width);
        rows.iter().map(|r| (r[i] - means[i]) * (r[j] - means[j])).sum::<f64>() / (rows.len() as f64 - 1.0)
    };
    let covariance = (0..width * width).map(entry).collect();
    (means, covariance)
}

fn product(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    (0..n * n).map(|at| (0..n).map(|k| a[at / n * n + k] * b[k * n + at % n]).sum()).collect()
}

fn mean(values: &[f64]) -> f64 {
    ratio(values.iter().sum(), values.len() as f64)
}

fn mean_of(rows: &[Vec<f64>], column: usize) -> f64 {
    ratio(rows.iter().map(|r| r[column]).sum(), rows.len() as f64)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn golden(case: &str) -> Value {
        let all: Value = serde_json::from_str(include_str!("../../tests/golden/maximisation.json")).unwrap();
        all[case].clone()
    }

    fn rows(value: &Value) -> Vec<Vec<f64>> {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn distances_are_those_of_scipy_and_scikit_learn() {
        for case in ["low", "high"] {
            let golden = golden(case);
            let (a, real) = (rows(&golden["pictures"]), rows(&golden["real"]));
            let close = |got: f64, name: &str| {
                let wanted = golden[name].as_f64().unwrap();
                assert!((got - wanted).abs() < 1e-8 * wanted.abs().max(1.0), "{case} {name}: {got} {wanted}");
            };
            close(kernel_distance(&a, &real), "kid");
            let (axes, count) = (Principal::of(&real), golden["dimensions"].as_u64().unwrap() as usize);
            close(frechet(&axes.project(&a, count), &axes.project(&real, count)), "frechet");
            close(between_neighbours(&real), "between_neighbours");
            close(diversity(&a), "diversity");
            let column = |c: usize| a.iter().map(|r| r[c]).collect::<Vec<f64>>();
            close(pearson(&column(0), &column(1)), "correlation");
            for (row, wanted) in a.iter().zip(golden["nearest"].as_array().unwrap()) {
                assert!((nearest(row, &real) - wanted.as_f64().unwrap()).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn scores_among_real_ones_by_hand() {
        assert_eq!(z_score(5.0, &[1.0, 2.0, 3.0]), 3.0);
        assert!(z_score(5.0, &[1.0, 1.0]).is_nan() && z_score(5.0, &[1.0]).is_nan());
        assert_eq!(percentile(2.0, &[1.0, 2.0, 3.0, 4.0]), 0.375);
        assert_eq!(percentile(9.0, &[1.0, 2.0]), 1.0);
        assert!(percentile(f64::NAN, &[1.0]).is_nan() && percentile(1.0, &[]).is_nan());
        assert_eq!(top(&[1.0, 3.0, 2.0, 3.0], 3), [1, 3, 2]);
    }

    #[test]
    fn sets_that_are_one_have_no_distance_and_few_pictures_none_that_is_known() {
        let real = rows(&golden("low")["real"]);
        assert!(frechet(&real, &real) < 1e-8);
        assert!(nearest(&real[3], &real) == 0.0);
        assert!(diversity(&[vec![1.0, 2.0], vec![2.0, 4.0]]).abs() < 1e-12);
        assert_eq!(diversity(&[vec![1.0, 0.0], vec![0.0, 3.0]]), 1.0);
        assert!(kernel_distance(&real[..1], &real).is_nan() && frechet(&real[..1], &real).is_nan());
        assert!(diversity(&real[..1]).is_nan() && between_neighbours(&real[..1]).is_nan());
        assert!(nearest(&real[0], &[]).is_nan() && pearson(&[1.0, 1.0], &[1.0, 2.0]).is_nan());
        assert_eq!([3, 4, 20, 400].map(dimensions), [0, 1, 5, 8]);
    }

    #[test]
    fn a_shift_of_a_set_is_its_square() {
        let real = rows(&golden("low")["real"]);
        let moved: Vec<Vec<f64>> = real.iter().map(|r| r.iter().map(|v| v + 2.0).collect()).collect();
        assert!((frechet(&moved, &real) - 24.0).abs() < 1e-8);
        let axes = Principal::of(&real);
        // All six axes together turn and nothing more.
        assert!((frechet(&axes.project(&moved, 8), &axes.project(&real, 8)) - 24.0).abs() < 1e-8);
    }
}
