//! Coordinates in which probes are fitted.
//!
//! Every linear probe is a combination of its training activations, so a fit in the span of n samples loses nothing
//! (Kimeldorf & Wahba 1971). Where the layer has more values than there are samples, the samples get coordinates whose
//! inner products are those of the centred activations: the rows of the Cholesky factor of the Gram matrix. Any subset
//! of rows (a fold, the false positives) is then a valid n-dimensional form of those samples, and the d-dimensional
//! direction is made once, at the end, by [`Space::directions`].

use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use crate::activation::{LayerSet, Variant};
use crate::error::Result;
use crate::ops::product::Matrix;
use crate::probe::cholesky::Cholesky;
use crate::probe::gram::{BLOCK, Samples, centre, combine, gram, lower};
use crate::probe::lbfgs::dot;
use crate::probe::scaling::{Factors, Scaling};

/// A sample whose squared distance to the span of those before it is below this share of the mean square norm adds no
/// coordinate: repeated tiles, and the last of centred samples, lie in that span up to rounding.
const RANK_TOLERANCE: f64 = 1e-6;

/// Samples as rows of coordinates, centred on the mean of the first `fitted` samples and scaled to unit mean square norm.
#[derive(Debug)]
pub struct Space {
    /// Samples behind the rows: positions in the layer's activation set.
    pub samples: Vec<usize>,
    /// Coordinates `[sample, coordinate]`.
    pub x: Array2<f64>,
    /// The form of the activations.
    pub variant: Variant,
    /// Squared distance of each row's sample from what its coordinates stand for: zero, but for samples outside the span
    /// of the fitted ones.
    pub residual: Vec<f64>,
    factors: Factors,
    /// Mean activation of the fitted samples, in the layer's own units, or scaled by the factors.
    mean: Array1<f64>,
    /// Root mean square norm of the fitted samples' centred activations: a coordinate times this is in the layer's units.
    pub scale: f64,
    /// For coordinates in the span of the samples: how many samples span it. `None`: coordinates are activations.
    spanning: Option<usize>,
    /// By lambda: see [`Space::bound`].
    bounds: Vec<(f64, Arc<Cholesky>)>,
    fitted: usize,
}

impl Space {
    /// Coordinates of `samples`, of which the first `fitted` may be used in fits; the rest are only projected.
    ///
    /// # Errors
    /// When activations cannot be read.
    pub fn new(set: &LayerSet, variant: Variant, samples: &[usize], fitted: usize) -> Result<Self> {
        Self::scaled(set, variant, samples, fitted, Scaling::Center)
    }

    /// The same of activations that are scaled first.
    ///
    /// # Errors
    /// When activations cannot be read.
    pub fn scaled(
        set: &LayerSet,
        variant: Variant,
        samples: &[usize],
        fitted: usize,
        scaling: Scaling,
    ) -> Result<Self> {
        let width = variant.width(set.shape);
        let factors = Factors::of(scaling, set, variant, samples, fitted)?;
        if width > fitted {
            return Self::dual(set, variant, samples, fitted, factors);
        }
        let x = factors.read(set, samples, variant, 0..width)?;
        Ok(Self { factors, ..Self::primal(&x.mapv(f64::from), samples, fitted, variant) })
    }

    /// Whether an offset in coordinates is none of raw activations: it has to be calibrated.
    pub fn moves_offsets(&self) -> bool {
        self.factors.moves_offsets()
    }

