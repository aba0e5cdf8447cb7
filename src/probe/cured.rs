//! Cured CAV: the Classifier-CAV without its component along the FP-CAV (Lysnæs-Larsen et al. 2025).

use super::kind::{Earlier, ProbeKind, needed};
use super::lbfgs::{dot, norm};
use super::task::{Offset, Outcome, Solution, Task, Unsolved, refused};

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

    fn fit(&self, _: &Task<'_>, earlier: &Earlier) -> Outcome {
        let pair = Pair::of(earlier)?;
        pair.outcome(pair.reject(1.0))
    }
}

/// The two directions that a cure starts from, in coordinates.
pub(super) struct Pair<'a> {
    /// The solution of the classifier.
    pub(super) classifier: &'a Solution,
    /// Its weights.
    pub(super) v: &'a [f64],
    /// Those of the FP-CAV.
    pub(super) f: &'a [f64],
}

impl<'a> Pair<'a> {
    /// The pair, or the refusal that follows from the absence of one of them.
    pub(super) fn of(earlier: &'a Earlier) -> Result<Self, Unsolved> {
        let (classifier, fp) = (needed(earlier, "classifier")?, needed(earlier, "fp")?);
        match (classifier.coordinates(), fp.coordinates()) {
            (Some(v), Some(f)) => Ok(Self { classifier, v, f }),
            _ => refused("its two directions are not in one space"),
        }
    }

    /// v less a share of its component along f. Inner products of weights in coordinates are those of the directions:
    /// the coordinates are isometric.
    pub(super) fn reject(&self, part: f64) -> Vec<f64> {
        let share = part * (dot(self.v, self.f) / (norm(self.f) * norm(self.f)).max(f64::MIN_POSITIVE));
        self.v.iter().zip(self.f).map(|(v, f)| v - share * f).collect()
    }

    /// What is left of v as a solution, if anything is.
    pub(super) fn outcome(&self, left: Vec<f64>) -> Outcome {
        if norm(&left) <= 1e-9 * norm(self.v) {
            return refused("the FP-CAV is parallel to the classifier: nothing is left");
        }
        Ok(Solution::new(left, Offset::Calibrated, self.classifier.counts))
    }
}
