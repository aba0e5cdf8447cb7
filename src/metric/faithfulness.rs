//! Does a map show the pixels that a score rests on? Areas under the score's course as pixels go or come in the map's
//! order: deletion and insertion (Petsiuk, Das & Saenko 2018, RISE), ROAD (Rong et al. 2022).

/// Mean of a curve over its course, values at equal steps (trapezoid rule); NaN of fewer than two values.
pub fn area(curve: &[f64]) -> f64 {
    let [first, .., last] = curve else { return f64::NAN };
    (curve.iter().sum::<f64>() - f64::midpoint(*first, *last)) / (curve.len() - 1) as f64
}

/// Scores, or areas of them, on the probe's own scale (our definition): 0 is its mean score of pictures without the concept
/// and 1 that of pictures with it. NaN where pictures with the concept do not score higher in the mean.
pub fn on_scale(scores: &[f64], without: f64, with: f64) -> Vec<f64> {
    let gap = with - without;
    scores.iter().map(|s| if gap > 0.0 { (s - without) / gap } else { f64::NAN }).collect()
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
    fn the_scale_is_the_probes_own() {
        assert_eq!(on_scale(&[1.0, 3.0, 5.0], 1.0, 3.0), [0.0, 1.0, 2.0]);
        assert!(on_scale(&[1.0], 2.0, 2.0)[0].is_nan() && on_scale(&[1.0], 3.0, 2.0)[0].is_nan());
    }
}
