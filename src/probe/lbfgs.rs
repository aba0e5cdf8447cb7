//! L-BFGS with a backtracking line search and a preconditioner. Nocedal & Wright, Numerical Optimization, algorithm 7.5.

/// Where a minimisation ended.
#[derive(Debug, Clone)]
pub struct Minimum {
    /// The parameters.
    pub x: Vec<f64>,
    /// Euclidean norm of the gradient there.
    pub gradient_norm: f64,
}

const HISTORY: usize = 10;

/// A step s, and the gradient's change y over it.
struct Step {
    s: Vec<f64>,
    y: Vec<f64>,
    /// y, preconditioned.
    turned: Vec<f64>,
    /// `1 / (s y)`.
    rho: f64,
    /// What the preconditioned gradient has to be multiplied with, by this step.
    scale: f64,
}

/// Minimises a smooth function from `x` on. `f(x, gradient)` returns the value and fills the gradient; `precondition`
/// multiplies a vector with the inverse of a guess of the Hessian, up to a factor.
/// Stops when the gradient's norm is at most `tolerance`, or after `steps` steps.
pub fn minimise(
    mut x: Vec<f64>,
    steps: usize,
    tolerance: f64,
    precondition: impl Fn(&mut [f64]),
    mut f: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Minimum {
    let n = x.len();
    let mut gradient = vec![0.0; n];
    let mut value = f(&x, &mut gradient);
    let preconditioned = |gradient: &[f64]| {
        let mut turned = gradient.to_vec();
        precondition(&mut turned);
        turned
    };
    let mut turned = preconditioned(&gradient);
    let mut history: Vec<Step> = Vec::new();
    for _ in 0..steps {
        if norm(&gradient) <= tolerance {
            break;
        }
        let direction = descent_direction(&gradient, &turned, &history);
        let slope = dot(&direction, &gradient);
        let mut step = 1.0;
        let mut next = vec![0.0; n];
        let mut next_gradient = vec![0.0; n];
        let accepted = (0..30).any(|_| {
            next.iter_mut().zip(&x).zip(&direction).for_each(|((out, x), d)| *out = x + step * d);
            let next_value = f(&next, &mut next_gradient);
            // Close to the minimum a step lowers the value by less than its last digits.
            let rounding = 4.0 * f64::EPSILON * value.abs();
            let good = next_value <= value + 1e-4 * step * slope + rounding;
            if good {
                value = next_value;
            } else {
                step *= 0.5;
            }
            good
        });
        if !accepted {
            break;
        }
        let next_turned = preconditioned(&next_gradient);
        let change = |after: &[f64], before: &[f64]| after.iter().zip(before).map(|(a, b)| a - b).collect::<Vec<_>>();
        let (s, y, turned_y) = (change(&next, &x), change(&next_gradient, &gradient), change(&next_turned, &turned));
        let curvature = dot(&s, &y);
        if curvature > 1e-12 * dot(&y, &y) {
            if history.len() == HISTORY {
                history.remove(0);
            }
            history.push(Step { rho: 1.0 / curvature, scale: curvature / dot(&y, &turned_y), s, y, turned: turned_y });
        }
        (x, gradient, turned) = (next, next_gradient, next_turned);
    }
    Minimum { gradient_norm: norm(&gradient), x }
}

/// The two-loop recursion: minus the inverse Hessian's approximation times the gradient. Preconditioning is linear, so
/// that of the gradient less changes of it is `turned`, the preconditioned gradient, less preconditioned changes.
fn descent_direction(gradient: &[f64], turned: &[f64], history: &[Step]) -> Vec<f64> {
    let (mut q, mut direction) = (gradient.to_vec(), turned.to_vec());
    let mut alphas = Vec::with_capacity(history.len());
    for step in history.iter().rev() {
        let alpha = step.rho * dot(&step.s, &q);
        q.iter_mut().zip(&step.y).for_each(|(q, y)| *q -= alpha * y);
        direction.iter_mut().zip(&step.turned).for_each(|(d, t)| *d -= alpha * t);
        alphas.push(alpha);
    }
    if let Some(step) = history.last() {
        direction.iter_mut().for_each(|d| *d *= step.scale);
    }
    for (step, alpha) in history.iter().zip(alphas.iter().rev()) {
        let beta = step.rho * dot(&step.y, &direction);
        direction.iter_mut().zip(&step.s).for_each(|(d, s)| *d += (alpha - beta) * s);
    }
    direction.iter_mut().for_each(|d| *d = -*d);
    direction
}

/// Inner product in eight partial sums, which the compiler keeps in vector registers.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (mut left, mut right) = (a.chunks_exact(8), b.chunks_exact(8));
    for (a, b) in (&mut left).zip(&mut right) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    let tail: f64 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + tail
}

/// Euclidean norm.
pub fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_minimum_of_a_quadratic() {
        let curvature: Vec<f64> = (0..20).map(|i| 10f64.powf(f64::from(i) / 6.0)).collect();
        let end = minimise(
            vec![3.0; 20],
            300,
            1e-6,
            |_| {},
            |x, g| {
                let mut value = 0.0;
                for i in 0..x.len() {
                    g[i] = curvature[i] * (x[i] - i as f64);
                    value += 0.5 * g[i] * (x[i] - i as f64);
                }
                value
            },
        );
        assert!(end.gradient_norm <= 1e-6);
        for (i, x) in end.x.iter().enumerate() {
            assert!((x - i as f64).abs() < 1e-6, "{i}: {x}");
        }
    }

    #[test]
    fn a_large_constant_does_not_hide_the_last_steps() {
        let end = minimise(
            vec![1.0, -2.0],
            50,
            1e-9,
            |_| {},
            |x, g| {
                g.copy_from_slice(&[x[0], 3.0 * x[1]]);
                1e3 + 0.5 * (x[0] * x[0] + 3.0 * x[1] * x[1])
            },
        );
        assert!(end.gradient_norm <= 1e-9, "{}", end.gradient_norm);
    }

    #[test]
    fn finds_the_minimum_of_rosenbrock() {
        let scaled = |g: &mut [f64]| g.iter_mut().for_each(|g| *g /= 1000.0);
        let end = minimise(vec![-1.2, 1.0], 200, 1e-8, scaled, |x, g| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            g[0] = -2.0 * a - 400.0 * x[0] * b;
            g[1] = 200.0 * b;
            a * a + 100.0 * b * b
        });
        assert!((end.x[0] - 1.0).abs() < 1e-6 && (end.x[1] - 1.0).abs() < 1e-6, "{:?}", end.x);
    }
}
