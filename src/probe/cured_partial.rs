//! Partial cure: as much of the FP-CAV's component is removed as helps on hard validation samples.

use super::cured::Pair;
use super::kind::{Earlier, ProbeKind};
use super::logistic;
use super::null;
use super::task::{Labelled, Offset, Outcome, Task, refused};
use crate::error::Result;

/// Fewest hard positives, and hard negatives, in the validation split.
const LEAST: usize = 5;
/// Shares of the component that are tried, less the one that removes nothing.
const STEPS: usize = 10;

/// `v - a (f . v) f` with the least a of 0, 0.1, …, 1 that has the best balanced accuracy on the validation samples which
/// most of the reference classifiers get wrong (our definition, as `hard_h1`).
pub struct CuredPartial;

impl ProbeKind for CuredPartial {
    fn name(&self) -> &'static str {
        "cured_partial"
    }

    fn about(&self) -> &'static str {
        "the classifier's direction less the share of the FP-CAV's component that helps on hard validation samples"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["classifier", "fp"]
    }

    fn fit(&self, task: &Task<'_>, earlier: &Earlier) -> Outcome {
        let pair = Pair::of(earlier)?;
        let hard = hard_rows(task, pair.classifier.lambda)?;
        let (positive, negative) = (hard.positive.len(), hard.negative.len());
        if positive.min(negative) < LEAST {
            let reason = format!(
                "{positive} hard positives and {negative} hard negatives in the validation split, at least {LEAST} of each wanted"
            );
            return refused(reason);
        }
        let (mut best, mut part) = (f64::NEG_INFINITY, 0.0);
        for step in 0..=STEPS {
            let share = step as f64 / STEPS as f64;
            let accuracy = accuracy(task, &hard, &pair.reject(share));
            if accuracy > best {
                (best, part) = (accuracy, share);
            }
        }
        let mut solution = pair.outcome(pair.reject(part))?;
        solution.facts.insert("part".into(), part);
        Ok(solution)
    }
}

/// The validation rows that most of the reference ensemble gets wrong.
fn hard_rows(task: &Task<'_>, lambda: f64) -> Result<Labelled> {
    let draws = task.options.references;
    let references = (0..draws).map(|draw| null::reference(task, lambda, draw)).collect::<Result<Vec<_>>>()?;
    let present = |row: &usize| {
        let votes = references.iter().filter(|r| match (r.coordinates(), r.offset) {
            (Some(w), Offset::Native(bias)) => task.space.score(*row, w, bias) > 0.0,
            _ => false,
        });
        2 * votes.count() > draws
    };
    Ok(Labelled {
        positive: task.val.positive.iter().filter(|r| !present(r)).copied().collect(),
        negative: task.val.negative.iter().filter(|r| present(r)).copied().collect(),
    })
}

/// Balanced accuracy on the hard rows, the offset fitted on all of the validation split.
fn accuracy(task: &Task<'_>, hard: &Labelled, weights: &[f64]) -> f64 {
    let scores = |rows: &[usize]| rows.iter().map(|r| task.space.score(*r, weights, 0.0)).collect::<Vec<_>>();
    let bias = logistic::calibrate(&scores(&task.val.positive), &scores(&task.val.negative));
    let share = |rows: &[usize], sign: f64| {
        let right = scores(rows).into_iter().filter(|s| sign * (s + bias) > 0.0).count();
        right as f64 / rows.len() as f64
    };
    0.5 * (share(&hard.positive, 1.0) + share(&hard.negative, -1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::lbfgs::{dot, norm};
    use crate::probe::task::Solution;

    #[test]
    fn a_whole_cure_is_orthogonal_and_a_part_lies_between() {
        let solution = |w: &[f64]| Solution::new(w.to_vec(), Offset::Calibrated, (1, 1));
        let earlier =
            Earlier::from([("classifier".into(), solution(&[3.0, 4.0])), ("fp".into(), solution(&[0.0, 2.0]))]);
        let Ok(pair) = Pair::of(&earlier) else { panic!("no pair") };
        assert_eq!(pair.reject(0.0), [3.0, 4.0]);
        assert_eq!(pair.reject(0.5), [3.0, 2.0]);
        assert!(dot(&pair.reject(1.0), pair.f).abs() < 1e-12);
        // sqrt(1 - cos^2) of the classifier's length.
        assert!((norm(&pair.reject(1.0)) / norm(pair.v) - 0.6).abs() < 1e-12);
    }
}