    pub(super) fn primal(x: &Array2<f64>, samples: &[usize], fitted: usize, variant: Variant) -> Self {
        let fit = x.slice(s![..fitted, ..]);
        let mean = fit.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(x.ncols()));
        let mut x = x - &mean;
        let scale = mean_square_norm(x.slice(s![..fitted, ..])).sqrt().max(f64::MIN_POSITIVE);
        x /= scale;
        let (samples, residual) = (samples.to_vec(), vec![0.0; x.nrows()]);
        let factors = Factors::default();
        Self { samples, x, variant, residual, factors, mean, scale, spanning: None, bounds: Vec::new(), fitted }
    }

    fn dual(set: &LayerSet, variant: Variant, samples: &[usize], fitted: usize, factors: Factors) -> Result<Self> {
        let (rows, others) = samples.split_at(fitted);
        let of = |rows| Samples { set, rows, factors: &factors };
        let gram = gram(of(rows), of(others), variant)?;
        let mean_square = gram.squares[..fitted].iter().sum::<f64>() / fitted.max(1) as f64;
        let scale = mean_square.sqrt().max(f64::MIN_POSITIVE);
        let mut x = gram.products / (scale * scale);
        cholesky_rows(&mut x);
        let outside = |(row, square): (usize, f64)| {
            let x = x.row(row);
            if row < fitted { 0.0 } else { (square / (scale * scale) - x.dot(&x)).max(0.0) }
        };
        let residual = gram.squares.into_iter().enumerate().map(outside).collect();
        let (samples, mean, spanning) = (samples.to_vec(), gram.mean, Some(fitted));
        Ok(Self { samples, x, variant, residual, factors, mean, scale, spanning, bounds: Vec::new(), fitted })
    }

    /// Keeps the bounds of the Hessian at these ridges.
    #[must_use]
    pub fn prepared_for(mut self, lambdas: &[f64]) -> Self {
        let curvature = self.curvature();
        let bound = |lambda: &f64| (*lambda, self.factor(curvature.clone(), *lambda));
        self.bounds = lambdas.par_iter().map(bound).collect();
        self
    }

    /// The factor of `x^T x / 4n + lambda` over the n fitted rows: what the Hessian of a logistic regression of all of
    /// them does not exceed, and a guess at that of a part of them.
    pub fn bound(&self, lambda: f64) -> Arc<Cholesky> {
        let kept = self.bounds.iter().find(|(l, _)| *l == lambda);
        kept.map_or_else(|| self.factor(self.curvature(), lambda), |(_, bound)| bound.clone())
    }

    fn factor(&self, curvature: Vec<f64>, lambda: f64) -> Arc<Cholesky> {
        Arc::new(Cholesky::ridged(curvature, self.dimension(), self.dimension(), lambda))
    }

    /// `x^T x / 4n`, its lower triangle.
    fn curvature(&self) -> Vec<f64> {
        let x = self.x.slice(s![..self.fitted, ..]).mapv(|v| v / (2.0 * (self.fitted.max(1) as f64).sqrt()));
        lower(&Matrix::new(x.as_slice().unwrap_or_default(), x.nrows(), x.ncols()).transposed())
    }

    /// Dimension of the coordinates.
    pub fn dimension(&self) -> usize {
        self.x.ncols()
    }

    /// The score of row `row` under weights and bias in coordinates.
    pub fn score(&self, row: usize, weights: &[f64], bias: f64) -> f64 {
        self.x.row(row).as_slice().map_or(0.0, |x| dot(x, weights)) + bias
    }

    /// Turns weights in coordinates into weights on activations: for each of `weights`, the d-dimensional weights and
    /// the offset such that `<w, z> + offset` equals the score in coordinates without its bias.
    ///
    /// # Errors
    /// When activations cannot be read.
    pub fn directions(&self, set: &LayerSet, weights: &[Vec<f64>]) -> Result<Vec<(Vec<f64>, f64)>> {
        let rows: Vec<Vec<f64>> = match self.spanning {
            None => weights.iter().map(|w| w.iter().map(|v| v / self.scale).collect()).collect(),
            Some(fitted) => self.combination(set, weights, fitted)?,
        };
        let mean = self.mean.as_slice().unwrap_or_default();
        let with_offset = |mut w: Vec<f64>| {
            let offset = -dot(&w, mean);
            self.factors.unscale(&mut w);
            (w, offset)
        };
        Ok(rows.into_iter().map(with_offset).collect())
    }

    /// Gradients in coordinates: the inner product of a row with weights in coordinates is that of the gradient, a map of the
    /// layer, with the weights on activations that [`Space::directions`] makes of them. So any number of directions is held
    /// against a gradient without being made. A pooled direction acts on all positions alike: its gradient is their mean.
    ///
    /// # Errors
    /// When activations or gradients cannot be read.
    pub fn gradients(&self, set: &LayerSet, gradients: &LayerSet) -> Result<Array2<f64>> {
        let all: Vec<usize> = (0..gradients.len()).collect();
        let Some(fitted) = self.spanning else {
            let width = self.variant.width(gradients.shape);
            let mut rows = gradients.vectors(&all, self.variant, 0..width)?;
            self.factors.scale_values(&mut rows, 0..width);
            return Ok(rows.mapv(|g| f64::from(g) / self.scale));
        };
        let mut products = Array2::<f64>::zeros((all.len(), fitted));
        let width = self.variant.width(set.shape);
        for first in (0..width).step_by(BLOCK) {
            let range = first..(first + BLOCK).min(width);
            let mut z = self.factors.read(set, &self.samples[..fitted], self.variant, range.clone())?;
            centre(&mut z, self.mean.slice(s![range.clone()]));
            let mut g = gradients.vectors(&all, self.variant, range.clone())?;
            self.factors.scale_values(&mut g, range);
            let part = g.dot(&z.t());
            products.zip_mut_with(&part, |sum, p| *sum += f64::from(*p));
        }
        let rows: Vec<&[f64]> = (0..fitted).filter_map(|i| self.x.row(i).to_slice()).collect();
        for mut row in products.outer_iter_mut() {
            // The transpose of `combine`: without the mean, then L^-1 where that has L^-T.
            let mean = row.mean().unwrap_or_default();
            row.mapv_inplace(|k| (k - mean) / (self.scale * self.scale));
            let solved = forward_substitute(&row.to_vec(), &rows);
            row.assign(&Array1::from(solved));
        }
        Ok(products)
    }

    /// w = sum over samples of a_i (z_i - mean) with a = L^-T of the weights, summed block of columns by block.
    fn combination(&self, set: &LayerSet, weights: &[Vec<f64>], fitted: usize) -> Result<Vec<Vec<f64>>> {
        let mut a = Array2::<f32>::zeros((weights.len(), fitted));
        for (mut out, w) in a.outer_iter_mut().zip(weights) {
            let coefficients = self.solve_transposed(w, fitted);
            let total: f64 = coefficients.iter().sum();
            // Subtracting the mean of the samples is subtracting the coefficients' mean from each of them.
            let shift = total / fitted as f64;
            out.iter_mut().zip(coefficients).for_each(|(o, c)| *o = ((c - shift) / (self.scale * self.scale)) as f32);
        }
        let samples = &self.samples[..fitted];
        let width = self.variant.width(set.shape);
        let mut out = vec![vec![0.0; width]; weights.len()];
        for first in (0..width).step_by(BLOCK) {
            let range = first..(first + BLOCK).min(width);
            let mut z = self.factors.read(set, samples, self.variant, range.clone())?;
            centre(&mut z, self.mean.slice(s![range.clone()]));
            let part = combine(&a, &z);
            for (out, part) in out.iter_mut().zip(part.outer_iter()) {
                out[range.clone()].iter_mut().zip(part).for_each(|(o, p)| *o = f64::from(*p));
            }
        }
        Ok(out)
    }

    /// Solves `L^T a = w` by back substitution; L is the fitted rows' lower triangle.
    fn solve_transposed(&self, w: &[f64], fitted: usize) -> Vec<f64> {
        let mut a = w[..fitted].to_vec();
        for i in (0..fitted).rev() {
            let row = self.x.row(i);
            let value = if row[i] > 0.0 { a[i] / row[i] } else { 0.0 };
            a[i] = value;
            for j in 0..i {
                a[j] -= row[j] * value;
            }
        }
        a
    }
}

