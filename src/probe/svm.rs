//! SVM-CAV: a linear support vector machine (the first CAVs' kind of classifier, Kim et al. 2018) with the squared hinge
//! loss, which has a slope everywhere, in its primal form (Chapelle 2007, Neural Computation 19:1155).

use super::kind::{Earlier, ProbeKind};
use super::linear;
use super::task::{Outcome, Task};

/// A support vector machine on the classifier's own samples; lambda is chosen as the classifier's, by the squared hinge.
pub struct Svm;

impl ProbeKind for Svm {
    fn name(&self) -> &'static str {
        "svm"
    }

    fn about(&self) -> &'static str {
        "linear support vector machine (squared hinge) on balanced samples"
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        let rows = task.balanced(task.fit, "balance");
        let path = |rows: &_, lambdas: &[f64]| linear::path("support vector machine", task.space, rows, lambdas, loss);
        linear::choose(task, &rows, path, |margin| loss(margin, 1.0).0)
    }
}

/// `max(0, 1 - t s)^2 / 2` with `t = 2 label - 1`, for labels 0 and 1, and its slope. Half, so that it is the least
/// squares of the samples that are not beyond their margin.
fn loss(score: f64, label: f64) -> (f64, f64) {
    let sign = 2.0 * label - 1.0;
    let gap = (1.0 - sign * score).max(0.0);
    (0.5 * gap * gap, -sign * gap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fixture::Golden;

    #[test]
    fn fits_are_those_of_scikit_learn() {
        Golden::each(|golden| {
            let samples = golden.samples();
            for (lambda, wanted) in golden.lambdas.iter().zip(&golden.svm) {
                let end = samples.fit_by(loss, vec![0.0; samples.columns + 1], *lambda, |_| {});
                let (weights, bias) = end.x.split_at(samples.columns);
                golden.compare("svm", weights, bias[0], wanted, 1e-6);
            }
        });
    }
}
