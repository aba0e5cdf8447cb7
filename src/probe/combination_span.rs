//! Combination-CAV in sequence: a classifier that may only mix what the masks show.

use rayon::prelude::*;

use super::kind::{Earlier, ProbeKind, needed};
use super::lbfgs::{dot, norm};
use super::segmentation::choose;
use super::segmentation_pattern::pattern_of_positions;
use super::task::{Labelled, Offset, Outcome, Solution, Task, Weights, refused};
use super::weighted::Weighted;
use crate::error::Result;

/// Logistic regression of balanced samples on two scores: that of the Segmentation-CAV, and that of the pattern of the
/// masked positions (our reading C3).
pub struct CombinationSpan;

impl ProbeKind for CombinationSpan {
    fn name(&self) -> &'static str {
        "combination_span"
    }

    fn about(&self) -> &'static str {
        "a classifier in the plane of the segmentation's direction and the pattern of the masked positions"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["segmentation"]
    }

    fn needs_masks(&self) -> bool {
        true
    }

    fn fit(&self, task: &Task<'_>, earlier: &Earlier) -> Outcome {
        let segmentation = needed(earlier, "segmentation")?;
        let mut plane = task.on_activations(&[segmentation])?.into_iter().map(|(w, _)| w).collect::<Vec<_>>();
        plane.push(pattern_of_positions(task)?);
        for axis in &mut plane {
            let length = norm(axis);
            if length <= 0.0 {
                return refused("the segmentation's weights are all zero: there is no plane");
            }
            axis.iter_mut().for_each(|v| *v /= length);
        }
        let rows = task.balanced(task.fit, "balance");
        let (train, val) = (scores(task, &plane, &rows)?, scores(task, &plane, task.val)?);
        let scaling = Scaling::of(&train);
        let model = choose(&task.options.lambda, &scaling.apply(train), &scaling.apply(val));
        let (gains, bias) = scaling.undo(&model.v, model.bias);
        let mut solution = Solution::new(Vec::new(), Offset::Native(bias), (rows.positive.len(), rows.negative.len()));
        let weights = plane[0].iter().zip(&plane[1]).map(|(a, b)| gains[0] * a + gains[1] * b).collect();
        solution.weights = Weights::Activations(weights);
        (solution.lambda, solution.gradient_norm) = (model.lambda, model.gradient_norm);
        Ok(solution)
    }
}

/// The scores of rows along two directions, each class with weight one half.
fn scores(task: &Task<'_>, plane: &[Vec<f64>], rows: &Labelled) -> Result<Weighted<f64>> {
    let order: Vec<usize> = rows.positive.iter().chain(&rows.negative).copied().collect();
    let scored = order.par_iter().map(|row| {
        let sample = task.space.samples[*row];
        let z: Vec<f64> = task.set.vector(sample, task.space.variant)?.into_iter().map(f64::from).collect();
        Ok([dot(&z, &plane[0]), dot(&z, &plane[1])])
    });
    let present = rows.positive.len();
    let weight = |i: usize| 0.5 / if i < present { present } else { order.len() - present } as f64;
    Ok(Weighted {
        columns: 2,
        x: scored.collect::<Result<Vec<_>>>()?.concat(),
        label: (0..order.len()).map(|i| f32::from(u8::from(i < present))).collect(),
        weight: (0..order.len()).map(weight).collect(),
    })
}

/// Mean of the two scores, and the root of their mean squared distance from it.
struct Scaling {
    mean: [f64; 2],
    scale: f64,
}

impl Scaling {
    fn of(samples: &Weighted<f64>) -> Self {
        let rows = || samples.x.chunks_exact(2).zip(&samples.weight);
        let mean = [0, 1].map(|k| rows().map(|(x, w)| w * x[k]).sum::<f64>());
        let square: f64 = rows().map(|(x, w)| w * ((x[0] - mean[0]).powi(2) + (x[1] - mean[1]).powi(2))).sum();
        Self { mean, scale: square.sqrt().max(f64::MIN_POSITIVE) }
    }

    fn apply(&self, mut samples: Weighted<f64>) -> Weighted<f64> {
        for x in samples.x.chunks_exact_mut(2) {
            x.iter_mut().zip(self.mean).for_each(|(x, m)| *x = (*x - m) / self.scale);
        }
        samples
    }

    /// Weights and offset on the scores as they were.
    fn undo(&self, v: &[f64], bias: f64) -> ([f64; 2], f64) {
        let gains = [v[0] / self.scale, v[1] / self.scale];
        (gains, bias - dot(&gains, &self.mean))
    }
}
