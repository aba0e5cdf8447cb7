//! Logistic regression with sample weights, a ridge, and labels that may be shares.
//!
//! The Hessian is never larger than `x^T diag(w) x / 4` plus the ridge (Boehning & Lindsay 1988, Ann. Inst. Statist. Math.
//! 40:641). The factor of that bound, or of one much like it, is what L-BFGS starts every direction from, so that a fit
//! converges however different the activations' scales are.

use super::cholesky::Cholesky;
use super::lbfgs::{self, Minimum, dot};
use super::logistic;
use super::normal::Normal;
use crate::ops::product::{Matrix, multiply};
use crate::ops::vector::{Kernel, dispatch};

/// Norm of the gradient at which a fit has converged: the mean loss is about one, the activations have unit scale.
const TOLERANCE: f64 = 1e-9;
/// Most steps; a fit that needs more shows in its gradient norm.
const STEPS: usize = 1000;
/// Rows of a strip of the curvature, and of a part of the loss.
const ROWS: usize = 512;
const PART: usize = 64;

/// Samples with weights: `x` `[sample, column]`, labels between 0 and 1, weights that sum to one.
#[derive(Debug, Clone, Default)]
pub struct Weighted<T> {
    /// Columns of x.
    pub columns: usize,
    /// The samples, row-major.
    pub x: Vec<T>,
    /// Share of the sample that shows the concept.
    pub label: Vec<f32>,
    /// How much the sample counts.
    pub weight: Vec<f64>,
}

