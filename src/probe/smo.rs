//! The dual of a support vector machine with a kernel, by sequential minimal optimisation: two coefficients at a time,
//! chosen by second-order information (Fan, Chen & Lin 2005, J. Mach. Learn. Res. 6:1889).

use ndarray::ArrayView2;

/// Largest violation of the optimality conditions at which the search ends.
const TOLERANCE: f64 = 1e-9;
/// A curvature that rounding has made smaller counts as this.
const LEAST_CURVATURE: f64 = 1e-12;
/// Most steps, by the number of samples; a machine of a few thousand samples needs some ten a sample.
const STEPS: usize = 10_000;

/// A solution: decision `sum of weights_i k(z_i, z) + bias`.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// One a sample, with the sign of its label; zero for those beyond their margin.
    pub(super) weights: Vec<f64>,
    /// Offset.
    pub(super) bias: f64,
    /// What the optimality conditions are violated by.
    pub(super) violation: f64,
}

/// Minimises `|f|^2 / 2 + cost sum of max(0, 1 - y_i (f(z_i) + b))` over functions f of the kernel's space and offsets b.
/// `kernel` is `[n, n]`, `y` holds +1 and -1, both present.
pub(super) fn solve(kernel: ArrayView2<'_, f64>, y: &[f64], cost: f64) -> Machine {
    let n = y.len();
    let mut alpha = vec![0.0; n];
    // Gradient of the dual objective `a^T Q a / 2 - sum a`, Q_ij = y_i y_j k_ij.
    let mut gradient = vec![-1.0; n];
    let mut end = Ends::of(&alpha, &gradient, y, cost);
    for _ in 0..STEPS * n {
        if end.violation() <= TOLERANCE {
            break;
        }
        let i = end.at;
        let Some(j) = partner(kernel, &alpha, &gradient, y, cost, &end) else { break };
        let curvature = (kernel[[i, i]] + kernel[[j, j]] - 2.0 * kernel[[i, j]]).max(LEAST_CURVATURE);
        // Along the step both sides of y^T a stay equal: y_i a_i grows as much as y_j a_j falls.
        let wanted = (y[j] * gradient[j] - y[i] * gradient[i]) / curvature;
        let room = |k: usize, up: bool| if up { cost - alpha[k] } else { alpha[k] };
        let step = wanted.min(room(i, y[i] > 0.0)).min(room(j, y[j] < 0.0));
        alpha[i] = snap(alpha[i] + y[i] * step, cost);
        alpha[j] = snap(alpha[j] - y[j] * step, cost);
        for ((g, y), (ki, kj)) in gradient.iter_mut().zip(y).zip(kernel.row(i).iter().zip(kernel.row(j))) {
            *g += y * step * (ki - kj);
        }
        end = Ends::of(&alpha, &gradient, y, cost);
    }
    let free: Vec<f64> = (0..n).filter(|i| alpha[*i] > 0.0 && alpha[*i] < cost).map(|i| -y[i] * gradient[i]).collect();
    let bias = if free.is_empty() { 0.5 * (end.low + end.high) } else { free.iter().sum::<f64>() / free.len() as f64 };
    let weights = alpha.iter().zip(y).map(|(a, y)| a * y).collect();
    Machine { weights, bias, violation: end.violation().max(0.0) }
}

/// A coefficient that rounding has left just beside a bound lies on it.
fn snap(alpha: f64, cost: f64) -> f64 {
    let near = 1e-14 * cost;
    if alpha < near {
        0.0
    } else if alpha > cost - near {
        cost
    } else {
        alpha
    }
}

fn may_grow(alpha: f64, y: f64, cost: f64) -> bool {
    if y > 0.0 { alpha < cost } else { alpha > 0.0 }
}

fn may_fall(alpha: f64, y: f64, cost: f64) -> bool {
    if y > 0.0 { alpha > 0.0 } else { alpha < cost }
}

