//! Linear discriminant analysis with a covariance shrunk towards a sphere.

use super::kind::{Earlier, ProbeKind};
use super::lbfgs::dot;
use super::normal::Normal;
use super::task::{Labelled, Offset, Outcome, Solution, Task, refused};

/// `((1 - s) S + s m I)^-1 (mean with - mean without)`: S the covariance within the classes, m the mean of its diagonal,
/// s after Ledoit and Wolf (2004, J. Multivariate Anal. 88:365). The threshold lies midway between the projected means.
pub struct Lda;

impl ProbeKind for Lda {
    fn name(&self) -> &'static str {
        "lda"
    }

    fn about(&self) -> &'static str {
        "linear discriminant analysis of balanced samples, with Ledoit and Wolf's shrinkage"
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        let rows = task.balanced(task.fit, "balance");
        let classes = Classes::of(task, &rows);
        let Some(shrinkage) = classes.shrinkage() else {
            return refused("the activations do not vary within the classes");
        };
        let (weights, bias) = classes.discriminant(shrinkage);
        let mut solution = Solution::new(weights, Offset::Native(bias), (rows.positive.len(), rows.negative.len()));
        solution.facts.insert("shrinkage".into(), shrinkage);
        Ok(solution)
    }
}

/// Two classes, each with weight one half. The samples may stand in coordinates of their span: shrinkage and direction
/// only need the dimension they really have.
pub(super) struct Classes {
    means: [Vec<f64>; 2],
    /// `sqrt(w) (x - the class's mean)`: `z^T z` is the covariance within the classes.
    normal: Normal,
    weights: Vec<f64>,
    /// The covariance's trace over the dimension.
    sphere: f64,
    dimension: f64,
}

impl Classes {
    /// The classes of labelled rows.
    pub(super) fn of(task: &Task<'_>, rows: &Labelled) -> Self {
        let class = |rows: &[usize]| rows.iter().map(|r| task.space.x.row(*r).to_vec()).collect::<Vec<_>>();
        Self::new(&class(&rows.positive), &class(&rows.negative), task.space.variant.width(task.set.shape))
    }

    fn new(positive: &[Vec<f64>], negative: &[Vec<f64>], dimension: usize) -> Self {
        let (mut z, mut weights) = (Vec::new(), Vec::new());
        let means = [positive, negative].map(|class| {
            let mut mean = vec![0.0; class.first().map_or(0, Vec::len)];
            class.iter().for_each(|x| mean.iter_mut().zip(x).for_each(|(m, x)| *m += x / class.len() as f64));
            let weight = 0.5 / class.len() as f64;
            class.iter().for_each(|x| z.extend(x.iter().zip(&mean).map(|(x, m)| weight.sqrt() * (x - m))));
            weights.extend(class.iter().map(|_| weight));
            mean
        });
        let normal = Normal::new(z, means[0].len());
        let dimension = dimension as f64;
        Self { sphere: normal.trace() / dimension, means, normal, weights, dimension }
    }

    /// The mean of the first class less that of the second.
    pub(super) fn difference(&self) -> Vec<f64> {
        self.means[0].iter().zip(&self.means[1]).map(|(p, n)| p - n).collect()
    }

    /// The share of the sphere; `None` where nothing varies within the classes.
    pub(super) fn shrinkage(&self) -> Option<f64> {
        let shrinkage = self.ledoit_wolf();
        (self.sphere > 0.0 && shrinkage > 0.0).then_some(shrinkage)
    }

    /// Ledoit and Wolf's share of the sphere: the covariance's expected error over its distance from the sphere, at most
    /// one. Samples of unequal weights count as `1 / sum w^2` equal ones (Kish 1965).
    fn ledoit_wolf(&self) -> f64 {
        let fourth: f64 = self.normal.rows().zip(&self.weights).map(|(z, w)| dot(z, z).powi(2) / w).sum();
        let square = self.normal.square_norm();
        let error = (fourth - square) * dot(&self.weights, &self.weights);
        let distance = square - self.dimension * self.sphere * self.sphere;
        if error >= distance { 1.0 } else { (error / distance).max(0.0) }
    }

    /// Weights and offset at a shrinkage.
    pub(super) fn discriminant(&self, shrinkage: f64) -> (Vec<f64>, f64) {
        let [positive, negative] = &self.means;
        let ridge = shrinkage * self.sphere;
        let mut weights = self.difference();
        if shrinkage < 1.0 {
            // The share of the covariance itself is divided out: the ridge grows by it, and the weights shrink.
            self.normal.inverse(ridge / (1.0 - shrinkage)).solve(&mut weights);
            weights.iter_mut().for_each(|w| *w /= 1.0 - shrinkage);
        } else {
            weights.iter_mut().for_each(|w| *w /= ridge);
        }
        let bias = -0.5 * (dot(&weights, positive) + dot(&weights, negative));
        (weights, bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fixture::Golden;

    fn classes(golden: &Golden) -> Classes {
        let class = |label: f32| {
            let rows = golden.x.chunks_exact(golden.columns).zip(&golden.label);
            rows.filter(|(_, l)| **l == label).map(|(x, _)| x.to_vec()).collect::<Vec<_>>()
        };
        Classes::new(&class(1.0), &class(0.0), golden.columns)
    }

    #[test]
    fn fits_are_those_of_scikit_learn() {
        Golden::each(|golden| {
            let classes = classes(golden);
            for (shrinkage, wanted) in golden.shrinkages.iter().zip(&golden.lda) {
                let (weights, bias) = classes.discriminant(*shrinkage);
                golden.compare("lda", &weights, bias, wanted, 1e-8);
            }
        });
    }

    #[test]
    fn the_shrinkage_is_that_of_scikit_learn() {
        Golden::each(|golden| {
            let (got, Some(wanted)) = (classes(golden).ledoit_wolf(), golden.ledoit_wolf) else { return };
            assert!((got - wanted).abs() < 1e-9, "{got} {wanted}");
        });
    }
}