fn mean_square_norm(x: ArrayView2<'_, f64>) -> f64 {
    x.iter().map(|v| v * v).sum::<f64>() / x.nrows().max(1) as f64
}

/// Replaces `[sample, fitted]` inner products by coordinates in place: the fitted rows become the lower Cholesky factor,
/// the others their projections onto the span (Golub & Van Loan, Matrix Computations, 4.2).
fn cholesky_rows(gram: &mut Array2<f64>) {
    let fitted = gram.ncols();
    let (mut top, mut rest) = gram.view_mut().split_at(Axis(0), fitted);
    let mut factor: Vec<Vec<f64>> = Vec::with_capacity(fitted);
    for (i, mut row) in top.outer_iter_mut().enumerate() {
        let mut out = forward_substitute(row.as_slice().unwrap_or_default(), &factor);
        let left = row[i] - dot(&out, &out);
        out.push(if left > RANK_TOLERANCE { left.sqrt() } else { 0.0 });
        row.fill(0.0);
        row.iter_mut().zip(&out).for_each(|(r, o)| *r = *o);
        factor.push(out);
    }
    let rows: Vec<_> = rest.outer_iter_mut().collect();
    rows.into_par_iter().for_each(|mut row| {
        let out = forward_substitute(row.as_slice().unwrap_or_default(), &factor);
        row.iter_mut().zip(&out).for_each(|(r, o)| *r = *o);
    });
}

