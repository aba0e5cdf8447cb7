//! Directions against directions: with known differences of activations, and with their own kind from other draws.

use rayon::prelude::*;

use super::bootstrap::ratio;

/// Cosine of two vectors, in [-1, 1]; 0 is chance in many dimensions; NaN where one has no length.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let (mut dot, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (f64::from(*x), f64::from(*y));
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    ratio(dot, (aa * bb).sqrt())
}

/// Cosine of the difference `with - without` of two activations to a direction, in [-1, 1]: how well the direction is
/// aligned to what the concept changes in one pair of pictures that differ in it alone. After pattern-cav (Pahde et
/// al.). NaN where the pair does not differ.
pub fn paired_cosine(with: &[f32], without: &[f32], direction: &[f32]) -> f64 {
    let difference: Vec<f32> = with.iter().zip(without).map(|(a, b)| a - b).collect();
    cosine(&difference, direction)
}

/// Mean of the values that are not NaN, and its standard error `sd / sqrt(n)` with `n - 1` in the variance; NaN where
/// there are too few.
pub fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let known: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    let n = known.len() as f64;
    let mean = ratio(known.iter().sum(), n);
    let squares: f64 = known.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, ratio(squares, (n - 1.0).max(0.0) * n).sqrt())
}

/// Seed stability: mean cosine of all pairs of directions of one kind that were fitted on different draws, in [-1, 1];
/// 1 where the draw does not matter; NaN of fewer than two. No two draws have the same negatives, but they overlap where
/// negatives are scarce, which raises the value. After Nicolson et al. (2024).
pub fn seed_stability(directions: &[&[f32]]) -> f64 {
    let pairs: Vec<(usize, usize)> =
        (0..directions.len()).flat_map(|a| (a + 1..directions.len()).map(move |b| (a, b))).collect();
    let cosines: Vec<f64> = pairs.par_iter().map(|(a, b)| cosine(directions[*a], directions[*b])).collect();
    ratio(cosines.iter().sum(), cosines.len() as f64)
}

/// Entanglement of two concepts: mean cosine of the direction of one from draw `r` with that of the other from draw `s`,
/// over all `r != s`, in [-1, 1]; 0 where knowing one says nothing of the other. Draws of the same number are left out:
/// they may share negatives. NaN of fewer than two draws. After Nicolson et al. (2024).
pub fn entanglement(first: &[&[f32]], second: &[&[f32]]) -> f64 {
    let pairs: Vec<(usize, usize)> =
        (0..first.len()).flat_map(|r| (0..second.len()).filter(move |s| *s != r).map(move |s| (r, s))).collect();
    let cosines: Vec<f64> = pairs.par_iter().map(|(r, s)| cosine(first[*r], second[*s])).collect();
    ratio(cosines.iter().sum(), cosines.len() as f64)
}

/// Spatial norms: for each of `positions`, the norm of the weights of all channels there, the mean over directions
/// `[channel, position]`. After Nicolson et al. (2024).
pub fn spatial_norms(directions: &[&[f32]], positions: usize) -> Vec<f64> {
    let mut mean = vec![0.0; positions];
    for direction in directions {
        let mut squares = vec![0.0; positions];
        for channel in direction.chunks_exact(positions.max(1)) {
            squares.iter_mut().zip(channel).for_each(|(s, v)| *s += f64::from(*v).powi(2));
        }
        mean.iter_mut().zip(&squares).for_each(|(m, s)| *m += s.sqrt() / directions.len() as f64);
    }
    mean
}

/// Coefficient of variation of values that are not negative: standard deviation (`n`) over mean; 0 where all are the same.
/// NaN of none, or of zeros.
pub fn variation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = ratio(values.iter().sum(), n);
    ratio(ratio(values.iter().map(|v| (v - mean).powi(2)).sum(), n).sqrt(), mean)
}

/// Trace of the covariance (`n - 1`) of unit vectors: how far directions of one kind scatter over draws, 0 where all are the
/// same, 1 where they are orthogonal. Vectors need not have length one; NaN of fewer than two, or of one without length.
pub fn direction_variance(vectors: &[Vec<f64>]) -> f64 {
    let count = vectors.len() as f64;
    let mut mean = vec![0.0; vectors.first().map_or(0, Vec::len)];
    for vector in vectors {
        let length = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
        mean.iter_mut().zip(vector).for_each(|(m, v)| *m += v / length / count);
    }
    // Squared lengths are one, so their mean less the mean's squared length is the variance.
    ratio(count * (1.0 - mean.iter().map(|m| m * m).sum::<f64>()).max(0.0), count - 1.0)
}