/// How far the optimality conditions are from holding: at the optimum `high` is not above `low`.
struct Ends {
    /// The least of `-y g` among coefficients whose `y a` may fall.
    low: f64,
    /// The largest among those whose `y a` may grow.
    high: f64,
    /// Where that stands.
    at: usize,
}

impl Ends {
    fn of(alpha: &[f64], gradient: &[f64], y: &[f64], cost: f64) -> Self {
        let mut ends = Self { low: f64::INFINITY, high: f64::NEG_INFINITY, at: 0 };
        for (i, ((a, g), y)) in alpha.iter().zip(gradient).zip(y).enumerate() {
            let value = -y * g;
            if may_grow(*a, *y, cost) && value > ends.high {
                (ends.high, ends.at) = (value, i);
            }
            if may_fall(*a, *y, cost) {
                ends.low = ends.low.min(value);
            }
        }
        ends
    }

    fn violation(&self) -> f64 {
        self.high - self.low
    }
}

/// The coefficient whose fall lowers the objective most while that of `ends` grows.
fn partner(
    kernel: ArrayView2<'_, f64>,
    alpha: &[f64],
    gradient: &[f64],
    y: &[f64],
    cost: f64,
    ends: &Ends,
) -> Option<usize> {
    let (i, row) = (ends.at, kernel.row(ends.at));
    let mut best = (None, 0.0);
    for (j, ((a, g), y)) in alpha.iter().zip(gradient).zip(y).enumerate() {
        let gap = ends.high + y * g;
        if gap > 0.0 && may_fall(*a, *y, cost) {
            let curvature = (row[i] + kernel[[j, j]] - 2.0 * row[j]).max(LEAST_CURVATURE);
            let gain = gap * gap / curvature;
            if gain > best.1 {
                best = (Some(j), gain);
            }
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn two_samples_by_hand() {
        // k = [[1, e], [e, 1]]: both coefficients are 1 / (1 - e), where the cost allows it.
        let e = (-1f64).exp();
        let kernel = array![[1.0, e], [e, 1.0]];
        let free = solve(kernel.view(), &[1.0, -1.0], 10.0);
        assert!((free.weights[0] - 1.0 / (1.0 - e)).abs() < 1e-9 && free.bias.abs() < 1e-9, "{free:?}");
        assert_eq!(solve(kernel.view(), &[1.0, -1.0], 0.5).weights, [0.5, -0.5]);
    }

    #[test]
    fn the_optimality_conditions_hold() {
        let wave = |i: usize| (i as f64 * 1.7 + (i * i % 31) as f64).sin();
        let x = Array2::from_shape_fn((60, 3), |(i, j)| wave(3 * i + j));
        let kernel = Array2::from_shape_fn((60, 60), |(i, j)| (-(&x.row(i) - &x.row(j)).mapv(|v| v * v).sum()).exp());
        let y: Vec<f64> = (0..60).map(|i| if x[[i, 0]] + 0.5 * wave(i + 200) > 0.0 { 1.0 } else { -1.0 }).collect();
        for cost in [0.1, 1.0, 100.0] {
            let machine = solve(kernel.view(), &y, cost);
            assert!(machine.violation <= 1e-8, "{cost}: {}", machine.violation);
            assert!(machine.weights.iter().sum::<f64>().abs() < 1e-9);
            for (i, weight) in machine.weights.iter().enumerate() {
                let decision: f64 = kernel.row(i).iter().zip(&machine.weights).map(|(k, w)| k * w).sum();
                let margin = y[i] * (decision + machine.bias);
                let alpha = weight * y[i];
                assert!((0.0..=cost).contains(&alpha));
                assert!(alpha > 0.0 || margin > 1.0 - 1e-7, "beyond the margin: {margin}");
                assert!(alpha < cost || margin < 1.0 + 1e-7, "inside the margin: {margin}");
            }
        }
    }
}
