//! Classifier-CAV: balanced logistic regression (Kim et al. 2018 with a logistic loss).

use super::kind::{Earlier, ProbeKind};
use super::linear;
use super::logistic::{self, softplus};
use super::task::{Outcome, Task};
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
        let fit = |lambda, last: Option<&_>| logistic::fit(task.space, &rows, lambda, last);
        linear::choose(task, &rows, fit, |margin| softplus(-margin)).map(Outcome::Solved)
    }
}
