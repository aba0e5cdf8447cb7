//! FP-CAV: what the Classifier-CAV's false positives have in common (Lysnæs-Larsen et al. 2025), with the control that
//! shows how much of it selection alone explains.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;

use super::kind::{Earlier, ProbeKind, needed};
use super::lbfgs::{dot, norm};
use super::linear::Linear;
use super::logistic;
use super::options::Balance;
use super::task::{Labelled, Outcome, Solution, Task, Unsolved, refused};
use crate::error::Error;
use crate::seed::gaussian;

/// Logistic regression of the negatives that a classifier fitted without them takes for the concept, against as many
/// that it does not. False positives are mined out of fold: in-sample there are none where d exceeds n.
pub struct FalsePositive;

impl ProbeKind for FalsePositive {
    fn name(&self) -> &'static str {
        "fp"
    }

    fn about(&self) -> &'static str {
        "the classifier's false positives, mined out of fold, against its true negatives"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["classifier"]
    }

    fn fit(&self, task: &Task<'_>, earlier: &Earlier) -> Outcome {
        let reference = needed(earlier, "classifier")?;
        let (model, rows) = mined(task, reference.lambda, "fp")?;
        solution(task, reference, model, &rows)
    }
}

/// A fit of chosen negatives as a solution, with their number, the cosine with the classifier and what choosing alone gives.
pub(super) fn solution(task: &Task<'_>, reference: &Solution, model: Linear, rows: &Labelled) -> Outcome {
    let mut solution = model.solution(reference.lambda, rows);
    let false_positives = rows.positive.len();
    solution.facts.insert("false_positives".into(), false_positives as f64);
    if let (Some(v), Some(f)) = (reference.coordinates(), solution.coordinates()) {
        solution.facts.insert("cos_classifier".into(), cosine(v, f));
    }
    if let Some(control) = control_cosine(task, reference.lambda, false_positives)? {
        solution.facts.insert("selection_null_cos".into(), control);
    }
    Ok(solution)
}

/// A classifier of false positives against as many true negatives, and the rows it was fitted on; folds and draws are those
/// of the stream `name`. The validation split has no label "false positive" to choose a lambda with: the classifier's is
/// kept.
///
/// # Errors
/// A refusal where there are too few; when a solver refuses its data.
pub fn mined(task: &Task<'_>, lambda: f64, name: &str) -> Result<(Linear, Labelled), Unsolved> {
    let scores = out_of_fold(task, lambda, name)?;
    let Some(rows) = split_by_score(task, &scores, 0.0, &format!("{name}/true negatives")) else {
        let found = scores.values().filter(|s| **s > 0.0).count();
        let wanted = task.options.min_false_positives;
        return refused(format!("{found} false positives out of fold, at least {wanted} wanted"));
    };
    Ok((logistic::fit(task.space, &rows, lambda)?, rows))
}

/// Cosine of two vectors.
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    dot(a, b) / (norm(a) * norm(b)).max(f64::MIN_POSITIVE)
}

/// For every negative of the fit split, its score under a classifier fitted without its fold. Folds keep blocks whole.
pub(super) fn out_of_fold(task: &Task<'_>, lambda: f64, name: &str) -> Result<BTreeMap<usize, f64>, Error> {
    let mut scores = BTreeMap::new();
    for (k, (rest, held_out)) in task.folds(task.fit, &format!("{name}/folds")).into_iter().enumerate() {
        let rows = task.balanced(&rest, &format!("{name}/fold {k}"));
        let model = logistic::fit(task.space, &rows, lambda)?;
        for row in held_out.negative {
            scores.insert(row, task.space.score(row, &model.weights, model.bias));
        }
    }
    Ok(scores)
}

/// Rows above the threshold against as many below it, or all of them where `probe.balance` weighs classes; `None` where
/// there are too few.
pub(super) fn split_by_score(
    task: &Task<'_>,
    scores: &BTreeMap<usize, f64>,
    threshold: f64,
    stream: &str,
) -> Option<Labelled> {
    let (positive, mut negative): (Vec<usize>, Vec<usize>) = scores.keys().partition(|r| scores[*r] > threshold);
    if positive.len() < task.options.min_false_positives || negative.len() < 2 {
        return None;
    }
    if task.options.balance == Balance::Subsample {
        negative.shuffle(&mut task.stream(stream));
        negative.truncate(positive.len());
        negative.sort_unstable();
    }
    Some(Labelled { positive, negative })
}

/// The selection null (our definition): the same procedure for a random direction r at the same number of "false
/// positives"; the mean of cos(r, direction fitted to them). An FP-CAV's cosine near it says nothing about the concept.
fn control_cosine(task: &Task<'_>, lambda: f64, count: usize) -> Result<Option<f64>, Error> {
    let mut total = 0.0;
    for k in 0..task.options.controls {
        let mut rng = task.stream(&format!("fp/control {k}"));
        let r: Vec<f64> = (0..task.space.dimension()).map(|_| gaussian(&mut rng)).collect();
        let scores: BTreeMap<usize, f64> =
            task.fit.negative.iter().map(|row| (*row, task.space.score(*row, &r, 0.0))).collect();
        let mut sorted: Vec<f64> = scores.values().copied().collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let threshold = sorted.get(count).copied().unwrap_or(f64::NEG_INFINITY);
        let Some(rows) = split_by_score(task, &scores, threshold, &format!("fp/control {k}/negatives")) else {
            return Ok(None);
        };
        let model = logistic::fit(task.space, &rows, lambda)?;
        total += cosine(&r, &model.weights);
    }
    Ok(Some(total / task.options.controls as f64))
}
