//! Linear systems of symmetric, positive definite matrices that are known by what they do to a vector.

/// Moves `x` towards the solution of `A x = right` by conjugate gradients (Hestenes & Stiefel 1952), until the squared norm
/// of the residual is at most `goal`, or for `steps` steps. `apply` writes A times its first argument over its second.
///
/// # Panics
/// When `x` and `right` differ in length.
pub(crate) fn conjugate_gradients(
    x: &mut [f64],
    right: &[f64],
    goal: f64,
    steps: usize,
    mut apply: impl FnMut(&[f64], &mut [f64]),
) {
    assert_eq!(x.len(), right.len(), "a system has as many unknowns as equations");
    let mut applied = vec![0.0; x.len()];
    apply(x, &mut applied);
    let mut residual: Vec<f64> = right.iter().zip(&applied).map(|(b, a)| b - a).collect();
    let mut direction = residual.clone();
    let mut square = dot(&residual, &residual);
    for _ in 0..steps {
        if square <= goal {
            break;
        }
        apply(&direction, &mut applied);
        let step = square / dot(&direction, &applied);
        x.iter_mut().zip(&direction).for_each(|(x, d)| *x += step * d);
        residual.iter_mut().zip(&applied).for_each(|(r, a)| *r -= step * a);
        let next = dot(&residual, &residual);
        direction.iter_mut().zip(&residual).for_each(|(d, r)| *d = r + next / square * *d);
        square = next;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_steps_as_unknowns_are_enough() {
        // Second differences: -x[i-1] + 2 x[i] - x[i+1] of a parabola that is zero beyond both ends.
        let n = 20;
        let apply = |x: &[f64], out: &mut [f64]| {
            for i in 0..n {
                let at = |j: Option<usize>| j.and_then(|j| x.get(j)).copied().unwrap_or(0.0);
                out[i] = 2.0 * x[i] - at(i.checked_sub(1)) - at(Some(i + 1));
            }
        };
        let wanted = |i: usize| ((i + 1) * (n - i)) as f64;
        let mut x = vec![0.0; n];
        conjugate_gradients(&mut x, &vec![2.0; n], 1e-20, n, apply);
        assert!(x.iter().enumerate().all(|(i, x)| (x - wanted(i)).abs() < 1e-9), "{x:?}");
        let solved = x.clone();
        conjugate_gradients(&mut x, &vec![2.0; n], 1e-10, n, apply);
        assert_eq!(x, solved, "nothing is left to do");
    }
}
