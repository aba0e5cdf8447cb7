//! Combination-CAV as a sum: the mean of the unit directions of three kinds.

use super::kind::{Earlier, ProbeKind, needed};
use super::lbfgs::norm;
use super::task::{Offset, Outcome, Solution, Task, Weights};

const MEMBERS: [&str; 3] = ["classifier", "pattern", "segmentation"];

/// The sum of unit vectors of classifier, pattern and segmentation (our reading C2). Its offset is fitted on the
/// validation split.
pub struct CombinationSum;

impl ProbeKind for CombinationSum {
    fn name(&self) -> &'static str {
        "combination_sum"
    }

    fn about(&self) -> &'static str {
        "the sum of the unit directions of classifier, pattern and segmentation"
    }

    fn needs(&self) -> &'static [&'static str] {
        &MEMBERS
    }

    fn fit(&self, task: &Task<'_>, earlier: &Earlier) -> Outcome {
        let members = MEMBERS.iter().map(|kind| needed(earlier, kind)).collect::<Result<Vec<_>, _>>()?;
        let mut sum = Vec::new();
        for (weights, _) in task.on_activations(&members)? {
            let length = norm(&weights).max(f64::MIN_POSITIVE);
            sum.resize(weights.len(), 0.0);
            sum.iter_mut().zip(weights).for_each(|(s, w)| *s += w / length);
        }
        let counts = (task.fit.positive.len(), task.fit.negative.len());
        let mut solution = Solution::new(Vec::new(), Offset::Calibrated, counts);
        solution.weights = Weights::Activations(sum);
        Ok(solution)
    }
}
