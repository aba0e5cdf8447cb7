//! Directions with nothing to find: what every figure is to be held against.

use rand::seq::SliceRandom;

use super::kind::{Earlier, ProbeKind, needed};
use super::lbfgs::{dot, norm};
use super::logistic;
use super::task::{Labelled, Offset, Outcome, Solution, Task, Weights};
use crate::error::Result;
use crate::seed::gaussian;

/// A direction drawn uniformly from the unit sphere of the activations.
pub struct RandomDirection;

impl ProbeKind for RandomDirection {
    fn name(&self) -> &'static str {
        "random"
    }

    fn about(&self) -> &'static str {
        "null: a random unit vector, its offset fitted on the validation split"
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        let dimension = task.space.variant.width(task.set.shape);
        let mut rng = task.stream("random");
        let weights = (0..dimension).map(|_| gaussian(&mut rng)).collect();
        let mut solution = Solution::new(Vec::new(), Offset::Calibrated, (0, 0));
        solution.weights = Weights::Activations(weights);
        Ok(solution)
    }
}

/// The classifier fitted to shuffled labels.
pub struct PermutedLabels;

impl ProbeKind for PermutedLabels {
    fn name(&self) -> &'static str {
        "permuted"
    }

    fn about(&self) -> &'static str {
        "null: the classifier fitted to shuffled labels"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["classifier"]
    }

    fn fit(&self, task: &Task<'_>, earlier: &Earlier) -> Outcome {
        let reference = needed(earlier, "classifier")?;
        let balanced = task.balanced(task.fit, "permuted/balance");
        let mut rows = [balanced.positive.as_slice(), balanced.negative.as_slice()].concat();
        rows.shuffle(&mut task.stream("permuted/labels"));
        let negative = rows.split_off(balanced.positive.len());
        let rows = Labelled { positive: rows, negative };
        let model = logistic::fit(task.space, &rows, reference.lambda)?;
        Ok(model.solution(reference.lambda, &rows))
    }
}

/// A further Classifier-CAV, from other balanced draws: member `draw` of the reference ensemble that mines hard samples.
///
/// Where one class is scarce a fresh draw would repeat it whole, so four fifths of each class are taken (our choice).
///
/// # Errors
/// When the fit fails.
pub fn reference(task: &Task<'_>, lambda: f64, draw: usize) -> Result<Solution> {
    let mut rows = task.balanced(task.fit, &format!("reference {draw}"));
    let mut rng = task.stream(&format!("reference {draw}/share"));
    for side in [&mut rows.positive, &mut rows.negative] {
        side.shuffle(&mut rng);
        side.truncate((side.len() * 4).div_ceil(5));
        side.sort_unstable();
    }
    let model = logistic::fit(task.space, &rows, lambda)?;
    Ok(model.solution(lambda, &rows))
}

/// A degraded twin of an FP-CAV (our definition): `cos * v + sin * u`, v the classifier's unit vector, u a random
/// combination of the centred negatives orthogonal to it. It has the FP-CAV's cosine and nothing else of it.
pub fn degraded_twin(task: &Task<'_>, classifier: &[f64], cosine: f64, draw: usize) -> Solution {
    let mut rng = task.stream(&format!("twin {draw}"));
    let mut u = vec![0.0; task.space.dimension()];
    for row in &task.fit.negative {
        let weight = gaussian(&mut rng);
        u.iter_mut().zip(task.space.x.row(*row)).for_each(|(u, x)| *u += weight * x);
    }
    let length = norm(classifier).max(f64::MIN_POSITIVE);
    let v: Vec<f64> = classifier.iter().map(|v| v / length).collect();
    let along = dot(&u, &v);
    u.iter_mut().zip(&v).for_each(|(u, v)| *u -= along * v);
    let scale = (1.0 - cosine * cosine).max(0.0).sqrt() / norm(&u).max(f64::MIN_POSITIVE);
    let weights = v.iter().zip(&u).map(|(v, u)| cosine * v + scale * u).collect();
    Solution::new(weights, Offset::Calibrated, (0, task.fit.negative.len()))
}
