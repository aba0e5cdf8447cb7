//! Classifier-CAV: balanced logistic regression (Kim et al. 2018 with a logistic loss).

use super::kind::{Earlier, ProbeKind};
use super::linear;
use super::logistic::{self, softplus};
use super::task::{Outcome, Task};

/// Logistic regression on as many positives as negatives; lambda is chosen as `probe.lambda_by` says.
pub struct Classifier;

impl ProbeKind for Classifier {
    fn name(&self) -> &'static str {
        "classifier"
    }

    fn about(&self) -> &'static str {
        "logistic regression on balanced samples with and without the concept"
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        let rows = task.balanced(task.fit, "balance");
        let path = |rows: &_, lambdas: &[f64]| logistic::path(task.space, rows, lambdas);
        linear::choose(task, &rows, path, |margin| softplus(-margin))
    }
}
