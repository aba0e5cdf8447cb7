//! Segmentation-CAV of a direction times a weight a position.

use super::cholesky::Cholesky;
use super::kind::{Earlier, ProbeKind};
use super::lbfgs::{self, Minimum, dot};
use super::logistic;
use super::segmentation::{Masked, Scaling, Shared, choose, draw, gather, masked_images, solution, some_mask};
use super::task::{Outcome, Task, refused};
use super::weighted::Weighted;
use crate::error::Result;
use crate::probe::Variant;

/// Weights `g_p v_c`: one direction for all positions, times a gate `g_p >= 0` shared by all channels, of mean one (our
/// definition). Minimises the loss of `segmentation` at `s = g_p <v, z_p> + b`, plus `lambda/2` times the mean square of the
/// weights over positions, `|v|^2 mean(g^2)`, jointly over v, b and `u`, `g = u^2`, from the shared probe with an even gate on;
/// lambda is the shared probe's. The problem is not convex: it is the minimum that lies there.
pub struct SegmentationGate;

impl ProbeKind for SegmentationGate {
    fn name(&self) -> &'static str {
        "segmentation_gate"
    }

    fn about(&self) -> &'static str {
        "as segmentation, one direction times a weight a position; full only"
    }

    fn needs_masks(&self) -> bool {
        true
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        if task.space.variant != Variant::Full {
            return refused("its gate says where in the grid the concept stands: ask for it in the variant `full`");
        }
        let images = masked_images(task, task.fit)?;
        some_mask(&images)?;
        let scaling = Scaling::of(task, &images)?;
        let gated = Gated::of(task, &images, &scaling)?;
        let val = gather(task, &masked_images(task, task.val)?, &scaling, "segmentation_gate/val")?;
        let shared = choose(&task.options.lambda, &gated.samples, &val);
        let end = gated.fit(&shared);
        let (v, gate) = gated.weights(&end.x);
        // The image's score is the mean over positions.
        let share = 1.0 / (scaling.scale * gated.positions as f64);
        let weights = v.iter().flat_map(|v| gate.iter().map(move |g| v * g * share)).collect();
        Ok(solution(task, weights, &Shared { gradient_norm: end.gradient_norm, ..shared }))
    }
}

/// Positions drawn from images, and where each stands.
struct Gated {
    samples: Weighted<f32>,
    cells: Vec<usize>,
    positions: usize,
}

impl Gated {
    fn of(task: &Task<'_>, images: &[Masked], scaling: &Scaling) -> Result<Self> {
        let (channels, positions) = (task.set.shape[0], task.set.positions());
        let row = |map: &[f32], p: usize, x: &mut Vec<f32>| {
            x.extend((0..channels).map(|c| scaling.apply(map[c * positions + p], c)));
        };
        let labels = |image: &Masked| Ok(image.coverage.clone());
        let (samples, cells) = draw(task, images, "segmentation_gate/fit", labels, row)?;
        Ok(Self { samples, cells, positions })
    }

    /// Direction, offset, and the roots of the gate, one after the other.
    fn fit(&self, shared: &Shared) -> Minimum {
        let (columns, lambda) = (self.samples.columns, shared.lambda);
        let factor = Cholesky::ridged(self.samples.curvature(false), columns, columns, lambda);
        let roots = self.curvature_of_roots(shared);
        let precondition = |g: &mut [f64]| {
            factor.solve(g);
            g[columns] *= 4.0;
            g[columns + 1..].iter_mut().zip(&roots).for_each(|(g, h)| *g /= h);
        };
        let mut start = shared.v.clone();
        start.push(shared.bias);
        start.extend(vec![1.0; self.positions]);
        lbfgs::minimise(start, 2000, 1e-9, precondition, |p, g| self.loss(p, lambda, g))
    }

    /// About how fast the slope grows with each root of an even gate.
    fn curvature_of_roots(&self, shared: &Shared) -> Vec<f64> {
        let ridge = 6.0 * shared.lambda * dot(&shared.v, &shared.v) / self.positions as f64;
        let mut out = vec![ridge.max(1e-6); self.positions];
        let scores = self.samples.scores(&shared.v);
        for ((cell, score), weight) in self.cells.iter().zip(scores).zip(&self.samples.weight) {
            out[*cell] += weight * score * score;
        }
        out
    }

