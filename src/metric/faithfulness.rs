//! Does a map show the pixels that a score rests on? Areas under the score's course as pixels go or come in the map's
//! order: deletion and insertion (Petsiuk, Das & Saenko 2018, RISE), ROAD (Rong et al. 2022).

use super::bootstrap::{ratio, weighted_mean};

/// Mean of a curve over its course, values at equal steps (trapezoid rule); NaN of fewer than two values.
pub fn area(curve: &[f64]) -> f64 {
    let [first, .., last] = curve else { return f64::NAN };
    (curve.iter().sum::<f64>() - f64::midpoint(*first, *last)) / (curve.len() - 1) as f64
}

/// Areas of several pictures on one scale: 0 is the score of the empty picture and 1 that of the whole one, both in the
/// mean over pictures (our definition; a picture counts by what its pixels bring, so that one they bring nothing to
/// does not blow up). NaN where the whole pictures do not score higher than the empty ones.
pub fn normalised(areas: &[f64], whole: &[f64], empty: &[f64], weights: &[f64]) -> f64 {
    let above = |values: &[f64]| -> Vec<f64> { values.iter().zip(empty).map(|(v, e)| v - e).collect() };
    ratio(weighted_mean(&above(areas), weights), weighted_mean(&above(whole), weights))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_by_hand() {
        assert_eq!(area(&[1.0, 0.0]), 0.5);
        assert_eq!(area(&[1.0, 0.0, 0.0]), 0.25);
        assert_eq!(area(&[3.0; 7]), 3.0);
        assert!(area(&[1.0]).is_nan() && area(&[]).is_nan());
    }

    #[test]
    fn a_picture_counts_by_what_its_pixels_bring() {
        // Scores from -2 to 2 and from 0 to 8: halfway is one half, whatever the weights.
        let (whole, empty) = ([2.0, 8.0], [-2.0, 0.0]);
        assert_eq!(normalised(&[0.0, 4.0], &whole, &empty, &[1.0, 5.0]), 0.5);
        assert_eq!(normalised(&whole, &whole, &empty, &[1.0, 1.0]), 1.0);
        assert_eq!(normalised(&[-2.0, 8.0], &whole, &empty, &[1.0, 1.0]), 8.0 / 12.0);
        assert!(normalised(&[0.0], &[1.0], &[1.0], &[1.0]).is_nan());
    }
}