/// Slope of the least-squares line through `(log x, log y)` of the pairs where both are positive; NaN of fewer than two.
pub fn log_slope(x: &[f64], y: &[f64]) -> f64 {
    let logs: Vec<(f64, f64)> =
        x.iter().zip(y).filter(|(x, y)| **x > 0.0 && **y > 0.0).map(|(x, y)| (x.ln(), y.ln())).collect();
    let n = logs.len() as f64;
    let (mx, my) = (logs.iter().map(|p| p.0).sum::<f64>() / n, logs.iter().map(|p| p.1).sum::<f64>() / n);
    let both: f64 = logs.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
    ratio(both, logs.iter().map(|(x, _)| (x - mx).powi(2)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_by_hand() {
        assert!((cosine(&[1.0, 0.0], &[3.0, 3.0]) - 0.5f64.sqrt()).abs() < 1e-12);
        assert_eq!(cosine(&[1.0, 2.0], &[-1.0, -2.0]), -1.0);
        assert!(cosine(&[0.0, 0.0], &[1.0, 0.0]).is_nan());
        assert_eq!(paired_cosine(&[3.0, 1.0], &[1.0, 1.0], &[1.0, 0.0]), 1.0);
        assert!(paired_cosine(&[1.0, 1.0], &[1.0, 1.0], &[1.0, 0.0]).is_nan());
    }

    #[test]
    fn means_have_a_standard_error() {
        let (mean, error) = mean_and_error(&[1.0, 2.0, f64::NAN, 3.0, 6.0]);
        assert_eq!(mean, 3.0);
        assert!((error - (14.0f64 / 12.0).sqrt()).abs() < 1e-12);
        assert!(mean_and_error(&[2.0]).1.is_nan() && mean_and_error(&[]).0.is_nan());
    }

    #[test]
    fn entanglement_leaves_out_draws_of_the_same_number() {
        let (a, b) = ([1.0, 0.0], [0.0, 1.0]);
        assert_eq!(entanglement(&[&a, &b], &[&a, &b]), 0.0);
        assert_eq!(entanglement(&[&a, &a], &[&b, &a]), 0.5);
        assert!(entanglement(&[&a], &[&a]).is_nan());
    }

    #[test]
    fn norms_vary_by_position() {
        // Two channels over three positions.
        let direction = [3.0, 0.0, 1.0, 4.0, 2.0, 0.0];
        assert_eq!(spatial_norms(&[&direction], 3), [5.0, 2.0, 1.0]);
        assert_eq!(spatial_norms(&[&direction, &[0.0; 6]], 3), [2.5, 1.0, 0.5]);
        assert!((variation(&[1.0, 3.0]) - 0.5).abs() < 1e-12);
        assert_eq!(variation(&[2.0, 2.0]), 0.0);
        assert!(variation(&[]).is_nan() && variation(&[0.0]).is_nan());
    }

    #[test]
    fn variance_of_directions_and_its_slope() {
        let line = |a: f64| vec![a.cos(), a.sin()];
        assert_eq!(direction_variance(&[vec![2.0, 0.0], vec![5.0, 0.0]]), 0.0);
        assert!((direction_variance(&[vec![2.0, 0.0], vec![0.0, 1.0]]) - 1.0).abs() < 1e-12);
        // Halving the angle quarters the variance.
        let (wide, narrow) = ([line(0.1), line(-0.1)], [line(0.05), line(-0.05)]);
        let slope = log_slope(&[1.0, 4.0], &[direction_variance(&wide), direction_variance(&narrow)]);
        assert!((slope + 1.0).abs() < 0.01, "{slope}");
        assert!(direction_variance(&[line(0.1)]).is_nan() && log_slope(&[1.0], &[1.0]).is_nan());
    }

    #[test]
    fn stability_is_over_pairs() {
        let (a, b) = ([1.0, 0.0], [0.0, 1.0]);
        assert!((seed_stability(&[&a, &a, &b]) - 1.0 / 3.0).abs() < 1e-12);
        assert!(seed_stability(&[&a]).is_nan());
    }
}
