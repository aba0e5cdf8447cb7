//! Combination-CAV by a joint loss: one direction for the images' labels and the positions' masks.

use super::cholesky::Cholesky;
use super::kind::{Earlier, ProbeKind, needed};
use super::lbfgs::{self, Minimum, dot};
use super::linear;
use super::segmentation::{Scaling, gather, masked_images, one_weight_a_channel};
use super::task::{Labelled, Offset, Outcome, Solution, Task, Weights};
use super::weighted::Weighted;
use crate::error::Result;

/// Shares of the positions' loss to choose from.
const SHARES: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.9];

/// Minimises `(1 - g) L + g M + lambda/2 |v|^2`: L the log-loss of balanced images, `s = v mean(z) + b`, M the
/// Segmentation-CAV's loss, `s = v z + c`, lambda that kind's own (our reading C1). The share g has the best mean of
/// balanced accuracy and positions' AUROC on the validation split. The offset is fitted there too.
pub struct Combination;

impl ProbeKind for Combination {
    fn name(&self) -> &'static str {
        "combination"
    }

    fn about(&self) -> &'static str {
        "one direction by the joint loss of images' labels and positions' masks; translation-invariant only"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["segmentation"]
    }

    fn needs_masks(&self) -> bool {
        true
    }

    fn fit(&self, task: &Task<'_>, earlier: &Earlier) -> Outcome {
        let lambda = needed(earlier, "segmentation")?.lambda;
        one_weight_a_channel(task)?;
        let images = masked_images(task, task.fit)?;
        let scaling = Scaling::of(task, &images)?;
        let rows = task.balanced(task.fit, "balance");
        let joint = Joint {
            images: pooled(task, &rows, &scaling)?,
            positions: gather(task, &images, &scaling, "combination/fit")?,
        };
        let held_out = Joint {
            images: pooled(task, task.val, &scaling)?,
            positions: gather(task, &masked_images(task, task.val)?, &scaling, "combination/val")?,
        };
        let (share, end) = joint.choose(&held_out, lambda);
        let counts = (task.fit.positive.len(), task.fit.negative.len());
        let mut solution = Solution::new(Vec::new(), Offset::Calibrated, counts);
        let columns = joint.images.columns;
        solution.weights = Weights::Activations(end.x[..columns].iter().map(|v| v / scaling.scale).collect());
        (solution.lambda, solution.gradient_norm) = (lambda, end.gradient_norm);
        solution.facts.insert("share".into(), share);
        Ok(solution)
    }
}

/// Means over positions of labelled rows, in the units of the positions.
fn pooled(task: &Task<'_>, rows: &Labelled, scaling: &Scaling) -> Result<Weighted<f64>> {
    let order: Vec<usize> = rows.positive.iter().chain(&rows.negative).map(|row| task.space.samples[*row]).collect();
    let z = task.set.pooled(&order)?;
    let x = z.indexed_iter().map(|((_, channel), z)| f64::from(scaling.apply(*z, channel))).collect();
    linear::labelled("logistic regression", rows, z.ncols(), x)
}

/// Images with labels and positions with masks, under one direction.
struct Joint {
    images: Weighted<f64>,
    positions: Weighted<f32>,
}

impl Joint {
    /// The share with the best validation, and its fit. Each fit starts from the last one.
    fn choose(&self, held_out: &Self, lambda: f64) -> (f64, Minimum) {
        let curvatures = (self.images.curvature(false), self.positions.curvature(false));
        let start = vec![0.0; self.images.columns + 2];
        let mut best = (f64::NEG_INFINITY, SHARES[0], Minimum { x: start.clone(), gradient_norm: f64::NAN });
        let mut last = start;
        for share in SHARES {
            let end = self.fit(share, lambda, &curvatures, std::mem::take(&mut last));
            last.clone_from(&end.x);
            let value = held_out.value(&end.x);
            if value > best.0 {
                best = (value, share, end);
            }
        }
        (best.1, best.2)
    }

    /// Direction, offset of the images, offset of the positions.
    fn fit(&self, share: f64, lambda: f64, curvatures: &(Vec<f64>, Vec<f64>), start: Vec<f64>) -> Minimum {
        let columns = self.images.columns;
        let mix = |a: f64, b: f64| (1.0 - share) * a + share * b;
        let curvature = curvatures.0.iter().zip(&curvatures.1).map(|(a, b)| mix(*a, *b)).collect();
        let factor = Cholesky::ridged(curvature, columns, columns, lambda);
        let precondition = |g: &mut [f64]| {
            factor.solve(g);
            g[columns] *= 4.0 / (1.0 - share);
            g[columns + 1] *= 4.0 / share;
        };
        let mut other = vec![0.0; columns];
        lbfgs::minimise(start, 1000, 1e-9, precondition, |p, g| {
            let v = &p[..columns];
            let (a, a_bias) = self.images.loss(v, p[columns], 0.0, g);
            let (b, b_bias) = self.positions.loss(v, p[columns + 1], 0.0, &mut other);
            for ((g, other), v) in g.iter_mut().zip(&other).zip(v) {
                *g = mix(*g, *other) + lambda * v;
            }
            (g[columns], g[columns + 1]) = ((1.0 - share) * a_bias, share * b_bias);
            mix(a, b) + 0.5 * lambda * dot(v, v)
        })
    }

