//! Oblique cure: what tells false positives from true negatives is erased with regard to how activations vary.

use super::cured::Pair;
use super::false_positive;
use super::kind::{Earlier, ProbeKind};
use super::lbfgs::dot;
use super::lda::Classes;
use super::task::{Outcome, Task, refused};

/// `v - (v . d) / (u . d) u`: v the classifier's direction, d the mean of the false positives less that of the true
/// negatives, `u = C^-1 d` with their shrunk covariance C, as in `lda`. Under it both have the same mean score, and of all
/// directions of which that is true it is the one whose scores are nearest to the classifier's. After LEACE (Belrose et al.
/// 2023), which erases a concept from activations; to do it to a direction is our reading.
pub struct CuredLeace;

impl ProbeKind for CuredLeace {
    fn name(&self) -> &'static str {
        "cured_leace"
    }

    fn about(&self) -> &'static str {
        "the classifier's direction made blind to the false positives' mean, with regard to their covariance"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["classifier", "fp"]
    }

    fn fit(&self, task: &Task<'_>, earlier: &Earlier) -> Outcome {
        let pair = Pair::of(earlier)?;
        let (_, rows) = false_positive::mined(task, pair.classifier.lambda, "fp")?;
        let classes = Classes::of(task, &rows);
        let Some(shrinkage) = classes.shrinkage() else {
            return refused("the activations do not vary within the false positives and the true negatives");
        };
        let (u, _) = classes.discriminant(shrinkage);
        let d = classes.difference();
        let share = dot(pair.v, &d) / dot(&u, &d);
        pair.outcome(pair.v.iter().zip(&u).map(|(v, u)| v - share * u).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fixture::World;
    use crate::probe::kind::KINDS;

    #[test]
    fn false_positives_and_true_negatives_have_the_same_mean_score() {
        World::new([12, 3, 4], 90, 40).with(|task| {
            let mut earlier = Earlier::new();
            for name in ["classifier", "fp"] {
                let kind = KINDS.iter().find(|k| k.name() == name).unwrap();
                earlier.insert(name.to_owned(), kind.fit(task, &earlier).unwrap());
            }
            let (_, rows) = false_positive::mined(task, earlier["classifier"].lambda, "fp").unwrap();
            let gap = |weights: &[f64]| {
                let mean = |rows: &[usize]| {
                    rows.iter().map(|r| task.space.score(*r, weights, 0.0)).sum::<f64>() / rows.len() as f64
                };
                mean(&rows.positive) - mean(&rows.negative)
            };
            let before = gap(earlier["classifier"].coordinates().unwrap());
            let cured = CuredLeace.fit(task, &earlier).unwrap();
            let after = gap(cured.coordinates().unwrap());
            assert!(before > 0.1 && after.abs() < 1e-9 * before, "{before} {after}");
        });
    }
}
