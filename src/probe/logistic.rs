//! Binary logistic regression in a space's coordinates, and the offsets and thresholds of scores.

use super::linear::{self, Linear};
use super::space::Space;
use super::task::Labelled;
use crate::error::Result;

/// Minimises `mean log(1 + exp(-t (w x + b))) + lambda/2 |w|^2` over the labelled rows, `t = +1` for the concept.
///
/// # Errors
/// When a class has no rows, or values are not finite.
pub fn fit(space: &Space, rows: &Labelled, lambda: f64) -> Result<Linear> {
    Ok(path(space, rows, &[lambda])?.swap_remove(0))
}

/// The same for every lambda, each from the last one's solution on.
///
/// # Errors
/// As [`fit`].
pub fn path(space: &Space, rows: &Labelled, lambdas: &[f64]) -> Result<Vec<Linear>> {
    linear::path("logistic regression", space, rows, lambdas, loss)
}

/// `log(1 + exp(s)) - m s`, the log-loss of a score for a label between 0 and 1, and its slope: by one exponential of
/// what is not positive.
#[inline]
pub fn loss(score: f64, label: f64) -> (f64, f64) {
    let small = (-score.abs()).exp();
    let value = score.max(0.0) + small.ln_1p() - label * score;
    (value, if score > 0.0 { 1.0 } else { small } / (1.0 + small) - label)
}

/// `1 / (1 + exp(-x))`.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `log(1 + exp(x))` without overflow.
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The offset `b` for which `sigmoid(gain * s + c)` crosses one half at `s = -b`, by logistic regression of the labels
/// on a single score, each class with weight one half (Newton's method with a small ridge on the gain).
pub fn calibrate(positive: &[f64], negative: &[f64]) -> f64 {
    let spread = |s: &[f64], mean: f64| s.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>();
    let mean_of = |s: &[f64]| s.iter().sum::<f64>() / s.len().max(1) as f64;
    let (mean_p, mean_n) = (mean_of(positive), mean_of(negative));
    let centre = 0.5 * (mean_p + mean_n);
    let variance =
        (spread(positive, centre) + spread(negative, centre)) / (positive.len() + negative.len()).max(1) as f64;
    let scale = variance.sqrt().max(f64::MIN_POSITIVE);
    let (mut gain, mut c) = (0.0, 0.0);
    for _ in 0..50 {
        let (mut g, mut h) = ([1e-3 * gain, 0.0], [1e-3, 0.0, 1e-9]);
        for (scores, target) in [(positive, 1.0), (negative, 0.0)] {
            let weight = 0.5 / scores.len().max(1) as f64;
            for s in scores {
                let x = (s - centre) / scale;
                let p = sigmoid(gain * x + c);
                let (r, v) = (weight * (p - target), weight * p * (1.0 - p));
                g[0] += r * x;
                g[1] += r;
                h[0] += v * x * x;
                h[1] += v * x;
                h[2] += v;
            }
        }
        let determinant = h[0] * h[2] - h[1] * h[1];
        let (dg, dc) = ((h[2] * g[0] - h[1] * g[1]) / determinant, (h[0] * g[1] - h[1] * g[0]) / determinant);
        if !(dg.is_finite() && dc.is_finite()) {
            break;
        }
        gain -= dg.clamp(-2.0, 2.0);
        c -= dc.clamp(-2.0, 2.0);
        if dg.abs() + dc.abs() < 1e-10 {
            break;
        }
    }
    // A direction that points the wrong way on validation data keeps its sign: then the midpoint is the honest offset.
    if gain > 1e-6 { scale * c / gain - centre } else { -centre }
}

/// The threshold with the best balanced accuracy (Youden's J); midway between neighbouring scores, the lowest at ties.
pub fn youden(positive: &[f64], negative: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> =
        positive.iter().map(|s| (*s, true)).chain(negative.iter().map(|s| (*s, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut best, mut threshold) = (0.0, all.first().map_or(0.0, |s| s.0 - 1e-9));
    let (mut missed, mut rejected) = (0.0, 0.0);
    for (i, (score, is_positive)) in all.iter().enumerate() {
        if *is_positive {
            missed += 1.0 / positive.len() as f64;
        } else {
            rejected += 1.0 / negative.len() as f64;
        }
        let next = all.get(i + 1).map_or(score + 1e-9, |s| s.0);
        let j = rejected - missed;
        if next > *score && j > best {
            (best, threshold) = (j, 0.5 * (score + next));
        }
    }
    threshold
}
