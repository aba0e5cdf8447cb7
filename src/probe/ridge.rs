//! Ridge-CAV: least squares on labels of +1 and -1 (the `ridge` of Pahde et al. 2022), in closed form.

use super::kind::{Earlier, ProbeKind};
use super::lbfgs::dot;
use super::linear::{self, Linear};
use super::normal::Normal;
use super::task::{Outcome, Task};
use super::weighted::Weighted;

/// Least squares on the classifier's own samples; lambda is chosen as the classifier's, by the squared error.
pub struct Ridge;

impl ProbeKind for Ridge {
    fn name(&self) -> &'static str {
        "ridge"
    }

    fn about(&self) -> &'static str {
        "least squares on labels of +1 and -1 of balanced samples"
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        let rows = task.balanced(task.fit, "balance");
        let path = |rows: &_, lambdas: &[f64]| {
            let squares = LeastSquares::new(&linear::samples("least squares", task.space, rows)?);
            Ok(lambdas.iter().map(|lambda| squares.solve(*lambda)).collect())
        };
        linear::choose(task, &rows, path, |margin| 0.5 * (1.0 - margin).powi(2))
    }
}

/// `sum w (s - t)^2 / 2 + lambda/2 |v|^2` with `s = v x + b` and `t = 2 label - 1`, for every lambda from one Gram
/// matrix. The offset has no ridge: it is what centring samples and labels leaves over.
struct LeastSquares {
    /// `sqrt(w) (x - mean)`.
    normal: Normal,
    /// The sum of `w (x - mean) (t - mean)`.
    right: Vec<f64>,
    mean: Vec<f64>,
    mean_label: f64,
}

impl LeastSquares {
    /// From samples whose weights sum to one.
    fn new(samples: &Weighted<f64>) -> Self {
        let sign = |label: &f32| 2.0 * f64::from(*label) - 1.0;
        let rows = || samples.x.chunks_exact(samples.columns).zip(&samples.weight);
        let mut mean = vec![0.0; samples.columns];
        rows().for_each(|(x, w)| mean.iter_mut().zip(x).for_each(|(m, x)| *m += w * x));
        let mean_label: f64 = samples.label.iter().zip(&samples.weight).map(|(l, w)| w * sign(l)).sum();
        let z = rows().flat_map(|(x, w)| x.iter().zip(&mean).map(move |(x, m)| w.sqrt() * (x - m)));
        let normal = Normal::new(z.collect(), samples.columns);
        let labels: Vec<f64> =
            samples.label.iter().zip(&samples.weight).map(|(l, w)| w.sqrt() * (sign(l) - mean_label)).collect();
        Self { right: normal.combine(&labels), normal, mean, mean_label }
    }

    fn solve(&self, lambda: f64) -> Linear {
        let mut weights = self.right.clone();
        self.normal.inverse(lambda).solve(&mut weights);
        Linear { bias: self.mean_label - dot(&weights, &self.mean), weights, gradient_norm: f64::NAN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fixture::Golden;

    #[test]
    fn fits_are_those_of_scikit_learn() {
        Golden::each(|golden| {
            let squares = LeastSquares::new(&golden.samples());
            for (lambda, wanted) in golden.lambdas.iter().zip(&golden.ridge) {
                let model = squares.solve(*lambda);
                golden.compare("ridge", &model.weights, model.bias, wanted, 1e-9);
            }
        });
    }
}
