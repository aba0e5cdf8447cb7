//! Hyperplanes in a space's coordinates: their fit by a loss of the score, and the choice of their ridge.

use super::space::Space;
use super::task::{Labelled, Offset, Solution, Task};
use super::weighted::Weighted;
use crate::error::{Error, Result};

/// A hyperplane in a space's coordinates: positive scores mean the concept.
#[derive(Debug, Clone)]
pub struct Linear {
    /// Weights, one a coordinate.
    pub weights: Vec<f64>,
    /// Offset.
    pub bias: f64,
    /// Norm of the objective's gradient at the solution; NaN for closed forms.
    pub gradient_norm: f64,
}

impl Linear {
    /// The model as a solution.
    pub fn solution(self, lambda: f64, rows: &Labelled) -> Solution {
        let counts = (rows.positive.len(), rows.negative.len());
        let mut out = Solution::new(self.weights, Offset::Native(self.bias), counts);
        (out.lambda, out.gradient_norm) = (lambda, self.gradient_norm);
        out
    }
}

/// The labelled rows as samples of equal weight, those of the concept first with label 1; `name` says what they are for.
///
/// # Errors
/// When a class has no rows.
pub fn samples(name: &str, space: &Space, rows: &Labelled) -> Result<Weighted<f64>> {
    let counts = [rows.positive.len(), rows.negative.len()];
    if counts.contains(&0) {
        return Err(refusal(name, rows, "a class is empty"));
    }
    let n = counts[0] + counts[1];
    Ok(Weighted {
        columns: space.dimension(),
        x: rows.positive.iter().chain(&rows.negative).flat_map(|row| space.x.row(*row).to_vec()).collect(),
        label: (0..n).map(|i| f32::from(u8::from(i < counts[0]))).collect(),
        weight: vec![1.0 / n as f64; n],
    })
}

/// Minimises the mean of `loss` over the labelled rows plus `lambda/2 |w|^2`. `loss` gives value and slope for a score and
/// its label, 1 for the concept and 0 without it; its curvature must not be far from a quarter.
///
/// # Errors
/// When a class has no rows, or values are not finite.
pub fn minimise(
    name: &str,
    space: &Space,
    rows: &Labelled,
    lambda: f64,
    start: Option<&Linear>,
    loss: impl Fn(f64, f64) -> (f64, f64),
) -> Result<Linear> {
    let samples = samples(name, space, rows)?;
    let columns = samples.columns;
    let mut parameters = vec![0.0; columns + 1];
    if let Some(start) = start {
        parameters[..columns].copy_from_slice(&start.weights);
        parameters[columns] = start.bias;
    }
    let bound = space.bound(lambda);
    // The inverse of the bound in the coordinates, and of a quarter for the offset: all fitted rows have mean zero.
    let precondition = |gradient: &mut [f64]| {
        bound.solve(gradient);
        gradient.last_mut().into_iter().for_each(|bias| *bias *= 4.0);
    };
    let end = samples.fit_by(loss, parameters, lambda, precondition);
    if !end.gradient_norm.is_finite() {
        return Err(refusal(name, rows, "it does not end in finite numbers"));
    }
    let (weights, bias) = end.x.split_at(columns);
    Ok(Linear { weights: weights.to_vec(), bias: bias[0], gradient_norm: end.gradient_norm })
}

fn refusal(name: &str, rows: &Labelled, problem: &str) -> Error {
    let subject = format!("{name} of {} against {}", rows.positive.len(), rows.negative.len());
    let hint = "the concept needs samples with and without it in the fit split, and finite activations";
    Error::data(subject, problem.to_owned(), hint)
}

/// Fits every lambda, the strongest first as a start for the next, and keeps the one with the least validation loss:
/// `loss` of the margin, which is the score with the sign of the label.
///
/// # Errors
/// When the solver refuses its data, or there is no lambda.
pub fn choose(
    task: &Task<'_>,
    rows: &Labelled,
    fit: impl Fn(f64, Option<&Linear>) -> Result<Linear>,
    loss: impl Fn(f64) -> f64,
) -> Result<Solution> {
    let mut grid = task.options.lambda.clone();
    grid.sort_by(|a, b| b.total_cmp(a));
    let mut best: Option<(f64, f64, Linear)> = None;
    let mut last: Option<Linear> = None;
    for lambda in grid {
        let model = fit(lambda, last.as_ref())?;
        let value = balanced_loss(task.space, task.val, &model, &loss);
        if best.as_ref().is_none_or(|(least, ..)| value < *least) {
            best = Some((value, lambda, model.clone()));
        }
        last = Some(model);
    }
    match best {
        Some((_, lambda, model)) => Ok(model.solution(lambda, rows)),
        None => Err(Error::key("probe.lambda", "the list is empty", "give at least one value")),
    }
}

/// Mean loss of the margin over the classes, each class with weight one half.
fn balanced_loss(space: &Space, rows: &Labelled, model: &Linear, loss: impl Fn(f64) -> f64) -> f64 {
    let mean = |rows: &[usize], sign: f64| {
        let total: f64 = rows.iter().map(|r| loss(sign * space.score(*r, &model.weights, model.bias))).sum();
        total / rows.len().max(1) as f64
    };
    0.5 * (mean(&rows.positive, 1.0) + mean(&rows.negative, -1.0))
}