/// Solves `L y = k` for the first `factor.len()` entries.
fn forward_substitute(k: &[f64], factor: &[impl AsRef<[f64]>]) -> Vec<f64> {
    let mut y = Vec::with_capacity(factor.len() + 1);
    for (j, l) in factor.iter().map(AsRef::as_ref).enumerate() {
        y.push(if l[j] > 0.0 { (k[j] - dot(&y, &l[..j])) / l[j] } else { 0.0 });
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::test_set;
    use crate::probe::lbfgs::norm;
    use crate::probe::{Labelled, logistic};

    /// Inner products of the rows are those of the centred activations, and directions score as coordinates do.
    fn check(variant: Variant, shape: [usize; 3], n: usize, fitted: usize) {
        let (_dir, set) = test_set(n, shape);
        let samples: Vec<usize> = (0..n).rev().collect();
        let space = Space::new(&set, variant, &samples, fitted).unwrap();
        let weights: Vec<f64> = (0..space.dimension()).map(|i| ((i * 7 % 11) as f64 - 5.0) / 5.0).collect();
        let (direction, offset) = space.directions(&set, std::slice::from_ref(&weights)).unwrap().remove(0);
        for (row, sample) in samples.iter().enumerate() {
            let z: Vec<f64> = set.vector(*sample, variant).unwrap().into_iter().map(f64::from).collect();
            let wanted = dot(&direction, &z) + offset;
            let got = space.score(row, &weights, 0.0);
            assert!((wanted - got).abs() < 2e-4 * (1.0 + wanted.abs()), "{variant:?} row {row}: {wanted} {got}");
        }
        assert!((mean_square_norm(space.x.slice(s![..fitted, ..])) - 1.0).abs() < 1e-4);
        // Lengths are kept but for the scale, in the samples' span.
        let within: Vec<f64> = space.x.row(0).iter().zip(space.x.row(fitted - 1)).map(|(a, b)| a - b).collect();
        let (made, _) = space.directions(&set, std::slice::from_ref(&within)).unwrap().remove(0);
        let (got, wanted) = (norm(&made) * space.scale, norm(&within));
        assert!((got - wanted).abs() < 1e-3 * wanted, "{variant:?}: {got} {wanted}");
        // Any maps will do as gradients.
        let gradients = space.gradients(&set, &set).unwrap();
        for sample in 0..n {
            let g: Vec<f64> = set.vector(sample, variant).unwrap().into_iter().map(f64::from).collect();
            let (wanted, got) = (dot(&direction, &g), dot(&gradients.row(sample).to_vec(), &weights));
            assert!(
                (wanted - got).abs() < 2e-4 * (1.0 + wanted.abs()),
                "{variant:?} gradient {sample}: {wanted} {got}"
            );
        }
    }

    #[test]
    fn coordinates_and_directions_agree() {
        for variant in [Variant::TranslationInvariant, Variant::Max, Variant::LogSumExp(2.0)] {
            check(variant, [5, 3, 3], 20, 15);
            check(variant, [25, 3, 3], 20, 15);
        }
        check(Variant::Full, [2, 2, 2], 30, 20);
        check(Variant::Full, [7, 4, 4], 30, 20);
    }

    #[test]
    fn dual_and_primal_logistic_regressions_agree() {
        let (_dir, set) = test_set(50, [20, 1, 1]);
        let samples: Vec<usize> = (0..50).collect();
        let x = set.vectors(&samples, Variant::Full, 0..20).unwrap().mapv(f64::from);
        let (positive, negative) = samples.iter().partition(|i| x[[**i, 0]] + x[[**i, 1]] > 1.0);
        let rows = Labelled { positive, negative };
        let spaces = [
            Space::dual(&set, Variant::Full, &samples, 50, Factors::default()).unwrap(),
            Space::primal(&x, &samples, 50, Variant::Full),
        ];
        for lambda in [1e-1, 1e-3] {
            let [dual, primal] = [0, 1].map(|k: usize| {
                let fit = logistic::fit(&spaces[k], &rows, lambda).unwrap();
                let (weights, offset) = spaces[k].directions(&set, &[fit.weights]).unwrap().remove(0);
                (weights, offset + fit.bias)
            });
            let length = dot(&primal.0, &primal.0).sqrt();
            let off = dual.0.iter().zip(&primal.0).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off < 1e-5 * length, "{lambda}: weights off by {off}, their length is {length}");
            assert!((dual.1 - primal.1).abs() < 1e-5 * length, "{lambda}: offsets {} and {}", dual.1, primal.1);
        }
    }

    #[test]
    fn distances_are_kept_outside_the_span_too() {
        let (_dir, set) = test_set(20, [7, 4, 4]);
        let samples: Vec<usize> = (0..20).collect();
        let space = Space::new(&set, Variant::Full, &samples, 12).unwrap();
        let z = |sample: usize| set.map(sample).unwrap();
        for (row, fitted) in [(3, 5), (15, 5), (19, 0)] {
            let wanted: f64 = z(row).iter().zip(z(fitted)).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let inside: f64 = (&space.x.row(row) - &space.x.row(fitted)).mapv(|v| v * v).sum();
            let got = (inside + space.residual[row]) * space.scale * space.scale;
            assert!((got - wanted).abs() < 1e-4 * wanted, "{row} {fitted}: {got} {wanted}");
        }
    }

    #[test]
    fn repeated_samples_do_no_harm() {
        let (_dir, set) = test_set(4, [40, 2, 2]);
        let samples = [0, 1, 1, 2, 3, 3];
        let space = Space::new(&set, Variant::Full, &samples, 4).unwrap();
        assert!(space.x.iter().all(|v| v.is_finite()));
        let gap: f64 = (&space.x.row(1) - &space.x.row(2)).mapv(|v| v * v).sum();
        assert!(gap < 1e-4, "the same sample has the same coordinates: {gap}");
    }
}
