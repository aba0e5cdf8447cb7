//! Do the directions of two layers say the same? A step along the first should be a step along the second, once it has
//! gone through the network between them (Nicolson et al. 2024).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Rounds of [`best_step`] at most.
const ROUNDS: usize = 1000;

/// The `[consistency]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConsistencyOptions {
    /// Test pictures that steps are made from.
    #[schemars(range(min = 2, max = 1000))]
    pub pictures: usize,
    /// Length of a step, as a share of the mean norm of the layer's activations.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub gamma: f64,
}

impl Default for ConsistencyOptions {
    fn default() -> Self {
        Self { pictures: 20, gamma: 0.01 }
    }
}

impl ConsistencyOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// When a number is out of range; the message names the key.
    pub fn check(&self) -> Result<()> {
        let within = |key: &str, ok: bool, wanted: &str| {
            if ok { Ok(()) } else { Err(Error::key(key, "out of range", wanted)) }
        };
        within("consistency.pictures", (2..=1000).contains(&self.pictures), "2 to 1000; 20 is the default")?;
        within("consistency.gamma", self.gamma > 0.0 && self.gamma <= 1.0, "above 0, to 1; 0.01 is the default")
    }
}

/// `|f(a1 + v1) - (a2 + v2)| / |v2|`: how far the step `moved - before` of the second layer is from `step`, in lengths of
/// that step. 0 is the same step, 1 is none at all, about the root of two an unrelated one of the same length. NaN where
/// the step has no length.
pub fn inconsistency(moved: &[f32], before: &[f32], step: &[f32]) -> f64 {
    let (mut off, mut length) = (0.0, 0.0);
    for ((moved, before), step) in moved.iter().zip(before).zip(step) {
        let (made, step) = (f64::from(*moved) - f64::from(*before), f64::from(*step));
        off += (made - step).powi(2);
        length += step * step;
    }
    if length > 0.0 { (off / length).sqrt() } else { f64::NAN }
}

/// The step v with the least mean distance `mean of |step_i - v|` from steps, rows of `width` values, by Weiszfeld's
/// algorithm: their geometric median. Ends when a round gains less than 1e-9
/// of the distance. Zeros of no steps.
pub fn best_step(steps: &[f32], width: usize) -> Vec<f32> {
    let count = steps.len() / width.max(1);
    let mut at = mean(steps, width, &vec![1.0; count]);
    let mut last = f64::INFINITY;
    for _ in 0..ROUNDS {
        let distances: Vec<f64> = steps.chunks_exact(width.max(1)).map(|step| distance(step, &at)).collect();
        let total: f64 = distances.iter().sum();
        if total <= 0.0 || last - total <= 1e-9 * total {
            break;
        }
        last = total;
        // A step that is met exactly would have all the weight; this much of it lets go again.
        let least = 1e-9 * total / count as f64;
        at = mean(steps, width, &distances.iter().map(|d| 1.0 / d.max(least)).collect::<Vec<_>>());
    }
    at.into_iter().map(|v| v as f32).collect()
}

/// The weighted mean of rows.
fn mean(rows: &[f32], width: usize, weights: &[f64]) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    let mut out = vec![0.0; width];
    for (row, w) in rows.chunks_exact(width.max(1)).zip(weights) {
        out.iter_mut().zip(row).for_each(|(out, v)| *out += w / total * f64::from(*v));
    }
    out
}

fn distance(row: &[f32], at: &[f64]) -> f64 {
    row.iter().zip(at).map(|(v, a)| (f64::from(*v) - a).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(steps: &[f32], at: &[f64]) -> f64 {
        steps.chunks_exact(at.len()).map(|step| distance(step, at)).sum()
    }

    #[test]
    fn the_best_step_is_the_geometric_median() {
        // Of a convex quadrangle: where its diagonals cross.
        let found = best_step(&[0.0, 0.0, 4.0, 4.0, 0.0, 2.0, 3.0, 0.0], 2);
        assert!((found[0] - 1.2).abs() < 1e-3 && (found[1] - 1.2).abs() < 1e-3, "{found:?}");
        // Of a triangle with an angle of more than 120 degrees: that corner.
        let found = best_step(&[0.0, 0.0, 5.0, 0.5, -5.0, 0.5], 2);
        assert!(found.iter().all(|v| v.abs() < 1e-3), "{found:?}");
        assert_eq!(best_step(&[1.0, 2.0], 2), [1.0, 2.0]);
        assert_eq!(best_step(&[], 2), [0.0; 2]);
    }

    /// Against the best of a fine lattice.
    #[test]
    fn nothing_is_nearer_than_the_best_step() {
        use rand::RngExt;
        let mut rng = crate::seed::Seed(1).stream("steps");
        for _ in 0..20 {
            let steps: Vec<f32> = (0..14).map(|_| rng.random_range(-1.0..1.0)).collect();
            let found: Vec<f64> = best_step(&steps, 2).into_iter().map(f64::from).collect();
            let place = |i: i32| f64::from(i) / 100.0;
            let lattice = (-100..=100).flat_map(|y| (-100..=100).map(move |x| [place(x), place(y)]));
            let best = lattice.map(|at| total(&steps, &at)).fold(f64::INFINITY, f64::min);
            let ours = total(&steps, &found);
            assert!(ours <= best * (1.0 + 1e-6) && ours >= best - 0.1, "{ours} {best}");
        }
    }

    #[test]
    fn by_hand() {
        assert_eq!(inconsistency(&[1.0, 3.0], &[1.0, 1.0], &[0.0, 2.0]), 0.0);
        assert_eq!(inconsistency(&[1.0, 1.0], &[1.0, 1.0], &[0.0, 2.0]), 1.0);
        assert!((inconsistency(&[3.0, 1.0], &[1.0, 1.0], &[0.0, 2.0]) - 2f64.sqrt()).abs() < 1e-12);
        assert!(inconsistency(&[1.0], &[1.0], &[0.0]).is_nan());
    }

    #[test]
    fn options_are_checked() {
        let good = ConsistencyOptions::default();
        good.check().unwrap();
        let message = |o: ConsistencyOptions| o.check().unwrap_err().to_string();
        assert!(message(ConsistencyOptions { pictures: 0, ..good.clone() }).contains("consistency.pictures"));
        assert!(message(ConsistencyOptions { gamma: f64::NAN, ..good }).contains("consistency.gamma"));
    }
}
