//! Classifier-CAV: balanced logistic regression (Kim et al. 2018 with a logistic loss).

use super::kind::{Earlier, ProbeKind};
use super::logistic::{self, Logistic};
use super::task::{Labelled, Offset, Outcome, Solution, Task};
use crate::error::Result;

/// Logistic regression on as many positives as negatives; lambda is chosen on the validation split.
pub struct Classifier;

impl ProbeKind for Classifier {
    fn name(&self) -> &'static str {
        "classifier"
    }

    fn about(&self) -> &'static str {
        "logistic regression on balanced samples with and without the concept"
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Result<Outcome> {
        let rows = task.balanced(task.fit, "balance");
        choose_lambda(task, &rows).map(Outcome::Solved)
    }
}

/// Fits every lambda, the strongest first as a start for the next, and keeps the one with the least validation loss.
///
/// # Errors
/// When the solver refuses its data, or there is no lambda.
pub fn choose_lambda(task: &Task<'_>, rows: &Labelled) -> Result<Solution> {
    let mut grid = task.options.lambda.clone();
    grid.sort_by(|a, b| b.total_cmp(a));
    let mut best: Option<(f64, f64, Logistic)> = None;
    let mut last: Option<Logistic> = None;
    for lambda in grid {
        let model = logistic::fit(task.space, rows, lambda, last.as_ref())?;
        let loss = logistic::balanced_loss(task.space, task.val, &model);
        if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
            best = Some((loss, lambda, model.clone()));
        }
        last = Some(model);
    }
    match best {
        Some((_, lambda, model)) => Ok(solution(model, lambda, rows)),
        None => Err(crate::Error::key("probe.lambda", "the list is empty", "give at least one value")),
    }
}

/// A fitted model as a solution.
pub fn solution(model: Logistic, lambda: f64, rows: &Labelled) -> Solution {
    let counts = (rows.positive.len(), rows.negative.len());
    let mut out = Solution::new(model.weights, Offset::Native(model.bias), counts);
    (out.lambda, out.gradient_norm) = (lambda, model.gradient_norm);
    out
}
