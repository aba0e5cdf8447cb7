//! Cure of a span: what several FP-CAVs have in common with the classifier is removed, not one draw's alone.

use super::cured::Pair;
use super::false_positive;
use super::kind::{Earlier, ProbeKind};
use super::lbfgs::{dot, norm};
use super::task::{Outcome, Task};

/// The classifier's direction less its projection on the span of the FP-CAV and of `probe.controls` more, each mined with
/// folds and samples of its own (our definition).
pub struct CuredSpan;

impl ProbeKind for CuredSpan {
    fn name(&self) -> &'static str {
        "cured_span"
    }

    fn about(&self) -> &'static str {
        "the classifier's direction less its projection on the span of several FP-CAVs"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["classifier", "fp"]
    }

    fn fit(&self, task: &Task<'_>, earlier: &Earlier) -> Outcome {
        let pair = Pair::of(earlier)?;
        let mut basis = Vec::new();
        add(&mut basis, pair.f);
        for draw in 0..task.options.controls {
            let (model, _) = false_positive::mined(task, pair.classifier.lambda, &format!("cured_span/{draw}"))?;
            add(&mut basis, &model.weights);
        }
        let mut solution = pair.outcome(outside(&basis, pair.v))?;
        solution.facts.insert("span".into(), basis.len() as f64);
        Ok(solution)
    }
}

/// Adds the part of a direction outside the span of an orthonormal basis to it, if there is any.
fn add(basis: &mut Vec<Vec<f64>>, direction: &[f64]) {
    let left = outside(basis, direction);
    let length = norm(&left);
    if length > 1e-9 * norm(direction) {
        basis.push(left.iter().map(|v| v / length).collect());
    }
}

/// The part of a vector outside the span of an orthonormal basis: twice is enough (Kahan; Parlett 1980, 6.9).
fn outside(basis: &[Vec<f64>], vector: &[f64]) -> Vec<f64> {
    let mut left = vector.to_vec();
    for b in basis.iter().chain(basis) {
        let along = dot(&left, b);
        left.iter_mut().zip(b).for_each(|(v, b)| *v -= along * b);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_orthogonal_to_the_whole_span() {
        let wave = |k: usize| (0..30).map(|i| ((i * k) as f64).sin()).collect::<Vec<_>>();
        // The last but one almost lies in the span of the others, the last does.
        let near: Vec<f64> =
            wave(1).iter().zip(wave(2)).enumerate().map(|(i, (a, b))| a + b + 1e-6 * i as f64).collect();
        let directions = [wave(1), wave(2), near, wave(2)];
        let mut basis = Vec::new();
        directions.iter().for_each(|d| add(&mut basis, d));
        assert_eq!(basis.len(), 3);
        let left = outside(&basis, &wave(5));
        assert!(directions.iter().all(|d| dot(d, &left).abs() < 1e-9));
    }
}
