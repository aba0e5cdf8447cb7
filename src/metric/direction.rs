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
/// 1 where the draw does not matter; NaN of fewer than two. After Nicolson et al. (2024).
pub fn seed_stability(directions: &[&[f32]]) -> f64 {
    let pairs: Vec<(usize, usize)> =
        (0..directions.len()).flat_map(|a| (a + 1..directions.len()).map(move |b| (a, b))).collect();
    let cosines: Vec<f64> = pairs.par_iter().map(|(a, b)| cosine(directions[*a], directions[*b])).collect();
    ratio(cosines.iter().sum(), cosines.len() as f64)
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
    fn stability_is_over_pairs() {
        let (a, b) = ([1.0, 0.0], [0.0, 1.0]);
        assert!((seed_stability(&[&a, &a, &b]) - 1.0 / 3.0).abs() < 1e-12);
        assert!(seed_stability(&[&a]).is_nan());
    }
}
