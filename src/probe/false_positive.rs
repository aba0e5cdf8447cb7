//! FP-CAV: what the Classifier-CAV's false positives have in common (Lysnæs-Larsen et al. 2025), with the control that
//! shows how much of it selection alone explains.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;

use super::kind::{Earlier, ProbeKind, needed};
use super::lbfgs::{dot, norm};
use super::linear::Linear;
use super::logistic;
use super::task::{Labelled, Outcome, Task};
use crate::error::Result;
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

    fn fit(&self, task: &Task<'_>, earlier: &Earlier) -> Result<Outcome> {
        let reference = match needed(earlier, "classifier") {
            Ok(solution) => solution,
            Err(refusal) => return Ok(refusal),
        };
        let (model, rows) = match mined(task, reference.lambda, "fp")? {
            Ok(mined) => mined,
            Err(reason) => return Ok(Outcome::Refused(reason)),
        };
        let mut solution = model.solution(reference.lambda, &rows);
        let false_positives = rows.positive.len();
        solution.facts.insert("false_positives".into(), false_positives as f64);
        if let (Some(v), Some(f)) = (reference.coordinates(), solution.coordinates()) {
            solution.facts.insert("cos_classifier".into(), cosine(v, f));
        }
        if let Some(control) = control_cosine(task, reference.lambda, false_positives)? {
            solution.facts.insert("selection_null_cos".into(), control);
        }
        Ok(Outcome::Solved(solution))
    }
}

/// A classifier of false positives against as many true negatives, and the rows it was fitted on, or why there are too
/// few; folds and draws are those of the stream `name`. The validation split has no label "false positive" to choose a
/// lambda with: the classifier's is kept.
///
/// # Errors
/// When a solver refuses its data.
pub fn mined(task: &Task<'_>, lambda: f64, name: &str) -> Result<std::result::Result<(Linear, Labelled), String>> {
    let scores = out_of_fold(task, lambda, name)?;
    let Some(rows) = split_by_score(task, &scores, 0.0, &format!("{name}/true negatives")) else {
        let found = scores.values().filter(|s| **s > 0.0).count();
        let wanted = task.options.min_false_positives;
        return Ok(Err(format!("{found} false positives out of fold, at least {wanted} wanted")));
    };
    Ok(Ok((logistic::fit(task.space, &rows, lambda, None)?, rows)))
}

/// Cosine of two vectors.
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    dot(a, b) / (norm(a) * norm(b)).max(f64::MIN_POSITIVE)
}

/// For every negative of the fit split, its score under a classifier fitted without its fold. Folds keep blocks whole.
fn out_of_fold(task: &Task<'_>, lambda: f64, name: &str) -> Result<BTreeMap<usize, f64>> {
    let mut blocks: Vec<usize> = task.fit.positive.iter().chain(&task.fit.negative).map(|r| task.blocks[*r]).collect();
    blocks.sort_unstable();
    blocks.dedup();
    blocks.shuffle(&mut task.stream(&format!("{name}/folds")));
    let fold: BTreeMap<usize, usize> = blocks.iter().enumerate().map(|(i, b)| (*b, i % task.options.folds)).collect();
    let fold_of = |row: &usize| fold.get(&task.blocks[*row]).copied().unwrap_or(0);
    let mut scores = BTreeMap::new();
    for k in 0..task.options.folds {
        let inside = |rows: &[usize]| rows.iter().filter(|r| fold_of(r) != k).copied().collect::<Vec<_>>();
        let rest = Labelled { positive: inside(&task.fit.positive), negative: inside(&task.fit.negative) };
        if rest.positive.is_empty() || rest.negative.is_empty() {
            continue;
        }
        let rows = task.balanced(&rest, &format!("{name}/fold {k}"));
        let model = logistic::fit(task.space, &rows, lambda, None)?;
        for row in task.fit.negative.iter().filter(|r| fold_of(r) == k) {
            scores.insert(*row, task.space.score(*row, &model.weights, model.bias));
        }
    }
    Ok(scores)
}

/// Rows above the threshold against as many below it; `None` where there are too few.
fn split_by_score(task: &Task<'_>, scores: &BTreeMap<usize, f64>, threshold: f64, stream: &str) -> Option<Labelled> {
    let (positive, mut negative): (Vec<usize>, Vec<usize>) = scores.keys().partition(|r| scores[*r] > threshold);
    if positive.len() < task.options.min_false_positives || negative.len() < 2 {
        return None;
    }
    negative.shuffle(&mut task.stream(stream));
    negative.truncate(positive.len());
    negative.sort_unstable();
    Some(Labelled { positive, negative })
}

/// The selection null (our definition): the same procedure for a random direction r at the same number of "false
/// positives"; the mean of cos(r, direction fitted to them). An FP-CAV's cosine near it says nothing about the concept.
fn control_cosine(task: &Task<'_>, lambda: f64, count: usize) -> Result<Option<f64>> {
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
        let model = logistic::fit(task.space, &rows, lambda, None)?;
        total += cosine(&r, &model.weights);
    }
    Ok(Some(total / task.options.controls as f64))
}