    /// The objective and its gradient.
    fn loss(&self, p: &[f64], lambda: f64, gradient: &mut [f64]) -> f64 {
        let columns = self.samples.columns;
        let (v, bias, roots) = (&p[..columns], p[columns], &p[columns + 1..]);
        let (square, count) = (dot(v, v), self.positions as f64);
        let mean_square = roots.iter().map(|u| u.powi(4)).sum::<f64>() / count;
        let mut value = 0.5 * lambda * square * mean_square;
        gradient[..columns].iter_mut().zip(v).for_each(|(g, v)| *g = lambda * mean_square * v);
        gradient[columns] = 0.0;
        gradient[columns + 1..].iter_mut().zip(roots).for_each(|(g, u)| *g = 2.0 * lambda * square * u.powi(3) / count);
        let mut residuals = self.samples.scores(v);
        for (i, residual) in residuals.iter_mut().enumerate() {
            let (root, along, weight) = (roots[self.cells[i]], *residual, self.samples.weight[i]);
            let (loss, slope) = logistic::loss(root * root * along + bias, f64::from(self.samples.label[i]));
            value += weight * loss;
            gradient[columns] += weight * slope;
            gradient[columns + 1 + self.cells[i]] += 2.0 * root * weight * slope * along;
            *residual = weight * slope * root * root;
        }
        self.samples.combine(&residuals, &mut gradient[..columns]);
        value
    }

    /// The direction, and a gate of mean one.
    fn weights(&self, p: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let columns = self.samples.columns;
        let gate: Vec<f64> = p[columns + 1..].iter().map(|u| u * u).collect();
        let mean = gate.iter().sum::<f64>() / self.positions as f64;
        let even = gate.iter().map(|g| g / mean.max(f64::MIN_POSITIVE)).collect();
        (p[..columns].iter().map(|v| v * mean).collect(), even)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve positions, the last of them without a say: there the label has nothing to do with the sample.
    fn planted() -> Gated {
        let wave = |i: usize| (i as f64 * 12.9898).sin() * 43758.5453 % 1.0;
        let mut samples = Weighted { columns: 4, ..Weighted::default() };
        let mut cells = Vec::new();
        for i in 0..1200 {
            let (cell, x) = (i % 12, [0, 1, 2, 3].map(|c| wave(4 * i + c) as f32));
            let seen = if cell < 6 { x[0] - x[1] } else { wave(9999 + 4 * i) as f32 };
            samples.x.extend(x);
            samples.label.push(f32::from(u8::from(seen > 0.0)));
            samples.weight.push(1.0);
            cells.push(cell);
        }
        samples.normalise();
        Gated { samples, cells, positions: 12 }
    }

    #[test]
    fn the_gradient_is_that_of_central_differences() {
        let gated = planted();
        let at: Vec<f64> = (0..17).map(|i| 0.5 + (f64::from(i)).cos()).collect();
        let loss = |p: &[f64]| gated.loss(p, 0.3, &mut [0.0; 17]);
        let mut gradient = [0.0; 17];
        gated.loss(&at, 0.3, &mut gradient);
        for i in 0..17 {
            let moved = |by: f64| {
                let mut p = at.clone();
                p[i] += by;
                loss(&p)
            };
            let wanted = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((gradient[i] - wanted).abs() < 1e-8, "{i}: {} {wanted}", gradient[i]);
        }
    }

    #[test]
    fn the_gate_opens_where_the_concept_is_seen() {
        let gated = planted();
        let lambda = 1e-3;
        let shared = choose(&[lambda], &gated.samples, &gated.samples);
        let end = gated.fit(&shared);
        assert!(end.gradient_norm < 1e-8, "{}", end.gradient_norm);
        let (v, gate) = gated.weights(&end.x);
        assert!((gate.iter().sum::<f64>() - 12.0).abs() < 1e-9);
        assert!(gate[..6].iter().all(|g| *g > 1.5) && gate[6..].iter().all(|g| *g < 0.5), "{gate:?}");
        assert!(v[0] > 0.0 && v[1] < 0.0 && v[2].abs() < 0.3 * v[0] && v[3].abs() < 0.3 * v[0], "{v:?}");
        let even: Vec<f64> = shared.v.iter().copied().chain([shared.bias]).chain([1.0; 12]).collect();
        let mut scratch = [0.0; 17];
        assert!(gated.loss(&end.x, lambda, &mut scratch) < gated.loss(&even, lambda, &mut scratch));
    }
}
