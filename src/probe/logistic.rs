//! Binary logistic regression by linfa, with what linfa leaves to its user: the sign, the status and the scale.

use linfa::prelude::*;
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2, Axis};

use super::lbfgs::{dot, norm};
use super::space::Space;
use super::task::Labelled;
use crate::error::{Error, Result};

/// Most solver iterations; a fit that needs more shows in its gradient norm.
const ITERATIONS: u64 = 500;

/// A fitted logistic regression in a space's coordinates: positive scores mean the concept.
#[derive(Debug, Clone)]
pub struct Logistic {
    /// Weights, one a coordinate.
    pub weights: Vec<f64>,
    /// Offset.
    pub bias: f64,
    /// Norm of the objective's gradient at the solution.
    pub gradient_norm: f64,
}

/// Minimises `mean log(1 + exp(-t (w x + b))) + lambda/2 |w|^2` over the labelled rows, `t = +1` for the concept.
///
/// linfa gives the label +1 to the larger class, or at a tie to the one it meets first; the result is oriented here.
///
/// # Errors
/// When linfa refuses the data (one class only, values that are not finite).
pub fn fit(space: &Space, rows: &Labelled, lambda: f64, start: Option<&Logistic>) -> Result<Logistic> {
    let order: Vec<usize> = rows.positive.iter().chain(&rows.negative).copied().collect();
    let x = space.x.select(Axis(0), &order);
    // A positive comes first, so that at a tie the concept is linfa's +1 and a warm start has the right sign.
    let flip = rows.positive.len() < rows.negative.len();
    let labels = Array1::from_iter((0..order.len()).map(|i| i < rows.positive.len()));
    let mut model = LogisticRegression::default()
        .alpha(lambda * order.len() as f64)
        .max_iterations(ITERATIONS)
        .gradient_tolerance(1e-5 * order.len() as f64);
    if let Some(start) = start {
        let sign = if flip { -1.0 } else { 1.0 };
        let initial = start.weights.iter().chain([&start.bias]).map(|v| sign * v).collect();
        model = model.initial_params(initial);
    }
    let data = DatasetBase::new(x, labels);
    let fitted = model.fit(&data).map_err(|e| {
        let subject = format!("logistic regression of {} against {}", rows.positive.len(), rows.negative.len());
        Error::data(subject, e.to_string(), "the concept needs samples with and without it in the fit split")
    })?;
    let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
    let weights: Vec<f64> = fitted.params().iter().map(|v| sign * v).collect();
    let bias = sign * fitted.intercept();
    let gradient_norm = gradient_norm(data.records(), rows.positive.len(), lambda, &weights, bias);
    Ok(Logistic { weights, bias, gradient_norm })
}

/// Norm of the gradient of the mean objective; the first `positives` rows are the concept's.
fn gradient_norm(x: &Array2<f64>, positives: usize, lambda: f64, weights: &[f64], bias: f64) -> f64 {
    let mut gradient: Vec<f64> = weights.iter().map(|w| lambda * w).collect();
    let mut bias_gradient = 0.0;
    for (i, row) in x.outer_iter().enumerate() {
        let row = row.to_slice().unwrap_or_default();
        let score = dot(row, weights) + bias;
        let target = f64::from(u8::from(i < positives));
        let residual = (sigmoid(score) - target) / x.nrows() as f64;
        gradient.iter_mut().zip(row).for_each(|(g, x)| *g += residual * x);
        bias_gradient += residual;
    }
    gradient.push(bias_gradient);
    norm(&gradient)
}

/// `1 / (1 + exp(-x))`.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `log(1 + exp(x))` without overflow.
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Mean log-loss over the classes, each class with weight one half.
pub fn balanced_loss(space: &Space, rows: &Labelled, model: &Logistic) -> f64 {
    let loss = |rows: &[usize], sign: f64| {
        let total: f64 = rows.iter().map(|r| softplus(-sign * space.score(*r, &model.weights, model.bias))).sum();
        total / rows.len().max(1) as f64
    };
    0.5 * (loss(&rows.positive, 1.0) + loss(&rows.negative, -1.0))
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