impl<T: Copy + Into<f64>> Weighted<T> {
    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.label.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.label.is_empty()
    }

    /// Makes the weights sum to one.
    pub fn normalise(&mut self) {
        let total: f64 = self.weight.iter().sum();
        self.weight.iter_mut().for_each(|w| *w /= total.max(f64::MIN_POSITIVE));
    }

    /// Minimises `sum w (log(1 + exp(s)) - m s) + lambda/2 |v|^2` with `s = v x + b` over v and b from a start on; the
    /// offset stands behind the weights and has no ridge. `precondition` multiplies with the inverse of something like
    /// the Hessian.
    pub fn fit(&self, start: Vec<f64>, lambda: f64, precondition: impl Fn(&mut [f64])) -> Minimum {
        self.fit_by(logistic::loss, start, lambda, precondition)
    }

    /// The same with another loss: its value and slope for a score and a label.
    pub fn fit_by(
        &self,
        loss: impl Fn(f64, f64) -> (f64, f64),
        start: Vec<f64>,
        lambda: f64,
        precondition: impl Fn(&mut [f64]),
    ) -> Minimum {
        lbfgs::minimise(start, STEPS, TOLERANCE, precondition, |p, g| {
            let (v, b) = p.split_at(self.columns);
            let (value, bias) = self.loss_by(&loss, v, b[0], lambda, g);
            g[self.columns] = bias;
            value
        })
    }

    /// The same over a list of lambdas, each from the last one's solution on, by the bound of its own Hessian.
    pub fn path(&self, lambdas: &[f64]) -> Vec<Minimum> {
        let curvature = self.curvature(true);
        let mut start = vec![0.0; self.columns + 1];
        let fit = |lambda: &f64| {
            let factor = Cholesky::ridged(curvature.clone(), self.columns + 1, self.columns, *lambda);
            let end = self.fit(std::mem::take(&mut start), *lambda, |g| factor.solve(g));
            start.clone_from(&end.x);
            end
        };
        lambdas.iter().map(fit).collect()
    }

    /// Minimises over v alone, from a start on.
    pub fn fit_without_offset(&self, start: &[f64], offset: f64, lambda: f64) -> Minimum {
        let objective = |v: &[f64], g: &mut [f64]| self.loss(v, offset, lambda, g).0;
        if self.len() < self.columns {
            let normal = Normal::new(self.scaled(0..self.len(), false), self.columns);
            let bound = normal.inverse(lambda);
            return lbfgs::minimise(start.to_vec(), STEPS, TOLERANCE, |g| bound.solve(g), objective);
        }
        let factor = Cholesky::ridged(self.curvature(false), self.columns, self.columns, lambda);
        lbfgs::minimise(start.to_vec(), STEPS, TOLERANCE, |g| factor.solve(g), objective)
    }

    /// The objective, with its gradient by v in the first entries of `gradient`, and that by the offset.
    pub fn loss(&self, v: &[f64], offset: f64, lambda: f64, gradient: &mut [f64]) -> (f64, f64) {
        self.loss_by(logistic::loss, v, offset, lambda, gradient)
    }

    fn loss_by(
        &self,
        point: impl Fn(f64, f64) -> (f64, f64),
        v: &[f64],
        offset: f64,
        lambda: f64,
        gradient: &mut [f64],
    ) -> (f64, f64) {
        let gradient = &mut gradient[..self.columns];
        gradient.iter_mut().zip(v).for_each(|(g, v)| *g = lambda * v);
        let (mut loss, mut bias) = (0.5 * lambda * dot(v, v), 0.0);
        let mut scores = [0.0; PART];
        let parts =
            self.x.chunks(PART * self.columns.max(1)).zip(self.label.chunks(PART).zip(self.weight.chunks(PART)));
        for (x, (label, weight)) in parts {
            let scores = &mut scores[..label.len()];
            dispatch(Dots { x, v, scores: &mut *scores });
            for ((score, label), weight) in scores.iter_mut().zip(label).zip(weight) {
                let (value, slope) = point(*score + offset, f64::from(*label));
                loss += weight * value;
                *score = weight * slope;
                bias += *score;
            }
            dispatch(Combine { x, residuals: scores, sums: &mut *gradient });
        }
        (loss, bias)
    }

    /// The inner product of every sample with v.
    pub fn scores(&self, v: &[f64]) -> Vec<f64> {
        let mut scores = vec![0.0; self.len()];
        dispatch(Dots { x: &self.x, v, scores: &mut scores });
        scores
    }

    /// Adds every sample times its residual to `sums`, one a column.
    pub fn combine(&self, residuals: &[f64], sums: &mut [f64]) {
        dispatch(Combine { x: &self.x, residuals, sums });
    }

    /// `x^T diag(w) x / 4`, with a last column of ones where there is an offset.
    pub fn curvature(&self, offset: bool) -> Vec<f64> {
        let columns = self.columns + usize::from(offset);
        let (mut sum, mut part) = (vec![0.0; columns * columns], vec![0.0; columns * columns]);
        for first in (0..self.len()).step_by(ROWS) {
            let rows = first..(first + ROWS).min(self.len());
            let z = self.scaled(rows.clone(), offset);
            let matrix = Matrix::new(&z, rows.len(), columns);
            multiply(&matrix.transposed(), &matrix, &mut part, columns);
            sum.iter_mut().zip(&part).for_each(|(s, p)| *s += p);
        }
        sum
    }

    /// `sqrt(w / 4) x` of some samples.
    fn scaled(&self, rows: std::ops::Range<usize>, offset: bool) -> Vec<f64> {
        let mut out = Vec::with_capacity(rows.len() * (self.columns + 1));
        for row in rows {
            let scale = (self.weight[row] / 4.0).sqrt();
            let x = &self.x[row * self.columns..(row + 1) * self.columns];
            out.extend(x.iter().map(|x| scale * (*x).into()));
            out.extend(offset.then_some(scale));
        }
        out
    }
}

/// The inner product of every row with v, in eight partial sums.
struct Dots<'a, T> {
    x: &'a [T],
    v: &'a [f64],
    scores: &'a mut [f64],
}

impl<T: Copy + Into<f64>> Kernel for Dots<'_, T> {
    #[inline(always)]
    fn run(self) {
        for (x, score) in self.x.chunks_exact(self.v.len()).zip(self.scores) {
            let mut lanes = [0.0; 8];
            let (mut left, mut right) = (x.chunks_exact(8), self.v.chunks_exact(8));
            for (x, v) in (&mut left).zip(&mut right) {
                for i in 0..8 {
                    lanes[i] += x[i].into() * v[i];
                }
            }
            let tail: f64 = left.remainder().iter().zip(right.remainder()).map(|(x, v)| (*x).into() * v).sum();
            *score = lanes.iter().sum::<f64>() + tail;
        }
    }
}

