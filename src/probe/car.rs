//! Concept activation region (Crabbé & van der Schaar 2022): a support vector machine with a Gaussian kernel, the
//! reference for what is *not* linear. Where its accuracy is far above the linear kinds', the concept has no direction
//! at this layer.

use ndarray::Array2;

use super::kernel::Kernel;
use super::kind::{Earlier, ProbeKind};
use super::lbfgs::dot;
use super::scaling::Scaling;
use super::smo::{self, Machine};
use super::task::{Labelled, Offset, Outcome, Solution, Task, Weights, refused};
use crate::ops::product::{Matrix, multiply};

/// Gammas to choose from, over one by the mean square distance from the mean: that of 1 is scikit-learn's `scale` of
/// centred activations.
const GAMMAS: [f64; 4] = [0.1, 0.3, 1.0, 3.0];

/// Least `|f|^2 lambda / 2` plus mean hinge loss over functions f of the Gaussian kernel's space; lambda, one over samples
/// times scikit-learn's C, and gamma are chosen on the validation split by the same loss, each class with weight one half.
pub struct Car;

impl ProbeKind for Car {
    fn name(&self) -> &'static str {
        "car"
    }

    fn about(&self) -> &'static str {
        "concept activation region: an RBF support vector machine, the non-linear reference; no direction"
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        if task.options.scaling != Scaling::Center {
            return refused("its samples are kept as they are: it takes probe.scaling = \"center\" alone");
        }
        // Its solver knows no weights of samples.
        let rows = task.subsampled(task.fit, "balance");
        let (own, val) = (Distances::of(task, &rows, &rows), Distances::of(task, task.val, &rows));
        let signs = signs(&rows);
        let mut best: Option<(f64, f64, f64, Machine)> = None;
        for gamma in GAMMAS {
            let (kernel, held_out) = (own.kernel(gamma), val.kernel(gamma));
            for lambda in &task.options.lambda {
                let machine = smo::solve(kernel.view(), &signs, 1.0 / (lambda * signs.len() as f64));
                let loss = hinge(&held_out, task.val, &machine);
                if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
                    best = Some((loss, gamma, *lambda, machine));
                }
            }
        }
        let Some((_, gamma, lambda, machine)) = best else { return refused("there is no lambda to fit with") };
        Ok(solution(task, &rows, &machine, gamma, lambda))
    }
}

/// The machine as a solution; what it does not use is left out.
fn solution(task: &Task<'_>, rows: &Labelled, machine: &Machine, gamma: f64, lambda: f64) -> Solution {
    let counts = (rows.positive.len(), rows.negative.len());
    let mut out = Solution::new(Vec::new(), Offset::Native(machine.bias), counts);
    let order = rows.positive.iter().chain(&rows.negative);
    let used = order.zip(&machine.weights).filter(|(_, weight)| **weight != 0.0);
    let (samples, coefficients) = used.map(|(row, weight)| (task.space.samples[*row], *weight)).unzip();
    // Coordinates are in units of the space's scale.
    out.weights = Weights::Kernel(Kernel { samples, coefficients, gamma: gamma / task.space.scale.powi(2) });
    (out.lambda, out.gradient_norm) = (lambda, machine.violation);
    out.facts.insert("gamma".into(), gamma);
    out
}

fn signs(rows: &Labelled) -> Vec<f64> {
    let count = rows.positive.len() + rows.negative.len();
    (0..count).map(|i| if i < rows.positive.len() { 1.0 } else { -1.0 }).collect()
}

/// Mean hinge loss of rows, each class with weight one half.
fn hinge(kernel: &Array2<f64>, rows: &Labelled, machine: &Machine) -> f64 {
    let present = rows.positive.len();
    let mut sums = [0.0; 2];
    for (i, k) in kernel.outer_iter().enumerate() {
        let score = dot(k.as_slice().unwrap_or_default(), &machine.weights) + machine.bias;
        let side = usize::from(i >= present);
        sums[side] += (1.0 - if side == 0 { score } else { -score }).max(0.0);
    }
    0.5 * (sums[0] / present.max(1) as f64 + sums[1] / rows.negative.len().max(1) as f64)
}

/// Squared distances of labelled rows from others, `[row, other]`, in units of the space.
struct Distances(Array2<f64>);

impl Distances {
    fn of(task: &Task<'_>, rows: &Labelled, others: &Labelled) -> Self {
        let space = task.space;
        let gather = |rows: &Labelled| {
            let order: Vec<usize> = rows.positive.iter().chain(&rows.negative).copied().collect();
            let x: Vec<f64> = order.iter().flat_map(|row| space.x.row(*row).to_vec()).collect();
            let squares: Vec<f64> =
                order.iter().map(|r| space.x.row(*r).dot(&space.x.row(*r)) + space.residual[*r]).collect();
            (x, squares)
        };
        let ((left, of_left), (right, of_right)) = (gather(rows), gather(others));
        let mut products = vec![0.0; of_left.len() * of_right.len()];
        if !products.is_empty() && space.dimension() > 0 {
            let matrix = |x, squares: &[f64]| Matrix::new(x, squares.len(), space.dimension());
            multiply(&matrix(&left, &of_left), &matrix(&right, &of_right).transposed(), &mut products, of_right.len());
        }
        let distance =
            |(i, j): (usize, usize)| (of_left[i] + of_right[j] - 2.0 * products[i * of_right.len() + j]).max(0.0);
        Self(Array2::from_shape_fn((of_left.len(), of_right.len()), distance))
    }

    fn kernel(&self, gamma: f64) -> Array2<f64> {
        self.0.mapv(|d| (-gamma * d).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Case {
        gamma: f64,
        cost: f64,
        decision: Vec<f64>,
    }

    #[derive(Deserialize)]
    struct Golden {
        columns: usize,
        x: Vec<f64>,
        y: Vec<f64>,
        fits: Vec<Case>,
    }

    #[test]
    fn decisions_are_those_of_scikit_learn() {
        let golden: Golden = serde_json::from_str(include_str!("../../tests/golden/car.json")).unwrap();
        let x = Array2::from_shape_vec((golden.y.len(), golden.columns), golden.x).unwrap();
        let distance = |(i, j)| (&x.row(i) - &x.row(j)).mapv(|v: f64| v * v).sum();
        let distances = Distances(Array2::from_shape_fn((x.nrows(), x.nrows()), distance));
        for case in &golden.fits {
            let kernel = distances.kernel(case.gamma);
            let machine = smo::solve(kernel.view(), &golden.y, case.cost);
            for (k, wanted) in kernel.outer_iter().zip(&case.decision) {
                let got = dot(k.as_slice().unwrap(), &machine.weights) + machine.bias;
                assert!((got - wanted).abs() < 1e-6, "gamma {}, C {}: {got} {wanted}", case.gamma, case.cost);
            }
        }
    }
}
