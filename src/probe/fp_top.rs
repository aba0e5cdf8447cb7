//! FP-CAV without a threshold: the negatives that come nearest to the concept.

use super::false_positive::{self, out_of_fold, split_by_score};
use super::kind::{Earlier, ProbeKind, needed};
use super::logistic;
use super::task::{Outcome, Task, refused};

/// As `fp`, of the `probe.top_share` of the negatives with the highest scores out of fold, right or wrong: every concept has as
/// many of them, however good its classifier is (our definition).
pub struct FpTop;

impl ProbeKind for FpTop {
    fn name(&self) -> &'static str {
        "fp_top"
    }

    fn about(&self) -> &'static str {
        "the negatives with the highest scores out of fold, against as many of the others"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["classifier"]
    }

    fn fit(&self, task: &Task<'_>, earlier: &Earlier) -> Outcome {
        let reference = needed(earlier, "classifier")?;
        let scores = out_of_fold(task, reference.lambda, "fp_top")?;
        let count = (task.options.top_share * scores.len() as f64).round() as usize;
        let mut sorted: Vec<f64> = scores.values().copied().collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let threshold = sorted.get(count).copied().unwrap_or(f64::NEG_INFINITY);
        let Some(rows) = split_by_score(task, &scores, threshold, "fp_top/others") else {
            let wanted = task.options.min_false_positives;
            return refused(format!("probe.top_share makes {count} of the negatives, at least {wanted} wanted"));
        };
        let model = logistic::fit(task.space, &rows, reference.lambda)?;
        false_positive::solution(task, reference, model, &rows)
    }
}