/// Adds every row times its residual.
struct Combine<'a, T> {
    x: &'a [T],
    residuals: &'a [f64],
    sums: &'a mut [f64],
}

impl<T: Copy + Into<f64>> Kernel for Combine<'_, T> {
    #[inline(always)]
    fn run(self) {
        for (x, residual) in self.x.chunks_exact(self.sums.len()).zip(self.residuals) {
            self.sums.iter_mut().zip(x).for_each(|(s, x)| *s += residual * (*x).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns of very different scales, labels that are shares.
    fn samples(n: usize, columns: usize) -> Weighted<f64> {
        let wave = |i: usize| (i as f64 * 1.7 + (i * i % 31) as f64).sin();
        let x = (0..n * columns).map(|i| wave(i) * 10f64.powi(-((i % columns % 4) as i32))).collect();
        let label = (0..n).map(|i| [1.0, 0.0, 0.25][i % 3]).collect();
        let mut samples = Weighted { columns, x, label, weight: (0..n).map(|i| 1.0 + (i % 5) as f64).collect() };
        samples.normalise();
        samples
    }

    #[test]
    fn the_gradient_is_that_of_central_differences() {
        let samples = samples(150, 11);
        let at: Vec<f64> = (0..12).map(|i| (i as f64).cos()).collect();
        let loss = |p: &[f64]| samples.loss(&p[..11], p[11], 0.3, &mut [0.0; 11]).0;
        let mut gradient = [0.0; 12];
        gradient[11] = samples.loss(&at[..11], at[11], 0.3, &mut gradient).1;
        for (i, gradient) in gradient.iter().enumerate() {
            let moved = |by: f64| {
                loss(&at.iter().enumerate().map(|(j, v)| if i == j { v + by } else { *v }).collect::<Vec<_>>())
            };
            let wanted = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((gradient - wanted).abs() < 1e-8, "{i}: {gradient} {wanted}");
        }
    }

    #[test]
    fn fits_converge_whatever_the_scales() {
        let samples = samples(300, 12);
        for end in samples.path(&[1e-2, 1e-4, 1e-6]) {
            assert!(end.gradient_norm < 1e-8, "{}", end.gradient_norm);
        }
    }

    #[test]
    fn fits_are_those_of_scikit_learn() {
        let golden: serde_json::Value = serde_json::from_str(include_str!("../../tests/golden/logistic.json")).unwrap();
        let list = |v: &serde_json::Value| serde_json::from_value::<Vec<f64>>(v.clone()).unwrap();
        let label = list(&golden["share"]).into_iter().map(|v| v as f32).collect();
        let samples = Weighted { columns: 5, x: list(&golden["x"]), label, weight: list(&golden["weight"]) };
        for (i, end) in samples.path(&list(&golden["lambdas"])).iter().enumerate() {
            for (got, wanted) in end.x.iter().zip(list(&golden["fits"][i])) {
                assert!((got - wanted).abs() < 1e-5 * (1.0 + wanted.abs()), "fit {i}: {got} {wanted}");
            }
        }
    }

    #[test]
    fn few_samples_are_fitted_as_many_are() {
        // The same samples four times, each with a quarter of the weight: the same objective, by the other factor.
        let few = samples(9, 24);
        let mut many = few.clone();
        (many.x, many.label, many.weight) = (few.x.repeat(4), few.label.repeat(4), few.weight.repeat(4));
        many.normalise();
        let [few, many] = [few, many].map(|s| s.fit_without_offset(&[0.1; 24], -0.2, 1e-3));
        assert!(few.gradient_norm < 1e-8 && many.gradient_norm < 1e-8);
        let off = few.x.iter().zip(&many.x).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 1e-4, "{off}");
    }
}
