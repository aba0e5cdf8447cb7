//! Pattern-CAV: covariance of activation and label over the label's variance (Pahde et al. 2022), which for two classes
//! is exactly the difference of their means, whatever the balance.

use super::kind::{Earlier, ProbeKind};
use super::lbfgs::dot;
use super::task::{Labelled, Offset, Outcome, Solution, Task};

/// Difference of class means; the offset puts the threshold midway between the projected means (our choice: it is
/// linear discriminant analysis with equal variances).
pub struct Pattern;

impl ProbeKind for Pattern {
    fn name(&self) -> &'static str {
        "pattern"
    }

    fn about(&self) -> &'static str {
        "covariance of activation and label: the difference of the class means"
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        Ok(difference(task, task.fit))
    }
}

/// The difference of the class means, with the threshold midway between them.
pub fn difference(task: &Task<'_>, rows: &Labelled) -> Solution {
    let (positive, negative) = (class_mean(task, &rows.positive), class_mean(task, &rows.negative));
    let weights: Vec<f64> = positive.iter().zip(&negative).map(|(p, n)| p - n).collect();
    let bias = -0.5 * (dot(&weights, &positive) + dot(&weights, &negative));
    Solution::new(weights, Offset::Native(bias), (rows.positive.len(), rows.negative.len()))
}

/// The mean of rows, in coordinates.
pub fn class_mean(task: &Task<'_>, rows: &[usize]) -> Vec<f64> {
    let mut mean = vec![0.0; task.space.dimension()];
    for row in rows {
        mean.iter_mut().zip(task.space.x.row(*row)).for_each(|(m, x)| *m += x);
    }
    mean.iter_mut().for_each(|m| *m /= rows.len().max(1) as f64);
    mean
}
