//! Cured CAV: the Classifier-CAV without its component along the FP-CAV (Lysnæs-Larsen et al. 2025).

use super::kind::{Earlier, ProbeKind, needed};
use super::lbfgs::{dot, norm};
use super::task::{Offset, Outcome, Solution, Task};
use crate::error::Result;

/// `v - (f . v) f` with unit vectors v (classifier) and f (FP-CAV). Its offset is fitted on the validation split.
pub struct Cured;

impl ProbeKind for Cured {
    fn name(&self) -> &'static str {
        "cured"
    }

    fn about(&self) -> &'static str {
        "the classifier's direction with the FP-CAV's component removed"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["classifier", "fp"]
    }

    fn fit(&self, _: &Task<'_>, earlier: &Earlier) -> Result<Outcome> {
        let (classifier, fp) = match (needed(earlier, "classifier"), needed(earlier, "fp")) {
            (Ok(classifier), Ok(fp)) => (classifier, fp),
            (Err(refusal), _) | (_, Err(refusal)) => return Ok(refusal),
        };
        let (Some(v), Some(f)) = (classifier.coordinates(), fp.coordinates()) else {
            return Ok(Outcome::Refused("its two directions are not in one space".into()));
        };
        // Inner products of weights in coordinates are those of the directions: the coordinates are isometric.
        let share = dot(v, f) / (norm(f) * norm(f)).max(f64::MIN_POSITIVE);
        let weights: Vec<f64> = v.iter().zip(f).map(|(v, f)| v - share * f).collect();
        if norm(&weights) <= 1e-9 * norm(v) {
            return Ok(Outcome::Refused("the FP-CAV is parallel to the classifier: nothing is left".into()));
        }
        Ok(Outcome::Solved(Solution::new(weights, Offset::Calibrated, classifier.counts)))
    }
}
