//! Differences of means on the classifier's samples, and from the mean of all.

use super::kind::{Earlier, ProbeKind};
use super::lbfgs::dot;
use super::pattern::{class_mean, difference};
use super::task::{Labelled, Offset, Outcome, Solution, Task};

/// The difference of class means over the very samples the classifier sees: where the two differ, the loss is why, not
/// the choice of samples. With equal classes it is the Pattern-CAV.
pub struct MeanDifference;

impl ProbeKind for MeanDifference {
    fn name(&self) -> &'static str {
        "mean_difference"
    }

    fn about(&self) -> &'static str {
        "the difference of the class means over the classifier's balanced samples"
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        Ok(difference(task, &task.balanced(task.fit, "balance")))
    }
}

/// FastCAV (Schmalwasser et al. 2025): `w = mean(z | concept) - mean(z)`, with the threshold at the mean of all. The
/// direction is the Pattern-CAV's, shorter by the share of negatives.
pub struct FastCav;

impl ProbeKind for FastCav {
    fn name(&self) -> &'static str {
        "fast_cav"
    }

    fn about(&self) -> &'static str {
        "the mean with the concept less the mean of all, its threshold at the mean of all"
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        Ok(fast_cav(task, task.fit))
    }
}

fn fast_cav(task: &Task<'_>, rows: &Labelled) -> Solution {
    let all = [rows.positive.as_slice(), &rows.negative].concat();
    let (positive, all) = (class_mean(task, &rows.positive), class_mean(task, &all));
    let weights: Vec<f64> = positive.iter().zip(&all).map(|(p, a)| p - a).collect();
    let bias = -dot(&weights, &all);
    Solution::new(weights, Offset::Native(bias), (rows.positive.len(), rows.negative.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fixture::World;
    use crate::probe::lbfgs::norm;

    #[test]
    fn the_pattern_is_the_covariance_with_the_label_over_its_variance() {
        World::new([6, 2, 2], 128, 37).with(|task| {
            let all = [task.fit.positive.as_slice(), &task.fit.negative].concat();
            let share = task.fit.positive.len() as f64 / all.len() as f64;
            let mean = class_mean(task, &all);
            let mut wanted = vec![0.0; mean.len()];
            for (i, row) in all.iter().enumerate() {
                let label = f64::from(u8::from(i < task.fit.positive.len())) - share;
                let x = task.space.x.row(*row);
                wanted.iter_mut().zip(x).zip(&mean).for_each(|((w, x), m)| *w += (x - m) * label);
            }
            let variance = share * (1.0 - share) * all.len() as f64;
            let got = difference(task, task.fit);
            for (wanted, got) in wanted.iter().zip(got.coordinates().unwrap()) {
                assert!((wanted / variance - got).abs() < 1e-12, "{wanted} {got}");
            }
        });
    }

    #[test]
    fn fast_cav_is_the_pattern_shorter_by_the_share_of_negatives() {
        World::new([6, 2, 2], 128, 37).with(|task| {
            let (pattern, fast) = (difference(task, task.fit), fast_cav(task, task.fit));
            let (p, f) = (pattern.coordinates().unwrap(), fast.coordinates().unwrap());
            assert!((norm(f) / norm(p) - 91.0 / 128.0).abs() < 1e-12);
            assert!((dot(p, f) / (norm(p) * norm(f)) - 1.0).abs() < 1e-12);
        });
    }
}