    /// Mean of the images' balanced accuracy and the positions' AUROC.
    fn value(&self, p: &[f64]) -> f64 {
        let (v, offsets) = p.split_at(self.images.columns);
        let (mut right, mut count) = ([0.0; 2], [0.0; 2]);
        for (x, label) in self.images.x.chunks_exact(v.len()).zip(&self.images.label) {
            let class = usize::from(*label > 0.5);
            count[class] += 1.0;
            right[class] += f64::from(u8::from((dot(x, v) + offsets[0] > 0.0) == (class == 1)));
        }
        let accuracy = 0.5 * (right[0] / count[0] + right[1] / count[1]);
        0.5 * (accuracy + auroc(&self.positions, v))
    }
}

/// Weighted AUROC of positions more than half inside a mask against those outside it; one half where there are none.
pub(super) fn auroc(positions: &Weighted<f32>, v: &[f64]) -> f64 {
    let rows = positions.x.chunks_exact(v.len()).zip(positions.label.iter().zip(&positions.weight));
    let mut scored: Vec<(f64, bool, f64)> = rows
        .filter(|(_, (m, _))| **m > 0.5 || **m <= 0.0)
        .map(|(x, (m, w))| (x.iter().zip(v).map(|(x, v)| f64::from(*x) * v).sum(), *m > 0.5, *w))
        .collect();
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total = |inside| scored.iter().filter(|s| s.1 == inside).map(|s| s.2).sum::<f64>();
    let pairs = total(true) * total(false);
    let (mut below, mut won) = (0.0, 0.0);
    for tied in scored.chunk_by(|a, b| a.0 == b.0) {
        let weight = |inside| tied.iter().filter(|s| s.1 == inside).map(|s| s.2).sum::<f64>();
        won += weight(true) * (below + 0.5 * weight(false));
        below += weight(false);
    }
    if pairs > 0.0 { won / pairs } else { 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples<T>(x: Vec<T>, label: &[f32]) -> Weighted<T> {
        let weight = (1..=label.len()).map(|i| i as f64 / 10.0).collect();
        Weighted { columns: x.len() / label.len(), x, label: label.to_vec(), weight }
    }

    #[test]
    fn the_fit_is_where_central_differences_vanish() {
        let wave = |i: usize| (i as f64 * 1.3 + (i * i % 7) as f64).sin();
        let joint = Joint {
            images: samples((0..12).map(wave).collect(), &[1.0, 0.0, 1.0, 0.0]),
            positions: samples((30..42).map(|i| wave(i) as f32).collect(), &[0.25, 0.0, 1.0, 0.5]),
        };
        let (share, lambda) = (0.25, 0.1);
        let curvatures = (joint.images.curvature(false), joint.positions.curvature(false));
        let end = joint.fit(share, lambda, &curvatures, vec![0.0; 5]);
        assert!(end.gradient_norm < 1e-8, "{}", end.gradient_norm);
        let objective = |p: &[f64]| {
            let (v, mut scratch) = (&p[..3], [0.0; 3]);
            let images = joint.images.loss(v, p[3], 0.0, &mut scratch).0;
            let positions = joint.positions.loss(v, p[4], 0.0, &mut scratch).0;
            (1.0 - share) * images + share * positions + 0.5 * lambda * dot(v, v)
        };
        for i in 0..5 {
            let moved =
                |by: f64| objective(&(0..5).map(|j| end.x[j] + if i == j { by } else { 0.0 }).collect::<Vec<_>>());
            assert!((moved(1e-4) - moved(-1e-4)).abs() / 2e-4 < 1e-7, "{i}");
        }
    }

    #[test]
    fn ties_count_half_and_positions_partly_inside_do_not() {
        let positions = |x: Vec<f32>, label: &[f32]| auroc(&samples(x, label), &[1.0]);
        // Weights 1, 2, 3 and 4: of the pairs 1 x 3 won, 2 x 3 tied.
        let got = positions(vec![3.0, 1.0, 1.0, 9.0], &[1.0, 1.0, 0.0, 0.25]);
        assert!((got - (3.0 + 0.5 * 6.0) / 9.0).abs() < 1e-12, "{got}");
        assert!((positions(vec![3.0, 1.0], &[1.0, 1.0]) - 0.5).abs() < 1e-12);
    }
}
